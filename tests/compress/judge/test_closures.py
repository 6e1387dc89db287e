"""Lip closures by hand, and against other people's matching and bootstrap."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, sparse
from scipy.sparse.csgraph import maximum_bipartite_matching

from compress.judge import bootstrap, closures
from compress.judge.closures import ClosureScores
from compress.rig.rig import ClosureRule

LIPS = ("jawOpen", "mouthClose")
# A rig of which the lips are open by as many millimetres as its one slider says.
SLIDER = ClosureRule({"lipGap": 1.0}, closed_below=2.0)


def mouth(closed_frames: set[int], frames: int = 30) -> np.ndarray:
    """A jaw that is half open throughout, with the lips sealed in some frames."""
    curves = np.full((frames, 2), [0.5, 0.0], np.float32)
    curves[sorted(closed_frames), 1] = 0.5
    return curves


def scores(
    predicted: set[int], reference: set[int], rate_hz: float = 100.0
) -> tuple[float, float, float]:
    """Precision, recall and F1 of one clip with the lips sealed in these frames."""
    found = closures.closure_scores([mouth(predicted)], [mouth(reference)], LIPS, rate_hz)
    return found.precision, found.recall, found.f1


def test_pbm_by_hand() -> None:
    """Sealed at frame 10 of 100 a second, 0.10 s; an interval reaches 20 ms beyond its ends."""
    intervals = [(0.12, 0.15), (0.121, 0.15), (0.05, 0.08), (0.05, 0.079), (0.0, 0.28)]
    share = closures.pbm_accuracy([mouth({10})], [intervals], LIPS, 100.0)
    assert (share.value, share.n) == (3 / 5, 5)


def test_an_interval_without_a_frame_is_no_case() -> None:
    share = closures.pbm_accuracy([mouth({10})], [[(0.1, 0.1), (4.0, 4.1)]], LIPS, 100.0)
    assert (share.value, share.n) == (1.0, 1)
    # 2 frames a second: none between 0.08 and 0.42 s.
    assert closures.pbm_accuracy([mouth({0})], [[(0.1, 0.4)]], LIPS, 2.0) is None


def test_closures_are_found_at_the_time_that_a_frame_stands_for() -> None:
    late = closures.pbm_accuracy([mouth({10})], [[(0.14, 0.16)]], LIPS, 100.0, offset_s=0.05)
    assert late.value == 1
    early = closures.pbm_accuracy([mouth({10})], [[(0.09, 0.11)]], LIPS, 100.0, offset_s=0.05)
    assert early.value == 0
    # All frames stand for times before the interval, or after it.
    far = closures.false_closures([mouth({10})], [[(0.0, 0.1)]], LIPS, 100.0, offset_s=1.0)
    assert far is None


def test_false_closures_count_frames() -> None:
    clips = [mouth({10, 11, 20}), mouth(set())]
    share = closures.false_closures(clips, [[(0.10, 0.13), (0.2, 0.2)], [(0.0, 0.04)]], LIPS, 100.0)
    # Frames 10 to 13 and 20 of the first clip, 0 to 4 of the second; 10, 11 and 20 are sealed.
    assert (share.value, share.n) == (3 / 10, 10)


@given(st.integers(0, 5000), st.sampled_from([24.0, 29.97, 30.0, 60.0, 62.5]), st.floats(-1, 1))
@settings(max_examples=200, deadline=None)
def test_a_moment_holds_exactly_the_frame_that_stands_for_it(
    frame: int, rate_hz: float, offset_s: float
) -> None:
    moment = offset_s + frame / rate_hz
    frames = closures.frames_in((moment, moment), np.arange(5001), rate_hz, offset_s)
    assert frames.tolist() == [frame]


def test_another_rig_has_a_rule_of_its_own() -> None:
    gap = np.array([[5.0], [1.9], [2.0], [5.0]])
    assert closures.lips_closed(gap, ["lipGap"], SLIDER).tolist() == [False, True, False, False]
    interval, vowel = [[(0.1, 0.1)]], [[(0.1, 0.3)]]
    assert closures.pbm_accuracy([gap], interval, ["lipGap"], 10.0, rule=SLIDER).value == 1
    assert closures.false_closures([gap], vowel, ["lipGap"], 10.0, rule=SLIDER).value == 1 / 3
    found = closures.closure_scores([gap], [gap], ["lipGap"], 10.0, SLIDER)
    assert found == ClosureScores(1, 1, 1)
    with pytest.raises(ValueError, match=r"needs \['lipGap'\]"):
        closures.lips_closed(gap, LIPS, SLIDER)


def test_closures_that_agree() -> None:
    assert scores({3, 4, 20}, {3, 4, 20}) == (1, 1, 1)


def test_precision_and_recall_by_hand() -> None:
    # Of three closures of the prediction the second is wrong; of four of the reference, the last
    # two are missed.
    precision, recall, f1 = scores({2, 10, 18}, {2, 3, 18, 23, 28})
    assert (precision, recall) == (2 / 3, 2 / 4)
    assert f1 == pytest.approx(4 / 7)


def test_closures_may_miss_each_other_by_20_ms() -> None:
    """Two frames of 100 a second, one of 60, none of 30."""
    assert scores({12}, {10}) == scores({8}, {10}) == (1, 1, 1)
    assert scores({13}, {10}) == scores({7}, {10}) == (0, 0, 0)
    assert scores({11}, {10}, 60.0) == (1, 1, 1)
    assert scores({12}, {10}, 60.0) == (0, 0, 0)
    assert scores({10}, {10}, 30.0) == (1, 1, 1)
    assert scores({11}, {10}, 30.0) == (0, 0, 0)


def test_a_mouth_that_stays_shut_has_closed_once() -> None:
    """A closure of the reference needs one of its own; a closure broken in two is still right."""
    assert scores(set(range(30)), {3, 10, 17, 24}) == (1, 1 / 4, pytest.approx(0.4))
    assert scores({8, 9, 11, 12}, {8, 9, 10, 11, 12}) == (1, 1, 1)
    # No closure of one clip recalls that of another.
    shut, once = [mouth(set(range(30)))] * 2, [mouth({3}), mouth({7})]
    assert closures.closure_scores(shut, once, LIPS, 100.0) == ClosureScores(1, 1, 1)
    assert closures.closure_scores([mouth({3}), mouth(set())], once, LIPS, 100.0).recall == 0.5


def test_closures_where_one_side_has_none() -> None:
    nan = pytest.approx(math.nan, nan_ok=True)
    assert scores(set(), {5}) == (nan, 0, 0)
    assert scores({5}, set()) == (0, nan, nan)
    assert scores(set(), set()) == (nan, nan, nan)


def test_lips_of_no_number_have_no_scores() -> None:
    broken, whole = mouth({5}), mouth({5})
    broken[20, 0] = math.nan
    for pair in (([whole, broken], [whole, whole]), ([whole, whole], [whole, broken])):
        assert np.isnan(astuple(closures.closure_scores(*pair, LIPS, 100.0))).all()
    broken[20, 0] = math.inf
    assert math.isnan(closures.closure_scores([broken], [whole], LIPS, 100.0).f1)


masks = st.lists(st.booleans(), min_size=1, max_size=40)


@given(masks, masks, st.sampled_from([24.0, 30.0, 60.0, 62.5, 100.0]))
@settings(max_examples=200, deadline=None)
def test_closures_are_those_of_other_hands(
    predicted: list[bool], reference: list[bool], rate_hz: float
) -> None:
    """Runs by SciPy's labels, slack in seconds, the largest matching by Hopcroft and Karp."""
    frames = min(len(predicted), len(reference))
    sides = [np.array(side[:frames]) for side in (predicted, reference)]

    def runs(mask: np.ndarray) -> list[np.ndarray]:
        numbers, count = ndimage.label(mask)
        return [np.flatnonzero(numbers == i + 1) / rate_hz for i in range(count)]

    def near(times: np.ndarray, others: np.ndarray) -> bool:
        return bool((np.abs(times[:, None] - others) <= 0.020 + 1e-9).any())

    ours, theirs = map(runs, sides)
    pairs = np.array([[near(a, b) for b in theirs] for a in ours], bool)
    found = closures.closure_scores(
        *([mouth(set(np.flatnonzero(side).tolist()), frames)] for side in sides), LIPS, rate_hz
    )
    if ours:
        right = sum(near(a, np.flatnonzero(sides[1]) / rate_hz) for a in ours)
        assert found.precision == right / len(ours)
    if ours and theirs:
        matched = maximum_bipartite_matching(sparse.csr_array(pairs), "column")
        assert found.recall == (matched >= 0).sum() / len(theirs)


def test_pbm_cases_are_those_that_its_share_counts() -> None:
    clips, intervals = [mouth({10}), mouth(set())], [[(0.1, 0.1), (0.2, 0.2), (4, 5)], []]
    cases = closures.pbm_cases(clips, intervals, LIPS, 100.0)
    assert [clip.tolist() for clip in cases] == [[True, False], []]
    assert bootstrap.share(cases) == closures.pbm_accuracy(clips, intervals, LIPS, 100.0)
