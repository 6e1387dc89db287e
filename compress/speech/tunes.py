"""Simple music made in code: chords, plucked strings and drums. See `not_speech`."""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from compress.speech.audio import SAMPLE_RATE
from compress.speech.not_speech import Doubles, Floats, Rng, full_scale

# Steps above the key in semitones: a scale without wrong notes, and four common triads of a key.
PENTATONIC = (0, 2, 4, 7, 9, 12, 14, 16)
CHORDS = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (9, 12, 16))


def tune(rng: Rng, seconds: float) -> Floats:
    """Bars of four beats in a random key: chords, a plucked melody and drums, each of them or not."""
    samples = round(seconds * SAMPLE_RATE)
    beat_s = 60 / rng.uniform(70, 150)
    key_hz = 110 * 2 ** (rng.uniform(0, 12) / 12)
    voices = rng.random(3) < (0.7, 0.8, 0.6)
    voices[int(rng.integers(3))] = True
    found = np.zeros(samples)
    for beat in range(int(seconds / beat_s) + 1):
        first = round(beat * beat_s * SAMPLE_RATE)
        if voices[0] and beat % 4 == 0:
            for step in CHORDS[int(rng.integers(len(CHORDS)))]:
                _add(found, 0.25 * chord_tone(rng, _hz(key_hz, step), 4 * beat_s), first)
        if voices[1]:
            for half in (0, round(beat_s * SAMPLE_RATE / 2)):
                if rng.random() < 0.7:
                    step = int(rng.choice(PENTATONIC)) + 12
                    _add(found, 0.6 * plucked(rng, _hz(key_hz, step), 2 * beat_s), first + half)
        if voices[2]:
            _add(found, drum(rng, beat % 2 == 0), first)
            _add(found, 0.2 * cymbal(rng), first + round(beat_s * SAMPLE_RATE / 2))
    return full_scale(found)


def chord_tone(rng: Rng, hz: float, seconds: float) -> Doubles:
    """A held tone of eight harmonics that fades in and out."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    found = np.zeros(len(time))
    falls = rng.uniform(1.0, 2.0)
    for harmonic in range(1, 9):
        if harmonic * hz < SAMPLE_RATE / 2:
            found += harmonic**-falls * np.sin(2 * np.pi * harmonic * hz * time)
    shape = np.minimum(1, time / 0.05) * np.minimum(1, (seconds - time) / 0.1)
    return np.asarray(found * shape, np.float64)


def plucked(rng: Rng, hz: float, seconds: float) -> Doubles:
    """A plucked string: a burst of noise in a loop that loses its treble.

    K. Karplus and A. Strong, *Digital synthesis of plucked-string and drum timbres*, 1983.
    """
    samples, period = round(seconds * SAMPLE_RATE), max(2, round(SAMPLE_RATE / hz))
    burst = np.zeros(samples)
    burst[:period] = rng.uniform(-1, 1, period)[:samples]
    loop: NDArray[np.float64] = np.zeros(period + 2)
    loop[0], loop[period], loop[period + 1] = 1, -0.498, -0.498
    return np.asarray(lfilter([1.0], loop, burst), np.float64)


def drum(rng: Rng, low: bool) -> Doubles:
    """A bass drum whose pitch falls, or a snare of noise."""
    time = np.arange(SAMPLE_RATE // 4) / SAMPLE_RATE
    if low:
        phase = 50 * time + 4 * (1 - np.exp(-time / 0.03))
        return np.asarray(np.sin(2 * np.pi * phase) * np.exp(-time / 0.08), np.float64)
    rattle = rng.standard_normal(len(time)) * np.exp(-time / 0.06)
    skin = np.sin(2 * np.pi * 190 * time) * np.exp(-time / 0.05)
    return np.asarray(0.4 * rattle + 0.4 * skin, np.float64)


def cymbal(rng: Rng) -> Doubles:
    """A closed hi-hat: high noise that is gone at once."""
    time = np.arange(SAMPLE_RATE // 16) / SAMPLE_RATE
    hiss = lfilter([1, -0.95], [1], rng.standard_normal(len(time)))
    return np.asarray(hiss * np.exp(-time / 0.015), np.float64)


def _hz(key_hz: float, step: int) -> float:
    return float(key_hz * 2 ** (step / 12))


def _add(found: Doubles, sound: Doubles, first: int) -> None:
    part = found[first : first + len(sound)]
    part += sound[: len(part)]
