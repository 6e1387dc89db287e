"""A folder of audio: every file in it, and in the folders below, is a clip."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from compress import audio
from compress.audio import SAMPLE_RATE
from compress.errors import AudioError, BadAudio
from compress.sources import Clip, Skipped
from compress.store import file_hash

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


@dataclass(frozen=True)
class FileSource:
    """A file of audio on this machine, of `samples` at 16 kHz."""

    path: Path
    samples: int
    local: bool = True
    group: str = ""

    @property
    def name(self) -> str:
        return str(self.path)

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        found = audio.read(self.path)
        if len(found) != self.samples:
            raise BadAudio(
                self.path,
                f"it changed while lipstill ran: found {len(found)} samples, expected the "
                f"{self.samples} that it had at first. Start again.",
            )
        return found[start:stop]


@dataclass(frozen=True)
class Speech:
    """What a scan found: usable clips sorted by id, unusable files sorted by path."""

    clips: tuple[Clip, ...]
    skipped: tuple[Skipped, ...]


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
            return Skipped(path.relative_to(folder.parent).as_posix(), str(path), error.reason)

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
            found.append(audio.read(path))
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
    samples = len(audio.read(path))
    if (seconds := samples / SAMPLE_RATE) < min_clip_s:
        raise BadAudio(path, f"too short: {seconds:.2f} s, expected at least {min_clip_s:g} s")
    source = FileSource(path, samples)
    return Clip(name, source, 0, samples, samples, file_hash(path), name)


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
