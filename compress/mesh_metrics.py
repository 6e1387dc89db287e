"""What a set of coefficients lost against another, in distances of vertices.

In the mesh's own units, against the teacher's mesh as the PCA keeps it; what the PCA itself leaves
out is `residual` in the mesh's facts. Coefficients are lists of clips, each `[frames, controls]`,
of the same controls in both.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from compress.closures import Clips
from compress.mesh import names
from exporters.mesh import Mesh, lip_columns

Floats = NDArray[np.float64]

_BLOCK = 1024  # frames computed at a time


def vertex_error(predicted: Clips, reference: Clips, mesh: Mesh) -> float:
    """Root mean square distance of a vertex from its place, over all frames and vertices.

    The rows of the basis are orthogonal and of one length, so that the distance of two meshes is
    that of their coefficients by `scale`; no mesh is rebuilt.
    """
    squares = (_differences(predicted, reference) ** 2).sum(1).mean()
    return math.sqrt(squares / mesh.facts.vertices) / mesh.facts.scale


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
    rows = [names(mesh.facts.components).index(name) for name in controls]
    basis = mesh.basis[rows][:, lip_columns(mesh.lips)].astype(np.float64)
    differences = _differences(predicted, reference)
    largest = []
    for start in range(0, len(differences), _BLOCK):
        apart = differences[start : start + _BLOCK] @ basis
        largest.append(np.linalg.norm(apart.reshape(len(apart), -1, 3), axis=2).max(1))
    return float(np.concatenate(largest).mean())


def _differences(predicted: Clips, reference: Clips) -> Floats:
    pairs = zip(predicted, reference, strict=True)
    return np.concatenate([np.asarray(p, np.float64) - r for p, r in pairs])
