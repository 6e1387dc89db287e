"""Meshes that move by a known rule, and a teacher that moves one."""

import inspect
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.recipe.teacher import MeshSettings
from compress.teachers.mesh.fitting import FIRST_DEVIATION, fit_basis
from exporters.mesh import Mesh, MeshFacts

Floats = NDArray[np.float32]


def moving(frames: int, vertices: int, latent: int, seed: int = 0) -> Floats:
    """A mesh that so many curves move, each half as far as the one before: float32
    [frames, vertices × 3]. Its first vertex lies 100 units from the origin.
    """
    random = np.random.default_rng(seed)
    rows = random.standard_normal((latent, vertices * 3))
    curves = random.standard_normal((frames, latent)) * 0.5 ** np.arange(latent)
    rest = random.standard_normal(vertices * 3)
    rest[:3] += 100
    return np.asarray(rest + curves @ rows, np.float32)


def mesh_of(vertices: Floats, settings: MeshSettings, lips: tuple[int, ...] = ()) -> Mesh:
    """What is fitted to vertices [frames, vertices × 3] that lie there already."""
    basis = fit_basis([vertices], settings)
    scale = FIRST_DEVIATION / basis.deviation
    return Mesh(
        mean=basis.mean,
        basis=np.asarray(basis.rows / scale, np.float32),
        lips=np.array(lips, np.int64),
        facts=MeshFacts(
            key="key",
            vertices=vertices.shape[1] // 3,
            components=len(basis.rows),
            variance=basis.variance,
            scale=scale,
            fitted_clips=1,
            fitted_minutes=0.5,
            heldout_clips=1,
            heldout_minutes=0.25,
            residual=0.125,
            lip_residual=0.5 if lips else None,
        ),
    )


class SwellingMesh:
    """A teacher of `vertices` that four curves of the audio move: its size around each frame, over
    10, 20, 40 and 80 ms. `calls` are the shapes of the audio that came.
    """

    limits = None
    parameters_count = 4
    description = "A swelling mesh."
    offset_s = 0.0
    sample_rate_hz = 16_000
    rate_hz = 25.0

    def __init__(self, vertices: int = 60) -> None:
        random = np.random.default_rng(1)
        self.controls = tuple(f"v{i}" for i in range(vertices * 3))
        self.rest = random.standard_normal(vertices * 3).astype(np.float32)
        self.rows = random.standard_normal((4, vertices * 3)).astype(np.float32)
        self.calls: list[tuple[int, ...]] = []

    def animate(self, audio: Tensor) -> Tensor:
        self.calls.append(tuple(audio.shape))
        frames = -(-audio.shape[1] * 25 // 16_000)
        starts = torch.arange(frames) * 640
        sizes = torch.nn.functional.pad(audio.abs(), (640, 1280))
        curves = torch.stack(
            [
                torch.stack([sizes[:, s + 640 : s + 640 + length].mean(1) for s in starts], 1)
                for length in (160, 320, 640, 1280)
            ],
            2,
        )
        return torch.from_numpy(self.rest) + curves @ torch.from_numpy(self.rows)


def write_swelling(folder: Path) -> None:
    """A module that makes such a teacher: the checkpoint `swelling:SwellingMesh`."""
    imports = "import numpy as np\nimport torch\nfrom torch import Tensor\n\n\n"
    (folder / "swelling.py").write_text(imports + inspect.getsource(SwellingMesh))


def of_swelling(recipe: str, mesh: str) -> str:
    """A recipe with that teacher in place of its own, reduced as `mesh` says."""
    teacher = f"{{checkpoint: swelling:SwellingMesh, trust: true, mesh: {mesh}}}"
    changed = recipe.replace("teacher: {checkpoint: teacher}", f"teacher: {teacher}")
    assert changed != recipe
    return changed
