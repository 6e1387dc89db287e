"""FLAC: RFC 9639. Its header may leave the number of samples open (0), or say a wrong one.

The last frame says where it lies, and is known by its checksums.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from compress.speech.containers.stream import Bytes, Damaged, Stream

MAGIC = b"fLaC"
_INFO = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # with what says that a description follows
INFO = 8 + 34  # bytes up to the end of the first block of metadata, which describes the stream
LONGEST_FRAME = 2**18  # bytes: eight channels of 4608 samples of 32 bits need less
SIZES = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608} | {k: 2**k for k in range(8, 16)}


@dataclass(frozen=True)
class _Frame:
    """A header of a frame at byte `at`, and the samples of one channel at which the frame ends."""

    at: int
    ends: int


def begins(data: Bytes, start: int) -> bool:
    return data.at(start, 4) == MAGIC


def streams(data: Bytes, start: int) -> tuple[Stream, ...]:
    """Each stream of a file; none for one that is as long as its header says.

    Raises `Damaged` where frames are missing at the end.
    """
    if not _INFO.match(data.at(start, INFO)) or data.size - start < INFO:
        return ()
    starts = [start, *data.find(_INFO, start + 4)]
    found, right = [], starts == [0]
    for first, stop in pairwise([*starts, data.size]):
        info = data.at(first, INFO)
        if len(info) < INFO:
            raise Damaged(f"another FLAC begins at byte {first} of it, which has no samples")
        said = int.from_bytes(info[21:26], "big") & (2**36 - 1)
        ends = _end(data, first, stop)
        if ends is not None and said > ends:
            raise Damaged(f"its header says that it has {said} samples, its frames end at {ends}")
        total = said if ends is None else ends
        right = right and said == total
        bits = bytes([info[21] & 0xF0 | total >> 32]) + (total % 2**32).to_bytes(4, "big")
        found.append(Stream((info[:21] + bits + info[26:], range(first + len(info), stop))))
    return () if right else tuple(found)


def _end(data: Bytes, first: int, stop: int) -> int | None:
    """The samples at which the last whole frame ends; None where none is found."""
    info = data.at(first, INFO)
    if stop - first > 128 and data.at(stop - 128, 3) == b"TAG":
        stop -= 128
    begin = max(first + INFO, stop - LONGEST_FRAME)
    # Copied, since each frame is looked at from its header to where the next begins, or to the end.
    window = data.at(begin, stop - begin)
    headers = list(_headers(window, int.from_bytes(info[10:12], "big")))
    for frame in reversed(headers):
        if _crc16(window[frame.at :]) == 0:
            return frame.ends
    for frame, after in reversed(list(pairwise(headers))):
        if _crc16(window[frame.at : after.at]) == 0:
            return frame.ends
    return None


def _headers(window: bytes, block: int) -> Iterator[_Frame]:
    """Headers of frames whose checksums are right; `block`: samples of all frames but the last."""
    at = -1
    while (at := window.find(b"\xff", at + 1)) >= 0:
        head = window[at : at + 16]
        if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1:
            continue
        number, end = _number(head)
        size, rate = head[2] >> 4, head[2] & 15
        if size in (6, 7):
            length = int.from_bytes(head[end : end + size - 5], "big") + 1
            end += size - 5
        else:
            length = SIZES.get(size, 0)
        end += {12: 1, 13: 2, 14: 2}.get(rate, 0)
        if length and end < len(head) and _crc8(head[:end]) == head[end]:
            variable = head[1] & 1
            yield _Frame(at, (number if variable else number * block) + length)


def _number(head: bytes) -> tuple[int, int]:
    """The number of a frame or sample, coded as UTF-8 codes characters, and where it ends."""
    first = head[4]
    more = max(0, 7 - (first ^ 0xFF).bit_length()) if first >= 0xC0 else 0
    number = first & (0x7F >> more) if not more else first & (0x3F >> more)
    for byte in head[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    return number, 5 + more


def _crc8(head: bytes) -> int:
    crc = 0
    for byte in head:
        crc = _CRC8[crc ^ byte]
    return crc


def _crc16(frame: bytes) -> int:
    crc = 0
    for byte in frame:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc


def _table(polynomial: int, bits: int) -> list[int]:
    found = []
    for value in range(256):
        crc = value << bits - 8
        for _ in range(8):
            crc = (crc << 1) % 2**bits ^ (polynomial if crc >> bits - 1 else 0)
        found.append(crc)
    return found


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)
