"""What a set of rig curves lost against another: definitions, units and where each comes from.

Curves are lists of clips, each float `[frames, controls]`, at one rate and with the same controls
in both lists. A measure that the reference does not allow (it never moves, no clip is long enough)
is NaN. The source paper names MSE, PBM accuracy and jitter; its exact definitions were not at hand,
so those of the last two are ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compress.rig import CLOSED_BELOW, lip_aperture

Clips = Sequence[np.ndarray]
Interval = tuple[float, float]

# Lips may close a frame of film before or after the phone's edges and still look right; an
# alignment errs by 10 ms.
CLOSURE_SLACK_S = 0.020
BOOTSTRAP_DRAWS = 2000
# A frame lies inside of an interval whose edge misses it by the rounding of its time alone.
ROUNDING_FRAMES = 1e-6


@dataclass(frozen=True)
class Share:
    """A share of `n` cases with its 95 % bootstrap interval over clips; NaN where none was."""

    value: float
    n: int
    low: float
    high: float


def _joined(clips: Clips) -> np.ndarray:
    return np.concatenate([np.asarray(c, np.float64) for c in clips])


def mse(predicted: Clips, reference: Clips) -> float:
    """Mean squared error over all frames and controls, in rig units squared."""
    return float(((_joined(predicted) - _joined(reference)) ** 2).mean())


def r2(predicted: Clips, reference: Clips) -> float:
    """Coefficient of determination: 1 − Σ(error²) / Σ((reference − its mean)²) over all controls.

    Each control's mean is taken over all frames of the reference, so a predictor that always gives
    that mean scores 0.
    """
    p, r = _joined(predicted), _joined(reference)
    spread = float(((r - r.mean(0)) ** 2).sum())
    return 1 - float(((p - r) ** 2).sum()) / spread if spread else math.nan


def correlation(predicted: Clips, reference: Clips) -> float:
    """Pearson correlation over all frames, averaged over the controls that move in the reference.

    A control that stands still in the prediction counts as 0: it carries nothing of the reference.
    """
    p, r = _joined(predicted), _joined(reference)
    moving = r.std(0) > 1e-4
    if not moving.any():
        return math.nan
    p, r = p[:, moving], r[:, moving]
    p, r = p - p.mean(0), r - r.mean(0)
    still = p.std(0) <= 1e-7  # a NaN is not still, and stays one
    scale = np.where(still, 1.0, np.sqrt((p**2).sum(0) * (r**2).sum(0)))
    return float(np.where(still, 0.0, (p * r).sum(0) / scale).mean())


def velocity_mse(predicted: Clips, reference: Clips, rate_hz: float) -> float:
    """Mean squared error of the frame-to-frame velocity, in (rig units / s)².

    No difference crosses a clip's edge.
    """
    pairs = zip(predicted, reference, strict=True)
    errors = [np.diff(np.asarray(p, np.float64) - r, axis=0) for p, r in pairs]
    squares = np.concatenate(errors) ** 2
    return float(squares.mean() * rate_hz**2) if squares.size else math.nan


def jitter(clips: Clips) -> float:
    """Mean absolute third difference, in rig units per frame³: how much the curves shake.

    Only comparable at one rate.
    """
    shakes = [np.abs(np.diff(np.asarray(c, np.float64), n=3, axis=0)) for c in clips if len(c) > 3]
    return float(np.concatenate(shakes).mean()) if shakes else math.nan


def jitter_ratio(predicted: Clips, reference: Clips) -> float:
    """Jitter of the prediction over that of the reference at the same rate; above 1 is worse."""
    of_reference = jitter(reference)
    return jitter(predicted) / of_reference if of_reference else math.nan


def lips_closed(curves: np.ndarray, controls: Sequence[str]) -> np.ndarray:
    """Whether the lips are sealed, bool `[frames]`: their aperture is below `rig.CLOSED_BELOW`."""
    return lip_aperture(curves, controls) < CLOSED_BELOW


def pbm_accuracy(
    clips: Clips,
    bilabials: Sequence[Sequence[Interval]],
    controls: Sequence[str],
    rate_hz: float,
    offset_s: float = 0.0,
) -> Share:
    """Share of /p b m/ intervals (start s, end s) in which the lips close in at least one frame.

    Intervals are widened by 20 ms at both ends; one in which no frame lies is not counted. Frame i
    stands for offset_s + i / rate_hz; `controls` name the curves' columns.
    """
    cases = []
    for clip, intervals in zip(clips, bilabials, strict=True):
        closed = lips_closed(clip, controls)
        widened = [(start - CLOSURE_SLACK_S, end + CLOSURE_SLACK_S) for start, end in intervals]
        spans = [_frames_in(interval, closed, rate_hz, offset_s) for interval in widened]
        cases.append(np.array([span.any() for span in spans if len(span)], bool))
    return _bootstrap(cases)


def false_closures(
    clips: Clips,
    vowels: Sequence[Sequence[Interval]],
    controls: Sequence[str],
    rate_hz: float,
    offset_s: float = 0.0,
) -> Share:
    """Share of vowel frames in which the lips are wrongly sealed.

    Give vowels with no bilabial beside them. What keeps PBM accuracy honest: a mouth that never
    opens closes on every /p b m/.
    """
    cases = []
    for clip, intervals in zip(clips, vowels, strict=True):
        closed = lips_closed(clip, controls)
        spans = [_frames_in(interval, closed, rate_hz, offset_s) for interval in intervals]
        cases.append(np.concatenate([np.zeros(0, bool), *spans]))
    return _bootstrap(cases)


def _frames_in(
    interval: Interval, frames: np.ndarray, rate_hz: float, offset_s: float
) -> np.ndarray:
    """Those of `frames` whose times lie in an interval, both ends included."""
    first = math.ceil((interval[0] - offset_s) * rate_hz - ROUNDING_FRAMES)
    last = math.floor((interval[1] - offset_s) * rate_hz + ROUNDING_FRAMES)
    return frames[max(0, first) : max(0, last + 1)]


def _bootstrap(cases: Sequence[np.ndarray]) -> Share:
    """Pooled share of true cases, bool `[n]` for each clip, with a percentile interval.

    Clips are drawn with replacement (Efron, 1979), with a fixed seed.
    """
    hits = np.array([clip.sum() for clip in cases], float)
    counts = np.array([len(clip) for clip in cases], float)
    if counts.sum() == 0:
        return Share(math.nan, 0, math.nan, math.nan)
    drawn = np.random.default_rng(0).integers(0, len(hits), (BOOTSTRAP_DRAWS, len(hits)))
    totals = counts[drawn].sum(1)
    shares = hits[drawn].sum(1)[totals > 0] / totals[totals > 0]
    low, high = np.percentile(shares, [2.5, 97.5])
    return Share(float(hits.sum() / counts.sum()), int(counts.sum()), float(low), float(high))
