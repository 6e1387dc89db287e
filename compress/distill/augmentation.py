"""Variety for training: levels, noise, speed and rooms. Drawn from a generator, so it repeats."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, lfilter, resample_poly

from compress.speech.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from compress.recipe.students import AugmentationSettings

Floats = NDArray[np.float32]

# Speed is a whole number of percent, since resampling is by a ratio of whole numbers.
PERCENT = 100
# How far the direct sound of a room stands above its reverberation, in dB.
DIRECT_DB = (3.0, 18.0)
# One-pole low-pass of the noise: 0 is white, towards 1 the energy lies below a few hundred Hz.
DARKEST_NOISE = 0.95
# Below this level a stretch is silence, to which no signal-to-noise ratio belongs.
SILENT_RMS = 1e-5


def draw_percent(rng: np.random.Generator, settings: "AugmentationSettings") -> int:
    """The speed of a stretch in percent; 100 for one that keeps its own."""
    if rng.random() >= settings.speed_share:
        return PERCENT
    return round(PERCENT * float(rng.uniform(*settings.speed)))


def at_speed(samples: Floats, percent: int, length: int) -> Floats:
    """Played at `percent` of its speed, pitch and formants along with it, as a tape is.

    float32 `[ceil(length · percent / 100)]` or a little more → `[length]`; sample n of the result
    was heard at n · percent / 100.
    """
    if percent == PERCENT:
        return samples[:length]
    return np.asarray(resample_poly(samples, PERCENT, percent)[:length], np.float32)


def varied(samples: Floats, rng: np.random.Generator, settings: "AugmentationSettings") -> Floats:
    """A stretch, float32 `[samples]`, in another room, with noise, at another level."""
    if rng.random() < settings.room_share:
        samples = in_room(samples, rng.uniform(*settings.decay_s), rng.uniform(*DIRECT_DB), rng)
    if rng.random() < settings.noise_share:
        samples = with_noise(samples, rng.uniform(*settings.snr_db), rng)
    gain = 10 ** (rng.uniform(*settings.gain_db) / 20)
    return np.asarray(np.clip(samples * np.float32(gain), -1, 1))


def in_room(samples: Floats, decay_s: float, direct_db: float, rng: np.random.Generator) -> Floats:
    """Reverberation of noise that decays by 60 dB in `decay_s`, `direct_db` below the direct sound.

    J. A. Moorer, *About this reverberation business*, 1979, models a room's tail so. The direct
    sound keeps its place, so labels stay true.
    """
    time_s = np.arange(1, max(2, int(decay_s * SAMPLE_RATE))) / SAMPLE_RATE
    tail = rng.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s)
    tail *= 10 ** (-direct_db / 20) / np.sqrt((tail**2).sum())
    response = np.concatenate([[1.0], tail]).astype(np.float32)
    return np.asarray(fftconvolve(samples, response)[: len(samples)], np.float32)


def with_noise(samples: Floats, snr_db: float, rng: np.random.Generator) -> Floats:
    """Noise of a random colour from white to dark, `snr_db` below the stretch's RMS level."""
    level = float(np.sqrt(np.mean(samples**2)))
    if level < SILENT_RMS:
        return samples
    white = rng.standard_normal(len(samples), dtype=np.float32)
    noise = lfilter([1.0], [1.0, -rng.uniform(0, DARKEST_NOISE)], white)
    scale = level * 10 ** (-snr_db / 20) / float(np.sqrt(np.mean(noise**2)))
    return samples + np.asarray(noise * scale, np.float32)
