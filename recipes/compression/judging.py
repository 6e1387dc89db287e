"""Judging a student by its ONNX file, on held-out speech, with what paired comparisons need."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from compress.judge.animation import curves_by_smoothing
from compress.judge.held_out import Floats, HeldOut
from compress.judge.quality import pbm_cases, quality
from exporters.targets.onnx.target import open_runtime


def judged(file: Path, groups: dict[str, HeldOut]) -> dict[str, dict[str, Any]]:
    """What a file scores in each group of speech, as `lipstill animate` runs it."""
    runtime = open_runtime(file)
    smoothing = [runtime.signature.smoothing]
    found = {}
    for name, heldout in groups.items():
        curves = [
            curves_by_smoothing(runtime, samples, heldout.times_s(i), smoothing)[0]
            for i, samples in enumerate(heldout.samples)
        ]
        found[name] = measures(curves, heldout)
    return found


def measures(curves: list[Floats], heldout: HeldOut) -> dict[str, Any]:
    """Metrics as JSON; of each clip the sums whose ratios are MSE and jitter, and its /p b m/ cases."""
    result = quality(curves, heldout)
    truth = {
        name: asdict(value) if hasattr(value, "__dataclass_fields__") else value
        for name, value in result.against_truth.items()
    }
    return {
        "against_teacher": result.against_teacher,
        "against_truth": truth,
        "pbm_cases": [case.astype(int).tolist() for case in pbm_cases(curves, heldout)],
        "squared_errors": [
            float(((c - t) ** 2).sum()) for c, t in zip(curves, heldout.teacher, strict=True)
        ],
        "shaking": [float(np.abs(np.diff(c, n=3, axis=0)).sum()) for c in curves],
    }
