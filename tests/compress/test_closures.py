"""Lip closures by hand, and against other people's matching and bootstrap."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, sparse, stats
from scipy.sparse.csgraph import maximum_bipartite_matching

from compress import closures
from compress.closures import BOOTSTRAP_DRAWS, ClosureScores
from compress.rig import ClosureRule

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
    assert closures.pbm_accuracy([mouth({0})], [[(0.1, 0.4)]], LIPS, 2.0).n == 0


def test_closures_are_found_at_the_time_that_a_frame_stands_for() -> None:
    late = closures.pbm_accuracy([mouth({10})], [[(0.14, 0.16)]], LIPS, 100.0, offset_s=0.05)
    assert late.value == 1
    early = closures.pbm_accuracy([mouth({10})], [[(0.09, 0.11)]], LIPS, 100.0, offset_s=0.05)
    assert early.value == 0
    # All frames stand for times before the interval, or after it.
    far = closures.false_closures([mouth({10})], [[(0.0, 0.1)]], LIPS, 100.0, offset_s=1.0)
    assert far.n == 0


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
    frames = closures._frames_in((moment, moment), np.arange(5001), rate_hz, offset_s)
    assert frames.tolist() == [frame]


@given(st.lists(st.lists(st.booleans(), max_size=20), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_interval_holds_the_value(verdicts: list[list[bool]]) -> None:
    share = closures.share([np.array(v, bool) for v in verdicts])
    assert share.n == sum(map(len, verdicts))
    if share.n:
        assert share.value == pytest.approx(sum(map(sum, verdicts)) / share.n)
        assert 0 <= share.low <= share.value <= share.high <= 1
    else:
        assert np.isnan(share.value)


def test_more_clips_narrow_the_interval_as_theory_says() -> None:
    """Clips of one case each: the interval is near ± 1.96 √(p (1 − p) / n)."""
    verdicts = [np.array([i % 4 == 0]) for i in range(400)]
    share = closures.share(verdicts)
    half = 1.96 * (0.25 * 0.75 / 400) ** 0.5
    # 2000 draws estimate a percentile to about a tenth of the interval.
    assert share.high - share.low == pytest.approx(2 * half, rel=0.1)
    assert share == closures.share(verdicts), "the seed is fixed"
    assert astuple(closures.share([np.array([True, False])])) == (0.5, 2, 0.5, 0.5)


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


def test_two_models_on_the_same_cases_by_hand() -> None:
    a = [np.array([True, True]), np.array([True, False])]
    b = [np.array([True, False]), np.array([True, True])]
    better = [np.array([True, True]), np.array([True, True])]
    difference = closures.paired_difference(a, better)
    assert (difference.value, difference.n) == (-0.25, 4)
    # Either clip alone gives 0 and −0.5; both twice are drawn in a quarter of the draws each.
    assert (difference.low, difference.high) == (-0.5, 0)
    ratio = closures.paired_ratio(a, better)
    assert astuple(ratio) == (0.75, 4, 0.5, 1)
    assert closures.paired_difference(a, b).value == 0


def test_what_both_models_find_hard_widens_nothing() -> None:
    """Each clip is easy or hard for both alike: apart their shares are uncertain, paired not."""
    easy, hard = np.array([True, True, True, True]), np.array([False, False, False, True])
    cases = [easy, hard] * 20
    alone = closures.share(cases)
    assert alone.high - alone.low > 0.1
    assert astuple(closures.paired_difference(cases, cases)) == (0, 160, 0, 0)
    assert astuple(closures.paired_ratio(cases, cases)) == (1, 160, 1, 1)


def test_paired_intervals_are_those_of_scipy() -> None:
    random = np.random.default_rng(3)
    counts = random.integers(1, 9, 120)
    # b is right where a is, and in four of five other cases.
    a = [random.random(n) < 0.7 for n in counts]
    b = [clip | (random.random(len(clip)) < 0.8) for clip in a]
    hits = [np.array([clip.sum() for clip in cases]) for cases in (a, b)]
    for compare, statistic in (
        (closures.paired_difference, lambda x, y, n, axis: (x - y).sum(axis) / n.sum(axis)),
        (closures.paired_ratio, lambda x, y, n, axis: x.sum(axis) / y.sum(axis)),
    ):
        expected = stats.bootstrap(
            (*hits, counts),
            statistic,
            paired=True,
            n_resamples=4000,
            method="percentile",
            rng=np.random.default_rng(1),
        ).confidence_interval
        found = compare(a, b)
        assert found.value == pytest.approx(float(statistic(*hits, counts, axis=0)))
        # Both estimate the percentiles from some thousand draws: to about a tenth of the interval.
        tenth = 0.1 * (expected.high - expected.low)
        assert found.low == pytest.approx(expected.low, abs=tenth)
        assert found.high == pytest.approx(expected.high, abs=tenth)


def test_pairs_need_the_same_cases() -> None:
    two, three = [np.ones(2, bool)], [np.ones(3, bool)]
    for compare in (closures.paired_difference, closures.paired_ratio):
        with pytest.raises(ValueError, match="2 in 1 clips and 3 in 1 clips"):
            compare(two, three)
        with pytest.raises(ValueError, match="the same"):
            compare(two, [*two, np.ones(0, bool)])


def test_pairs_of_nothing_are_nan() -> None:
    nothing, never = [np.ones(0, bool)], [np.zeros(2, bool)]
    assert math.isnan(closures.paired_difference(nothing, nothing).value)
    ratio = closures.paired_ratio(never, never)
    assert (math.isnan(ratio.value), ratio.n) == (True, 2)
    assert closures.paired_difference(never, never).value == 0


def test_pbm_cases_are_those_that_its_share_counts() -> None:
    clips, intervals = [mouth({10}), mouth(set())], [[(0.1, 0.1), (0.2, 0.2), (4, 5)], []]
    cases = closures.pbm_cases(clips, intervals, LIPS, 100.0)
    assert [clip.tolist() for clip in cases] == [[True, False], []]
    assert closures.share(cases) == closures.pbm_accuracy(clips, intervals, LIPS, 100.0)


@pytest.mark.parametrize("clips", [1, 66, 1001])
def test_the_bootstrap_in_pieces_gives_the_same_digits(
    clips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all draws at once give them, with the random numbers in one piece."""
    counts = np.random.default_rng(1).integers(1, 9, clips).astype(float)
    hits = np.floor(counts * np.random.default_rng(2).random(clips))
    drawn = np.random.default_rng(0).integers(0, clips, (BOOTSTRAP_DRAWS, clips))
    expected = np.percentile(hits[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    for at_a_time in (1, 7 * clips, 10**9):
        monkeypatch.setattr(closures, "DRAWN_AT_A_TIME", at_a_time)
        assert closures.ratio_of_sums(hits, counts)[1:] == tuple(expected)


def test_the_bootstrap_of_many_clips_holds_few_of_its_numbers() -> None:
    """Of 20,000 clips all draws at once are 320 MB, three times over."""
    import tracemalloc

    counts = np.full(20_000, 3.0)
    hits = np.random.default_rng(0).integers(0, 4, len(counts)).astype(float)
    tracemalloc.start()
    try:
        value, low, high = closures.ratio_of_sums(hits, counts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert low < value < high
    assert peak < 64e6
