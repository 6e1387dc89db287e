"""What a set of coefficients lost against another, in distances of vertices.

In the mesh's own units, against the teacher's mesh as the PCA keeps it; what the PCA itself leaves
out is `residual` in the mesh's facts. Coefficients are lists of clips, each `[frames, controls]`,
of the same controls in both.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from compress.judge.closures import Clips
from compress.teachers.mesh.teacher import names
from exporters.mesh import Mesh, lip_columns

Floats = NDArray[np.float64]

_BLOCK = 1024  # frames computed at a time


class MeshErrors:
    """Sums over clips behind `vertex_error` and `lip_vertex_error`; no clip is kept.

    `controls` names the columns of the clips.
    """

    def __init__(self, mesh: Mesh, controls: Sequence[str]) -> None:
        self._mesh, self._frames, self._squares, self._largest = mesh, 0, 0.0, 0.0
        self._basis: Floats | None = None
        if mesh.lips.size:
            rows = [names(mesh.facts.components).index(name) for name in controls]
            self._basis = mesh.basis[rows][:, lip_columns(mesh.lips)].astype(np.float64)

    def add(self, predicted: np.ndarray, reference: np.ndarray) -> None:
        """One more clip, both `[frames, controls]`."""
        differences = np.asarray(predicted, np.float64) - reference
        self._frames += len(differences)
        self._squares += float((differences**2).sum())
        if self._basis is None:
            return
        for start in range(0, len(differences), _BLOCK):
            apart = differences[start : start + _BLOCK] @ self._basis
            largest = np.linalg.norm(apart.reshape(len(apart), -1, 3), axis=2).max(1)
            self._largest += float(largest.sum())

    @property
    def vertices(self) -> float:
        """Root mean square distance of a vertex from its place; NaN of no frame."""
        if not self._frames:
            return math.nan
        facts = self._mesh.facts
        return math.sqrt(self._squares / self._frames / facts.vertices) / facts.scale

    @property
    def lips(self) -> float | None:
        """The farthest lip vertex, averaged over frames; None where the lips are not known."""
        if self._basis is None:
            return None
        return self._largest / self._frames if self._frames else math.nan


def vertex_error(predicted: Clips, reference: Clips, mesh: Mesh) -> float:
    """Root mean square distance of a vertex from its place, over all frames and vertices.

    The rows of the basis are orthogonal and of one length, so that the distance of two meshes is
    that of their coefficients by `scale`; no mesh is rebuilt.
    """
    found = MeshErrors(replace(mesh, lips=mesh.lips[:0]), ())
    for p, r in zip(predicted, reference, strict=True):
        found.add(p, r)
    return found.vertices


def lip_vertex_error(
    predicted: Clips, reference: Clips, mesh: Mesh, controls: Sequence[str]
) -> float:
    """Largest Euclidean distance of a lip vertex from its place, averaged over frames.

    After Richard et al., *MeshTalk*, 2021, arXiv:2104.08223, as CodeTalker, arXiv:2301.02379, has
    it too: of a frame the largest error over the lips counts. Publications differ in whether the
    distance is squared; this is the plain one. `controls` names the columns of the clips. Raises
    ValueError for a mesh of which the lips are not known.
    """
    if not mesh.lips.size:
        raise ValueError("the lips of this mesh are not known")
    found = MeshErrors(mesh, controls)
    for p, r in zip(predicted, reference, strict=True):
        found.add(p, r)
    assert found.lips is not None
    return found.lips
