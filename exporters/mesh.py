"""``mesh.npz``: what turns the coefficients that a student gives back into the vertices of a mesh.

It lies beside the model files of a student whose teacher moves a mesh; its card has the two lines
of code that use it.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters import records
from exporters.proof.checks import Outcome
from exporters.reading import reading
from exporters.signature import Signature

Floats = NDArray[np.float32]

MESH = "mesh.npz"
_ARRAYS = {"mean", "basis", "lips", "facts"}
_BLOCK = 256  # frames computed at a time, so that memory does not grow with the clip


@records.strict
@dataclass(frozen=True, kw_only=True)
class MeshFacts:
    """What was found when a mesh was reduced. Distances are in the mesh's own units."""

    key: str
    """Of all that it was fitted on."""
    vertices: int
    """Vertices of the mesh."""
    components: int
    """Coefficients that stand for them."""
    variance: float
    """Share of the vertices' variance that these keep, on the speech it was fitted on."""
    scale: float
    """Of the coefficients: vertices' distances times this are distances of coefficients."""
    fitted_clips: int
    """Training clips that it was fitted on."""
    fitted_minutes: float
    """Minutes of them."""
    heldout_clips: int
    """Held-out clips on which the next two were measured."""
    heldout_minutes: float
    """Minutes of them."""
    residual: float
    """Root mean square distance of a vertex from its place when it is rebuilt."""
    lip_residual: float | None
    """Mean over frames of the largest distance of a lip vertex, or null without lips."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """Vertices as a mean and some directions. Raises ValueError if its parts do not fit."""

    mean: Floats
    """float32 [vertices × 3], x y z of each vertex."""
    basis: Floats
    """float32 [components, vertices × 3], orthogonal rows of the length 1 / scale."""
    lips: NDArray[np.int64]
    """Numbers of the lips' vertices; empty where they are not known."""
    facts: MeshFacts

    def __post_init__(self) -> None:
        if mistakes := list(_mistakes(self)):
            raise ValueError("this mesh cannot be: " + "; ".join(mistakes))

    def rebuild(self, coefficients: Floats) -> Floats:
        """float32 `[..., components]` → vertices, float32 `[..., vertices × 3]`."""
        return self.mean + coefficients @ self.basis

    def project(self, vertices: Floats) -> Floats:
        """float32 `[..., vertices × 3]` → coefficients, float32 `[..., components]`."""
        frames = vertices.reshape(-1, vertices.shape[-1])
        back = np.ascontiguousarray(self.basis.T) * np.float32(self.facts.scale**2)
        found = np.empty((len(frames), len(self.basis)), np.float32)
        for start in range(0, len(frames), _BLOCK):
            block = slice(start, start + _BLOCK)
            found[block] = (frames[block] - self.mean) @ back
        return found.reshape(*vertices.shape[:-1], len(self.basis))

    def to_bytes(self) -> bytes:
        """As an .npz that needs no pickle; equal content gives equal bytes."""
        buffer = io.BytesIO()
        facts = np.array(records.to_json(self.facts), np.str_)
        np.savez(
            buffer,
            allow_pickle=False,
            mean=self.mean,
            basis=self.basis,
            lips=self.lips,
            facts=facts,
        )
        return buffer.getvalue()


def read_mesh(path: Path) -> Mesh:
    """Read what ``to_bytes`` made. Raises ModelFileError."""
    advice = "Expected the .npz that lipstill's export writes beside a model file; export it again."
    with reading(path, "a mesh", advice=advice):
        with zipfile.ZipFile(path) as archive:  # NumPy would take a lone array too
            names = {name.removesuffix(".npy") for name in archive.namelist()}
        if names != _ARRAYS:
            raise ValueError(f"it holds {', '.join(sorted(names)) or 'nothing'}")
        with np.load(path, allow_pickle=False) as stored:
            return Mesh(
                mean=stored["mean"],
                basis=stored["basis"],
                lips=stored["lips"],
                facts=records.from_json(MeshFacts, str(stored["facts"])),
            )


def check_mesh(path: Path, signature: Signature) -> Outcome:
    """Whether the basis has a row for each control of the rig. Raises ModelFileError."""
    facts = read_mesh(path).facts
    said = f"{facts.components} rows of {facts.vertices} vertices for {len(signature.controls)} controls"
    fits = facts.components == len(signature.controls)
    return Outcome("passed", said) if fits else Outcome("failed", f"{said}; expected one for each")


def lip_columns(lips: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Where x y z of some vertices stand among all values, int64 `[vertices × 3]`."""
    return (np.asarray(lips, np.int64)[:, None] * 3 + np.arange(3)).ravel()


def _mistakes(mesh: Mesh) -> Iterator[str]:
    facts = mesh.facts
    columns = 3 * facts.vertices
    forms: list[tuple[str, NDArray[Any], type, tuple[int, ...]]] = [
        ("mean", mesh.mean, np.float32, (columns,)),
        ("basis", mesh.basis, np.float32, (facts.components, columns)),
        ("lips", mesh.lips, np.int64, (mesh.lips.size,)),
    ]
    for name, array, dtype, shape in forms:
        if array.dtype != dtype or array.shape != shape:
            yield (
                f"{name} is {array.dtype} {list(array.shape)}, expected {np.dtype(dtype)} "
                f"{list(shape)}"
            )
        elif not np.isfinite(array).all():
            yield f"{name} is not finite"
    if facts.vertices < 1 or facts.components < 1:
        yield f"it has {facts.vertices} vertices and {facts.components} components"
    if not facts.scale > 0:
        yield f"scale is {facts.scale}, expected more than 0"
    if mesh.lips.size and not (mesh.lips.min() >= 0 and mesh.lips.max() < facts.vertices):
        yield f"lips name vertices from {mesh.lips.min()} to {mesh.lips.max()} of {facts.vertices}"
