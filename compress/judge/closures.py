"""Whether lips close where they must: on /p b m/, not on vowels, and when the reference's do.

Curves are lists of clips, each float `[frames, controls]`, with the names of the controls and the
`rig.ClosureRule` that says when such a rig's lips are sealed. The source paper names PBM accuracy;
its exact definition was not at hand, so it is ours, as are the others where no source is named.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.judge.bootstrap import share
from compress.rig.rig import ARKIT_CLOSURE, ClosureRule
from exporters.report.records.chain import Proportion

Clips = Sequence[np.ndarray]
Interval = tuple[float, float]

# Lips may close a frame of film before or after the phone's edges and still look right; an
# alignment errs by 10 ms.
CLOSURE_SLACK_S = 0.020
# A frame lies inside of an interval whose edge misses it by the rounding of its time alone.
ROUNDING_FRAMES = 1e-6


@dataclass(frozen=True)
class ClosureScores:
    """How the closures of a prediction agree with the reference's, each 0..1 or NaN."""

    precision: float
    recall: float
    f1: float


def lips_closed(
    curves: np.ndarray, controls: Sequence[str], rule: ClosureRule = ARKIT_CLOSURE
) -> NDArray[np.bool_]:
    """Whether the lips are sealed, bool `[frames]`: their aperture is below the rule's limit."""
    return np.asarray(rule.aperture(curves, controls) < rule.closed_below)


def pbm_accuracy(
    clips: Clips,
    bilabials: Sequence[Sequence[Interval]],
    controls: Sequence[str],
    rate_hz: float,
    offset_s: float = 0.0,
    rule: ClosureRule = ARKIT_CLOSURE,
) -> Proportion | None:
    """Share of /p b m/ intervals (start s, end s) in which the lips close in at least one frame.

    Intervals are widened by 20 ms at both ends; one in which no frame lies is not counted. Frame i
    stands for offset_s + i / rate_hz; `controls` name the curves' columns.
    """
    return share(pbm_cases(clips, bilabials, controls, rate_hz, offset_s, rule))


def pbm_cases(
    clips: Clips,
    bilabials: Sequence[Sequence[Interval]],
    controls: Sequence[str],
    rate_hz: float,
    offset_s: float = 0.0,
    rule: ClosureRule = ARKIT_CLOSURE,
) -> list[NDArray[np.bool_]]:
    """The cases of `pbm_accuracy`: of each clip, bool `[intervals]`, whether the lips close."""
    cases = []
    for clip, intervals in zip(clips, bilabials, strict=True):
        closed = lips_closed(clip, controls, rule)
        widened = [(start - CLOSURE_SLACK_S, end + CLOSURE_SLACK_S) for start, end in intervals]
        spans = [frames_in(interval, closed, rate_hz, offset_s) for interval in widened]
        cases.append(np.array([span.any() for span in spans if len(span)], bool))
    return cases


def false_closures(
    clips: Clips,
    vowels: Sequence[Sequence[Interval]],
    controls: Sequence[str],
    rate_hz: float,
    offset_s: float = 0.0,
    rule: ClosureRule = ARKIT_CLOSURE,
) -> Proportion | None:
    """Share of vowel frames in which the lips are wrongly sealed.

    Give vowels with no bilabial beside them. What keeps PBM accuracy honest: a mouth that never
    opens closes on every /p b m/.
    """
    return share(vowel_cases(clips, vowels, controls, rate_hz, offset_s, rule))


def vowel_cases(
    clips: Clips,
    vowels: Sequence[Sequence[Interval]],
    controls: Sequence[str],
    rate_hz: float,
    offset_s: float = 0.0,
    rule: ClosureRule = ARKIT_CLOSURE,
) -> list[NDArray[np.bool_]]:
    """The cases of `false_closures`: of each clip, bool `[vowel frames]`, whether it is sealed."""
    cases = []
    for clip, intervals in zip(clips, vowels, strict=True):
        closed = lips_closed(clip, controls, rule)
        spans = [frames_in(interval, closed, rate_hz, offset_s) for interval in intervals]
        cases.append(np.concatenate([np.zeros(0, bool), *spans]))
    return cases


def frames_in(
    interval: Interval, frames: np.ndarray, rate_hz: float, offset_s: float
) -> np.ndarray:
    """Those of `frames` whose times lie in an interval, both ends included."""
    first = math.ceil((interval[0] - offset_s) * rate_hz - ROUNDING_FRAMES)
    last = math.floor((interval[1] - offset_s) * rate_hz + ROUNDING_FRAMES)
    return frames[max(0, first) : max(0, last + 1)]


def closure_scores(
    predicted: Clips,
    reference: Clips,
    controls: Sequence[str],
    rate_hz: float,
    rule: ClosureRule = ARKIT_CLOSURE,
) -> ClosureScores:
    """Precision, recall and F1 of the lip closures, against those of the reference: no phones.

    A closure is a run of frames with sealed lips. One of the prediction is right where the
    reference is sealed in at least one frame of it, widened by 20 ms at both ends. One of the
    reference is recalled where the same holds the other way round, by a closure of the prediction
    that recalls no other: lips that stay shut through three closures have closed once. Runs are
    matched in order, as many as can be (event-based scores with a collar, Mesaros et al., *Metrics
    for polyphonic sound event detection*, 2016; the collar and the asymmetry are ours). F1 is the
    harmonic mean of the two.

    Rest counts: lips that are shut before a clip's first word are a closure, and a long silence is
    one closure, however long. A reference that never closes gives NaN for recall and F1; a
    prediction that never does, NaN for precision, and 0 for F1 where the reference does. A number
    that is not finite makes all three NaN.
    """
    found = ClosureCounts()
    for p, r in zip(predicted, reference, strict=True):
        found = found + closure_counts(p, r, controls, rate_hz, rule)
    return found.scores


@dataclass(frozen=True)
class ClosureCounts:
    """Closures of a prediction, and how many are right; of a reference, and how many are recalled.

    Numbers that are not finite are counted as NaN, and so are all sums with them.
    """

    guesses: float = 0.0
    right: float = 0.0
    events: float = 0.0
    recalled: float = 0.0

    def __add__(self, other: "ClosureCounts") -> "ClosureCounts":
        return ClosureCounts(
            self.guesses + other.guesses,
            self.right + other.right,
            self.events + other.events,
            self.recalled + other.recalled,
        )

    @property
    def scores(self) -> ClosureScores:
        """Precision, recall and F1."""
        precision = self.right / self.guesses if self.guesses else math.nan
        recall = self.recalled / self.events if self.events else math.nan
        if not self.events or not self.guesses:
            return ClosureScores(precision, recall, 0.0 if self.events else math.nan)
        total = precision + recall
        return ClosureScores(precision, recall, 2 * precision * recall / total if total else 0.0)


def closure_counts(
    predicted: np.ndarray,
    reference: np.ndarray,
    controls: Sequence[str],
    rate_hz: float,
    rule: ClosureRule = ARKIT_CLOSURE,
) -> ClosureCounts:
    """What `closure_scores` counts, of one clip: both `[frames, controls]`."""
    apertures = [rule.aperture(curves, controls) for curves in (predicted, reference)]
    if not np.isfinite(apertures).all():
        return ClosureCounts(math.nan, math.nan, math.nan, math.nan)
    slack = math.floor(CLOSURE_SLACK_S * rate_hz)
    sealed = lips_closed(reference, controls, rule)
    ours, theirs = runs(lips_closed(predicted, controls, rule)), runs(sealed)
    right = sum(bool(sealed[max(0, a - slack) : b + slack].any()) for a, b in ours)
    return ClosureCounts(len(ours), right, len(theirs), matched(ours, theirs, slack))


def runs(closed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of true frames as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(closed.astype(np.int8), prepend=0, append=0))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def matched(
    guesses: Sequence[tuple[int, int]], events: Sequence[tuple[int, int]], slack: int
) -> int:
    """How many events can have a guess of their own within `slack` frames.

    Both are in order and apart, so that taking the earliest guess for each event finds the most.
    """
    found = i = 0
    for first, end in events:
        while i < len(guesses) and guesses[i][1] <= first - slack:
            i += 1
        if i < len(guesses) and guesses[i][0] < end + slack:
            found, i = found + 1, i + 1
    return found
