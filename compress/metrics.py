"""What a set of rig curves lost against another: definitions, units and where each comes from.

Curves are lists of clips, each float `[frames, controls]`, at one rate and with the same controls
in both lists. A measure that the reference does not allow (it never moves, no clip is long enough)
is NaN. The source paper names MSE, PBM accuracy and jitter; its exact definitions were not at hand,
so those of the last two are ours. Measures of lip closures are in `closures`, and named here too.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from compress.closures import (
    Clips,
    ClosureScores,
    Interval,
    Share,
    closure_scores,
    false_closures,
    pbm_accuracy,
)

__all__ = [
    "Clips",
    "ClosureScores",
    "Interval",
    "Share",
    "by_region",
    "closure_scores",
    "correlation",
    "correlation_by_control",
    "false_closures",
    "jitter",
    "jitter_ratio",
    "lag_ms",
    "mse",
    "mse_by_control",
    "pbm_accuracy",
    "r2",
    "stillness",
    "velocity_mse",
]

Floats = NDArray[np.float64]

# A control whose standard deviation in the reference is no more than this stands still, in rig
# units; and in the prediction, where rounding alone can move it.
REFERENCE_MOVES_ABOVE = 1e-4
PREDICTION_MOVES_ABOVE = 1e-7
# Sound that is a fifth of a second off the picture is seen by anybody; further off, another
# syllable may fit better than the one meant.
LAG_REACH_S = 0.200


def _joined(clips: Clips) -> Floats:
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


def mse_by_control(predicted: Clips, reference: Clips) -> Floats:
    """Mean squared error of each control over all frames, `[controls]`, in rig units squared.

    `mse`, which the paper reports, taken apart: their mean is that.
    """
    return np.asarray(((_joined(predicted) - _joined(reference)) ** 2).mean(0))


def correlation(predicted: Clips, reference: Clips) -> float:
    """Pearson correlation over all frames, averaged over the controls that move in the reference.

    A control that stands still in the prediction counts as 0: it carries nothing of the reference.
    """
    p, r = _joined(predicted), _joined(reference)
    moving = r.std(0) > REFERENCE_MOVES_ABOVE
    return float(_correlations(p[:, moving], r[:, moving]).mean()) if moving.any() else math.nan


def correlation_by_control(predicted: Clips, reference: Clips) -> Floats:
    """Pearson correlation of each control over all frames, `[controls]`.

    `correlation` taken apart: NaN where the reference stands still, 0 where the prediction alone
    does.
    """
    p, r = _joined(predicted), _joined(reference)
    moving = r.std(0) > REFERENCE_MOVES_ABOVE
    found = np.full(len(moving), math.nan)
    found[moving] = _correlations(p[:, moving], r[:, moving])
    return found


def _correlations(p: Floats, r: Floats) -> Floats:
    """Pearson's of each column of `[frames, n]`, none of which stands still in `r`."""
    p, r = p - p.mean(0), r - r.mean(0)
    still = p.std(0) <= PREDICTION_MOVES_ABOVE  # a NaN is not still, and stays one
    scale = np.where(still, 1.0, np.sqrt((p**2).sum(0) * (r**2).sum(0)))
    return np.where(still, 0.0, (p * r).sum(0) / scale)


def by_region(
    measure: Callable[[Clips, Clips], float],
    predicted: Clips,
    reference: Clips,
    regions: Mapping[str, Sequence[int]],
) -> dict[str, float]:
    """`mse`, `correlation` or another measure of the controls of each region alone.

    `regions` has the columns of each, as `Rig.regions` gives them. These two are means over the
    region's controls, of the correlations over those that move.
    """
    found = {}
    for region, columns in regions.items():
        chosen = list(columns)
        found[region] = measure(
            [c[:, chosen] for c in predicted], [c[:, chosen] for c in reference]
        )
    return found


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


def stillness(clips: Clips, rate_hz: float) -> float:
    """Mean absolute velocity over all frames and controls, in rig units / s; lower is better.

    Give what a model makes of silence: a face at rest must not twitch. Ours.
    """
    steps = [np.abs(np.diff(np.asarray(c, np.float64), axis=0)) for c in clips if len(c) > 1]
    return float(np.concatenate(steps).mean() * rate_hz) if steps else math.nan


def lag_ms(predicted: Clips, reference: Clips, rate_hz: float) -> float:
    """Lip-sync lag in milliseconds: how late the prediction moves; below 0 it is early.

    The peak of the cross-correlation of the velocities within ± 200 ms (Knapp & Carter, *The
    generalized correlation method for estimation of time delay*, 1976), pooled over clips, divided
    for each control by the energy of both its velocities and averaged over the controls that move
    in the reference; a parabola through the peak and its neighbours reads between frames. NaN where
    nothing is like the reference at any shift, where the best shift lies beyond the reach, or where
    no control moves. Of a prediction that follows poorly it says little: read it with correlation.
    """
    reach = math.floor(LAG_REACH_S * rate_hz) + 1  # the last one's neighbour
    p, r = _velocities(predicted, reach), _velocities(reference, reach)
    moving = (_joined(reference).std(0) > REFERENCE_MOVES_ABOVE) & r.any(0)
    if not moving.any():
        return math.nan
    p, r = p[:, moving], r[:, moving]
    still = np.sqrt((p**2).mean(0)) <= PREDICTION_MOVES_ABOVE
    scale = np.where(still, math.inf, np.sqrt((p**2).sum(0) * (r**2).sum(0)))
    inner = len(r) - 2 * reach
    likeness = [
        float(((p[shift : shift + inner] * r[reach : reach + inner]).sum(0) / scale).mean())
        for shift in range(2 * reach + 1)
    ]
    best = int(np.argmax(likeness))  # a NaN, where there is one
    if best in (0, 2 * reach) or not likeness[best] > 0:
        return math.nan
    before, peak, after = likeness[best - 1 : best + 2]
    between = (before - after) / (before - 2 * peak + after) / 2
    return (best + between - reach) * 1000 / rate_hz


def _velocities(clips: Clips, gap: int) -> Floats:
    """Frame-to-frame differences of all clips, `[frames, controls]`, in rig units per frame.

    `gap` frames of rest lie between clips and at both ends: no shift up to it makes clips overlap.
    """
    steps = [np.diff(np.asarray(c, np.float64), axis=0) for c in clips]
    return np.concatenate([np.pad(step, ((0, gap), (0, 0))) for step in [steps[0][:0], *steps]])
