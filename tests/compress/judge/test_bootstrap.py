"""Intervals by hand, against other people's bootstrap, over clips and over voices."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from compress.judge import bootstrap


@given(st.lists(st.lists(st.booleans(), max_size=20), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_interval_holds_the_value(verdicts: list[list[bool]]) -> None:
    share = bootstrap.share([np.array(v, bool) for v in verdicts])
    cases = sum(map(len, verdicts))
    if not cases:
        assert share is None
        return
    assert share is not None
    assert share.n == cases
    assert share.value == pytest.approx(sum(map(sum, verdicts)) / cases)
    assert 0 <= share.low <= share.value <= share.high <= 1


def test_more_clips_narrow_the_interval_as_theory_says() -> None:
    """Clips of one case each: the interval is near ± 1.96 √(p (1 − p) / n)."""
    verdicts = [np.array([i % 4 == 0]) for i in range(400)]
    share = bootstrap.share(verdicts)
    half = 1.96 * (0.25 * 0.75 / 400) ** 0.5
    # 2000 draws estimate a percentile to about a tenth of the interval.
    assert share.high - share.low == pytest.approx(2 * half, rel=0.1)
    assert share == bootstrap.share(verdicts), "the seed is fixed"
    assert astuple(bootstrap.share([np.array([True, False])])) == (0.5, 2, 0.5, 0.5)


def test_two_models_on_the_same_cases_by_hand() -> None:
    a = [np.array([True, True]), np.array([True, False])]
    b = [np.array([True, False]), np.array([True, True])]
    better = [np.array([True, True]), np.array([True, True])]
    difference = bootstrap.paired_difference(a, better)
    assert (difference.value, difference.n) == (-0.25, 4)
    # Either clip alone gives 0 and −0.5; both twice are drawn in a quarter of the draws each.
    assert (difference.low, difference.high) == (-0.5, 0)
    ratio = bootstrap.paired_ratio(a, better)
    assert astuple(ratio) == (0.75, 4, 0.5, 1)
    assert bootstrap.paired_difference(a, b).value == 0


def test_what_both_models_find_hard_widens_nothing() -> None:
    """Each clip is easy or hard for both alike: apart their shares are uncertain, paired not."""
    easy, hard = np.array([True, True, True, True]), np.array([False, False, False, True])
    cases = [easy, hard] * 20
    alone = bootstrap.share(cases)
    assert alone.high - alone.low > 0.1
    assert astuple(bootstrap.paired_difference(cases, cases)) == (0, 160, 0, 0)
    assert astuple(bootstrap.paired_ratio(cases, cases)) == (1, 160, 1, 1)


def test_paired_intervals_are_those_of_scipy() -> None:
    random = np.random.default_rng(3)
    counts = random.integers(1, 9, 120)
    # b is right where a is, and in four of five other cases.
    a = [random.random(n) < 0.7 for n in counts]
    b = [clip | (random.random(len(clip)) < 0.8) for clip in a]
    hits = [np.array([clip.sum() for clip in cases]) for cases in (a, b)]
    for compare, statistic in (
        (bootstrap.paired_difference, lambda x, y, n, axis: (x - y).sum(axis) / n.sum(axis)),
        (bootstrap.paired_ratio, lambda x, y, n, axis: x.sum(axis) / y.sum(axis)),
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
    for compare in (bootstrap.paired_difference, bootstrap.paired_ratio):
        with pytest.raises(ValueError, match="2 in 1 clips and 3 in 1 clips"):
            compare(two, three)
        with pytest.raises(ValueError, match="the same"):
            compare(two, [*two, np.ones(0, bool)])


def test_pairs_of_nothing_are_nan() -> None:
    nothing, never = [np.ones(0, bool)], [np.zeros(2, bool)]
    assert math.isnan(bootstrap.paired_difference(nothing, nothing).value)
    ratio = bootstrap.paired_ratio(never, never)
    assert (math.isnan(ratio.value), ratio.n) == (True, 2)
    assert bootstrap.paired_difference(never, never).value == 0


@pytest.mark.parametrize("clips", [1, 66, 1001])
def test_the_bootstrap_in_pieces_gives_the_same_digits(
    clips: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all draws at once give them, with the random numbers in one piece."""
    counts = np.random.default_rng(1).integers(1, 9, clips).astype(float)
    hits = np.floor(counts * np.random.default_rng(2).random(clips))
    drawn = np.random.default_rng(0).integers(0, clips, (bootstrap.BOOTSTRAP_DRAWS, clips))
    expected = np.percentile(hits[drawn].sum(1) / counts[drawn].sum(1), [2.5, 97.5])
    for at_a_time in (1, 7 * clips, 10**9):
        monkeypatch.setattr(bootstrap, "DRAWN_AT_A_TIME", at_a_time)
        assert bootstrap.ratio_of_sums(hits, counts)[1:] == tuple(expected)


def test_the_bootstrap_of_many_clips_holds_few_of_its_numbers() -> None:
    """Of 20,000 clips all draws at once are 320 MB, three times over."""
    import tracemalloc

    counts = np.full(20_000, 3.0)
    hits = np.random.default_rng(0).integers(0, 4, len(counts)).astype(float)
    tracemalloc.start()
    try:
        value, low, high = bootstrap.ratio_of_sums(hits, counts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert low < value < high
    assert peak < 64e6


def draw_voices(
    voices: int, clips: int, between: float, within: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits of ten cases in each clip, their counts and voices; voices and clips differ so much."""
    random = np.random.default_rng(5)
    of_voice = random.normal(0.5, between, voices)
    share = np.clip(np.repeat(of_voice, clips) + random.normal(0, within, voices * clips), 0, 1)
    return np.round(10 * share), np.full(voices * clips, 10.0), np.repeat(np.arange(voices), clips)


def width(found: tuple[float, float, float]) -> float:
    return found[2] - found[1]


def test_voices_that_differ_widen_the_interval() -> None:
    """Twelve voices of 40 clips each: the interval is that of twelve numbers, not of 480."""
    hits, counts, voices = draw_voices(12, 40, between=0.15, within=0.05)
    over_clips = bootstrap.ratio_of_sums(hits, counts)
    over_voices = bootstrap.ratio_of_sums(hits, counts, voices)
    assert over_voices[0] == over_clips[0]
    means = hits.reshape(12, 40).mean(1) / 10
    theory = 2 * 1.96 * means.std() / 12**0.5
    assert width(over_voices) == pytest.approx(theory, rel=0.1)
    assert width(over_clips) < 0.4 * width(over_voices)
    # The order in which the clips lie says nothing of whose they are.
    mixed = np.random.default_rng(6).permutation(len(hits))
    again = bootstrap.ratio_of_sums(hits[mixed], counts[mixed], voices[mixed])
    assert width(again) == pytest.approx(theory, rel=0.15)


def test_clips_are_drawn_within_each_voice() -> None:
    """Voices alike in all but chance: their clips alone would leave an interval of nothing."""
    hits, counts, voices = draw_voices(12, 40, between=0.0, within=0.2)
    means = hits.reshape(12, 40).mean(1)
    of_voices_alone = 2 * 1.96 * means.std() / 10 / 12**0.5
    found = width(bootstrap.ratio_of_sums(hits, counts, voices))
    # Both stages: variance between the means of the voices, and of each mean, once more.
    assert found == pytest.approx(2**0.5 * of_voices_alone, rel=0.2)


@pytest.mark.parametrize("clips", [1, 2, 66])
def test_one_voice_gives_the_digits_of_its_clips(clips: int) -> None:
    counts = np.random.default_rng(1).integers(1, 9, clips).astype(float)
    hits = np.floor(counts * np.random.default_rng(2).random(clips))
    alone = bootstrap.ratio_of_sums(hits, counts)
    assert bootstrap.ratio_of_sums(hits, counts, np.full(clips, 3)) == alone


def test_draws_over_voices_do_not_depend_on_their_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    voices = np.array([0, 1, 1, 2, 2, 2, 0])
    whole = np.concatenate(list(bootstrap.draws(7, voices)))
    monkeypatch.setattr(bootstrap, "DRAWN_AT_A_TIME", 100)
    pieces = list(bootstrap.draws(7, voices))
    assert len(pieces) > 100
    assert np.array_equal(np.concatenate(pieces), whole)
    sizes = np.bincount(voices)
    # Three voices, of each as many clips as it has: whole voices come and go.
    for row in whole[:50]:
        taken = np.bincount(voices, row, minlength=3)
        assert (taken % sizes == 0).all()
        assert (taken / sizes).sum() == 3


def test_the_interval_over_few_unlike_voices_holds_the_value() -> None:
    """A long voice that fails and short ones that do not: most draws lack it or have it twice."""
    hits = np.array([0.0, *[1.0] * 40])
    counts = np.array([400.0, *[1.0] * 40])
    found = bootstrap.share_of(hits, counts, np.arange(41))
    assert found.low <= found.value <= found.high


def test_voices_of_many_clips_hold_few_of_their_numbers() -> None:
    import tracemalloc

    counts = np.full(20_000, 3.0)
    hits = np.random.default_rng(0).integers(0, 4, len(counts)).astype(float)
    voices = np.random.default_rng(1).integers(0, 50, len(counts))
    tracemalloc.start()
    try:
        value, low, high = bootstrap.ratio_of_sums(hits, counts, voices)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert low < value < high
    assert peak < 64e6
