"""Where the sound lies in a file, found without trusting what its headers say of lengths.

libsndfile reads one stream a file, and no further than a header says or an estimate goes. Recorders
that die, pipes, cutters and `cat` write files that hold more. Each module of this package walks one
container and says which streams it holds; libsndfile then gets each of them with a header that is
right. A file that libsndfile reads whole as it is has no streams here.
"""

from typing import Protocol

from compress.speech.containers import flac, mpeg, ogg, wav
from compress.speech.containers.stream import Bytes, Damaged, Stream, View, after_id3

__all__ = ["Bytes", "Damaged", "Stream", "View", "streams"]


class Container(Protocol):
    """What a module of this package defines."""

    def begins(self, data: Bytes, start: int) -> bool:
        """Whether one begins at byte `start`."""

    def streams(self, data: Bytes, start: int) -> tuple[Stream, ...]:
        """As `streams` below, for one that begins at byte `start`."""


CONTAINERS: tuple[Container, ...] = (wav, flac, ogg, mpeg)


def streams(data: Bytes) -> tuple[Stream, ...]:
    """The streams of a file, in order; none where libsndfile reads the file whole as it is.

    Raises `Damaged` where parts of the sound are missing or lengths cannot both be right.
    """
    start = after_id3(data, 0)
    container = next((each for each in CONTAINERS if each.begins(data, start)), None)
    return () if container is None else container.streams(data, start)
