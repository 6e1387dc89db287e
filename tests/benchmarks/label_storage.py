"""What an hour of labels takes on the disk, and what storing them rounds, by ways of storing them.

    python tests/benchmarks/label_storage.py RUN [--recipe demo] [--clips 60]

Of RUN, a run folder or its labels: what its shards take. Of curves that the recipe's teacher gives
now for some clips of its speech, as float32, all controls: what each way of storing them takes, the
largest difference from them, and the root of the mean square of it, in rig units over the controls
that move. Deflate is at level 6 throughout, a clip at a time.
"""

import argparse
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from compress.labels.curve_codec import LEVEL, pack, unpack
from compress.labels.store import SHARDS, find_labels, read_clips
from compress.recipe.recipe import load_recipe
from compress.speech.gathering import gather
from compress.teachers.loading import find_teacher, open_teacher
from compress.teachers.pieces import animate_long, cutting_of

Floats = NDArray[np.float32]
# Curves to bytes on the disk and curves back.
Way = Callable[[Floats], tuple[int, Floats]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--clips", type=int, default=60)
    arguments = parser.parse_args()
    print(stored(find_labels(arguments.run)))
    curves, rate_hz = fresh(arguments.recipe, arguments.clips)
    frames = sum(map(len, curves))
    print(f"{len(curves)} clips, {frames} frames of {curves[0].shape[1]} controls")
    print(f"{'way':<32} {'MB an hour':>10} {'largest':>9} {'RMS':>9}")
    for name, way in WAYS.items():
        found = measured(way, curves)
        hourly = found.size / frames * rate_hz * 3600 / 1e6
        print(f"{name:<32} {hourly:>10.2f} {found.largest:>9.1e} {found.rms:>9.1e}")


def stored(folder: Path) -> str:
    """What the shards of a label folder take."""
    seconds = sum(clip.seconds for clip in read_clips(folder))
    size = sum(path.stat().st_size for path in folder.glob(SHARDS))
    return f"{folder}: {seconds / 3600:.3f} h in {size} bytes, {size / seconds * 3600 / 1e6:.2f} MB an hour"


def fresh(name: str, count: int) -> tuple[list[Floats], float]:
    """Curves of some clips of a recipe's speech by its teacher, and their rate."""
    recipe = load_recipe(name)
    torch.set_num_threads(recipe.threads)
    file = find_teacher(recipe.teacher.checkpoint, recipe.folder, recipe.teacher.depends_on)
    teacher = open_teacher(file, recipe.teacher, recipe.folder)
    spoken = gather(recipe.speech, recipe.folder).spoken
    cutting = cutting_of(recipe.teacher)
    curves = [
        animate_long(teacher, each.clip.read()[None], cutting, [each.clip.id])[0]
        for each in spoken[:: max(1, len(spoken) // count)]
    ]
    return curves, teacher.rate_hz


@dataclass(frozen=True)
class Measured:
    """Bytes on the disk, and differences in rig units."""

    size: int
    largest: float
    rms: float


def measured(way: Way, curves: list[Floats]) -> Measured:
    size, largest, squares, moving = 0, 0.0, 0.0, 0
    for each in curves:
        taken, back = way(each)
        off = np.abs(back.astype(np.float64) - each)[:, np.ptp(each, axis=0) > 0]
        size, largest = size + taken, max(largest, float(off.max()))
        squares, moving = squares + float((off**2).sum()), moving + off.size
    return Measured(size, largest, float(np.sqrt(squares / moving)))


def deflated(values: NDArray[np.generic]) -> int:
    """Values of `[frames, controls]`, control by control, their bytes apart."""
    planes = np.ascontiguousarray(values.T).view(np.uint8).reshape(-1, values.itemsize).T
    return len(zlib.compress(np.ascontiguousarray(planes).tobytes(), LEVEL))


def as_float32(curves: Floats) -> tuple[int, Floats]:
    return curves.nbytes, curves


def as_float32_deflated(curves: Floats) -> tuple[int, Floats]:
    return deflated(curves), curves


def as_float16(curves: Floats) -> tuple[int, Floats]:
    half = curves.astype(np.float16)
    return deflated(half), half.astype(np.float32)


def as_ours(curves: Floats) -> tuple[int, Floats]:
    packed = pack(curves)
    return packed.packed.nbytes + packed.ends.nbytes, unpack(packed, len(curves))


def in_bits(bits: int) -> Way:
    """As ours, with so many bits a value."""

    def way(curves: Floats) -> tuple[int, Floats]:
        low, high = curves.min(0).astype(np.float64), curves.max(0).astype(np.float64)
        step = np.where(high > low, high - low, 1) / (2**bits - 1)
        codes = np.rint((curves - low) / step).astype("<u2")
        moves = np.diff(codes, axis=0, prepend=np.zeros((1, codes.shape[1]), "<u2"))
        back = np.asarray(low + codes * step, np.float32)
        return deflated(moves) + 8 * curves.shape[1], back

    return way


WAYS: dict[str, Way] = {
    "float32": as_float32,
    "float32, deflated": as_float32_deflated,
    "float16, deflated": as_float16,
    "ours: 16 bits, moves, deflated": as_ours,
    "the same in 14 bits": in_bits(14),
    "the same in 12 bits": in_bits(12),
}


if __name__ == "__main__":
    main()
