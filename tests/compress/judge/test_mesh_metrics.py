"""Errors of vertices, from coefficients, against meshes that are rebuilt and compared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.judge.mesh_metrics import lip_vertex_error, vertex_error
from compress.recipe.teacher import MeshSettings
from compress.teachers.mesh.teacher import names
from exporters.mesh import Mesh
from tests.compress.meshes import mesh_of, moving

LIPS = (1, 4, 9)


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    """In units of its own: fifty times as far as coefficients go."""
    return mesh_of(50 * moving(300, 12, 8), MeshSettings(components=5), LIPS)


def clips(seed: int, columns: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [
        random.standard_normal((length, columns)).astype(np.float32) for length in (3, 1100, 40)
    ]


def distances(mesh: Mesh, one: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
    """Of each vertex of the rebuilt meshes, [frames, vertices], in float64."""
    meshes = [
        np.concatenate([clip.astype(np.float64) @ mesh.basis + mesh.mean for clip in some])
        for some in (one, other)
    ]
    return np.linalg.norm((meshes[0] - meshes[1]).reshape(-1, 12, 3), axis=2)


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_they_are_those_of_rebuilt_meshes(one: int, other: int) -> None:
    mesh = mesh_of(50 * moving(300, 12, 8), MeshSettings(components=5), LIPS)
    predicted, reference = clips(one, 5), clips(other, 5)
    apart = distances(mesh, predicted, reference)
    root_mean_square = np.sqrt((apart**2).mean())
    # The rows of the basis are orthogonal but for float32.
    assert vertex_error(predicted, reference, mesh) == pytest.approx(root_mean_square, rel=1e-5)
    largest = apart[:, list(LIPS)].max(1).mean()
    found = lip_vertex_error(predicted, reference, mesh, names(5))
    assert found == pytest.approx(largest, rel=1e-5)


def test_columns_that_never_move_count_for_nothing(mesh: Mesh) -> None:
    """Curves have the driven controls only; the others are the same in both."""
    predicted, reference = clips(1, 3), clips(2, 3)
    driven = ("pca_000", "pca_002", "pca_003")

    def whole(some: list[np.ndarray]) -> list[np.ndarray]:
        found = [np.full((len(clip), 5), 0.5, np.float32) for clip in some]
        for filled, clip in zip(found, some, strict=True):
            filled[:, [0, 2, 3]] = clip
        return found

    apart = distances(mesh, whole(predicted), whole(reference))
    expected = np.sqrt((apart**2).mean())
    assert vertex_error(predicted, reference, mesh) == pytest.approx(expected, rel=1e-5)
    largest = apart[:, list(LIPS)].max(1).mean()
    assert lip_vertex_error(predicted, reference, mesh, driven) == pytest.approx(largest, rel=1e-5)


def test_the_same_is_no_error_and_no_number_stays_none(mesh: Mesh) -> None:
    reference = clips(1, 5)
    assert vertex_error(reference, reference, mesh) == 0
    assert lip_vertex_error(reference, reference, mesh, names(5)) == 0
    broken = [clip.copy() for clip in reference]
    broken[1][7, 2] = np.nan
    assert np.isnan(vertex_error(broken, reference, mesh))
    assert np.isnan(lip_vertex_error(broken, reference, mesh, names(5)))


def test_a_mesh_without_lips_has_no_lip_error() -> None:
    mesh = mesh_of(moving(100, 12, 4), MeshSettings(components=4))
    with pytest.raises(ValueError, match="lips of this mesh are not known"):
        lip_vertex_error(clips(1, 4), clips(2, 4), mesh, names(4))
