"""A teacher's curves on the sounds of the report, as a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.store import atomic_write

Floats = NDArray[np.float32]


def write_curves(path: Path, curves: Sequence[Floats]) -> None:
    """Keep a teacher's curves on sounds, each `[frames, controls]`, in their order."""
    from safetensors.numpy import save

    named = {f"{i:04d}": np.ascontiguousarray(each) for i, each in enumerate(curves)}
    atomic_write(path, save(named))


def read_curves(path: Path) -> list[Floats]:
    """What `write_curves` kept."""
    from safetensors.numpy import load

    return [each for _, each in sorted(load(path.read_bytes()).items())]
