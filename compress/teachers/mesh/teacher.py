"""Teachers of vertices: students learn the coefficients of a PCA, which clients turn back.

The source paper does so for CodeTalker. What is kept of the mesh, `mesh.npz`, is `exporters.mesh`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.errors import TeacherError
from compress.rig.rig import ClosureRule, Rig
from compress.teachers import Teacher
from compress.teachers.programs.wrapped import Wrapped
from compress.texts import read_text
from exporters.errors import ModelFileError
from exporters.files import user_path
from exporters.mesh import Mesh, read_mesh
from exporters.reading import reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from compress.recipe.teacher import MeshClosureSettings

Numbers = NDArray[np.int64]

_LIPS = (
    "Expected numbers of vertices, or 0 or 1 for each vertex; give teacher.mesh.lips such a .npy "
    "or .txt file, or the numbers themselves."
)


# What a rig is called of which the vertices of the lips say when they are closed.
BY_VERTICES = "vertices of the lips"


def names(components: int) -> tuple[str, ...]:
    """What coefficients are called: pca_000, pca_001 and so on."""
    return tuple(f"pca_{i:03}" for i in range(components))


class MeshTeacher(Wrapped):
    """A teacher of vertices as one of coefficients. No more than these leaves `animate`."""

    def __init__(self, teacher: Teacher, mesh: Mesh) -> None:
        self.teacher, self.mesh = teacher, mesh

    @property
    def controls(self) -> tuple[str, ...]:
        return names(self.mesh.facts.components)

    @property
    def limits(self) -> None:
        """Those of vertices say nothing of coefficients."""

    @property
    def description(self) -> str:
        facts, said = self.mesh.facts, self.teacher.description.removesuffix(".")
        return f"{said}; its {facts.vertices} vertices as {facts.components} PCA coefficients."

    def animate(self, audio: "Tensor") -> "Tensor":
        """As the teacher's, projected. Raises `TeacherError` for values that are not the mesh's."""
        import torch

        vertices = self.teacher.animate(audio)
        if vertices.ndim != 3 or vertices.shape[2] != len(self.mesh.mean):
            raise TeacherError(
                f"The teacher gave values of shape {list(vertices.shape)}, expected [batch, frames, "
                f"{len(self.mesh.mean)}] for the {self.mesh.facts.vertices} vertices of its mesh."
            )
        return torch.from_numpy(self.mesh.project(vertices.numpy()))


def vertex_count(teacher: Teacher) -> int:
    """How many vertices a teacher moves. Raises `TeacherError` if its values cannot be vertices."""
    values = len(teacher.controls)
    if values % 3:
        raise TeacherError(
            f"The teacher gives {values} values a frame, which cannot be x y z of vertices: 3 does "
            f"not divide it. Choose the columns of the vertices with teacher.interface.columns, or "
            f"leave teacher.mesh out if they are controls of a rig."
        )
    return values // 3


def mesh_rig(mesh: Mesh, settings: "MeshClosureSettings") -> Rig:
    """A rig of coefficients whose lips close where those of the mesh do.

    Vertices are linear in coefficients, and so is the gap between the middles of two lips. Raises
    `TeacherError` for vertices that the mesh does not have.
    """
    axis = "xyz".index(settings.axis)
    check_closure(settings, mesh.facts.vertices)
    upper, lower = (3 * np.array(v) + axis for v in (settings.upper, settings.lower))
    gaps = mesh.basis[:, upper].mean(1, np.float64) - mesh.basis[:, lower].mean(1, np.float64)
    at_mean = mesh.mean[upper].mean(dtype=np.float64) - mesh.mean[lower].mean(dtype=np.float64)
    weights = dict(zip(names(mesh.facts.components), gaps.tolist(), strict=True))
    rule = ClosureRule(
        weights,
        float(settings.below - at_mean),
        # Coefficients that hardly move are constants of the rig, at about the mean's zero.
        frozenset(list(weights)[1:]),
        f"the upper lip is less than {settings.below:g} above the lower, in the mesh's units",
    )
    return Rig(name=BY_VERTICES, closure=rule)


def check_closure(settings: "MeshClosureSettings", vertices: int) -> None:
    """Raise `TeacherError` for vertices that a mesh of so many does not have."""
    wrong = [v for v in (*settings.upper, *settings.lower) if v >= vertices]
    if wrong:
        raise TeacherError(
            f"teacher.mesh.lips_closed names vertex {wrong[0]}, but the teacher's mesh has the "
            f"vertices 0 to {vertices - 1}."
        )


def find_mesh(path: Path, key: str) -> Mesh | None:
    """What was fitted under this key; None when it is not there or damaged, and has to be fitted."""
    try:
        mesh = read_mesh(path)
    except ModelFileError:
        return None
    return mesh if mesh.facts.key == key else None


def read_lips(lips: "str | Sequence[int] | None", base: Path) -> tuple[int, ...]:
    """What a recipe says of the lips, in numbers: of vertices, or 0 and 1 for each vertex.

    None are no numbers. A file's name is relative to `base`. Raises `TeacherError` for a file that
    is not there or holds anything else.
    """
    if lips is None:
        return ()
    if not isinstance(lips, str):
        return tuple(lips)
    path = user_path(lips, base).absolute()
    with reading(path, "vertices of the lips", TeacherError, _LIPS):
        if path.suffix.lower() == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            words = read_text(path).replace(",", " ").split()
            values = np.array([float(word) for word in words])
    if values.ndim != 1 or values.dtype.kind not in "buif" or not values.size:
        found = f"{values.dtype} of shape {list(values.shape)}" if values.size else "nothing"
        raise TeacherError(f"{path} holds {found}. {_LIPS}")
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    if not (whole == values).all():
        wrong = values[whole != values][0]
        raise TeacherError(f"{path} holds {wrong:g}, which is no number of a vertex. {_LIPS}")
    return tuple(whole.tolist())


def lip_vertices(values: "Sequence[int]", vertices: int) -> Numbers:
    """Numbers of the lips' vertices, sorted, from what `read_lips` gave.

    Raises `TeacherError` for numbers that this mesh does not have, and for lips without a vertex.
    """
    numbers = np.array(values, np.int64)
    # Two or fewer could be the vertices 0 and 1.
    if len(numbers) > 2 and np.isin(numbers, (0, 1)).all():
        if len(numbers) != vertices:
            raise TeacherError(
                f"teacher.mesh.lips has 0 or 1 for {len(numbers)} vertices, but the teacher's mesh "
                f"has {vertices}. {_LIPS}"
            )
        numbers = np.flatnonzero(numbers)
        if not numbers.size:
            raise TeacherError(f"teacher.mesh.lips has 0 for every vertex. {_LIPS}")
    wrong = numbers[(numbers < 0) | (numbers >= vertices)]
    if wrong.size:
        raise TeacherError(
            f"teacher.mesh.lips names vertex {wrong[0]}, but the teacher's mesh has the vertices 0 "
            f"to {vertices - 1}. {_LIPS}"
        )
    return np.unique(numbers)
