"""Sources of speech, and how the audio of one clip is read. One file a format.

A format is a module of this package that defines what `Format` says. A new format is a new module;
nothing is registered. It is imported to look at names: what it needs to read it imports then.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from compress.speech.audio import SAMPLE_RATE
from exporters.contracts import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Source(Protocol):
    """Where the audio of a recording, or of a cut of one, lies: frozen, small, and able to travel
    to another process.
    """

    @property
    def name(self) -> str:
        """For messages: its path or URL."""

    @property
    def local(self) -> bool:
        """Whether it lies in a file of this machine, to be read again at any time."""

    @property
    def group(self) -> str:
        """What can only be read from front to back, such as a tar; empty where each can be had alone."""

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        """Samples `start` to `stop` at 16 kHz: float32 `[stop - start]`, mono, −1..1.

        Sources of one group are read in the order of their scan. Raises `BadAudio` for what cannot
        be decoded, is off scale, has another length than it had, or does not come in time.
        """


@dataclass(frozen=True)
class Clip:
    """One usable piece of speech: a whole recording or cut, or a part of a long one.

    `id` is its name within its source; `start` and `samples` say which part it is of the `total`
    samples at 16 kHz; `sha256` stands for the whole's bytes, or for what a manifest says of it.
    `recording` is the id of the whole, by which sides are divided.
    """

    id: str
    source: Source
    start: int
    samples: int
    total: int
    sha256: str
    recording: str

    @property
    def seconds(self) -> float:
        return self.samples / SAMPLE_RATE

    @property
    def path(self) -> str:
        """Where it lies, for messages."""
        return self.source.name

    def read(self) -> "NDArray[np.float32]":
        """Its samples at 16 kHz: float32 `[samples]`. Raises `BadAudio`."""
        return self.source.read(self.start, self.start + self.samples)


@dataclass(frozen=True)
class Skipped:
    """One recording that cannot be used. `name` is that from its source on, `path` where it lies."""

    name: str
    path: str
    reason: str


@dataclass(frozen=True)
class PassedOver:
    """What lies in the folder `source` and is not looked at: how many files of which endings, in
    small letters, and links to other folders.
    """

    source: str
    endings: Mapping[str, int]
    links: tuple[str, ...]

    def __str__(self) -> str:
        counts = sorted(self.endings.items(), key=lambda item: (-item[1], item[0]))
        found = [f"{count} {ending or 'without an ending'}" for ending, count in counts]
        if self.links:
            more = f" and {len(self.links) - 3} more" if len(self.links) > 3 else ""
            word = "link" if len(self.links) == 1 else "links"
            found.append(f"the {word} to folders {', '.join(self.links[:3])}{more}")
        return f"{self.source}: {', '.join(found)}"


@dataclass(frozen=True)
class Scanned:
    """What a scan found, in the order in which it is best read; unusable ones by name.

    `folder` is where notes on the speech may lie, such as alignments; None for what has no folder.
    """

    clips: tuple[Clip, ...]
    skipped: tuple[Skipped, ...]
    folder: Path | None = None
    passed_over: PassedOver | None = None


def printable(name: str | Path) -> str:
    """A name for messages and files of text: bytes of it that are no UTF-8 are written as numbers."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


class Format(Protocol):
    """What a module of this package defines to be a format of sources."""

    __name__: str
    SOUGHT: str
    """What `find` looks for, for messages."""

    def find(self, name: str, base: Path) -> bool:
        """Whether a recipe's `name`, relative to `base`, is a source of this format."""

    def look(
        self, name: str, base: Path, min_clip_s: float, timeout_s: float
    ) -> Iterator[Clip | Skipped]:
        """The clips of the source one by one, for whoever needs the first of them only.

        Arguments and errors are those of `scan`.
        """

    def scan(
        self,
        name: str,
        base: Path,
        min_clip_s: float,
        progress: Callable[[int, int], None],
        timeout_s: float,
    ) -> Scanned:
        """Every clip of the source, each whole.

        `progress` is told what is done, and of how much. What is fetched from elsewhere, now or
        when a clip is read, has `timeout_s` to come. Raises `AudioError` for a source that is not
        there or cannot be read at all.
        """


FORMATS: Kind[Format] = Kind("format of sources", __name__, Format)


def parts(clip: Clip, longest_s: float) -> Sequence[Clip]:
    """A clip, or where it is longer than `longest_s` its parts of that length, in order.

    Each but the last is as long; the last is up to twice as short as that, or one and a half times
    as long. Parts are named by the second in which they begin.
    """
    length = round(longest_s * SAMPLE_RATE)
    count = max(1, round(clip.samples / length))
    if clip.samples <= length or count == 1:
        return [clip]
    starts = [i * length for i in range(count)] + [clip.samples]
    return [
        Clip(
            f"{clip.id}@{start // SAMPLE_RATE:06d}",
            clip.source,
            clip.start + start,
            stop - start,
            clip.total,
            clip.sha256,
            clip.recording,
        )
        for start, stop in pairwise(starts)
    ]
