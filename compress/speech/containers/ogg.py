"""Ogg: RFC 3533. Streams may follow each other, and pages may be missing."""

import re
from dataclasses import dataclass

from compress.speech.containers.stream import Bytes, Damaged, Stream

MAGIC = b"OggS\0"  # with the version
FIRST = 2  # the flag of a stream's first page


@dataclass
class _Link:
    """Pages up to those that begin other streams: where they start, and what is known of the last."""

    start: int
    serials: set[int]
    rate: int | None  # positions a second
    number: int = 0
    position: int = 0  # samples up to here, by the last page that says so
    began: bool = False  # whether a page was not the first of its stream
    open_end: bool = False  # whether the last page does not say where the packets on it end


def begins(data: Bytes, start: int) -> bool:
    return data.at(start, 5) == MAGIC


def streams(data: Bytes, start: int) -> tuple[Stream, ...]:
    """Each stream of a file, or streams that run side by side; none for one alone.

    Raises `Damaged` where pages are missing or go back in time.
    """
    links: list[_Link] = []
    at: int | None = start
    while at is not None:
        head = data.at(at, 27 + 255)
        segments = head[27 : 27 + head[26]] if len(head) >= 27 else b""
        size = 27 + len(segments) + sum(segments)
        if head[:5] != MAGIC or at + size > data.size or len(head) < 27:
            at = next(data.find(re.compile(MAGIC), at + 1), None)
            continue
        serial = int.from_bytes(head[14:18], "little")
        if head[5] & FIRST and (not links or links[-1].began):
            links.append(_Link(at, set(), _rate(data.at(at + 27 + len(segments), 32))))
        if links:
            _take(links[-1], head, segments, serial)
        at += size
    for link in links:
        if len(link.serials) == 1 and link.open_end:
            raise Damaged("its last Ogg page does not say where the sound ends")
    if not links or (len(links) == 1 and start == 0):
        return ()
    stops = [link.start for link in links[1:]] + [data.size]
    return tuple(Stream((range(k.start, stop),)) for k, stop in zip(links, stops, strict=True))


def _take(link: _Link, head: bytes, segments: bytes, serial: int) -> None:
    link.serials.add(serial)
    if head[5] & FIRST:
        link.number = int.from_bytes(head[18:22], "little")
        return
    link.began = True
    if len(link.serials) > 1:
        return  # beside a picture or a list of chapters: libsndfile knows which it reads
    number = int.from_bytes(head[18:22], "little")
    position = int.from_bytes(head[6:14], "little", signed=True)
    if number > link.number + 1 and link.position > 0:
        missing = number - link.number - 1
        raise Damaged(
            f"{missing} of its Ogg pages are missing after {link.number + 1}, "
            f"at {_time(link, link.position)}"
        )
    link.number = number
    link.open_end = position < 0 and any(size < 255 for size in segments)
    if position >= 0:
        if position < link.position:
            raise Damaged(
                f"its Ogg page {number + 1} says that the sound is at {_time(link, position)}, a page "
                f"before it that it was at {_time(link, link.position)}"
            )
        link.position = position


def _time(link: _Link, position: int) -> str:
    return f"{position / link.rate:.2f} s" if link.rate else f"{position} samples"


def _rate(packet: bytes) -> int | None:
    if packet[:8] == b"OpusHead":
        return 48_000
    if packet[:7] == b"\x01vorbis":
        return int.from_bytes(packet[12:16], "little") or None
    return None
