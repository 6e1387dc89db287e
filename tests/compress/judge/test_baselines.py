"""The two baselines: log-mels on the hop grid, and least squares against the textbook."""

import numpy as np
import pytest

from compress.judge import baselines
from compress.judge.baselines import (
    CONTEXT_FRAMES,
    MELS,
    PENALTIES,
    fit_mean,
    fit_ridge,
    fitted_on,
    log_mels,
    windows,
)
from compress.labels.examples import Example
from compress.speech.audio import HOP, SAMPLE_RATE


def tone(hz: float, seconds: float) -> np.ndarray:
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, HOP + 1, 5000])
def test_log_mels_have_a_frame_a_hop(samples: int) -> None:
    energies = log_mels(np.full(samples, 0.1, np.float32))
    assert energies.shape == (-(-samples // HOP), MELS)
    assert energies.dtype == np.float32
    assert np.isfinite(energies).all()


def test_silence_is_the_floor_and_a_tone_is_in_its_band() -> None:
    floor = np.log(baselines.ENERGY_FLOOR)
    np.testing.assert_allclose(log_mels(np.zeros(4000, np.float32)), floor, atol=1e-5)
    # Kaldi's filters are equally spaced in mel from 20 Hz to half of the sample rate.
    mel = 1127 * np.log(1 + np.array([20.0, SAMPLE_RATE / 2]) / 700)
    centres = np.linspace(mel[0], mel[1], MELS + 2)[1:-1]
    for hz in (300.0, 1000.0, 4000.0):
        band = int(np.abs(centres - 1127 * np.log(1 + hz / 700)).argmin())
        assert log_mels(tone(hz, 0.5))[15].argmax() == band


@pytest.mark.parametrize("hop", [4, 9, 30])
def test_a_click_is_loudest_in_the_frame_of_its_hop(hop: int) -> None:
    """Equally loud before and after it: the frame is centred on the sample of the hop."""
    click = np.zeros(40 * HOP, np.float32)
    click[hop * HOP] = 1.0
    energy = log_mels(click).sum(1)
    assert energy.argmax() == hop
    assert energy[hop - 1] == pytest.approx(energy[hop + 1], rel=0.05)


def test_windows_hold_as_much_before_the_moment_as_from_it_on() -> None:
    features = np.arange(100, dtype=np.float32)[:, None] * np.ones(MELS, np.float32)
    found = windows(features).reshape(100, CONTEXT_FRAMES, MELS)
    np.testing.assert_array_equal(found[50, :, 0], np.arange(34, 66))
    np.testing.assert_array_equal(found[0, :17, 3], 0)  # the first frame holds before the clip
    np.testing.assert_array_equal(found[99, 16:, 3], 99)


def examples(clips: int, hops: int = 40) -> list[Example]:
    """Clips whose curves are linear in their log-mels, and a little noise."""
    random = np.random.default_rng(0)
    true = random.normal(size=(MELS, 2)) / 20
    made = []
    for _ in range(clips):
        swell = np.repeat(10 ** random.uniform(-2, -0.3, hops), HOP)
        samples = (random.normal(size=hops * HOP) * swell).astype(np.float32)
        curves = log_mels(samples) @ true + 3 + 0.05 * random.normal(size=(hops, 2))
        made.append(Example(samples, curves.astype(np.float32)))
    return made


def textbook(clips: list[Example], penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression on standardized features by an augmented least-squares problem."""
    x = np.concatenate([windows(log_mels(c.samples)) for c in clips]).astype(np.float64)
    y = np.concatenate([c.curves for c in clips]).astype(np.float64)
    mean, scale = x.mean(0), x.std(0) + 1e-6
    n = x.shape[1]
    rows = np.concatenate([(x - mean) / scale, np.sqrt(penalty) * np.eye(n)])
    right = np.concatenate([y - y.mean(0), np.zeros((n, y.shape[1]))])
    weights = np.linalg.lstsq(rows, right, rcond=None)[0] / scale[:, None]
    return weights, y.mean(0) - mean @ weights


@pytest.mark.slow
def test_ridge_is_that_of_the_textbook() -> None:
    clips = examples(12)
    ridge = fit_ridge(clips)
    judged = clips[9:10]
    errors = []
    for penalty in PENALTIES:
        weights, bias = textbook(clips[:9] + clips[10:], penalty)
        predicted = windows(log_mels(judged[0].samples)) @ weights + bias
        errors.append(((predicted - judged[0].curves) ** 2).sum())
    assert ridge.penalty == PENALTIES[int(np.argmin(errors))]
    weights, bias = textbook(clips, ridge.penalty)
    # The sums are taken in float32 within a clip.
    np.testing.assert_allclose(ridge.weights, weights, atol=1e-4 * np.abs(weights).max())
    np.testing.assert_allclose(ridge.bias, bias, rtol=1e-4)
    expected = windows(log_mels(clips[0].samples)) @ weights + bias
    np.testing.assert_allclose(ridge.hops(clips[0].samples), expected, atol=1e-4)


def test_ridge_beats_the_mean_where_curves_follow_the_audio() -> None:
    clips = examples(6)
    ridge, mean = fit_ridge(clips[:5]), fit_mean(clips[:5])
    assert ridge.penalty == PENALTIES[1], "too few clips to judge a penalty on"
    assert ridge.parameters == MELS * CONTEXT_FRAMES * 2 + 2
    assert mean.parameters == 2
    new = clips[5]
    assert ridge.hops(new.samples).shape == mean.hops(new.samples).shape == new.curves.shape
    of_ridge = ((ridge.hops(new.samples) - new.curves) ** 2).mean()
    of_mean = ((mean.hops(new.samples) - new.curves) ** 2).mean()
    assert of_ridge < 0.5 * of_mean


def test_the_mean_is_over_frames_not_clips() -> None:
    short = Example(np.zeros(HOP, np.float32), np.array([[1.0]], np.float32))
    long = Example(np.zeros(3 * HOP, np.float32), np.array([[0.0], [2.0], [5.0]], np.float32))
    mean = fit_mean([short, long])
    np.testing.assert_array_equal(mean.hops(np.zeros(HOP + 1, np.float32)), [[2.0], [2.0]])


def test_of_much_speech_every_so_many_clips_are_fit_on() -> None:
    hour = Example(np.zeros(0, np.float32), np.zeros((3600 * SAMPLE_RATE // HOP, 1), np.float32))
    assert list(fitted_on([hour] * 7, hours=10)) == list(range(7))
    assert list(fitted_on([hour] * 25, hours=10)) == [0, 3, 6, 9, 12, 15, 18, 21, 24]
    clips = examples(12)
    every_third = fit_ridge(clips[::3])
    with pytest.MonkeyPatch.context() as patch:
        heard_s = sum(len(clip.samples) for clip in clips) / SAMPLE_RATE
        patch.setattr(fitted_on, "__defaults__", (heard_s / 2.5 / 3600,))
        assert np.array_equal(fit_ridge(clips).weights, every_third.weights)
        assert np.array_equal(fit_mean(clips).pose, fit_mean(clips[::3]).pose)
