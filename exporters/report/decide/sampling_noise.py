"""How far two figures may be apart by the choice of held-out clips alone.

Where two rows were judged on the same clips they are paired: draws of clips, the same for both,
show how their difference varies, and what both do badly widens nothing. Otherwise the two 95 %
intervals are combined in quadrature (Newcombe, *Interval estimation for the difference between
independent proportions*, 1998). Either way two figures are the same while the 95 % interval of
their difference holds 0.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.report.figure import Sums
from exporters.report.figures import FIGURES
from exporters.report.records.chain import Proportion
from exporters.report.records.clip_sums import ClipSums
from exporters.report.records.document import Tier

Array = NDArray[np.float64]

DRAWS = 2000
# If all of so many clips differ the same way, chance does it once in 2^5 = 32 times: with fewer, no
# draw of clips can tell a difference of 95 %.
FEWEST_PARTS = 6
# Two-sided 95 % of a normal distribution.
Z = 1.96


@dataclass(frozen=True)
class SamplingNoise:
    """A difference in the figure's unit that is of no account, and how it was found."""

    difference: float
    how: str


def sampling_noise(
    metric: str, one: Tier, other: Tier, *, same_clips: bool, only_paired: bool = False
) -> SamplingNoise | None:
    """Of a metric of two rows; None where the reports do not tell.

    `same_clips` says that both were judged on the same speech. The same whichever row comes first.
    """
    sums = FIGURES[metric].sums
    if sums is None:
        return None
    if same_clips and (paired := _paired(sums, one, other)) is not None:
        return paired
    sides = [side for row in (one, other) if (side := _interval(metric, row)) is not None]
    if only_paired or len(sides) < 2:
        return None
    lower, higher = sorted(sides, key=lambda side: side.value)
    # Only the sides that face each other: what the lower may be more, and the higher less.
    difference = math.hypot(lower.high - lower.value, higher.value - higher.low)
    return SamplingNoise(difference, "95 % intervals of both")


@dataclass(frozen=True)
class _Interval:
    value: float
    low: float
    high: float


def _paired(formula: Sums, one: Tier, other: Tier) -> SamplingNoise | None:
    if one.by_clip is None or other.by_clip is None:
        return None
    given = [getattr(row.by_clip, formula.given) for row in (one, other)]
    if not all(getattr(r.by_clip, name) for r in (one, other) for name in formula.columns):
        return None
    telling = sum(value > 0 for value in given[0])
    if given[0] != given[1] or telling < FEWEST_PARTS:
        return None
    drawn = [_drawn(formula, row.by_clip) for row in (one, other) if row.by_clip is not None]
    differences = drawn[1] - drawn[0]
    differences = differences[np.isfinite(differences)]
    observed = _all(formula, other.by_clip) - _all(formula, one.by_clip)
    if not differences.size or not math.isfinite(observed):
        return None
    low, high = np.percentile(differences, [2.5, 97.5])
    # To the end that lies towards 0; of no difference, the farther one.
    towards = observed - low if observed > 0 else high - observed
    reach = towards if observed else max(high, -low)
    return SamplingNoise(max(0.0, float(reach)), f"paired by {len(given[0])} clips")


def _interval(metric: str, row: Tier) -> _Interval | None:
    if name := FIGURES[metric].share:
        share = row.against_truth.get(name)
        return _share(share) if isinstance(share, Proportion) else None
    formula = FIGURES[metric].sums
    if (
        formula is None
        or row.by_clip is None
        or sum(v > 0 for v in getattr(row.by_clip, formula.given)) < FEWEST_PARTS
    ):
        return None
    drawn, value = _drawn(formula, row.by_clip), _all(formula, row.by_clip)
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size or not math.isfinite(value):
        return None
    low, high = np.percentile(drawn, [2.5, 97.5])
    return _Interval(value, min(float(low), value), max(float(high), value))


def _share(share: Proportion) -> _Interval:
    """A share with the wider of its own interval and Wilson's.

    Draws of clips never show what was not seen: of 30 of 30 closed lips their interval has no width.
    """
    p, n = share.value, share.n
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return _Interval(p, min(share.low, middle - half), max(share.high, middle + half))


def _drawn(formula: Sums, sums: ClipSums) -> Array:
    """The figure of each draw of clips, with replacement: `[DRAWS]`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return formula.figure(
            {name: _times(sums.parts) @ np.array(getattr(sums, name)) for name in formula.columns}
        )


def _all(formula: Sums, sums: ClipSums | None) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(
            formula.figure(
                {name: np.array(sum(getattr(sums, name)), float) for name in formula.columns}
            )
        )


@functools.lru_cache(maxsize=2)
def _times(parts: int) -> Array:
    """How often each draw takes each part, `[DRAWS, parts]`: the same draws for every row."""
    drawn = np.random.default_rng(0).integers(0, parts, (DRAWS, parts))
    rows = np.arange(DRAWS)[:, None] * parts
    counts = np.bincount((drawn + rows).ravel(), minlength=DRAWS * parts)
    return counts.reshape(DRAWS, parts).astype(np.float64)
