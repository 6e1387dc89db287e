"""Files of audio as bytes, honest and broken, and a decoder that is not ours: FFmpeg's, by PyAV."""

import struct
from io import BytesIO
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from compress.speech.audio import SAMPLE_RATE, resampled
from tests.compress.speech.sources.made import chirps

Floats = NDArray[np.float32]


def voices(seconds: float, rate: int, channels: int = 1, seed: int = 0) -> Floats:
    """Sound of which no two stretches and no two channels are alike, float32 [samples, channels]."""
    both = chirps(seconds, rate, seed)
    return np.stack([np.roll(both[:, i % 2], 37 * i) for i in range(channels)], axis=1)


def encoded(kind: str, samples: Floats, rate: int = SAMPLE_RATE, **options: Any) -> bytes:
    """A file of a container and a coding, such as "WAV PCM_16"."""
    container, coding = kind.split()
    file = BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=coding, **options)
    return file.getvalue()


def by_av(*files: bytes) -> Floats:
    """What FFmpeg decodes of files, one after the other, as float32 `[samples]` at 16 kHz."""
    parts, rate = [], 0
    for file in files:
        with av.open(BytesIO(file)) as container:
            stream = container.streams.audio[0]
            rate = stream.rate
            packed = av.AudioResampler(format="flt")  # planes of few samples crash PyAV 18
            for frame in (*container.decode(stream), None):
                for found in packed.resample(frame):
                    channels = found.layout.nb_channels
                    parts.append(found.to_ndarray().reshape(-1, channels).mean(axis=1))
    return np.clip(resampled(np.concatenate(parts).astype(np.float32), rate), -1, 1)


def resized(wave: bytes, riff: int | None = None, data: int | None = None) -> bytes:
    """A WAVE whose headers say other sizes than it has."""
    at = wave.index(b"data")
    if riff is not None:
        wave = wave[:4] + struct.pack("<I", riff) + wave[8:]
    if data is not None:
        wave = wave[: at + 4] + struct.pack("<I", data) + wave[at + 8 :]
    return wave


def with_chunk(wave: bytes, chunk: bytes) -> bytes:
    """A WAVE with a chunk before its samples."""
    at = wave.index(b"data")
    return wave[:at] + chunk + wave[at:]


def with_total(flac: bytes, total: int) -> bytes:
    """A FLAC whose header says another number of samples."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + struct.pack(">I", total) + flac[26:]


def id3(size: int) -> bytes:
    """An ID3v2 tag with a picture's worth of bytes that look like frames of MPEG audio."""
    sizes = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + sizes + (b"\xff\xfb\x90\x44" * size)[:size]


ID3V1 = b"TAG" + b"title".ljust(125, b"\0")


def without_note(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which counts the others."""
    return mp3[frame_bytes(mp3) :]


def frame_bytes(mp3: bytes) -> int:
    """The size of the first frame of layer 3: by the table of the standard."""
    one = mp3[1] >> 3 & 1
    kbps = (
        (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
        if one
        else (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    )[mp3[2] >> 4]
    hz = (44_100, 48_000, 32_000)[mp3[2] >> 2 & 3]
    hz = hz if one else hz // 2 if mp3[1] >> 4 & 1 else hz // 4
    return (144 if one else 72) * 1000 * kbps // hz + (mp3[2] >> 1 & 1)


def vbri(mp3: bytes, frames: int) -> bytes:
    """An MP3 whose first frame counts others as Fraunhofer's encoder does."""
    size = frame_bytes(mp3)
    note = b"VBRI" + bytes(10) + struct.pack(">I", frames)
    return mp3[:4] + bytes(32) + note + bytes(size - 36 - len(note)) + mp3[size:]


def noted(mp3: bytes, frames: int) -> bytes:
    """An MP3 whose first frame counts so many others."""
    at = next(k for mark in (b"Xing", b"Info") if (k := mp3[:64].find(mark)) > 0)
    assert mp3[at + 7] & 1
    return mp3[: at + 8] + struct.pack(">I", frames) + mp3[at + 12 :]


def pages(ogg: bytes) -> list[bytes]:
    """The pages of an Ogg file."""
    found, at = [], 0
    while at < len(ogg):
        assert ogg[at : at + 4] == b"OggS"
        segments = ogg[at + 27 : at + 27 + ogg[at + 26]]
        stop = at + 27 + len(segments) + sum(segments)
        found.append(ogg[at:stop])
        at = stop
    return found


def repaged(page: bytes, position: int | None = None, number: int | None = None) -> bytes:
    """A page that says another position or number, with its checksum made right again."""
    if position is not None:
        page = page[:6] + struct.pack("<q", position) + page[14:]
    if number is not None:
        page = page[:18] + struct.pack("<I", number) + page[22:]
    page = page[:22] + bytes(4) + page[26:]
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) & 0xFFFFFFFF ^ (0x04C11DB7 if crc >> 31 else 0)
    return page[:22] + struct.pack("<I", crc) + page[26:]


def position(page: bytes) -> int:
    return int(struct.unpack("<q", page[6:14])[0])
