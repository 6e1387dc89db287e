"""Judges the demo teacher's curves against rule-based ground truth."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from compress import metrics
from compress.visemes import Segment, bilabials, clear_vowels


def evaluate(
    predicted: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    segments: Sequence[Sequence[Segment]],
    driven: Sequence[str],
    rate_hz: float,
) -> dict[str, Any]:
    """Metrics of a group of clips; curves float `[frames, driven]`."""
    closures = [bilabials(s) for s in segments]
    return {
        "clips": len(predicted),
        "minutes": round(sum(len(t) for t in truth) / rate_hz / 60, 2),
        "mse": metrics.mse(predicted, truth),
        "r2": metrics.r2(predicted, truth),
        "correlation": metrics.correlation(predicted, truth),
        "jitter_ratio": metrics.jitter_ratio(predicted, truth),
        "pbm": asdict(metrics.pbm_accuracy(predicted, closures, driven, rate_hz)),
        "pbm_of_truth": metrics.pbm_accuracy(truth, closures, driven, rate_hz).value,
        "false_closures": asdict(metrics.false_closures(predicted, [clear_vowels(s) for s in segments], driven, rate_hz)),
    }
