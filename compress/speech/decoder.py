"""Decoding a file of audio: every stream of it, from front to back or from any frame on."""

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import BadAudio
from compress.speech.containers import Bytes, Damaged, Stream, View, streams
from compress.speech.containers.stream import MISSING_S
from compress.speech.kept_open import KeptOpen
from exporters.regular import irregular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from soundfile import SoundFile

# Outside of these the header is damaged, and the resampling filter could be of any length.
SAMPLE_RATES = range(4_000, 384_001)
BLOCK = 2**20  # frames decoded at once: a minute at 16 kHz
# Where each sample stands for itself libsndfile goes to any of them exactly.
WIDTHS = {
    8: "PCM_S8 PCM_U8 ULAW ALAW",
    16: "PCM_16",
    24: "PCM_24",
    32: "PCM_32 FLOAT",
    64: "DOUBLE",
}
PLAIN = {name: bits // 8 for bits, names in WIDTHS.items() for name in names.split()}  # to bytes
# Containers whose streams are looked for. In a file of another only so many bytes may be no sound.
WALKED = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3")
NO_SOUND = 2**14
# Not so MP3, Vorbis and Opus, tried with a second of lead: they are decoded from the start, and stay
# open where a part has ended, with so many frames at hand that the next part's margin is among them.
RECENT = 2**18


class Decoder:
    """A file that libsndfile decodes, stream by stream, which goes to any frame exactly."""

    def __init__(self, file: Path | bytes, name: str, stamp: tuple[int, int] | None) -> None:
        self.file, self.name, self.stamp = file, name, stamp
        try:
            self.streams = _streams_of(file, stamp) if isinstance(file, Path) else _streams(file)
        except Damaged as error:
            raise BadAudio(name, str(error)) from error
        self._open()
        if self.rate not in SAMPLE_RATES:
            accepted = f"{SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} Hz"
            raise BadAudio(name, f"its sample rate is {self.rate} Hz, expected {accepted}")
        self._check_size()

    def _check_size(self) -> None:
        """Raise BadAudio where a file of another container is longer than its header says."""
        sound = self.sound
        if sound.format in WALKED or sound.subtype not in PLAIN:
            return
        whole = len(self.file) if isinstance(self.file, bytes) else self.file.stat().st_size
        said = sound.frames * sound.channels * PLAIN[sound.subtype]
        if whole - said > NO_SOUND:
            raise BadAudio(
                self.name,
                f"its {sound.format} header says that it holds {said} bytes of sound, and the file is "
                f"{whole} bytes long; convert it to wav or flac, for example with ffmpeg",
            )

    def _open(self) -> None:
        self.stream, self.sound = 0, self._opened(0)
        self.rate: int = self.sound.samplerate
        self.forward = len(self.streams) > 1 or self.sound.subtype not in PLAIN
        self.at, self.ended = 0, False
        self.done = 0  # frames of this stream
        self.recent = self.sound.read(0, dtype="float32", always_2d=True)  # frames before `at`
        self.again = 0  # how many of them are taken again

    def _opened(self, stream: int) -> "SoundFile":
        import soundfile

        class Steady(soundfile.SoundFile):  # type: ignore[misc]
            """One that does not seek to where it is after each read, which soundfile does otherwise."""

            def seekable(self) -> bool:
                return False

        if not self.streams and isinstance(self.file, Path) and sys.platform != "win32":
            return Steady(os.fsencode(self.file))  # soundfile fails at names that are no UTF-8
        if not self.streams:
            return Steady(BytesIO(self.file) if isinstance(self.file, bytes) else self.file)
        whole = BytesIO(self.file) if isinstance(self.file, bytes) else self.file.open("rb")
        return Steady(View(whole, self.streams[stream]))

    def _decode(self, frames: int) -> "NDArray[np.float32]":
        """The next frames, of whatever streams they are: fewer where the last one ends."""
        import numpy as np

        parts, missing = [], frames
        while True:
            # Asked for more, libsndfile decodes what lies behind the sound too, and may fail at it.
            asked = max(0, min(missing, self.sound.frames - self.done))
            part = self.sound.read(asked, dtype="float32", always_2d=True)
            parts.append(part)
            missing -= len(part)
            self.done += len(part)
            if not missing:
                break
            self._check_whole()
            if self.stream + 1 >= len(self.streams):
                break
            self._go_on()
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _check_whole(self) -> None:
        """Raise BadAudio where a stream ended before it should by what is known of it."""
        frames = self.streams[self.stream].frames if self.streams else None
        said = self.sound.frames if frames is None else frames
        if said - self.done > MISSING_S * self.rate:
            raise BadAudio(
                self.name,
                f"it is damaged: it should be {said / self.rate:.2f} s long, and "
                f"{self.done / self.rate:.2f} s of it can be decoded",
            )

    def _go_on(self) -> None:
        before = self.sound.samplerate, self.sound.channels
        self.sound.close()
        self.stream, self.done = self.stream + 1, 0
        self.sound = self._opened(self.stream)
        found = self.sound.samplerate, self.sound.channels
        if found != before:
            raise BadAudio(
                self.name,
                f"it is {len(self.streams)} recordings joined, of {before[0]} Hz and {before[1]} "
                f"channels and of {found[0]} Hz and {found[1]}; expected one format throughout",
            )

    def close(self) -> None:
        self.sound.close()

    def is_of(self, file: Path | bytes) -> bool:
        """Whether it decodes this file; bytes are not compared."""
        return self.file is file or (isinstance(file, Path) and self.file == file)

    def go(self, frame: int) -> None:
        """The next frame taken is `frame`."""
        if not self.forward:
            self.done = self.sound.seek(min(frame, self.sound.frames))
            return
        if frame < self.at - len(self.recent):
            self.close()
            self._open()
        while frame > self.at and not self.ended:
            self.again = 0
            self.take(min(BLOCK, frame - self.at))
        self.again = max(0, self.at - frame)

    def take(self, frames: int) -> "NDArray[np.float32]":
        """The next frames, float32 `[frames, channels]`: fewer where the file ends."""
        import numpy as np

        if not self.forward:
            return self._decode(frames)
        held = self.recent[len(self.recent) - self.again :][:frames]
        self.again -= len(held)
        found = self._decode(frames - len(held))
        self.ended = len(found) < frames - len(held)
        self.at += len(found)
        self.recent = np.concatenate([self.recent, found[-RECENT:]])[-RECENT:].copy()
        return np.concatenate([held, found]) if len(held) else found


def _streams(file: Path | bytes) -> tuple[Stream, ...]:
    with BytesIO(file) if isinstance(file, bytes) else file.open("rb") as whole:
        return streams(Bytes(whole))


@lru_cache(1024)
def _streams_of(file: Path, stamp: tuple[int, int] | None) -> tuple[Stream, ...]:
    """The streams of a file as it was then, kept for its next part."""
    return _streams(file)


_waiting: KeptOpen[Decoder] = KeptOpen(4)  # for the next part of their file
# Before the interpreter takes soundfile apart, which a file that is still open complains about.
atexit.register(_waiting.close)


@contextmanager
def decoder_of(file: Path | bytes, name: str) -> Iterator[Decoder]:
    """A decoder of a file, or of its bytes; `name` is what messages call it.

    Raises `BadAudio` for what cannot be read, also where that comes out while it is used.
    """
    import soundfile

    stamp = None
    try:
        if isinstance(file, Path):
            if found := irregular(file):
                raise BadAudio(name, f"it is {found}, expected an audio file")
            now = file.stat()
            stamp = (now.st_size, now.st_mtime_ns)
        decoder = _waiting.take(lambda d: d.stamp == stamp and d.is_of(file))
        decoder = decoder or Decoder(file, name, stamp)
        try:
            yield decoder
        except BaseException:
            decoder.close()
            raise
    except soundfile.LibsndfileError as error:
        raise BadAudio(name, f"not readable as audio: {error.error_string}") from error
    except OSError as error:
        raise BadAudio(name, f"not readable: {error.strerror or error}") from error
    if decoder.forward and not decoder.ended:
        _waiting.put(decoder)
    else:
        decoder.close()


def rewritten(file: Path | bytes, name: str) -> bytes | None:
    """All of a file as one WAVE of floats, for other programs; None for a file that is whole as it is."""
    import numpy as np
    import soundfile

    with decoder_of(file, name) as decoder:
        if not decoder.streams:
            return None
        decoder.go(0)
        parts = [decoder.take(BLOCK)]
        while len(parts[-1]):
            parts.append(decoder.take(BLOCK))
    whole = BytesIO()
    soundfile.write(whole, np.concatenate(parts), decoder.rate, format="WAV", subtype="FLOAT")
    return whole.getvalue()
