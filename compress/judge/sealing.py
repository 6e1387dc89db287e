"""Sealed lips beside the phones: PBM accuracy, F, PBM accuracy at F = 1 %, and closure F1.

PBM accuracy alone can be gained by closing the lips more often. F, the share of speech frames
outside of /p b m/ in which the lips are sealed, is what that costs, on every phone: vowels alone do
not see lips that seal on /f v θ ð/. PBM accuracy at F = 1 % asks of every model the same price: the
limit of the aperture is moved to where 1 % of those frames lie below it. So it depends on the order
of the apertures alone, and not on where a model's closed lips lie.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compress.judge import closures
from compress.judge.bootstrap import Voices, drawn_sums, interval_of, share_between
from compress.judge.closures import CLOSURE_SLACK_S, ClosureCounts, Interval, frames_in
from compress.rig.rig import ClosureRule
from compress.speech import visemes
from compress.speech.visemes import Segment
from exporters.report.records.chain import Measurements, Proportion

Apertures = NDArray[np.float32]
# Of some cases in a clip, how many are true, and how many there are.
Counted = tuple[int, int]

# The share of speech frames outside of /p b m/ that may lie below the moved limit.
FALSE_SHARE = 0.01
# Of fewer frames 1 % is less than one.
LEAST_FRAMES = 100
# /p b m/ whose edges are no farther apart follow each other, in seconds: times are written in ms.
TOUCHING_S = 0.001


@dataclass(frozen=True)
class Sealing:
    """What is kept of an aligned clip: counts, and the apertures that a moved limit needs.

    `lowest` is the smallest aperture in each /p b m/ interval, `outside` the aperture of each speech
    frame outside of them, both in rig units.
    """

    pbm: Counted = (0, 0)
    vowels: Counted = (0, 0)
    closed_outside: Counted = (0, 0)
    phones: ClosureCounts = field(default_factory=ClosureCounts)
    lowest: Apertures = field(default_factory=lambda: np.zeros(0, np.float32))
    outside: Apertures = field(default_factory=lambda: np.zeros(0, np.float32))


def sealing(
    curves: np.ndarray,
    segments: Sequence[Segment],
    controls: Sequence[str],
    rate_hz: float,
    offset_s: float,
    rule: ClosureRule,
) -> Sealing:
    """Of one clip's finite curves `[frames, controls]` beside its visemes.

    Frame i stands for offset_s + i / rate_hz. Speech frames lie in a segment that is no silence.
    """
    aperture = rule.aperture(curves, controls)
    closed = np.asarray(aperture < rule.closed_below)
    at = rate_hz, offset_s
    sounds = [_widened(interval) for interval in visemes.bilabials(segments)]
    vowels = _inside(visemes.clear_vowels(segments), closed, *at)
    speech = _mask([(s.start, s.end) for s in segments if s.viseme != "sil"], len(closed), *at)
    outside = speech & ~_mask(sounds, len(closed), *at)
    spans = [span for sound in sounds if len(span := frames_in(sound, aperture, *at))]
    return Sealing(
        (sum(bool((span < rule.closed_below).any()) for span in spans), len(spans)),
        (int(vowels.sum()), len(vowels)),
        (int(closed[outside].sum()), int(outside.sum())),
        _phone_counts(closed, speech, _events(segments, len(closed), *at)),
        np.array([span.min() for span in spans], np.float32),
        aperture[outside].astype(np.float32),
    )


def _widened(interval: Interval) -> Interval:
    return interval[0] - CLOSURE_SLACK_S, interval[1] + CLOSURE_SLACK_S


def _inside(
    intervals: Sequence[Interval], frames: NDArray[np.bool_], rate_hz: float, offset_s: float
) -> NDArray[np.bool_]:
    spans = [frames_in(interval, frames, rate_hz, offset_s) for interval in intervals]
    return np.concatenate([np.zeros(0, bool), *spans])


def _mask(
    intervals: Sequence[Interval], frames: int, rate_hz: float, offset_s: float
) -> NDArray[np.bool_]:
    """Which frames lie in one of the intervals, `[frames]`."""
    found = np.zeros(frames, bool)
    for interval in intervals:
        frames_in(interval, found, rate_hz, offset_s)[:] = True
    return found


# ------------------------------------------------------------------------------------------------
# closure F1 against the phones


def _events(
    segments: Sequence[Segment], frames: int, rate_hz: float, offset_s: float
) -> list[tuple[int, int]]:
    """Closures that the phones ask for, as (first frame, one past the last), widened by 20 ms.

    /p b m/ that follow each other without a gap, as in *camp*, are one: the lips close once. What
    lies where no frame is asks for nothing.
    """
    joined: list[Interval] = []
    for start, end in visemes.bilabials(segments):
        if joined and start - joined[-1][1] <= TOUCHING_S:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    every = np.arange(frames)
    spans = (frames_in(_widened(one), every, rate_hz, offset_s) for one in joined)
    return [(int(span[0]), int(span[-1]) + 1) for span in spans if len(span)]


def _phone_counts(
    closed: NDArray[np.bool_], speech: NDArray[np.bool_], events: list[tuple[int, int]]
) -> ClosureCounts:
    """Closures of the lips beside those that the phones ask for.

    A guess is a run of sealed frames that touches speech, or an event with its 20 ms; one that lies
    wholly in silence is neither right nor wrong. It is right where it touches an event. An event is
    recalled by a guess that recalls no other, matched in order, as many as can be.
    """
    asked = np.zeros(len(closed), bool)
    for first, end in events:
        asked[first:end] = True
    heard = speech | asked
    guesses = [(a, b) for a, b in closures.runs(closed) if heard[a:b].any()]
    right = sum(bool(asked[a:b].any()) for a, b in guesses)
    return ClosureCounts(len(guesses), right, len(events), closures.matched(guesses, events, 0))


# ------------------------------------------------------------------------------------------------
# PBM accuracy at F = 1 %


def limit_at(outside: Apertures) -> float:
    """The largest limit below which no more than 1 % of these apertures lie; NaN of few."""
    if len(outside) < LEAST_FRAMES:
        return math.nan
    place = math.floor(FALSE_SHARE * len(outside) + 1e-9)
    return float(np.partition(outside, place)[place])


def pbm_at(clips: Sequence[Sealing], voices: Voices = None) -> Proportion | None:
    """Share of /p b m/ whose smallest aperture lies below the limit at which F is 1 %.

    Each draw of clips has a limit of its own, one of about a hundred, so that the interval holds
    what is not known of the limit as well. NaN without /p b m/, or of fewer than 100 frames.
    """
    columns = _columns(clips)
    return _at_its_limit(clips, drawn_sums(columns, voices) if columns.size else columns)


def _columns(clips: Sequence[Sealing]) -> NDArray[np.float64]:
    """Of each clip its frames and its /p b m/, and how many of both lie below each limit.

    Float64 `[clips, 2 + 2 limits]`; `[clips, 0]` where that is not measured.
    """
    outside = _joined([clip.outside for clip in clips])
    if len(outside) < LEAST_FRAMES or not any(len(clip.lowest) for clip in clips):
        return np.zeros((len(clips), 0))
    limits = _limits(outside)
    lengths = [(len(clip.outside), len(clip.lowest)) for clip in clips]
    frames = _below([clip.outside for clip in clips], limits)
    sounds = _below([clip.lowest for clip in clips], limits)
    return np.concatenate([np.array(lengths, np.float64), frames, sounds], 1)


def _at_its_limit(clips: Sequence[Sealing], drawn: NDArray[np.float64]) -> Proportion | None:
    """`pbm_at` with the sums of `_columns` in each draw, `[draws, 2 + 2 limits]`."""
    if not drawn.size:
        return None
    frames, sounds = np.split(drawn[:, 2:], 2, axis=1)
    own = (frames <= FALSE_SHARE * drawn[:, :1] + 1e-9).sum(1) - 1
    # A draw without a frame has no limit.
    said = np.where(drawn[:, 0] > 0, drawn[:, 1], 0.0)
    low, high = interval_of(sounds[np.arange(len(own)), own], said)
    lowest = _joined([clip.lowest for clip in clips])
    limit = np.float32(limit_at(_joined([clip.outside for clip in clips])))
    return share_between(float((lowest < limit).mean()), len(lowest), low, high)


def _joined(clips: Sequence[Apertures]) -> Apertures:
    return np.concatenate([np.zeros(0, np.float32), *clips])


def _limits(outside: Apertures) -> Apertures:
    """Limits that a draw may have: around F = 1 % close together, above it farther apart."""
    shares = [FALSE_SHARE, *np.arange(0, 0.03, 0.0005), *np.geomspace(0.03, 1, 30)]
    places = np.floor(np.array(shares) * len(outside) + 1e-9).astype(int)
    return np.unique(np.sort(outside)[np.clip(places, 0, len(outside) - 1)])


def _below(clips: Sequence[Apertures], limits: Apertures) -> NDArray[np.float64]:
    """How many of each clip's apertures lie below each limit, float64 `[clips, limits]`."""
    found = [
        np.bincount(np.searchsorted(limits, clip, "right"), minlength=len(limits) + 1)
        for clip in clips
    ]
    return np.cumsum(np.array(found, np.float64), 1)[:, :-1]


def sealed_at(clips: Sequence[Sealing]) -> list[int]:
    """Of each clip how many /p b m/ lie below the limit at which F of all is 1 %; [] without one."""
    limit = limit_at(_joined([clip.outside for clip in clips]))
    if math.isnan(limit):
        return []
    return [int((clip.lowest < np.float32(limit)).sum()) for clip in clips]


# ------------------------------------------------------------------------------------------------
# all of them


MEASURES = (
    *("pbm_at_1pct", "pbm", "closed_outside", "false_closures"),
    *("phone_precision", "phone_recall", "phone_f1"),
)


def measures(clips: Sequence[Sealing], voices: Voices = None) -> Measurements:
    """Of aligned clips: the figures of `MEASURES`, 0 to 1 or NaN."""

    counts = np.array(
        [(*clip.pbm, *clip.closed_outside, *clip.vowels) for clip in clips], np.float64
    )
    # All of them of the same draws, which are long to make of many clips.
    drawn = drawn_sums(np.concatenate([counts, _columns(clips)], 1), voices)
    totals = counts.sum(0)

    def counted(place: int) -> Proportion | None:
        hits, n = totals[place : place + 2]
        value = float(hits / n) if n else math.nan
        return share_between(value, n, *interval_of(drawn[:, place], drawn[:, place + 1]))

    scores = sum((clip.phones for clip in clips), ClosureCounts()).scores
    return {
        "pbm_at_1pct": _at_its_limit(clips, drawn[:, counts.shape[1] :]),
        "pbm": counted(0),
        "closed_outside": counted(2),
        "false_closures": counted(4),
        "phone_precision": scores.precision,
        "phone_recall": scores.recall,
        "phone_f1": scores.f1,
    }
