"""Reading speech: mono 16 kHz samples out, of a whole file or of a part of one.

Files are decoded block by block, so that what is held at once does not grow with their length.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from math import ceil, gcd
from pathlib import Path
from typing import TYPE_CHECKING

from compress.containers import Bytes, Damaged, Stream, View, streams
from compress.errors import BadAudio
from compress.kept_open import KeptOpen
from exporters.regular import irregular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from soundfile import SoundFile

SAMPLE_RATE = 16_000  # Hz
HOP = 256  # samples: the grid of frames on which students are trained
HOP_RATE = SAMPLE_RATE / HOP  # 62.5 frames a second

# −80 dB of full scale: below the noise floor of any recording of speech.
SILENT_PEAK = 1e-4
# Decoders overshoot full scale a little; a file of 16-bit integers stored as floats is far above.
LOUDEST_PEAK = 4.0
# Outside of these the header is damaged, and the resampling filter could be of any length.
SAMPLE_RATES = range(4_000, 384_001)

BLOCK = 2**20  # frames decoded at once: a minute at 16 kHz
# scipy's polyphase filter reaches so many samples of the lower of its two rates to each side.
REACH = 10
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
# What a file may lack of the length that it says it has: encoders round to whole blocks.
MISSING_S = 0.1


def read(path: Path | str, silence: bool = False) -> "NDArray[np.float32]":
    """Audio of a file as float32 `[samples]`, mono, −1..1, 16 000 Hz.

    Channels are averaged, other sample rates resampled by a polyphase filter. Raises BadAudio when
    the file cannot be decoded, is empty, or holds samples that are no number or off scale; and when
    it is silent, unless `silence` is something that can be heard too.
    """
    import numpy as np

    found = list(blocks(Path(path)))
    peak = max((float(abs(block).max()) for block in found), default=0.0)
    _check_peak(path, sum(map(len, found)), SILENT_PEAK if silence and found else peak)
    return np.concatenate(found)


def read_part(
    file: Path | bytes, start: int, stop: int, name: str = "", channels: tuple[int, ...] = ()
) -> "NDArray[np.float32]":
    """Samples `start` to `stop` at 16 kHz of what `read` would give: float32 `[≤ stop − start]`.

    Fewer where the file ends before. A part may be silent. `file` may be a file's bytes, which
    `name` then stands for in messages. `channels` are those that are averaged, by their place in
    the file, none for all. Raises BadAudio for what cannot be decoded or is off scale in this part.
    """
    import numpy as np

    found = list(blocks(file, start, stop, name, channels))
    return np.concatenate([np.zeros(0, np.float32), *found])


def measure(path: Path) -> int:
    """How many samples `read` would give, and that it would give them. Raises BadAudio as it does."""
    samples, peak = 0, 0.0
    for block in blocks(path):
        samples += len(block)
        peak = max(peak, float(abs(block).max()))
    _check_peak(path, samples, peak)
    return samples


def _check_peak(path: Path | str, samples: int, peak: float) -> None:
    # After averaging and resampling: opposite channels cancel, and ultrasound is not speech.
    if not samples:
        raise BadAudio(path, "it holds no samples")
    if peak < SILENT_PEAK:
        raise BadAudio(path, f"silent: its peak is {peak:.1e}, expected at least {SILENT_PEAK:.0e}")


def blocks(
    file: Path | bytes,
    start: int = 0,
    stop: int | None = None,
    name: str = "",
    channels: tuple[int, ...] = (),
) -> "Iterator[NDArray[np.float32]]":
    """Samples `start` to `stop` at 16 kHz, or to the end, in pieces that are never empty.

    Arguments and errors are those of `read_part`.
    """
    import numpy as np
    import soundfile

    name = name or str(file if isinstance(file, Path) else "audio")
    try:
        with _decoder(file, name) as decoder:
            # So many samples last as long as so many frames: periods, on which blocks are cut.
            up, down = SAMPLE_RATE, decoder.rate
            up, down = up // gcd(up, down), down // gcd(up, down)
            margin = 0 if up == down else ceil((REACH * max(up, down) / up + 1) / down)
            at = max(0, start // up - margin)  # the period in which `heard` begins
            heard: NDArray[np.float32] = np.zeros(0, np.float32)
            decoder.go(at * down)
            while stop is None or start < stop:
                asked = max(1, BLOCK // down) * down
                if stop is not None:
                    asked = min(asked, (ceil(stop / up) + margin - at) * down - len(heard))
                frames = mono(decoder.take(asked), name, channels)
                heard = np.concatenate([heard, frames])
                samples = resampled(heard, decoder.rate)
                ended = len(frames) < asked
                # What comes next changes the last samples, unless nothing does.
                known = at * up + len(samples)
                known = known if ended else (at + len(heard) // down - margin) * up
                known = known if stop is None else min(known, stop)
                if known > start:
                    yield np.clip(samples[start - at * up : known - at * up], -1.0, 1.0)
                    start = known
                if ended:
                    return
                spent = max(0, start // up - margin - at)
                heard, at = heard[spent * down :], at + spent
    except soundfile.LibsndfileError as error:
        raise BadAudio(name, f"not readable as audio: {error.error_string}") from error
    except OSError as error:
        raise BadAudio(name, f"not readable: {error.strerror or error}") from error


def resampled(audio: "NDArray[np.float32]", rate: int) -> "NDArray[np.float32]":
    """Audio at `rate` as audio at 16 kHz, float32 `[samples]` both, by a polyphase filter."""
    from scipy.signal import resample_poly

    if rate == SAMPLE_RATE or not len(audio):
        return audio
    common = gcd(rate, SAMPLE_RATE)
    found: NDArray[np.float32] = resample_poly(audio, SAMPLE_RATE // common, rate // common)
    return found.astype("float32", copy=False)


def mono(
    frames: "NDArray[np.float32]", name: str, channels: tuple[int, ...] = ()
) -> "NDArray[np.float32]":
    """The average of some channels, none for all, float32 `[frames]`, of `[frames, channels]`.

    Raises BadAudio for samples that are no number or off scale.
    """
    import numpy as np

    if any(channel >= frames.shape[1] for channel in channels):
        raise BadAudio(
            name, f"it has {frames.shape[1]} channels, expected at least {max(channels) + 1}"
        )
    if channels:
        frames = frames[:, channels]
    if not np.isfinite(frames).all():
        raise BadAudio(name, "it holds samples that are NaN or infinite")
    peak = float(np.abs(frames).max(initial=0.0))
    if peak > LOUDEST_PEAK:
        raise BadAudio(name, f"its peak is {peak:g}, expected samples in −1..1")
    averaged: NDArray[np.float32] = frames.mean(axis=1)
    return averaged


class _Decoder:
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


_waiting: KeptOpen[_Decoder] = KeptOpen(4)  # for the next part of their file


@contextmanager
def _decoder(file: Path | bytes, name: str) -> Iterator[_Decoder]:
    stamp = None
    if isinstance(file, Path):
        if found := irregular(file):
            raise BadAudio(name, f"no file of audio: {found}")
        now = file.stat()
        stamp = (now.st_size, now.st_mtime_ns)
    decoder = _waiting.take(lambda d: d.stamp == stamp and d.is_of(file))
    decoder = decoder or _Decoder(file, name, stamp)
    try:
        yield decoder
    except BaseException:
        decoder.close()
        raise
    if decoder.forward and not decoder.ended:
        _waiting.put(decoder)
    else:
        decoder.close()
