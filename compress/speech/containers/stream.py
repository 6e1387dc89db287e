"""A file of audio as bytes: to look at, and to give to libsndfile piece by piece."""

import io
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import IO

BLOCK = 2**20  # bytes read at once
MISSING_S = 0.1  # what a file may lack of the length that it says it has: encoders round to blocks
STEP = 2**14  # bytes searched at once
LONGEST_MARK = 8  # bytes
TAG = 128  # bytes of an ID3v1 tag, which stands at a file's end


class Damaged(Exception):
    """Why a file cannot be read whole, in words for `BadAudio`."""


@dataclass(frozen=True)
class Stream:
    """What libsndfile is given as one file: bytes as they are, and ranges of bytes of the file.

    It is told that they are at least `length` bytes, where it would stop too early by an estimate.
    `frames` are those that have to come of it; None where its header is to be believed.
    """

    pieces: tuple[bytes | range, ...]
    length: int = 0
    frames: int | None = None


class Bytes:
    """Random access to a file of `size` bytes, with one block of it at hand."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)
        self._from, self._block = 0, b""

    def at(self, start: int, count: int) -> bytes:
        """So many bytes from `start` on; fewer where the file ends."""
        first = start - self._from
        if first < 0 or first + count > len(self._block):
            self._file.seek(start)
            self._from, self._block = start, self._file.read(max(count, BLOCK))
            first = 0
        return self._block[first : first + count]

    def find(self, wanted: re.Pattern[bytes], start: int) -> Iterator[int]:
        """Where a pattern of at most `LONGEST_MARK` bytes stands, from `start` on."""
        while start < self.size:
            block = self.at(start, STEP)
            ends = len(block) < STEP
            for match in wanted.finditer(block):
                if ends or match.start() <= STEP - LONGEST_MARK:
                    yield start + match.start()
            start += STEP if ends else STEP - LONGEST_MARK + 1


class View(io.RawIOBase):
    """A stream of a file, as a file of its own; closed with the file that it is of."""

    def __init__(self, file: IO[bytes], stream: Stream) -> None:
        self._file, self._pieces = file, stream.pieces
        self._ends = list(accumulate(len(piece) for piece in stream.pieces))
        self._length = max(self._ends[-1], stream.length)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted, done = len(buffer), 0
        while done < wanted and self._at < self._ends[-1]:
            k = bisect_right(self._ends, self._at)
            piece = self._pieces[k]
            first = self._at - (self._ends[k] - len(piece))
            part = piece[first : first + wanted - done]
            if isinstance(part, range):
                self._file.seek(part.start)
                part = self._file.read(len(part))
            if not part:  # the file has become shorter
                break
            buffer[done : done + len(part)] = part
            done += len(part)
            self._at += len(part)
        if not done and self._at >= max(self._ends[-1], self._length - TAG):
            # Where mpg123 looks for a tag before it begins, and finds none.
            done = min(wanted, max(0, self._length - self._at))
            buffer[:done] = bytes(done)
            self._at += done
        return done

    def close(self) -> None:
        self._file.close()
        super().close()


def after_id3(data: Bytes, at: int) -> int:
    """Behind the ID3v2 tags that begin at `at`, if any do."""
    while len(head := data.at(at, 10)) == 10 and head[:3] == b"ID3" and max(head[6:]) < 128:
        footer = 10 if head[5] & 0x10 else 0
        at += 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + footer
    return at
