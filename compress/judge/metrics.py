"""What a set of rig curves lost against another: definitions, units and where each comes from.

Curves are lists of clips, each float `[frames, controls]`, at one rate and with the same controls
in both lists. A measure that the reference does not allow (it never moves, no clip is long enough)
is NaN. The source paper names MSE, PBM accuracy and jitter; its exact definitions were not at hand,
so those of the last two are ours. Measures of lip closures are in `closures`, and named here too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from compress.judge.closures import (
    Clips,
    ClosureScores,
    Interval,
    closure_scores,
    false_closures,
    pbm_accuracy,
)

__all__ = [
    "Clips",
    "ClosureScores",
    "Interval",
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
# Of the largest value: more than the mean of equal numbers is off by.
ROUNDING = 1e-9
# Sound that is a fifth of a second off the picture is seen by anybody; further off, another
# syllable may fit better than the one meant.
LAG_REACH_S = 0.200


def _pairs(predicted: Clips, reference: Clips) -> "Moments":
    found = Moments()
    for p, r in zip(predicted, reference, strict=True):
        found.join(Moments.of(p, r))
    return found


class Moments:
    """Sums over clips from which MSE, R² and correlation follow: no clip is kept.

    Each clip's own moments are joined to those before (Chan, Golub & LeVeque, *Updating formulae
    and a pairwise algorithm for computing sample variances*, 1979), so that no digit is lost to
    values far from 0. All are float64 `[controls]`.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._p = self._r = self._pp = self._rr = self._pr = self._error = np.zeros(0)
        self._largest = 0.0

    @classmethod
    def of(cls, predicted: np.ndarray, reference: np.ndarray) -> Self:
        """Those of one clip, both `[frames, controls]`."""
        p, r = np.asarray(predicted, np.float64), np.asarray(reference, np.float64)
        if p.shape != r.shape:
            raise ValueError(f"a clip is {list(p.shape)} and its reference {list(r.shape)}")
        found = cls()
        if not len(p):
            return found
        found.frames, found._largest = len(p), float(np.abs(r).max(initial=0))
        found._p, found._r = p.mean(0), r.mean(0)
        centred_p, centred_r = p - found._p, r - found._r
        found._pp, found._rr = (centred_p**2).sum(0), (centred_r**2).sum(0)
        found._pr = (centred_p * centred_r).sum(0)
        found._error = ((p - r) ** 2).sum(0)
        return found

    def join(self, other: Self) -> None:
        """Those of further clips of the same controls."""
        if not other.frames:
            return
        if not self.frames:
            self.__dict__.update(other.__dict__)
            return
        total = self.frames + other.frames
        step_p, step_r = other._p - self._p, other._r - self._r
        between = self.frames * other.frames / total
        self._pp = self._pp + other._pp + step_p**2 * between
        self._rr = self._rr + other._rr + step_r**2 * between
        self._pr = self._pr + other._pr + step_p * step_r * between
        self._error = self._error + other._error
        share = other.frames / total
        self._p, self._r = self._p + step_p * share, self._r + step_r * share
        self._largest = max(self._largest, other._largest)
        self.frames = total

    @property
    def squared_error(self) -> float:
        """Sum over all frames and controls."""
        return float(self._error.sum())

    def spread_around(self, mean: Floats) -> float:
        """Sum of squared distances of the reference from a mean `[controls]`."""
        return float((self._rr + self.frames * (self._r - mean) ** 2).sum())

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Which controls move in the reference, `[controls]`."""
        return np.asarray(np.sqrt(self._rr / max(1, self.frames)) > REFERENCE_MOVES_ABOVE)

    @property
    def reference_mean(self) -> Floats:
        """The mean of each control of the reference, `[controls]`."""
        return self._r

    @property
    def reference_deviation(self) -> Floats:
        """The standard deviation of each control of the reference, `[controls]`."""
        return np.sqrt(self._rr / max(1, self.frames))

    def mse_by_control(self) -> Floats:
        return self._error / self.frames if self.frames else self._error

    def mse(self, columns: Sequence[int] | None = None) -> float:
        """Of these controls together, or of all."""
        errors = self.mse_by_control() if columns is None else self.mse_by_control()[list(columns)]
        return float(errors.mean()) if errors.size else math.nan

    def r2(self) -> float:
        spread = float(self._rr.sum())
        # What rounding of a mean leaves of a reference that stands still is no movement.
        still = self.frames * self._rr.size * (ROUNDING * self._largest) ** 2
        return 1 - float(self._error.sum()) / spread if not spread <= still else math.nan

    def correlation_by_control(self) -> Floats:
        moving = self.moving
        found = np.full(len(moving), math.nan)
        still = np.sqrt(self._pp / max(1, self.frames)) <= PREDICTION_MOVES_ABOVE  # a NaN is not
        scale = np.where(still | ~moving, 1.0, np.sqrt(self._pp * self._rr))
        found[moving] = np.where(still, 0.0, self._pr / scale)[moving]
        return found

    def correlation(self, columns: Sequence[int] | None = None) -> float:
        """Averaged over those of these controls that move in the reference, or of all."""
        found, moving = self.correlation_by_control(), self.moving
        if columns is not None:
            found, moving = found[list(columns)], moving[list(columns)]
        return float(found[moving].mean()) if moving.any() else math.nan


def mse(predicted: Clips, reference: Clips) -> float:
    """Mean squared error over all frames and controls, in rig units squared."""
    return _pairs(predicted, reference).mse()


def r2(predicted: Clips, reference: Clips) -> float:
    """Coefficient of determination: 1 − Σ(error²) / Σ((reference − its mean)²) over all controls.

    Each control's mean is taken over all frames of the reference, so a predictor that always gives
    that mean scores 0.
    """
    return _pairs(predicted, reference).r2()


def mse_by_control(predicted: Clips, reference: Clips) -> Floats:
    """Mean squared error of each control over all frames, `[controls]`, in rig units squared.

    `mse`, which the paper reports, taken apart: their mean is that.
    """
    return _pairs(predicted, reference).mse_by_control()


def correlation(predicted: Clips, reference: Clips) -> float:
    """Pearson correlation over all frames, averaged over the controls that move in the reference.

    A control that stands still in the prediction counts as 0: it carries nothing of the reference.
    """
    return _pairs(predicted, reference).correlation()


def correlation_by_control(predicted: Clips, reference: Clips) -> Floats:
    """Pearson correlation of each control over all frames, `[controls]`.

    `correlation` taken apart: NaN where the reference stands still, 0 where the prediction alone
    does.
    """
    return _pairs(predicted, reference).correlation_by_control()


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


class Mean:
    """A mean over clips of which only the sum is kept; NaN of nothing."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, values: np.ndarray) -> float:
        """All values of an array; their sum."""
        found = float(values.sum(dtype=np.float64))
        self.total, self.count = self.total + found, self.count + values.size
        return found

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else math.nan


def velocity_errors(predicted: np.ndarray, reference: np.ndarray) -> Floats:
    """Squared errors of one clip's frame-to-frame velocity, in (rig units / frame)²."""
    return np.asarray(np.diff(np.asarray(predicted, np.float64) - reference, axis=0) ** 2)


def velocity_mse(predicted: Clips, reference: Clips, rate_hz: float) -> float:
    """Mean squared error of the frame-to-frame velocity, in (rig units / s)².

    No difference crosses a clip's edge.
    """
    found = Mean()
    for p, r in zip(predicted, reference, strict=True):
        found.add(velocity_errors(p, r))
    return found.value * rate_hz**2


def shaking(clip: np.ndarray) -> Floats:
    """Absolute third differences of one clip; none of one that is too short."""
    return np.abs(np.diff(np.asarray(clip, np.float64), n=3, axis=0))


def jitter(clips: Clips) -> float:
    """Mean absolute third difference, in rig units per frame³: how much the curves shake.

    Only comparable at one rate.
    """
    found = Mean()
    for clip in clips:
        found.add(shaking(clip))
    return found.value


def jitter_ratio(predicted: Clips, reference: Clips) -> float:
    """Jitter of the prediction over that of the reference at the same rate; above 1 is worse."""
    of_reference = jitter(reference)
    return jitter(predicted) / of_reference if of_reference else math.nan


def stillness(clips: Clips, rate_hz: float) -> float:
    """Mean absolute velocity over all frames and controls, in rig units / s; lower is better.

    Give what a model makes of silence: a face at rest must not twitch. Ours.
    """
    found = Mean()
    for clip in clips:
        found.add(np.abs(np.diff(np.asarray(clip, np.float64), axis=0)))
    return found.value * rate_hz


def lag_ms(predicted: Clips, reference: Clips, rate_hz: float) -> float:
    """Lip-sync lag in milliseconds: how late the prediction moves; below 0 it is early.

    The peak of the cross-correlation of the velocities within ± 200 ms (Knapp & Carter, *The
    generalized correlation method for estimation of time delay*, 1976), pooled over clips, divided
    for each control by the energy of both its velocities and averaged over the controls that move
    in the reference; a parabola through the peak and its neighbours reads between frames. NaN where
    nothing is like the reference at any shift, where the best shift lies beyond the reach, or where
    no control moves. Of a prediction that follows poorly it says little: read it with correlation.
    """
    found = Lag(rate_hz)
    for p, r in zip(predicted, reference, strict=True):
        found.add(p, r)
    return found.value(_pairs(predicted, reference).moving)


class Lag:
    """The sums behind `lag_ms`: of each shift and control the product of both velocities."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz, self._frames = rate_hz, 0
        self._reach = math.floor(LAG_REACH_S * rate_hz) + 1  # the last one's neighbour
        self._products = self._pp = self._rr = np.zeros(0)

    def add(self, predicted: np.ndarray, reference: np.ndarray) -> None:
        """One more clip, both `[frames, controls]`. At rest before it and after."""
        p, r = (np.diff(np.asarray(c, np.float64), axis=0) for c in (predicted, reference))
        if not len(p):
            return
        shifts = 2 * self._reach + 1
        padded = np.pad(p, ((self._reach, self._reach), (0, 0)))
        products = np.stack([(padded[s : s + len(r)] * r).sum(0) for s in range(shifts)])
        first = not self._frames
        self._products = products if first else self._products + products
        self._pp = (p**2).sum(0) if first else self._pp + (p**2).sum(0)
        self._rr = (r**2).sum(0) if first else self._rr + (r**2).sum(0)
        self._frames += len(p)

    def value(self, moving: NDArray[np.bool_]) -> float:
        """The lag in milliseconds over the controls that move, bool `[controls]`."""
        if not self._frames:
            return math.nan
        moving = moving & (self._rr > 0)
        if not moving.any():
            return math.nan
        p, r = self._pp[moving], self._rr[moving]
        still = np.sqrt(p / self._frames) <= PREDICTION_MOVES_ABOVE
        scale = np.where(still, math.inf, np.sqrt(p * r))
        likeness = (self._products[:, moving] / scale).mean(1)
        best = int(np.argmax(likeness))  # a NaN, where there is one
        if best in (0, 2 * self._reach) or not likeness[best] > 0:
            return math.nan
        before, peak, after = (float(one) for one in likeness[best - 1 : best + 2])
        between = (before - after) / (before - 2 * peak + after) / 2
        return (best + between - self._reach) * 1000 / self._rate_hz
