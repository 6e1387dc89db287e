"""Augmentation: levels, decays and speeds are those that were asked for."""

import numpy as np
import pytest

from compress.distill import augmentation
from compress.recipe.students import AugmentationSettings
from compress.speech.audio import SAMPLE_RATE

NOTHING = {"gain_db": (0.0, 0.0), "noise_share": 0.0, "speed_share": 0.0, "room_share": 0.0}


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def asked(**changes: object) -> AugmentationSettings:
    return AugmentationSettings.model_validate(NOTHING | changes)


def sine(hz: float, samples: int = 8000, level: float = 0.1) -> np.ndarray:
    time_s = np.arange(samples) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def power_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(float) ** 2)))


@pytest.mark.parametrize("snr_db", [-6.0, 8.0, 30.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_lies_below_the_speech_by_the_ratio_asked_for(snr_db: float, seed: int) -> None:
    speech = sine(300)
    heard = augmentation.with_noise(speech, snr_db, rng(seed))
    assert heard.dtype == np.float32
    noise = heard - speech
    # Float32 rounding of the sum is 2⁻²⁴ of its size: −144 dB.
    assert power_db(speech) - power_db(noise) == pytest.approx(snr_db, abs=1e-3)


def test_noises_have_colours_from_white_to_dark() -> None:
    """The correlation of neighbours is the pole of the filter that coloured the noise."""
    speech, poles = sine(300, 40_000), []
    for seed in range(30):
        noise = augmentation.with_noise(speech, 0.0, rng(seed)) - speech
        poles.append(float(np.mean(noise[1:] * noise[:-1]) / np.mean(noise**2)))
    assert -0.03 < min(poles) < 0.2
    assert 0.75 < max(poles) < 0.96


def test_silence_stays_silent() -> None:
    silence = np.zeros(1000, np.float32)
    assert np.array_equal(augmentation.with_noise(silence, 10.0, rng()), silence)
    assert not augmentation.varied(silence, rng(), AugmentationSettings(noise_share=1)).any()


def impulse(samples: int, place: int) -> np.ndarray:
    found = np.zeros(samples, np.float32)
    found[place] = 1.0
    return found


def test_the_direct_sound_keeps_its_place_and_stands_above_the_tail() -> None:
    heard = augmentation.in_room(impulse(8000, 700), 0.2, direct_db=6.0, rng=rng())
    assert heard.shape == (8000,)
    assert heard.dtype == np.float32
    np.testing.assert_allclose(heard[:700], 0, atol=1e-6)  # rounding of the transform
    assert heard[700] == pytest.approx(1.0, abs=1e-6)
    tail = heard[701:].astype(float)
    assert 10 * np.log10((tail**2).sum()) == pytest.approx(-6.0, abs=0.01)


@pytest.mark.parametrize("decay_s", [0.1, 0.3])
def test_a_room_decays_by_60_db_in_its_time(decay_s: float) -> None:
    """Energy of the tail in tenths of that time, over 200 rooms, falls by 6 dB each."""
    length = int(decay_s * SAMPLE_RATE)
    energy = np.zeros(10)
    for seed in range(200):
        tail = augmentation.in_room(impulse(length + 1, 0), decay_s, 0.0, rng(seed))[1:]
        energy += (tail[: length // 10 * 10].reshape(10, -1).astype(float) ** 2).sum(1)
    slopes = np.diff(10 * np.log10(energy))
    # The last tenths lie near float32 rounding of the direct sound's transform.
    np.testing.assert_allclose(slopes[:7], -6.0, atol=0.3)


def test_the_shortest_room_is_the_speech_and_one_echo() -> None:
    heard = augmentation.in_room(impulse(10, 3), 1e-5, 20.0, rng())
    assert abs(heard[4]) == pytest.approx(0.1, abs=1e-6)
    np.testing.assert_allclose(heard[5:], 0, atol=1e-6)


@pytest.mark.parametrize("percent", [80, 93, 100, 125])
def test_speed_changes_the_pitch_by_its_ratio(percent: int) -> None:
    tone = sine(500, samples=int(16_000 * percent / 100) + 2)
    heard = augmentation.at_speed(tone, percent, 16_000)
    assert heard.shape == (16_000,)
    assert heard.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(16_000)))
    assert spectrum.argmax() == 5 * percent  # of 1 Hz each: 500 Hz · percent / 100
    assert power_db(heard) == pytest.approx(power_db(tone), abs=0.02)


def test_sample_n_at_another_speed_was_heard_at_n_times_the_speed() -> None:
    click = np.exp(-0.5 * ((np.arange(4000) - 1500) / 20) ** 2).astype(np.float32)
    for percent in (80, 125):
        heard = augmentation.at_speed(click, percent, 3000)
        assert heard.argmax() == 1500 * 100 // percent


def test_speeds_are_drawn_from_their_range_for_their_share() -> None:
    settings = asked(speed_share=0.5, speed=(0.9, 1.2))
    generator = rng()
    drawn = [augmentation.draw_percent(generator, settings) for _ in range(2000)]
    assert (min(drawn), max(drawn)) == (90, 120)
    # Half keep their speed, and one in thirty of the others; four standard deviations.
    kept = 0.5 + 0.5 / 30
    assert drawn.count(100) / 2000 == pytest.approx(kept, abs=4 * (0.25 / 2000) ** 0.5)


def test_gain_is_exact_and_the_loudest_is_clipped() -> None:
    speech = sine(300, level=0.5)
    soft = augmentation.varied(speech, rng(), asked(gain_db=(-20.0, -20.0)))
    np.testing.assert_allclose(soft, 0.1 * speech, atol=1e-8)
    loud = augmentation.varied(speech, rng(), asked(gain_db=(12.0, 12.0)))
    np.testing.assert_allclose(loud, np.clip(speech * 10**0.6, -1, 1), atol=1e-6)
    assert (loud.min(), loud.max()) == (-1, 1)


def test_each_kind_comes_for_its_share_and_nothing_leaves_speech_alone() -> None:
    speech = sine(300)
    assert np.array_equal(augmentation.varied(speech, rng(), asked()), speech)
    for kind in ("noise_share", "room_share"):
        generator, settings = rng(), asked(**{kind: 0.25})
        changed = [
            not np.array_equal(augmentation.varied(speech, generator, settings), speech)
            for _ in range(400)
        ]
        # Four standard deviations of a binomial with p = 1/4.
        assert np.mean(changed) == pytest.approx(0.25, abs=4 * (0.1875 / 400) ** 0.5)


def test_the_same_generator_makes_the_same_variety() -> None:
    settings = AugmentationSettings(noise_share=1, room_share=1)
    one, same, other = (augmentation.varied(sine(300), rng(n), settings) for n in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
