"""Metrics by hand: every expected value can be worked out on paper."""

import math

import numpy as np
import pytest
from scipy import signal

from compress.judge import metrics


def clip(*columns: list[float]) -> np.ndarray:
    """One clip of curves from its columns, float32 [frames, controls]."""
    return np.array(columns, np.float32).T


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
    for by_control in (metrics.mse_by_control, metrics.correlation_by_control):
        assert np.isnan(by_control(broken, reference)).all(), by_control.__name__
    assert math.isnan(metrics.lag_ms(broken * 9, reference * 9, 30.0))
    assert math.isnan(metrics.stillness(broken, 30.0))


def test_mse_by_control() -> None:
    predicted = [clip([0, 1], [1, 1]), clip([2], [0])]
    reference = [clip([1, 1], [1, 3]), clip([4], [0])]
    assert metrics.mse_by_control(predicted, reference).tolist() == [5 / 3, 4 / 3]
    assert metrics.mse(predicted, reference) == pytest.approx(3 / 2)


def test_correlation_by_control_is_that_of_numpy() -> None:
    random = np.random.default_rng(2)
    p, r = random.normal(size=(2, 50, 4))
    p[:, 1], r[:, 2] = 0.3, 0.7
    found = metrics.correlation_by_control([p[:20], p[20:]], [r[:20], r[20:]])
    expected = [np.corrcoef(p[:, i], r[:, i])[0, 1] for i in (0, 3)]
    assert found[[0, 3]] == pytest.approx(expected)
    assert found[1] == 0, "the prediction alone stands still"
    assert math.isnan(found[2]), "the reference stands still"
    assert metrics.correlation([p], [r]) == pytest.approx(np.nanmean(found))


def test_a_region_is_judged_by_its_controls_alone() -> None:
    regions = {"jaw": (1, 2), "lips": (0,), "rest": (3,)}
    reference = [clip([0, 1, 2], [0, 1, 2], [5, 5, 5], [1, 1, 1])]
    predicted = [clip([2, 1, 0], [0, 1, 5], [5, 8, 5], [1, 1, 1])]
    squared = metrics.by_region(metrics.mse, predicted, reference, regions)
    assert squared == {"jaw": 3, "lips": pytest.approx(8 / 3), "rest": 0}
    alike = metrics.by_region(metrics.correlation, predicted, reference, regions)
    assert alike["jaw"] == pytest.approx(np.corrcoef([0, 1, 5], [0, 1, 2])[0, 1])
    assert alike["lips"] == pytest.approx(-1)
    assert math.isnan(alike["rest"])
    unknown = metrics.by_region(metrics.mse, predicted, reference, {"all": range(4)})
    assert unknown == {"all": pytest.approx(metrics.mse(predicted, reference))}


def test_stillness_by_hand() -> None:
    # Steps of 0.1, 0.3 and 0 in one control and of 0.2 in the other; the jump to the second clip is
    # no movement, and the third has no step.
    clips = [clip([0.0, 0.1, 0.4], [0.0, 0.2, 0.0]), clip([9.0, 9.0], [5.0, 5.2]), clip([1], [1])]
    assert metrics.stillness(clips, 10.0) == pytest.approx((0.1 + 0.3 + 3 * 0.2) / 6 * 10, rel=1e-5)
    assert metrics.stillness([np.ones((9, 2))], 60.0) == 0
    assert math.isnan(metrics.stillness(clips[2:], 10.0))


def bumps(moments_s: list[float], rate_hz: float, seconds: float = 3.0) -> np.ndarray:
    """Smooth rises and falls of 40 ms around some moments, `[frames]`, at rest between them."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.asarray(sum(np.exp(-0.5 * ((time - m) / 0.04) ** 2) for m in moments_s))


@pytest.mark.parametrize("delay_ms", [-190.0, -80.0, -3.0, 0.0, 7.0, 40.0, 80.0, 199.0])
@pytest.mark.parametrize("rate_hz", [30.0, 60.0, 62.5])
def test_a_delay_is_found_between_frames(delay_ms: float, rate_hz: float) -> None:
    moments = [0.5, 1.1, 1.4, 2.2]
    reference = np.stack([bumps(moments, rate_hz), -2 * bumps(moments[1:], rate_hz)], 1)
    late = [m + delay_ms / 1000 for m in moments]
    predicted = np.stack([0.1 * bumps(late, rate_hz), -bumps(late[1:], rate_hz)], 1)
    # The peak is no parabola: at 30 frames a second a bump's velocity turns within three of them.
    found = metrics.lag_ms([predicted], [reference], rate_hz)
    assert found == pytest.approx(delay_ms, abs=0.06 * 1000 / rate_hz)


def test_the_lag_is_that_of_scipy() -> None:
    """Whole frames, for a signal without rest, in several clips."""
    random = np.random.default_rng(4)
    curve = signal.lfilter([1], [1, -0.9], random.normal(size=400))
    p, r = curve[20:360], curve[23:363] + 0.1 * random.normal(size=340)
    likeness = signal.correlate(np.diff(p), np.diff(r))
    lags = signal.correlation_lags(339, 339)
    assert lags[np.argmax(likeness)] == 3, "p repeats what r did three frames before"
    found = metrics.lag_ms([p[:, None]], [r[:, None]], 100.0)
    around = likeness[np.abs(lags - 3) <= 1]
    # NumPy's parabola through the three points, and where its slope is zero.
    quadratic, slope, _ = np.polyfit([-1, 0, 1], around, 2)
    assert found == pytest.approx((3 - slope / quadratic / 2) * 10)
    pieces = [slice(0, 90), slice(90, 91), slice(91, 340)]
    cut = metrics.lag_ms([p[s, None] for s in pieces], [r[s, None] for s in pieces], 100.0)
    assert cut == pytest.approx(found, abs=1)


def test_every_control_counts_alike_for_the_lag() -> None:
    """A control in other units does not rule, and one at rest in the prediction does not count."""
    moments, late = [0.5, 1.1, 2.2], [0.6, 1.2, 2.3]
    prompt, delayed = bumps(moments, 60.0), bumps(late, 60.0)
    reference = np.stack([1000 * prompt, prompt, prompt, np.zeros_like(prompt)], 1)
    predicted = np.stack([1000 * prompt, delayed, delayed, delayed], 1)
    assert metrics.lag_ms([predicted], [reference], 60.0) == pytest.approx(100, abs=1)
    assert metrics.lag_ms([predicted[:, :1]], [reference[:, :1]], 60.0) == pytest.approx(0, abs=1)
    still = predicted * [0, 1, 1, 1]
    assert metrics.lag_ms([still], [reference], 60.0) == pytest.approx(100, abs=1)


def test_a_lag_that_cannot_be_told_is_nan() -> None:
    wave = bumps([0.5, 1.1, 2.2], 60.0)[:, None]
    for predicted in (np.zeros_like(wave), np.full_like(wave, 0.3), 0.3 + 1e-9 * wave):
        assert math.isnan(metrics.lag_ms([predicted], [wave], 60.0))
    assert math.isnan(metrics.lag_ms([wave], [np.ones_like(wave)], 60.0))
    assert math.isnan(metrics.lag_ms([wave[:1]], [wave[:1]], 60.0))
    # Against the reference in its large movement and with it in a small one: the peak is below 0.
    time = np.arange(600) / 60
    large, small = np.sin(2 * np.pi * time / 4), np.sin(2 * np.pi * 3.5 * time) / 28
    against, moves = ((sign * large + small)[:, None] for sign in (-1, 1))
    assert math.isnan(metrics.lag_ms([against], [moves], 60.0))
    # 0.25 s late: it grows more alike up to the edge of the reach.
    late = bumps([0.75, 1.35, 2.45], 60.0)[:, None]
    assert math.isnan(metrics.lag_ms([late], [wave], 60.0))
