"""How well curves follow the teacher and the truth on held-out speech, at the teacher's frames."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress import audio, metrics, rig, visemes
from compress.alignments import Alignment
from compress.audio import HOP, SAMPLE_RATE
from compress.labels import LabelledClip, Labels, curves_of
from compress.metrics import Share

Floats = NDArray[np.float32]
Measures = dict[str, float | Share | None]

TRUTHS = ("mse", "r2", "correlation", "jitter_ratio", "pbm", "false_closures")


@dataclass(frozen=True)
class HeldOut:
    """Held-out clips with the teacher's driven curves `[frames, driven]`.

    `alignments` has None where a clip's is not known.
    """

    clips: tuple[LabelledClip, ...]
    samples: tuple[Floats, ...]
    teacher: tuple[Floats, ...]
    alignments: tuple[Alignment | None, ...]
    driven: tuple[str, ...]
    rate_hz: float
    offset_s: float

    def times_s(self, clip: int) -> NDArray[np.float64]:
        """The time that each of a clip's frames stands for."""
        return self.offset_s + np.arange(len(self.teacher[clip])) / self.rate_hz

    def at_frames(self, clip: int, hops: Floats) -> Floats:
        """Curves on the hop grid, interpolated at a clip's frame times."""
        grid = np.arange(len(hops)) * HOP / SAMPLE_RATE
        columns = [np.interp(self.times_s(clip), grid, hops[:, i]) for i in range(hops.shape[1])]
        return np.stack(columns, 1).astype(np.float32)


@dataclass(frozen=True)
class Quality:
    """Metrics by name, averaged over the driven controls.

    None is not measured: the speech does not allow it, or what came out is no number.
    """

    against_teacher: Measures
    against_truth: Measures


def load_heldout(labels: Labels, alignments: dict[str, Alignment]) -> HeldOut:
    """The held-out side of the labels, with its audio read."""
    clips = labels.side("heldout")
    return HeldOut(
        clips,
        tuple(audio.read(clip.path) for clip in clips),
        tuple(curves_of(labels, clips, "frames")),
        tuple(alignments.get(clip.id) for clip in clips),
        labels.driven,
        labels.rate_hz,
        labels.offset_s,
    )


def quality(curves: Sequence[Floats], heldout: HeldOut) -> Quality:
    """Judge the curves of all held-out clips, each `[frames, driven]` at the teacher's frames."""
    teacher = heldout.teacher
    against_teacher: Measures = {
        "mse": metrics.mse(curves, teacher),
        "r2": metrics.r2(curves, teacher),
        "correlation": metrics.correlation(curves, teacher),
        "velocity_mse": metrics.velocity_mse(curves, teacher, heldout.rate_hz),
        "jitter_ratio": metrics.jitter_ratio(curves, teacher),
    }
    return Quality(_measured(against_teacher), _measured(_against_truth(curves, heldout)))


def _against_truth(curves: Sequence[Floats], heldout: HeldOut) -> Measures:
    """Against rule-based curves of the aligned clips.

    All None for a rig or for speech of which no truth is known.
    """
    aligned = [(i, a) for i, a in enumerate(heldout.alignments) if a is not None]
    driven, rate_hz, offset_s = heldout.driven, heldout.rate_hz, heldout.offset_s
    if not aligned or not set(driven) <= set(rig.ARKIT) or not rig.has_lips(driven):
        return dict.fromkeys(TRUTHS)
    columns = [rig.ARKIT.index(name) for name in driven]
    predicted, truth, closures, vowels = [], [], [], []
    for i, alignment in aligned:
        samples, segments = heldout.samples[i], alignment.segments
        rules = visemes.curves(segments, len(samples) / SAMPLE_RATE, rate_hz, samples, offset_s)
        frames = min(len(rules), len(curves[i]))
        predicted.append(curves[i][:frames])
        truth.append(rules[:frames, columns])
        closures.append(visemes.bilabials(segments))
        vowels.append(visemes.clear_vowels(segments))
    return {
        "mse": metrics.mse(predicted, truth),
        "r2": metrics.r2(predicted, truth),
        "correlation": metrics.correlation(predicted, truth),
        "jitter_ratio": metrics.jitter_ratio(predicted, truth),
        "pbm": metrics.pbm_accuracy(predicted, closures, driven, rate_hz, offset_s),
        "false_closures": metrics.false_closures(predicted, vowels, driven, rate_hz, offset_s),
    }


def _measured(measures: Measures) -> Measures:
    def known(value: float | Share | None) -> bool:
        if isinstance(value, Share):
            return value.n > 0
        return value is not None and math.isfinite(value)

    return {name: value if known(value) else None for name, value in measures.items()}
