"""Fitting a mesh of 5,023 vertices, FLAME's number, takes no more memory for more speech."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

VERTICES, PIECE = 5023, 100
CODE = f"""
import sys
import numpy as np
import scipy.linalg
import sklearn.decomposition
from compress.teachers.mesh.fitting import fit_basis
from compress.recipe.teacher import MeshSettings
from tests.peak import peak_bytes

random = np.random.default_rng(0)
rows = random.standard_normal((20, 3 * {VERTICES}), np.float32)

def pieces(frames):
    for _ in range(0, frames, {PIECE}):
        yield random.standard_normal(({PIECE}, 20), np.float32) @ rows

before = peak_bytes()
found = fit_basis(pieces(int(sys.argv[1])), MeshSettings(components=16))
assert found.rows.shape == (16, 3 * {VERTICES})
print(peak_bytes() - before)
"""


def grown(frames: int) -> int:
    """Bytes by which a process grows at most while it fits."""
    command = [sys.executable, "-c", CODE, str(frames)]
    given = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    given |= {"PYTHONPATH": str(Path(__file__).parents[4])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=given)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="measured with POSIX's resource")
def test_memory_does_not_grow_with_the_speech() -> None:
    """4,800 frames as float32 would be 276 MiB. One batch, of 32 frames, is 1.8 MiB, the last one up
    to two; with components, copies in float64 and LAPACK's own it is some twenty times that.
    """
    few, many = grown(600), grown(4800)
    assert many < 120 * 2**20
    assert abs(many - few) < 24 * 2**20
