"""Reading speech: folders of audio in, mono 16 kHz samples and a list of usable clips out."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import AudioError, BadAudio
from compress.store import file_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["HOP", "HOP_RATE", "SAMPLE_RATE", "Clip", "Skipped", "Speech", "excerpt", "read", "scan"]

SAMPLE_RATE = 16_000  # Hz
HOP = 256  # samples: the grid of frames on which students are trained
HOP_RATE = SAMPLE_RATE / HOP  # 62.5 frames a second

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")

# −80 dB of full scale: below the noise floor of any recording of speech.
SILENT_PEAK = 1e-4
# Decoders overshoot full scale a little; a file of 16-bit integers stored as floats is far above.
LOUDEST_PEAK = 4.0
# Outside of these the header is damaged, and the resampling filter could be of any length.
SAMPLE_RATES = range(4_000, 384_001)


@dataclass(frozen=True)
class Clip:
    """One usable file of speech.

    `id` is its path below `folder` without the suffix, with `/` between; `seconds` its length as
    read; `sha256` that of the file's bytes.
    """

    id: str
    path: Path
    folder: Path
    seconds: float
    sha256: str


@dataclass(frozen=True)
class Skipped:
    """One file that looks like audio and cannot be used."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Speech:
    """What a scan found: usable clips sorted by id, unusable files sorted by path."""

    clips: tuple[Clip, ...]
    skipped: tuple[Skipped, ...]


def read(path: Path | str) -> "NDArray[np.float32]":
    """Audio of a file as float32 [samples], mono, −1..1, 16 000 Hz.

    Channels are averaged, other sample rates resampled by a polyphase filter. Raises BadAudio when
    the file cannot be decoded, is silent or empty, or holds samples that are no number or off scale.
    """
    import numpy as np
    import soundfile
    from scipy.signal import resample_poly

    if not Path(path).is_file():  # a pipe would wait for ever
        raise BadAudio(path, "no file, or a broken link")
    try:
        rate = soundfile.info(path).samplerate
        if rate not in SAMPLE_RATES:
            accepted = f"{SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} Hz"
            raise BadAudio(path, f"its sample rate is {rate} Hz, expected {accepted}")
        channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise BadAudio(path, f"not readable as audio: {error.error_string}") from error
    if len(channels) == 0:
        raise BadAudio(path, "it holds no samples")
    if not np.isfinite(channels).all():
        raise BadAudio(path, "it holds samples that are NaN or infinite")
    peak = float(np.abs(channels).max())
    if peak > LOUDEST_PEAK:
        raise BadAudio(path, f"its peak is {peak:g}, expected samples in −1..1")
    audio: NDArray[np.float32] = channels.mean(axis=1)
    if rate != SAMPLE_RATE:
        common = gcd(rate, SAMPLE_RATE)
        audio = resample_poly(audio, SAMPLE_RATE // common, rate // common)
    # After averaging and resampling: opposite channels cancel, and ultrasound is not speech.
    peak = float(np.abs(audio).max())
    if peak < SILENT_PEAK:
        raise BadAudio(path, f"silent: its peak is {peak:.1e}, expected at least {SILENT_PEAK:.0e}")
    return np.clip(audio, -1.0, 1.0).astype(np.float32, copy=False)


def scan(
    folders: Sequence[Path],
    *,
    min_clip_s: float,
    max_bad_share: float,
    progress: Callable[[int, int], None] | None = None,
) -> Speech:
    """Read every audio file below `folders` and list which can be used.

    Hidden files and links to folders are not followed. `progress` is called with the files read so
    far and all files. Raises AudioError when a folder is missing or has no audio, when two clips
    would have the same id, or when more than `max_bad_share` (0 to 1) of the files are unusable.
    """
    found = [(path, folder) for folder in folders for path in _audio_files(folder)]

    def inspect(entry: tuple[Path, Path]) -> Clip | Skipped:
        path, folder = entry
        try:
            return _clip(path, folder, min_clip_s)
        except BadAudio as error:
            return Skipped(path, error.reason)

    results = []
    # Decoding happens in C, outside of Python's lock.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for result in pool.map(inspect, found):
            results.append(result)
            if progress is not None:
                progress(len(results), len(found))
    clips = sorted((r for r in results if isinstance(r, Clip)), key=lambda clip: clip.id)
    skipped = sorted((r for r in results if isinstance(r, Skipped)), key=lambda file: file.path)
    _check_ids(clips)
    if not clips or len(skipped) > max_bad_share * len(results):
        raise AudioError(_too_many(skipped, len(results), max_bad_share))
    return Speech(tuple(clips), tuple(skipped))


def excerpt(folders: Sequence[Path], seconds: float) -> "NDArray[np.float32]":
    """The first usable clips below `folders`, one after the other, float32 [samples] at 16 kHz.

    As many as make so many seconds, and no more, or all that there are. Reads no further. Raises
    AudioError when a folder is missing, or when no clip can be used.
    """
    import numpy as np

    found: list[NDArray[np.float32]] = []
    wanted, reasons = round(seconds * SAMPLE_RATE), []
    for path in (path for folder in folders for path in _audio_files(folder)):
        if sum(map(len, found)) >= wanted:
            break
        try:
            found.append(read(path))
        except BadAudio as error:
            reasons.append(str(error))
    if not found:
        raise AudioError(f"No audio can be used: {'; '.join(reasons[:3])}.")
    return np.concatenate(found)[:wanted]


def _audio_files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "not there"
        raise AudioError(
            f"The folder of audio {folder} is {found}; expected a folder. Check the path."
        )
    count = 0
    for here, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                count += 1
                yield Path(here, name)
    if not count:
        raise AudioError(
            f"The folder {folder} and the folders in it hold no audio; looked for files that end in "
            f"{', '.join(SUFFIXES)}. Convert other formats first, for example with ffmpeg."
        )


def _unreadable(error: OSError) -> None:
    raise AudioError(f"The folder {error.filename} cannot be listed: {error.strerror}.") from error


def _clip(path: Path, folder: Path, min_clip_s: float) -> Clip:
    try:
        name = path.relative_to(folder).with_suffix("").as_posix()
        name.encode()
    except UnicodeEncodeError as error:
        raise BadAudio(path, "its name is not valid UTF-8") from error
    seconds = len(read(path)) / SAMPLE_RATE
    if seconds < min_clip_s:
        raise BadAudio(path, f"too short: {seconds:.2f} s, expected at least {min_clip_s:g} s")
    return Clip(name, path, folder, seconds, file_hash(path))


def _check_ids(clips: Sequence[Clip]) -> None:
    for one, other in pairwise(clips):
        if one.id == other.id:
            raise AudioError(
                f"{one.path} and {other.path} would both be the clip {one.id}. Keep one of them, or "
                f"name the folder above both as the source: its sub-folders then are part of the ids."
            )


def _too_many(skipped: Sequence[Skipped], files: int, max_bad_share: float) -> str:
    first = "; ".join(f"{file.path}: {file.reason}" for file in skipped[:3])
    more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return (
        f"{len(skipped)} of {files} audio files cannot be used, expected a share of at most "
        f"{max_bad_share:g}: {first}{more}. Repair or remove them, or raise speech.max_bad_share."
    )
