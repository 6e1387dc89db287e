"""Metrics by hand: every expected value can be worked out on paper."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress import metrics

LIPS = ("jawOpen", "mouthClose")


def clip(*columns: list[float]) -> np.ndarray:
    """One clip of curves from its columns, float32 [frames, controls]."""
    return np.array(columns, np.float32).T


def mouth(closed_frames: set[int], frames: int = 30) -> np.ndarray:
    """A jaw that is half open throughout, with the lips sealed in some frames."""
    curves = np.full((frames, 2), [0.5, 0.0], np.float32)
    curves[sorted(closed_frames), 1] = 0.5
    return curves


def test_mse_is_over_frames_and_controls() -> None:
    assert metrics.mse([clip([0, 1], [1, 1])], [clip([1, 1], [1, 3])]) == (1 + 0 + 0 + 4) / 4


def test_r2_by_hand() -> None:
    reference = [clip([0.0, 1.0]), clip([2.0])]
    assert metrics.r2(reference, reference) == 1
    # squared error 1, spread around the mean 1: 1 + 0 + 1
    assert metrics.r2([clip([0.0, 1.0]), clip([1.0])], reference) == 0.5


def test_the_mean_scores_nothing() -> None:
    """Of all frames of a control, not of each clip."""
    reference = [clip([0.0, 1.0], [3.0, 5.0]), clip([2.0], [7.0])]
    mean = [np.full_like(c, [1.0, 5.0]) for c in reference]
    assert metrics.r2(mean, reference) == 0
    assert metrics.correlation(mean, reference) == 0


def test_correlation_is_that_of_numpy() -> None:
    random = np.random.default_rng(1)
    p, r = random.normal(size=(2, 50, 3))
    expected = np.mean([np.corrcoef(p[:, i], r[:, i])[0, 1] for i in range(3)])
    assert metrics.correlation([p[:20], p[20:]], [r[:20], r[20:]]) == pytest.approx(expected)
    assert metrics.correlation([-2 * r], [r]) == pytest.approx(-1)


def test_a_still_control_counts_as_zero_and_a_still_reference_not_at_all() -> None:
    reference = clip([0, 1, 2, 3], [0, 1, 2, 3], [5, 5, 5, 5])
    half = clip([0, 1, 2, 3], [1, 1, 1, 1], [0, 1, 0, 1])
    assert metrics.correlation([half], [reference]) == pytest.approx(0.5)


def test_velocity_by_hand() -> None:
    # 0.1 a frame too fast at 10 frames a second is 1 a second too fast; the jump between the two
    # clips is no velocity.
    predicted = [clip([0.0, 0.1, 0.2]), clip([9.0, 9.1])]
    reference = [clip([0.0, 0.0, 0.0]), clip([0.0, 0.0])]
    assert metrics.velocity_mse(predicted, reference, 10.0) == pytest.approx(1.0, rel=1e-5)


def test_jitter_of_polynomials() -> None:
    """The third difference of t³ is 6 at every t, that of t² is 0; it scales with the curve."""
    time = np.arange(10.0)
    assert metrics.jitter([clip(list(time**3)), clip(list(-(time**3)))]) == 6
    assert metrics.jitter([clip(list(time**2), list(time**3))]) == 3
    assert metrics.jitter_ratio([clip(list(2 * time**3))], [clip(list(time**3))]) == 2


def test_what_the_reference_does_not_allow_is_nan() -> None:
    still, short = [clip([1.0, 1.0, 1.0, 1.0])], [clip([1.0])]
    moving = [clip([0.0, 1.0, 0.0, 1.0])]
    assert math.isnan(metrics.r2(moving, still))
    assert math.isnan(metrics.correlation(moving, still))
    assert math.isnan(metrics.jitter_ratio(moving, still))
    assert math.isnan(metrics.jitter(short))
    assert math.isnan(metrics.velocity_mse(short, short, 30.0))


def test_a_nan_in_the_prediction_is_never_hidden() -> None:
    reference = [clip([0.0, 1.0, 3.0, 9.0, 2.0])]
    broken = [clip([0.0, 1.0, math.nan, 9.0, 2.0])]
    for measure in (metrics.mse, metrics.r2, metrics.correlation, metrics.jitter_ratio):
        assert math.isnan(measure(broken, reference)), measure.__name__
    assert math.isnan(metrics.velocity_mse(broken, reference, 30.0))


def test_pbm_by_hand() -> None:
    """Sealed at frame 10 of 100 a second, 0.10 s; an interval reaches 20 ms beyond its ends."""
    intervals = [(0.12, 0.15), (0.121, 0.15), (0.05, 0.08), (0.05, 0.079), (0.0, 0.28)]
    share = metrics.pbm_accuracy([mouth({10})], [intervals], LIPS, 100.0)
    assert (share.value, share.n) == (3 / 5, 5)


def test_an_interval_without_a_frame_is_no_case() -> None:
    share = metrics.pbm_accuracy([mouth({10})], [[(0.1, 0.1), (4.0, 4.1)]], LIPS, 100.0)
    assert (share.value, share.n) == (1.0, 1)
    # 2 frames a second: none between 0.08 and 0.42 s.
    assert metrics.pbm_accuracy([mouth({0})], [[(0.1, 0.4)]], LIPS, 2.0).n == 0


def test_closures_are_found_at_the_time_that_a_frame_stands_for() -> None:
    late = metrics.pbm_accuracy([mouth({10})], [[(0.14, 0.16)]], LIPS, 100.0, offset_s=0.05)
    assert late.value == 1
    early = metrics.pbm_accuracy([mouth({10})], [[(0.09, 0.11)]], LIPS, 100.0, offset_s=0.05)
    assert early.value == 0
    # All frames stand for times before the interval, or after it.
    far = metrics.false_closures([mouth({10})], [[(0.0, 0.1)]], LIPS, 100.0, offset_s=1.0)
    assert far.n == 0


def test_false_closures_count_frames() -> None:
    clips = [mouth({10, 11, 20}), mouth(set())]
    share = metrics.false_closures(clips, [[(0.10, 0.13), (0.2, 0.2)], [(0.0, 0.04)]], LIPS, 100.0)
    # Frames 10 to 13 and 20 of the first clip, 0 to 4 of the second; 10, 11 and 20 are sealed.
    assert (share.value, share.n) == (3 / 10, 10)


@given(st.integers(0, 5000), st.sampled_from([24.0, 29.97, 30.0, 60.0, 62.5]), st.floats(-1, 1))
@settings(max_examples=200, deadline=None)
def test_a_moment_holds_exactly_the_frame_that_stands_for_it(
    frame: int, rate_hz: float, offset_s: float
) -> None:
    moment = offset_s + frame / rate_hz
    frames = metrics._frames_in((moment, moment), np.arange(5001), rate_hz, offset_s)
    assert frames.tolist() == [frame]


@given(st.lists(st.lists(st.booleans(), max_size=20), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_interval_holds_the_value(verdicts: list[list[bool]]) -> None:
    share = metrics._bootstrap([np.array(v, bool) for v in verdicts])
    assert share.n == sum(map(len, verdicts))
    if share.n:
        assert share.value == pytest.approx(sum(map(sum, verdicts)) / share.n)
        assert 0 <= share.low <= share.value <= share.high <= 1
    else:
        assert np.isnan(share.value)


def test_more_clips_narrow_the_interval_as_theory_says() -> None:
    """Clips of one case each: the interval is near ± 1.96 √(p (1 − p) / n)."""
    verdicts = [np.array([i % 4 == 0]) for i in range(400)]
    share = metrics._bootstrap(verdicts)
    half = 1.96 * (0.25 * 0.75 / 400) ** 0.5
    # 2000 draws estimate a percentile to about a tenth of the interval.
    assert share.high - share.low == pytest.approx(2 * half, rel=0.1)
    assert share == metrics._bootstrap(verdicts), "the seed is fixed"
    assert astuple(metrics._bootstrap([np.array([True, False])])) == (0.5, 2, 0.5, 0.5)
