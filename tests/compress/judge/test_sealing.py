"""Sealed lips beside the phones: by hand, and what no model can gain by closing them more often."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.judge import sealing
from compress.judge.closures import ClosureCounts
from compress.judge.sealing import Sealing, limit_at, measures, pbm_at
from compress.rig.rig import ClosureRule
from compress.speech.visemes import Segment
from exporters.report.records.chain import Proportion

RATE = 100.0
# A rig of one slider: how far the lips are apart. They are sealed below 0.1.
RULE = ClosureRule({"gap": 1.0}, closed_below=0.1)
OPEN, SEALED = 1.0, 0.0


def said(*parts: tuple[str, int]) -> list[Segment]:
    """Visemes one after the other, each so many frames long, that begin between two frames."""
    segments, at = [], 0
    for viseme, frames in parts:
        start, end = (at - 0.5) / RATE, (at + frames - 0.5) / RATE
        segments.append(Segment(viseme, max(0.0, start), end))
        at += frames
    return segments


def judge(gap: np.ndarray, segments: list[Segment]) -> Sealing:
    return sealing.sealing(gap[:, None].astype(np.float32), segments, ("gap",), RATE, 0.0, RULE)


def lips(frames: int, *sealed: int) -> np.ndarray:
    """Open but in those frames."""
    gap = np.full(frames, OPEN)
    gap[list(sealed)] = SEALED
    return gap


SENTENCE = said(
    *(("sil", 10), ("FF", 10), ("ae", 10), ("PP", 10), ("SS", 10), ("aa", 10), ("TH", 10)),
    *(("ih", 10), ("DD", 10), ("sil", 10)),
)


def test_f_is_of_all_speech_outside_of_the_sounds_that_close_the_lips() -> None:
    """Frames 10 to 89 are speech; 30 to 39 are /p b m/, and two frames beside each end are free."""
    found = judge(lips(100, *range(30)), SENTENCE)
    # The 20 ms end between frames, so that two frames on each side belong to the sound.
    assert found.closed_outside == (18, 80 - 14), "10 to 27; silence does not count"
    assert found.vowels == (0, 20), "/ae/ stands beside /p/, which makes it no clear vowel"
    assert len(found.outside) == 66
    assert found.pbm == (1, 1), "the lips are sealed 20 ms before the sound"
    assert judge(lips(100, 27), SENTENCE).pbm == (0, 1)


def test_lips_that_seal_on_other_consonants_are_seen_by_f_and_not_by_vowels() -> None:
    """What a student gains that closes more often: PBM. What shows it: F, and PBM at F = 1 %."""
    sentences = [SENTENCE] * 20
    random = np.random.default_rng(0)
    honest, sealer = [], []
    for i, segments in enumerate(sentences):
        gap = 0.5 + 0.1 * random.random(100)
        gap[30:40] = 0.15 if i % 4 == 0 else 0.05  # every fourth /p b m/ is missed by little
        honest.append(judge(gap, segments))
        lower = gap.copy()
        lower[10:20] = lower[60:70] = 0.04 + 0.02 * random.random(10)  # on /f/ and /θ/
        lower[30:40] -= 0.06
        sealer.append(judge(lower, segments))
    before, after = measures(honest), measures(sealer)

    def value(found: dict[str, float | Proportion | None], name: str) -> float:
        share = found[name]
        assert isinstance(share, Proportion)
        return share.value

    assert (value(before, "pbm"), value(after, "pbm")) == (0.75, 1.0)
    assert (value(before, "false_closures"), value(after, "false_closures")) == (0, 0)
    assert (value(before, "closed_outside"), value(after, "closed_outside")) == (0, 20 / 66)
    assert value(before, "pbm_at_1pct") == 1.0, "all are lower than any other speech"
    assert value(after, "pbm_at_1pct") < value(before, "pbm_at_1pct")
    assert before["phone_f1"] == pytest.approx(6 / 7)  # precision 1, recall 3/4
    assert after["phone_precision"] == pytest.approx(1 / 3), "two of three are on /f/ and /θ/"


def clip(outside: list[float], lowest: list[float]) -> Sealing:
    """What is kept of a clip with these apertures."""
    return Sealing(
        lowest=np.array(lowest, np.float32), outside=np.array(outside, np.float32), pbm=(0, 1)
    )


def test_pbm_at_one_percent_by_hand() -> None:
    """Of 1000 frames 10 may lie below the limit: that is the eleventh lowest aperture."""
    outside = [0.001 * i for i in range(1000)]
    assert limit_at(np.array(outside, np.float32)) == np.float32(0.01)
    found = pbm_at([clip(outside, [0.0, 0.0099, 0.0101, 0.5])])
    assert (found.value, found.n) == (0.5, 4)
    # A tie at the limit is not below it, so that F stays at most 1 %.
    assert pbm_at([clip([0.3] * 1000, [0.3, 0.2999])]).value == 0.5
    assert pbm_at([clip([0.0] * 1000, [0.0, 0.0])]).value == 0, "lips that never open close nowhere"


def test_less_than_a_hundred_frames_or_no_sound_is_not_measured() -> None:
    assert pbm_at([clip([0.5] * 100, [0.1])]).value == 1
    assert pbm_at([clip([0.5] * 99, [0.1])]) is None
    assert pbm_at([clip([0.5] * 200, [])]) is None
    assert sealing.sealed_at([clip([0.5] * 99, [0.1])]) == []
    assert math.isnan(limit_at(np.zeros(99, np.float32)))


@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(0.2, 5))
@settings(max_examples=30, deadline=None)
def test_where_a_models_closed_lips_lie_does_not_matter(
    seed: int, shift: float, slope: float
) -> None:
    """A monotone change of the aperture moves PBM and F, and leaves PBM at F = 1 % as it is."""
    random = np.random.default_rng(seed)
    # On a grid, so that no two apertures fall together in float32.
    clips = [
        (random.integers(0, 200, 300) / 64, random.integers(0, 150, random.integers(1, 5)) / 64)
        for _ in range(5)
    ]

    def made(change: object) -> list[Sealing]:
        assert callable(change)
        return [clip(list(change(o)), list(change(low))) for o, low in clips]

    plain = made(lambda gap: gap)
    moved = made(lambda gap: shift + np.exp(slope * gap / 4))
    assert pbm_at(moved) == pbm_at(plain)
    assert sealing.sealed_at(moved) == sealing.sealed_at(plain)


def test_each_draw_of_clips_has_a_limit_of_its_own() -> None:
    """Against a bootstrap that finds each draw's limit exactly."""
    random = np.random.default_rng(3)
    clips = [
        clip(
            list(np.abs(random.normal(0.5 + 0.1 * random.normal(), 0.2, 150))),
            list(np.abs(random.normal(0.06, 0.06, 4))),
        )
        for _ in range(60)
    ]
    each = []
    for _ in range(2000):
        taken = [clips[i] for i in random.integers(0, 60, 60)]
        limit = limit_at(np.concatenate([one.outside for one in taken]))
        each.append((np.concatenate([one.lowest for one in taken]) < limit).mean())
    low, high = np.percentile(each, [2.5, 97.5])
    found = pbm_at(clips)
    assert found.low == pytest.approx(low, abs=0.15 * (high - low))
    assert found.high == pytest.approx(high, abs=0.15 * (high - low))
    fixed = np.array(sealing.sealed_at(clips)) / 4
    assert found.high - found.low > 1.2 * (2 * 1.96 * fixed.std() / 60**0.5), "the limit varies too"


def test_voices_widen_the_interval_of_the_moved_limit_too() -> None:
    """One of four voices never closes its lips."""
    good, bad = clip([0.5] * 120, [0.1] * 3), clip([0.5] * 120, [0.6] * 3)
    clips, voices = [*[good] * 30, *[bad] * 10], np.repeat([0, 1, 2, 3], 10)
    over_clips, over_voices = pbm_at(clips), pbm_at(clips, voices)
    assert over_clips.value == over_voices.value == 0.75
    assert over_clips.low > 0.5
    assert (over_voices.low, over_voices.high) == (0.25, 1.0)


# ------------------------------------------------------------------------------------------------
# closure F1 against the phones


def counts(gap: np.ndarray, segments: list[Segment]) -> ClosureCounts:
    return judge(gap, segments).phones


def test_closures_against_the_phones_by_hand() -> None:
    """Guesses, those that are right; events, those that are recalled."""
    sealed = (*range(2, 7), *range(14, 17), *range(33, 37), *range(62, 64))
    found = counts(lips(100, *sealed), SENTENCE)
    assert found == ClosureCounts(3, 1, 1, 1), "the run in silence is neither right nor wrong"
    assert counts(lips(100), SENTENCE) == ClosureCounts(0, 0, 1, 0)
    # From silence into /f/: it touches speech.
    assert counts(lips(100, *range(5, 12)), SENTENCE) == ClosureCounts(1, 0, 1, 0)
    assert counts(lips(100, *range(5, 10)), SENTENCE) == ClosureCounts(0, 0, 1, 0)


def test_a_closure_in_silence_just_before_the_sound_is_right() -> None:
    word = said(("sil", 10), ("PP", 8), ("aa", 10))
    assert counts(lips(28, 8, 9), word) == ClosureCounts(1, 1, 1, 1), "within 20 ms"
    assert counts(lips(28, 6, 7), word) == ClosureCounts(0, 0, 1, 0)


def test_lips_that_stay_shut_have_closed_once() -> None:
    """Through *m-a-m-a*: both runs right, and yet one closure of two is recalled."""
    word = said(("sil", 10), ("PP", 8), ("aa", 10), ("PP", 8), ("aa", 10))
    assert counts(lips(46, *range(12, 34)), word) == ClosureCounts(1, 1, 2, 1)
    assert counts(lips(46, *range(12, 16), *range(30, 34)), word) == ClosureCounts(2, 2, 2, 2)


def test_sounds_that_follow_each_other_ask_for_one_closure() -> None:
    """As /m p/ of *camp*: PBM asks each sound, F1 the closure."""
    word = said(("kk", 8), ("ae", 10), ("PP", 6), ("PP", 6), ("SS", 10))
    found = judge(lips(40, *range(19, 29)), word)
    assert found.pbm == (2, 2)
    assert found.phones == ClosureCounts(1, 1, 1, 1)


def test_a_sound_where_no_frame_is_asks_for_nothing() -> None:
    word = said(("aa", 20), ("PP", 10))
    assert counts(lips(10), word) == ClosureCounts()
    assert judge(lips(10), word).pbm == (0, 0)
