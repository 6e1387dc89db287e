"""A folder of audio: every file in it, and in the folders below, is a clip."""

import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.assets import PREFIX, resolve
from compress.errors import AudioError, BadAudio
from compress.speech import audio
from compress.speech.alignments import FILE as ALIGNMENTS
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import Clip, PassedOver, Scanned, Skipped, printable, silent
from compress.speech.sources.scan_memory import Known, ScanMemory, Stamp, open_memory
from compress.store import file_hash
from exporters.regular import irregular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOUGHT = "a folder of audio"
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
AT_ONCE = 1024  # files after which what was found is kept, should the scan be interrupted


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
        # One sample more than there should be, where the file should end.
        found = audio.read_part(self.path, start, stop + (stop == self.samples))
        if len(found) != stop - start:
            raise BadAudio(
                self.path,
                f"it changed while lipstill ran: found {sum(map(len, audio.blocks(self.path)))} "
                f"samples, expected the {self.samples} that it had at first. Start again.",
            )
        return found


def find(name: str, base: Path) -> bool:
    """Whether it is a folder, and not one of shards. Raises `InputError` for an unknown builtin."""
    folder = resolve(name, base)
    return folder.is_dir() and next(folder.glob("cuts.[0-9]*.jsonl*"), None) is None


def look(
    name: str, base: Path = Path(), min_clip_s: float = 0.0, timeout_s: float = 0.0
) -> Iterator[Clip | Skipped]:
    """Files one by one, by path. Raises AudioError when the folder is missing or has no audio."""
    folder = resolve(name, base)
    for path in _audio_files(folder, Counter(), []):
        yield _entry(path, folder, _inspect(path), min_clip_s)


def scan(
    name: str,
    base: Path = Path(),
    min_clip_s: float = 0.0,
    progress: Callable[[int, int], None] = silent,
    timeout_s: float = 0.0,
) -> Scanned:
    """Read every audio file below a folder, but those that an earlier scan has read; clips by id.

    Hidden files are not looked at. Files of other endings and links to folders are counted, but not
    those of a folder that lipstill ships. `progress` is called with the files known so
    far and all files. Raises AudioError when the folder is missing or has no audio.
    """
    folder = resolve(name, base)
    others: Counter[str] = Counter()
    links: list[str] = []
    paths = list(_audio_files(folder, others, links))
    found: list[Clip | Skipped] = []
    with open_memory() as memory:
        for start in range(0, len(paths), AT_ONCE):
            with closing(_known(paths[start : start + AT_ONCE], memory)) as inspected:
                for path, known in inspected:
                    found.append(_entry(path, folder, known, min_clip_s))
                    progress(len(found), len(paths))
    clips = sorted((f for f in found if isinstance(f, Clip)), key=lambda clip: clip.id)
    skipped = sorted((f for f in found if isinstance(f, Skipped)), key=lambda file: file.path)
    passed = PassedOver(name, dict(sorted(others.items())), tuple(sorted(links)))
    said = passed if (others or links) and not name.startswith(PREFIX) else None
    return Scanned(tuple(clips), tuple(skipped), folder, said)


def _known(paths: list[Path], memory: ScanMemory) -> Generator[tuple[Path, Known], None, None]:
    """What each file holds, in order. What had to be read is remembered, also where that is cut short."""
    stamps = {path: stamp for path in paths if (stamp := _stamp(path)) is not None}
    recalled = memory.recall(stamps.values())
    unknown = [path for path in paths if stamps.get(path) not in recalled]
    new: dict[Stamp, Known] = {}
    read_at_ns = time.time_ns()
    # Decoding happens in C, outside of Python's lock.
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        inspected = iter(pool.map(_inspect, unknown))
        for path in paths:
            stamp = stamps.get(path)
            if stamp is not None and stamp in recalled:
                yield path, recalled[stamp]
                continue
            known = next(inspected)
            if stamp is not None and known.sha256:
                new[stamp] = known
            yield path, known
    finally:
        pool.shutdown(cancel_futures=True)
        memory.remember(new, read_at_ns)


def _stamp(path: Path) -> Stamp | None:
    try:
        return Stamp.of(path)
    except OSError:  # a broken link
        return None


def _inspect(path: Path) -> Known:
    try:
        return Known(audio.measure(path), file_hash(path))
    except BadAudio as error:
        reason = error.reason
    if irregular(path):  # to hash a pipe would wait for ever
        return Known(0, "", reason)
    try:
        return Known(0, file_hash(path), reason)
    except OSError:  # the disk's fault, which may pass
        return Known(0, "", reason)


def _entry(path: Path, folder: Path, known: Known, min_clip_s: float) -> Clip | Skipped:
    name = path.relative_to(folder).with_suffix("").as_posix()
    reason, seconds = known.reason, known.samples / SAMPLE_RATE
    try:
        name.encode()
    except UnicodeEncodeError:
        reason = "its name is not valid UTF-8"
    if not reason and seconds < min_clip_s:
        reason = f"too short: {seconds:.2f} s, expected at least {min_clip_s:g} s"
    if reason:
        place = path.relative_to(folder.parent).as_posix()
        return Skipped(printable(place), printable(path), reason)
    source = FileSource(path, known.samples)
    return Clip(name, source, 0, known.samples, known.samples, known.sha256, name)


def _audio_files(folder: Path, others: Counter[str], links: list[str]) -> Iterator[Path]:
    """Audio below a folder, by path. Adds to `others` the endings of what is passed over, and to
    `links` the links to folders.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "not there"
        raise AudioError(
            f"The folder of audio {folder} is {found}; expected a folder. Check the path."
        )
    count = 0
    for here, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links += [
            printable(path.relative_to(folder).as_posix())
            for name in folders
            if (path := Path(here, name)).is_symlink()
        ]
        for name in sorted(names):
            ending = Path(name).suffix.lower()
            if name.startswith(".") or Path(here, name) == folder / ALIGNMENTS:
                continue
            if ending not in SUFFIXES:
                others[printable(ending)] += 1
                continue
            count += 1
            yield Path(here, name)
    if not count:
        raise AudioError(
            f"The folder {folder} and the folders in it hold no audio; looked for files that end in "
            f"{', '.join(SUFFIXES)}. Convert other formats first, for example with ffmpeg."
        )


def _unreadable(error: OSError) -> None:
    raise AudioError(f"The folder {error.filename} cannot be listed: {error.strerror}.") from error
