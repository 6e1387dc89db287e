"""Every format, rate and number of channels: as long as FFmpeg finds it, and the same samples."""

from typing import Any

import numpy as np
import pytest

from compress.speech.audio import read_part
from tests.compress.speech.containers.made import by_av, encoded, id3, voices, without_note

ALL = 10**9
# FFmpeg leaves out or adds up to two blocks at the ends of what is coded with loss.
LOSSLESS, VORBIS, OPUS, MP3 = 0, 2 * 256, 2 * 320, 2 * 1152


def check(file: bytes, expected: np.ndarray, blocks: int, error: float = 1e-4) -> None:
    """That a file is read as it should be, but for so many samples at its ends."""
    found = read_part(file, 0, ALL)
    # Resampled, a sample at the end may be rounded away.
    assert abs(len(found) - len(expected)) <= blocks + 1
    length = min(len(found), len(expected)) - blocks
    difference = found[:length] - expected[:length]
    assert np.sqrt(np.mean(difference**2)) < error


WAV = [
    ("WAV PCM_U8", 8_000, 1),
    ("WAV PCM_16", 11_025, 2),
    ("WAV PCM_16", 44_100, 8),
    ("WAV PCM_24", 48_000, 3),
    ("WAV PCM_32", 96_000, 6),
    ("WAV FLOAT", 22_050, 5),
    ("WAV DOUBLE", 192_000, 1),
    ("WAV ALAW", 8_000, 2),
    ("WAV ULAW", 16_000, 1),
    ("WAVEX PCM_16", 32_000, 4),
    ("WAVEX PCM_24", 44_100, 7),
    ("WAVEX FLOAT", 16_000, 6),
    ("RF64 PCM_16", 16_000, 2),
    ("RF64 PCM_24", 88_200, 1),
    ("W64 PCM_16", 16_000, 2),
    ("AIFF PCM_16", 44_100, 2),
    ("AIFF PCM_24", 48_000, 1),
    ("AU PCM_16", 16_000, 1),
    ("CAF PCM_16", 16_000, 1),
    ("NIST PCM_16", 16_000, 1),
    ("FLAC PCM_S8", 8_000, 1),
    ("FLAC PCM_16", 16_000, 2),
    ("FLAC PCM_16", 44_100, 5),
    ("FLAC PCM_24", 96_000, 8),
    ("FLAC PCM_24", 192_000, 1),
]


@pytest.mark.parametrize(("kind", "rate", "channels"), WAV)
def test_without_loss(kind: str, rate: int, channels: int) -> None:
    file = encoded(kind, voices(0.7, rate, channels), rate)
    check(file, by_av(file), LOSSLESS)


@pytest.mark.parametrize("kind", ["WAV IMA_ADPCM", "WAV MS_ADPCM"])
def test_adpcm(kind: str) -> None:
    file = encoded(kind, voices(1.0, 16_000), 16_000)
    check(file, by_av(file), 0, error=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000, 192_000])
def test_vorbis(rate: int, channels: int) -> None:
    file = encoded("OGG VORBIS", voices(1.5, rate, channels), rate)
    check(file, by_av(file), max(1, round(VORBIS * 16_000 / rate)) + VORBIS)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 12_000, 16_000, 24_000, 48_000])
def test_opus(rate: int, channels: int) -> None:
    """FFmpeg decodes Opus at 48 kHz, libsndfile at the rate that it was made of."""
    file = encoded("OGG OPUS", voices(1.5, rate, channels), rate)
    check(file, by_av(file), OPUS, error=0.02)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("options", [{}, {"bitrate_mode": "VARIABLE", "compression_level": 0.4}])
def test_mp3(rate: int, channels: int, options: dict[str, Any]) -> None:
    file = encoded("MP3 MPEG_LAYER_III", voices(1.5, rate, channels), rate, **options)
    check(file, by_av(file), round(2 * 1152 * 16_000 / rate), error=1e-3)
    # Without the frame that counts them all are decoded from the first one on, with the silence
    # that the encoder put there.
    bare = without_note(file)
    check(bare, by_av(bare), 0, error=1e-3)
    check(id3(5000) + bare, by_av(bare), 0, error=1e-3)
