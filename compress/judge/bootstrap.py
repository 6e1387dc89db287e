"""Shares and ratios of sums over clips with 95 % bootstrap intervals: over clips, or over voices.

Clips of one voice are alike, so that drawing clips alone says how a model does on other sentences of
the same voices. With `voices` an interval is drawn in two stages (Davison & Hinkley, *Bootstrap
Methods and their Application*, 1997, section 3.8): voices with replacement, and of each drawn voice
its clips with replacement. It says what other voices would give. **With one voice there is nothing
to draw in the first stage: the interval is that over clips, and says nothing of other voices.**
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.report.records.chain import Proportion

Floats = NDArray[np.float64]
# Number of each clip's voice, `[clips]`; None is one voice.
Voices = NDArray[np.intp] | None
# What was found of each clip, bool `[n]`: its /p b m/ intervals or vowel frames, true where the
# lips are sealed.
Cases = Sequence[NDArray[np.bool_]]

BOOTSTRAP_DRAWS = 2000
# Clips of all draws together that are held at once: 4 MB of numbers, some times over.
DRAWN_AT_A_TIME = 2**19


@dataclass(frozen=True)
class Contrast:
    """How one model stands to another on the same `n` cases, with its 95 % bootstrap interval.

    A difference of shares or their ratio; NaN where it is not defined.
    """

    value: float
    n: int
    low: float
    high: float


def share(cases: Cases, voices: Voices = None) -> Proportion | None:
    """Pooled share of true cases with its interval; None where there was no case."""
    return share_of(_hits(cases), _counts(cases), voices)


def share_of(hits: Floats, counts: Floats, voices: Voices = None) -> Proportion | None:
    """The same of each clip's true cases and all its cases, `[clips]`."""
    value, low, high = ratio_of_sums(hits, counts, voices)
    return share_between(value, counts.sum(), low, high)


def paired_difference(a: Cases, b: Cases, voices: Voices = None) -> Contrast:
    """Share of true cases of model `a` less that of model `b`, on the same cases of the same clips.

    Each draw takes the same clips for both, so that clips on which both do badly widen nothing.
    """
    counts = _paired_counts(a, b)
    value, low, high = ratio_of_sums(_hits(a) - _hits(b), counts, voices)
    return Contrast(value, int(counts.sum()), low, high)


def paired_ratio(a: Cases, b: Cases, voices: Voices = None) -> Contrast:
    """Share of true cases of model `a` over that of model `b`, paired as in `paired_difference`.

    NaN where `b` has no true case; draws in which it has none are left out of the interval.
    """
    counts = _paired_counts(a, b)
    value, low, high = ratio_of_sums(_hits(a), _hits(b), voices)
    return Contrast(value, int(counts.sum()), low, high)


def _hits(cases: Cases) -> Floats:
    return np.array([clip.sum() for clip in cases], np.float64)


def _counts(cases: Cases) -> Floats:
    return np.array([len(clip) for clip in cases], np.float64)


def _paired_counts(a: Cases, b: Cases) -> Floats:
    """The cases of each clip. Raises `ValueError` when the two models have not the same."""
    counts, others = _counts(a), _counts(b)
    if not np.array_equal(counts, others):
        raise ValueError(
            f"the two models were not judged on the same cases: {counts.sum():g} in {len(a)} clips "
            f"and {others.sum():g} in {len(b)} clips; pairs need the same number in each clip"
        )
    return counts


def ratio_of_sums(
    upper: Floats, lower: Floats, voices: Voices = None
) -> tuple[float, float, float]:
    """Σ upper / Σ lower of `[clips]`, and the ends of its 95 % percentile interval.

    Draws are those of `draws`; one whose lower sum is 0 is left out. NaN where the lower sum of all
    clips is 0.
    """
    if lower.sum() == 0:
        return math.nan, math.nan, math.nan
    above, below = drawn_sums(np.stack([upper, lower], 1), voices).T
    low, high = interval_of(above, below)
    return float(upper.sum() / lower.sum()), low, high


def drawn_sums(columns: Floats, voices: Voices = None) -> Floats:
    """Sums of each draw of clips, float64 `[draws, figures]`, of `[clips, figures]`."""
    return np.concatenate([taken @ columns for taken in draws(len(columns), voices)])


def interval_of(above: Floats, below: Floats) -> tuple[float, float]:
    """The 2.5 and the 97.5 percentile of above / below, `[draws]`, where below is not 0; or NaN."""
    known = below > 0
    if not known.any():
        return math.nan, math.nan
    low, high = np.percentile(above[known] / below[known], [2.5, 97.5])
    return float(low), float(high)


def share_between(value: float, n: float, low: float, high: float) -> Proportion | None:
    """A share with the ends of its interval, which is made to hold it; None of no case.

    Voices that are few and unlike can leave the value outside of the percentiles.
    """
    if not n:
        return None
    return Proportion(value=value, n=int(n), low=min(low, value), high=max(high, value))


def draws(clips: int, voices: Voices = None) -> Iterator[Floats]:
    """How often each draw takes each clip, float64 `[some draws, clips]`, of all draws in pieces.

    With replacement (Efron, *Bootstrap methods*, 1979), with a fixed seed. A voice that is drawn
    twice has its clips drawn twice, apart from each other.
    """
    # The numbers of each come in the order in which one call for all draws would give them.
    random, of_voices = np.random.default_rng(0), np.random.default_rng([0, 1])
    sizes, order = np.array([clips]), np.arange(clips)
    if voices is not None:
        sizes = np.unique(voices, return_counts=True)[1]
        order = np.argsort(voices, kind="stable")  # the clips of each voice side by side
    step = max(1, DRAWN_AT_A_TIME // max(clips, len(sizes) * int(sizes.max())))
    for first in range(0, BOOTSTRAP_DRAWS, step):
        some = min(step, BOOTSTRAP_DRAWS - first)
        if len(sizes) == 1:
            drawn = random.integers(0, clips, some * clips)
            which = np.repeat(np.arange(some), clips)
        else:
            chosen = of_voices.integers(0, len(sizes), some * len(sizes))
            drawn, room = _inside(random, sizes, chosen)
            which = np.repeat(np.repeat(np.arange(some), len(sizes)), room)
        which *= clips
        which += order[drawn]
        counts = np.bincount(which, minlength=some * clips)
        yield counts.reshape(some, clips).astype(np.float64)


def _inside(
    random: np.random.Generator, sizes: NDArray[np.intp], chosen: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of each chosen voice as many clips as it has, drawn from its own; clips lie voice by voice.

    Places of the drawn clips, and how many of them belong to each chosen voice.
    """
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    room = sizes[chosen]
    # Integers below limits of their own are drawn one by one, which takes three times as long.
    inside = random.random(int(room.sum())) * np.repeat(room, room)
    return np.repeat(firsts[chosen], room) + inside.astype(np.intp), room
