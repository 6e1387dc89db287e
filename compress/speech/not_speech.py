"""Sounds that are not speech, made in code: noise, hum, fans, typing and breath.

Each is float32 `[samples]` at 16 kHz with a peak of 1, and follows from the generator it is given.
Music is in `tunes`. A face should rest on all of them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from compress.speech.audio import SAMPLE_RATE

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rng = np.random.Generator
Sound = Callable[[Rng, float], Floats]

# Power falls with frequency to this exponent.
COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0, "blue": -1.0}
# Below this frequency a colour's spectrum is level: brown noise would be all rumble.
LEVEL_BELOW_HZ = 30.0


def full_scale(samples: Doubles) -> Floats:
    """The same with a peak of 1."""
    peak = float(np.abs(samples).max(initial=0.0))
    return np.asarray(samples / peak if peak else samples, np.float32)


def at_peak(samples: Floats, peak_db: float) -> Floats:
    """The same with its peak at a level in dB of full scale."""
    return full_scale(samples.astype(np.float64)) * np.float32(10 ** (peak_db / 20))


def at_rms(samples: Floats, rms_db: float) -> Floats:
    """The same with its RMS at a level in dB of full scale, clipped to −1..1."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return np.asarray(np.clip(samples * np.float32(10 ** (rms_db / 20) / rms), -1, 1))


def coloured(rng: Rng, seconds: float, colour: str) -> Floats:
    """Stationary noise of a colour."""
    samples = round(seconds * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.maximum(np.fft.rfftfreq(samples, 1 / SAMPLE_RATE), LEVEL_BELOW_HZ)
    return full_scale(np.fft.irfft(spectrum * hz ** (-COLOURS[colour] / 2), samples))


def noise(rng: Rng, seconds: float) -> Floats:
    """Noise of any colour; in half of all cases its level wanders by up to 20 dB."""
    colour = str(rng.choice(list(COLOURS)))
    found = coloured(rng, seconds, colour)
    return found if rng.random() < 0.5 else full_scale(found * _wandering(rng, len(found), 20.0))


def hum(rng: Rng, seconds: float) -> Floats:
    """Mains hum: 50 or 60 Hz with harmonics, most of them even ones, over a little noise."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    mains_hz = float(rng.choice([50.0, 60.0])) * rng.uniform(0.998, 1.002)
    falls = rng.uniform(0.5, 1.5)
    found = np.zeros(len(time))
    for harmonic in range(1, int(rng.integers(8, 40))):
        size = rng.uniform(0.3, 1.0) * harmonic**-falls * (1.0 if harmonic % 2 == 0 else 0.5)
        found += size * np.sin(2 * np.pi * (harmonic * mains_hz * time + rng.random()))
    floor = coloured(rng, seconds, "pink") * 10 ** (rng.uniform(-50, -25) / 20)
    return full_scale(found / np.abs(found).max() + floor)


def fan(rng: Rng, seconds: float) -> Floats:
    """A fan: noise in a few bands, and a blade's tone whose level goes up and down."""
    samples = round(seconds * SAMPLE_RATE)
    found = 0.3 * coloured(rng, seconds, str(rng.choice(["pink", "brown"]))).astype(np.float64)
    for _ in range(int(rng.integers(1, 4))):
        centre = np.exp(rng.uniform(np.log(120), np.log(4000)))
        band = _band(rng.standard_normal(samples), centre / 1.3, centre * 1.3)
        found += rng.uniform(0.2, 1.0) * band / np.abs(band).max()
    time = np.arange(samples) / SAMPLE_RATE
    blade_hz, turns_hz = rng.uniform(60, 300), rng.uniform(0.5, 8)
    swell = 1 + rng.uniform(0, 0.5) * np.sin(2 * np.pi * (turns_hz * time + rng.random()))
    tone = rng.uniform(0, 0.4) * np.sin(2 * np.pi * blade_hz * time)
    return full_scale((found + tone) * swell)


def typing(rng: Rng, seconds: float) -> Floats:
    """A keyboard: words of a few keys with pauses between; a key clicks when pressed and released."""
    samples = round(seconds * SAMPLE_RATE)
    found = np.zeros(samples)
    pace_s = rng.uniform(0.09, 0.25)  # from key to key, median
    resonances_hz = np.exp(rng.uniform(np.log(700), np.log(6000), 6))
    now_s, left = rng.uniform(0, 0.4), int(rng.integers(2, 10))
    while now_s < seconds:
        size = rng.uniform(0.4, 1.0)
        for late_s, share in ((0.0, 1.0), (rng.uniform(0.05, 0.12), rng.uniform(0.2, 0.6))):
            click = size * share * _click(rng, resonances_hz)
            first = round((now_s + late_s) * SAMPLE_RATE)
            part = found[first : first + len(click)]
            part += click[: len(part)]
        left -= 1
        now_s += pace_s * rng.lognormal(0, 0.35)
        if not left:
            now_s, left = now_s + rng.exponential(0.4), int(rng.integers(2, 10))
    room = coloured(rng, seconds, "pink") * 10 ** (rng.uniform(-70, -45) / 20)
    return full_scale(found / max(1e-9, np.abs(found).max()) + room)


def breath(rng: Rng, seconds: float) -> Floats:
    """Breathing: noise through a wide resonance, in and out, without any voice."""
    samples = round(seconds * SAMPLE_RATE)
    loud = np.zeros(samples)
    now_s, inwards = rng.uniform(0, 0.5), True
    while now_s < seconds:
        length_s = rng.uniform(0.4, 1.2) if inwards else rng.uniform(0.7, 2.0)
        first, length = round(now_s * SAMPLE_RATE), round(length_s * SAMPLE_RATE)
        shape = np.hanning(length) ** rng.uniform(0.5, 1.5) * rng.uniform(0.4, 1.0)
        part = loud[first : first + length]
        part += shape[: len(part)]
        now_s += length_s + rng.uniform(0.05, 0.8)
        inwards = not inwards
    low, high = rng.uniform(150, 600), rng.uniform(2500, 7000)
    found = _band(coloured(rng, seconds, "pink").astype(np.float64), low, high) * loud
    room = coloured(rng, seconds, "pink") * 10 ** (rng.uniform(-80, -50) / 20)
    return full_scale(found / max(1e-9, np.abs(found).max()) + room)


def _wandering(rng: Rng, samples: int, range_db: float) -> Doubles:
    """A level that goes from knot to knot, one or two a second, between −`range_db` and 0 dB."""
    knots = np.arange(0, samples / SAMPLE_RATE + 2, rng.uniform(0.4, 1.2))
    levels = rng.uniform(-range_db, 0, len(knots))
    time = np.arange(samples) / SAMPLE_RATE
    return np.asarray(10 ** (np.interp(time, knots, levels) / 20), np.float64)


def _band(samples: Doubles, low_hz: float, high_hz: float) -> Doubles:
    sections = butter(2, [low_hz, high_hz], "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(sections, samples), np.float64)


def _click(rng: Rng, resonances_hz: Doubles) -> Doubles:
    """A knock on plastic: a short burst of noise, and resonances that die away in milliseconds."""
    time = np.arange(SAMPLE_RATE // 16) / SAMPLE_RATE
    found = rng.standard_normal(len(time)) * np.exp(-time / rng.uniform(0.001, 0.004))
    for hz in resonances_hz * rng.uniform(0.97, 1.03, len(resonances_hz)):
        decay = np.exp(-time / rng.uniform(0.002, 0.015))
        found += rng.uniform(0.2, 1.0) * np.sin(2 * np.pi * hz * time) * decay
    return np.asarray(lfilter([1, -0.9], [1], found), np.float64)
