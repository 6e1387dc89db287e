"""Audio that tests of sources write: a sine by its frequency, and files of it."""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from compress.speech.audio import SAMPLE_RATE

Floats = NDArray[np.float32]


def sine(hz: float, seconds: float = 1.0, rate: int = SAMPLE_RATE) -> Floats:
    """A sine at half scale, float32 [samples]."""
    time_s = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def chirps(seconds: float, rate: int, seed: int = 0) -> Floats:
    """A voice that glides, stops and hisses, float32 [samples, 2]: no two stretches of it are alike."""
    time_s = np.arange(round(seconds * rate)) / rate
    hiss = np.random.default_rng(seed).standard_normal(len(time_s)) * (time_s % 1.3 > 1)
    glide = np.sin(2 * np.pi * time_s * (200 + 50 * np.sin(time_s))) * np.sin(7 * time_s) ** 2
    mono = np.clip(0.4 * glide + 0.1 * hiss, -1, 1)
    return np.stack([mono, 0.5 * np.roll(mono, 99)], axis=1).astype(np.float32)


def write(path: Path, samples: Floats, rate: int = SAMPLE_RATE, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path
