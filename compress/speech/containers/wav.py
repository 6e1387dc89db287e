"""RIFF WAVE, also as RIFX and RF64. Microsoft and IBM, "Multimedia Programming Interface", 1991.

The size of the sound stands before it, so it is wrong where a recorder died (0), where a pipe was
written to (2³² − 1), where a header is brought up to date now and then, and above 4 GiB.
"""

import struct
from dataclasses import dataclass

from compress.speech.containers.stream import BLOCK, MISSING_S, Bytes, Damaged, Stream, after_id3

MAGIC = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">"}
# What follows the sound in files that say so truly, also where the last of them is cut short.
KNOWN = (
    *(b"LIST", b"fact", b"id3 ", b"ID3 ", b"bext", b"iXML", b"axml", b"cue ", b"smpl", b"inst"),
    *(b"JUNK", b"junk", b"PAD ", b"FLLR", b"PEAK", b"_PMX", b"cart", b"acid", b"afsp", b"chna"),
)
# Who writes to a pipe does not know the size, and writes 2³¹ or 2³² less a little.
STAND_IN = 2**31 - 2**20
FMT = 2**16  # bytes at most of a description of the samples
LONGEST = 2**31  # bytes of sound behind one header


@dataclass(frozen=True)
class _Wave:
    """One WAVE: `sound` is where its samples lie, `after` where another WAVE begins, if one does."""

    order: str
    fmt: bytes
    sound: range
    after: int | None
    right: bool  # whether its headers say so


def begins(data: Bytes, start: int) -> bool:
    head = data.at(start, 12)
    return head[:4] in MAGIC and head[8:] == b"WAVE"


def streams(data: Bytes, start: int) -> tuple[Stream, ...]:
    """Each WAVE of a file; none for one that says what it holds, or has no sound or no format.

    Raises `Damaged` for a second WAVE that has neither.
    """
    waves: list[_Wave] = []
    at: int | None = start
    while at is not None:
        wave = _wave(data, at)
        if wave is None and waves:
            raise Damaged(f"another WAVE begins at byte {at} of it, which has no samples")
        if wave is None:
            return ()
        waves.append(wave)
        at = wave.after
    if len(waves) == 1 and waves[0].right and start == 0:
        return ()
    return tuple(stream for wave in waves for stream in _streams(wave))


def _streams(wave: _Wave) -> list[Stream]:
    # A header of our own says nothing but what is needed; above 4 GiB there are several.
    block = max(1, *struct.unpack(f"{wave.order}H", wave.fmt[12:14]))
    longest = LONGEST // block * block
    magic = b"RIFF" if wave.order == "<" else b"RIFX"
    found = []
    for first in range(wave.sound.start, wave.sound.stop, longest):
        sound = range(first, min(first + longest, wave.sound.stop))
        fmt = wave.fmt + bytes(len(wave.fmt) % 2)
        size = struct.Struct(f"{wave.order}I")
        head = b"WAVEfmt " + size.pack(len(wave.fmt)) + fmt + b"data" + size.pack(len(sound))
        found.append(Stream((magic + size.pack(len(head) + len(sound)) + head, sound)))
    return found


def _wave(data: Bytes, start: int) -> _Wave | None:
    order = MAGIC[data.at(start, 4)]
    at, fmt, large, right = start + 12, b"", None, True
    while len(head := data.at(at, 8)) == 8:
        name, size = struct.unpack(f"{order}4sI", head)
        if name == b"data":
            break
        if name == b"fmt " and 16 <= size < FMT:
            fmt = data.at(at + 8, size)
        if name == b"ds64":
            large = struct.unpack("<Q", data.at(at + 16, 8))[0]
        at += 8 + size
        if size % 2:  # a byte should follow, which some leave out
            padded = not _is_name(data.at(at, 4)) or _is_name(data.at(at + 1, 4))
            at, right = at + padded, right and padded
    else:
        return None
    if len(fmt) < 16:
        return None
    begin = at + 8
    if size == 2**32 - 1 and large is not None:
        size = large
    if size > data.size - begin:
        _check_cut(order, fmt, size, data.size - begin)
        return _Wave(order, fmt, range(begin, data.size), None, right and large is None)
    ends, after = _tail(data, begin + size, size % 2 == 1, order)
    if ends:
        sound = range(begin, begin + size)
        return _Wave(order, fmt, sound, after, right and after is None)
    return _Wave(order, fmt, range(begin, data.size), None, False)


def _check_cut(order: str, fmt: bytes, said: int, there: int) -> None:
    """Raise `Damaged` where more sound was written than is left, but for a size that is a stand-in."""
    second = struct.unpack(f"{order}I", fmt[8:12])[0] or 2**14  # bytes; some leave it out
    if said < STAND_IN and said - there > MISSING_S * second:
        raise Damaged(
            f"its header says that it has {said} bytes of sound, and {there} are there: it was cut, "
            f"or not copied whole"
        )


def _tail(data: Bytes, at: int, odd: bool, order: str) -> tuple[bool, int | None]:
    """Whether the sound ends at `at`, where its header says so, and where the next WAVE begins."""
    for begin in (at + 1, at) if odd else (at,):
        ends, after = _chunks(data, begin, order)
        if ends:
            return True, after
    while block := data.at(at, BLOCK):  # a card that was cleared, or silence: nothing is lost
        if any(block):
            return False, None
        at += len(block)
    return True, None


def _chunks(data: Bytes, at: int, order: str) -> tuple[bool, int | None]:
    known = False
    while True:
        start = after_id3(data, at)
        if begins(data, start):
            return True, start
        head = data.at(at, 8)
        if len(head) < 8 or head[:3] == b"TAG":
            return True, None
        name, size = struct.unpack(f"{order}4sI", head)
        fits = at + 8 + size <= data.size
        if not _is_name(name) or not (fits or name in KNOWN):
            return known, None
        if name == b"data" and size:
            raise Damaged("its WAVE has two chunks of samples, expected one")
        known = known or name in KNOWN
        at += 8 + size + size % 2


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)
