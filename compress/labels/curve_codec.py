"""How pseudo-labels are stored: 16 bits a value between each control's ends, deflated.

A control's lowest and highest value in a clip are kept as they are; all between are rounded to one
of 65,536 steps, so no value is off by more than half a step, a 131,070th of what the control moves
in that clip. Steps of neighbouring frames are close: what is deflated are their differences, low
bytes apart from high ones. Storing what was read gives the same bytes again.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STEPS = 2**16 - 1
LEVEL = 6  # of deflate; 9 takes three times as long for one byte in a hundred


@dataclass(frozen=True)
class Stored:
    """A clip's curves as they lie on the disk.

    `ends`: float32 `[2, controls]`, the lowest and the highest value of each; `packed`: uint8.
    """

    ends: Floats
    packed: NDArray[np.uint8]


def pack(curves: Floats) -> Stored:
    """Curves to store, float32 `[frames, controls]`, all finite, at least one frame."""
    ends = np.stack([curves.min(0), curves.max(0)]).astype(np.float32) + np.float32(0)  # no −0
    low, span = ends[0].astype(np.float64), np.subtract(ends[1], ends[0], dtype=np.float64)
    codes = np.rint((curves - low) * (STEPS / np.where(span > 0, span, 1))).astype("<u2")
    moves = np.diff(codes, axis=0, prepend=np.zeros((1, codes.shape[1]), "<u2"))
    planes = np.ascontiguousarray(moves.T).view(np.uint8).reshape(-1, 2).T
    return Stored(ends, np.frombuffer(zlib.compress(planes.tobytes(), LEVEL), np.uint8))


def unpack(stored: Stored, frames: int) -> Floats:
    """Curves as they were stored, float32 `[frames, controls]`.

    Raises `ValueError` for bytes that are damaged, which deflate's own checksum says, or too few.
    """
    controls = stored.ends.shape[1]
    try:
        planes = np.frombuffer(zlib.decompress(stored.packed.tobytes()), np.uint8)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if planes.size != 2 * frames * controls:
        raise ValueError(f"{planes.size} bytes, expected {2 * frames * controls}")
    moves = np.ascontiguousarray(planes.reshape(2, -1).T).view("<u2").reshape(controls, frames).T
    codes = np.cumsum(moves, axis=0, dtype=np.uint16)
    low, high = stored.ends.astype(np.float64)
    share = codes / STEPS  # weights of both ends: the exact ends come out, however far apart
    return np.asarray(low * (1 - share) + high * share, np.float32)
