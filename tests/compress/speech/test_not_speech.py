"""Sounds made in code: the same ones of a seed, at the level asked, and what they are called."""

import numpy as np
import pytest

from compress.speech import not_speech, tunes
from compress.speech.audio import SAMPLE_RATE
from compress.speech.not_speech import COLOURS, Sound, at_peak, at_rms, coloured

SOUNDS: dict[str, Sound] = {
    name: getattr(not_speech, name) for name in ("noise", "hum", "fan", "typing", "breath")
} | {"tune": tunes.tune}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def power(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Mean power of a band, by FFT."""
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    return float(spectrum[(hz >= low_hz) & (hz < high_hz)].mean())


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("seconds", [0.31, 3.0])
def test_a_sound_follows_from_its_seed(name: str, seconds: float) -> None:
    for seed in range(5):
        one, again = (SOUNDS[name](rng(seed), seconds) for _ in range(2))
        assert one.dtype == np.float32
        assert len(one) == round(seconds * SAMPLE_RATE)
        assert np.array_equal(one, again)
        assert np.abs(one).max() == pytest.approx(1, abs=1e-6)
        assert not np.array_equal(one, SOUNDS[name](rng(seed + 10), seconds))


@pytest.mark.parametrize(("colour", "falls"), COLOURS.items())
def test_power_falls_as_the_colour_says(colour: str, falls: float) -> None:
    """Four octaves apart: by 3 dB an octave for each power of the frequency."""
    samples = coloured(rng(), 10.0, colour)
    found = 10 * np.log10(power(samples, 200, 280) / power(samples, 3200, 4480))
    assert found == pytest.approx(falls * 4 * 10 * np.log10(2), abs=1.0)


def test_hum_is_a_comb_of_mains() -> None:
    for seed in range(4):
        samples = not_speech.hum(rng(seed), 4.0)
        hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        shares = []
        for mains in (50, 60):
            off = np.abs(hz - mains * np.round(hz / mains))
            near = (off < 2 + 0.003 * hz) & (hz > 25)
            shares.append(spectrum[near].sum() / spectrum.sum())
        assert max(shares) > 0.95


def test_typing_is_mostly_silence_with_clicks() -> None:
    samples = not_speech.typing(rng(1), 8.0)
    loud = np.abs(samples[: 800 * 160].reshape(-1, 160)).max(1) > 0.1  # of 10 ms each
    clicks = int((np.diff(loud.astype(int)) == 1).sum())
    assert 10 < clicks < 160, "keys and their releases, some 2 to 10 a second"
    assert loud.mean() < 0.5


def test_levels() -> None:
    samples = coloured(rng(), 2.0, "white")
    assert np.abs(at_peak(samples, -20)).max() == pytest.approx(0.1)
    assert np.sqrt(np.mean(at_rms(samples, -40) ** 2)) == pytest.approx(0.01, rel=1e-3)
    assert np.abs(at_rms(samples, 0)).max() == 1
    assert not at_peak(np.zeros(9, np.float32), -20).any()
