"""MPEG audio, ISO/IEC 11172-3 and 13818-3: frames one after the other, each with its own header.

A first frame without sound may say how many follow: that of Xing and LAME ("Xing" or "Info"), or
that of Fraunhofer ("VBRI"). By the first mpg123 reads no further, though other files may be joined
on. Without it, it estimates the length from the size of the first frame, and reads no further.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from compress.speech.containers.stream import Bytes, Damaged, Stream, after_id3

_KBPS = {  # by version 1 or not, and layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_SYNC = re.compile(rb"\xff[\xe2-\xff][\x10-\xef]")  # which a header begins with
LOST = 10**5  # beginnings of frames that are none, after which a file is given up
NOTE = 40  # bytes of a note of ours
DECODER_DELAY = 529  # samples by which mpg123 is late, which it takes from the padding at the end


@dataclass(frozen=True)
class _Header:
    """A frame's `kind` (version, layer, rate and whether it is mono) and its size in bytes."""

    kind: tuple[int, int, int, bool]
    size: int
    side: int  # bytes between the header and the sound


@dataclass
class _Part:
    """Frames that belong together: the frame that counts them, if there is one, and their ranges."""

    first: bytes  # the header of the first of them
    kind: tuple[int, int, int, bool]
    note: bytes = b""
    frames: int = 0
    ranges: list[range] = field(default_factory=list)


def begins(data: Bytes, start: int) -> bool:
    """Whether a frame stands at `start`; behind a tag also where there is padding before it."""
    return _header(data.at(start, 4)) is not None or (
        start > 0 and next(_frames(data, start), None) is not None
    )


def streams(data: Bytes, start: int) -> tuple[Stream, ...]:
    """Each part of a file that counts its frames for itself; none for one that counts them right."""
    parts: list[_Part] = []
    for at, header in _frames(data, start):
        frame = data.at(at, min(header.size, 4 + 32 + 256))
        noted = _counted(frame, header) is not None
        if not parts or noted or parts[-1].kind != header.kind:
            parts.append(_Part(frame[:4], header.kind))
        part = parts[-1]
        if noted:
            part.note = data.at(at, header.size)
            continue
        if not part.frames:
            part.first = frame[:4]
        part.frames += 1
        if part.ranges and part.ranges[-1].stop == at:
            part.ranges[-1] = range(part.ranges[-1].start, at + header.size)
        else:
            part.ranges.append(range(at, at + header.size))
    parts = [part for part in parts if part.frames]
    if len(parts) == 1 and parts[0].note and len(parts[0].ranges) == 1:
        own = _header(parts[0].note)
        assert own is not None
        if _counted(parts[0].note, own) == parts[0].frames:
            return ()
    return tuple(map(_stream, parts))


def _frames(data: Bytes, at: int) -> Iterator[tuple[int, _Header]]:
    """Where whole frames begin. The first after anything else is one by what follows it: another of
    its kind, a tag, or the end.
    """
    kind, lost = None, 0  # kind: that of the frame just before
    while at < data.size:
        header = _header(data.at(at, 4))
        after = data.size + 1 if header is None else at + header.size
        if header is not None and after <= data.size:
            follows = _header(data.at(after, 4))
            twice = follows is not None and follows.kind == header.kind
            if kind == header.kind or twice or _is_tag(data, after):
                kind = header.kind
                yield at, header
                at = after
                continue
        behind, kind, lost = _behind_tag(data, at), None, lost + 1
        if lost > LOST:
            raise Damaged(f"{LOST} times something in it begins like a frame of MPEG and is none")
        at = next(data.find(_SYNC, at + 1), data.size) if behind is None else behind


def _is_tag(data: Bytes, at: int) -> bool:
    return at >= data.size or _behind_tag(data, at) is not None


def _behind_tag(data: Bytes, at: int) -> int | None:
    head = data.at(at, 32)
    if head[:3] == b"TAG":
        return at + 128
    if head[:8] == b"APETAGEX" and len(head) == 32:
        # The size of what lies behind this header; a footer is small enough to be searched over.
        return at + 32 + (int.from_bytes(head[12:16], "little") if head[23] & 0x20 else 0)
    after = after_id3(data, at)
    return after if after > at else None


def _header(head: bytes) -> _Header | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbps, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or kbps in (0, 15) or rate == 3:
        return None
    one, mono = version == 3, head[3] >> 6 == 3
    hz, bits = _HZ[version][rate], 1000 * _KBPS[one, layer][kbps]
    if layer == 1:
        size = (12 * bits // hz + padding) * 4
    else:
        size = (144 if one or layer == 2 else 72) * bits // hz + padding
    side = (17 if mono else 32) if one else (9 if mono else 17)
    return _Header((version, layer, hz, mono), size, side)


def _counted(frame: bytes, header: _Header) -> int | None:
    """How many frames follow by a frame without sound; 0 where it leaves that open, None for others."""
    if header.kind[1] != 3:
        return None
    note = frame[4 + header.side :]
    if note[:4] in (b"Xing", b"Info") and len(note) >= 12:
        return int.from_bytes(note[8:12], "big") if note[7] & 1 else 0
    return 0 if frame[36:40] == b"VBRI" else None  # mpg123 does not know what that one says


def _stream(part: _Part) -> Stream:
    """What libsndfile reads all of a part from."""
    header = _header(part.first)
    assert header is not None
    said = _counted(part.note, header) if part.note else None
    frames = part.frames * _samples(header)
    if not said:  # mpg123 takes a file for as long as if all frames were like the first
        length = (part.frames + 2) * (header.size + 1) + 2**10
        return Stream(tuple(part.ranges), length, frames)
    note = part.note if said == part.frames else _note(part, header)
    return Stream((note, *part.ranges))


def _note(part: _Part, header: _Header) -> bytes:
    """A frame that counts those that are there, and leaves out at the front what the own one does."""
    for kbps in range(1, 15):  # the smallest frame that it fits into, without a checksum
        head = bytes((0xFF, part.first[1] | 1, kbps << 4 | part.first[2] & 0x0C, part.first[3]))
        size = own.size if (own := _header(head)) is not None else 0
        if size >= 4 + header.side + NOTE:
            break
    note = b"Info" + (3).to_bytes(4, "big") + part.frames.to_bytes(4, "big")
    note += (size + sum(map(len, part.ranges))).to_bytes(4, "big")
    if (delay := _delay(part.note[4 + header.side :])) is not None:
        note += b"lipstill\0" + bytes(12) + (delay << 12 | DECODER_DELAY).to_bytes(3, "big")
    return (head + bytes(header.side) + note).ljust(size, b"\0")


def _samples(header: _Header) -> int:
    version, layer, *_ = header.kind
    return {1: 384, 2: 1152}.get(layer, 1152 if version == 3 else 576)


def _delay(note: bytes) -> int | None:
    """Samples that the encoder put first, where LAME's note behind that of Xing says so."""
    lame = 8 + sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if note[7] & bit)
    if len(note) < lame + 24 or not note[lame]:
        return None
    return int.from_bytes(note[lame + 21 : lame + 24], "big") >> 12
