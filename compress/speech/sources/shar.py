"""A Lhotse Shar folder: cuts in shards, and beside each the audio of its cuts in a tar."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import AudioError
from compress.recipe.yaml_files import parse
from compress.speech import audio
from compress.speech.sources import Clip, Scanned, Skipped, remote, silent
from compress.speech.sources.cuts import LONGER, columns, completed, lines, parsed, samples_of
from compress.speech.sources.manifest import too_short
from compress.speech.sources.remote import TIMEOUT_S, is_url, shown, suffixes
from compress.speech.sources.tars import member
from compress.texts import decoded
from exporters.files import user_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOUGHT = (
    "a Lhotse Shar folder (cuts.000000.jsonl.gz beside recording.000000.tar; by URL with a / at its "
    "end), or a .json or .yaml file of its fields, cuts and recording, each a list of paths or URLs"
)
FIELDS = (".json", ".yaml", ".yml")
CUTS = re.compile(r"cuts\.(\d+)\.jsonl(\.gz)?")


@dataclass(frozen=True, slots=True)
class SharSource:
    """The audio of one cut in a tar, from its sample `first` at 16 kHz on.

    `channels` are averaged, by their place in the file, none for all. `whole` are its samples where
    the audio should end with it, else 0.
    """

    group: str
    cut: str
    first: int
    channels: tuple[int, ...]
    whole: int
    timeout_s: float

    @property
    def name(self) -> str:
        return f"{shown(self.group)} ({self.cut})"

    @property
    def local(self) -> bool:
        return not is_url(self.group)

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        file = member(self.group, self.cut, self.timeout_s, self.name)
        first = self.first + start
        last = self.first + stop + (LONGER if stop == self.whole else 0)
        found = audio.read_part(file, first, last, self.name, self.channels)
        return completed(found, stop - start, self.name)


def find(name: str, base: Path) -> bool:
    """Whether it is a URL that ends with a /, a folder with shards of cuts, or a file of fields."""
    if is_url(name):
        return shown(name).endswith("/") or suffixes(name).endswith(FIELDS)
    path = user_path(name, base)
    if path.is_dir():
        return any(CUTS.fullmatch(file.name) for file in path.iterdir())
    return path.is_file() and path.name.lower().endswith(FIELDS)


def look(
    name: str, base: Path = Path(), min_clip_s: float = 0.0, timeout_s: float = TIMEOUT_S
) -> Iterator[Clip | Skipped]:
    """Its cuts one by one, in the order of their shards. Raises `AudioError` as `scan` does."""
    for cuts, tar in _shards(name, base, timeout_s):
        yield from _cuts(cuts, tar, min_clip_s, timeout_s)


def scan(
    name: str,
    base: Path = Path(),
    min_clip_s: float = 0.0,
    progress: Callable[[int, int], None] = silent,
    timeout_s: float = TIMEOUT_S,
) -> Scanned:
    """Every cut, in the order of the shards. Only cuts are read, but each tar has to be there."""
    clips: list[Clip] = []
    skipped: list[Skipped] = []
    shards = list(_shards(name, base, timeout_s))

    def read(shard: tuple[str, str]) -> list[Clip | Skipped]:
        return list(_cuts(*shard, min_clip_s, timeout_s))

    for done, found in enumerate(remote.side_by_side(read, shards), 1):
        clips += [entry for entry in found if isinstance(entry, Clip)]
        skipped += [entry for entry in found if isinstance(entry, Skipped)]
        progress(done, len(shards))
    return Scanned(tuple(clips), tuple(skipped))


def _cuts(cuts: str, tar: str, min_clip_s: float, timeout_s: float) -> Iterator[Clip | Skipped]:
    if not (remote.exists(tar, timeout_s) if is_url(tar) else os.path.isfile(tar)):
        raise AudioError(
            f"The shard {shown(cuts)} has no tar of its recordings: {shown(tar)} is not there."
        )
    for number, line, _ in lines(cuts, timeout_s):
        entry = parsed(line, f"{shown(cuts)}, line {number}", "", shar=True)
        (held,) = entry.kept["sources"]
        chosen = columns(held, entry.kept.get("channels"))
        first = samples_of(entry.kept["start"])
        source = SharSource(tar, entry.id, first, chosen, entry.kept["whole"], timeout_s)
        if short := too_short(entry, min_clip_s):
            title = f"{shown(cuts).rpartition('/')[2]}: {entry.id}"
            yield Skipped(title, source.name, short)
            continue
        whole = entry.samples
        yield Clip(entry.id, source, 0, whole, whole, entry.sha256, entry.recording)


# ------------------------------------------------------------------------------------------------
# where the shards lie


def _shards(name: str, base: Path, timeout_s: float) -> Iterator[tuple[str, str]]:
    """Cuts and tar of each shard, as absolute paths or URLs, in order."""
    folder = user_path(name, base).absolute()
    if not folder.is_dir() and suffixes(name).endswith(FIELDS):
        yield from _listed(name, base, timeout_s)
    elif is_url(name):
        yield from _numbered(name, timeout_s)
    else:
        for file in sorted(folder.iterdir()):
            if match := CUTS.fullmatch(file.name):
                yield str(file), str(folder / f"recording.{match[1]}.tar")


def _numbered(url: str, timeout_s: float) -> Iterator[tuple[str, str]]:
    """Shards from 000000 on, until one is not there: most stores list no folders."""

    def cuts(number: int) -> str:
        return remote.beside(url, f"cuts.{number:06d}.jsonl.gz")

    def exists(number: int) -> bool:
        return remote.exists(cuts(number), timeout_s)

    for number, there in enumerate(remote.side_by_side(exists, count())):
        if there:
            yield cuts(number), remote.beside(url, f"recording.{number:06d}.tar")
        elif number:
            return
        else:
            raise AudioError(
                f"{shown(url)} is no Lhotse Shar folder: {shown(cuts(0))} is not there. Where "
                f"shards are numbered otherwise, name a .json file that lists them: "
                f'{{"cuts": [URL, …], "recording": [URL, …]}}.'
            )


def _listed(name: str, base: Path, timeout_s: float) -> Iterator[tuple[str, str]]:
    place = name if is_url(name) else str(user_path(name, base).absolute())
    try:
        text = remote.fetch(name, timeout_s) if is_url(name) else Path(place).read_bytes()
        fields = json.loads(text) if suffixes(place).endswith(".json") else parse(decoded(text))
        cuts, tars = ([_beside(place, str(path)) for path in fields[key]] for key in _KEYS)
        if len(cuts) != len(tars) or not cuts:
            raise ValueError(f"found {len(cuts)} shards of cuts and {len(tars)} of recording")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AudioError(
            f"{shown(place)} does not list the shards of a Lhotse Shar ({type(error).__name__}: "
            f"{error}). Expected {{cuts: […], recording: […]}}, two lists of as many paths or URLs."
        ) from error
    yield from zip(cuts, tars, strict=True)


_KEYS = ("cuts", "recording")


def _beside(place: str, path: str) -> str:
    if path.startswith("pipe:"):
        raise ValueError(f"{path} is a command, and a list of shards runs none")
    if is_url(path) or is_url(place):
        return remote.beside(place, path)
    return str(user_path(path, Path(place).parent))
