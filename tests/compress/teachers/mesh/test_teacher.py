"""Vertices as coefficients: what is fitted, what is kept in a file, and what is refused."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import subspace_angles

from compress.errors import TeacherError
from compress.recipe.teacher import MeshSettings
from compress.teachers.mesh.fitting import fit_basis, with_residual
from compress.teachers.mesh.teacher import (
    MeshTeacher,
    find_mesh,
    lip_vertices,
    names,
    read_lips,
    vertex_count,
)
from exporters.errors import ModelFileError
from exporters.mesh import Mesh, read_mesh
from tests.compress.meshes import SwellingMesh, mesh_of, moving


def pieces(vertices: np.ndarray, *lengths: int) -> list[np.ndarray]:
    """The same frames as a teacher gives them, in pieces of such lengths over and over."""
    found, start = [], 0
    while start < len(vertices):
        for length in lengths:
            found.append(vertices[start : start + length])
            start += length
    return [piece for piece in found if len(piece)]


def exact(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions and shares of the variance, by an SVD of everything in float64."""
    centred = vertices.astype(np.float64) - vertices.astype(np.float64).mean(0)
    _, sizes, rows = np.linalg.svd(centred, full_matrices=False)
    return rows, sizes**2 / (sizes**2).sum()


# ------------------------------------------------------------------------------------------ fitting


def test_it_is_that_of_an_exact_svd() -> None:
    """Batches of 24 of 400 frames; what is thrown away between them is below 1 % of the variance.

    float32 alone accounts for angles of about 1e-6.
    """
    vertices = moving(400, 30, 40)
    rows, shares = exact(vertices)
    found = fit_basis(pieces(vertices, 7, 50, 1, 90), MeshSettings(components=8))
    assert found.rows.shape == (8, 90)
    assert subspace_angles(found.rows.T.astype(np.float64), rows[:8].T).max() < 1e-3
    np.testing.assert_allclose(found.rows @ found.rows.T, np.eye(8), atol=1e-5)
    np.testing.assert_allclose(found.mean, vertices.astype(np.float64).mean(0), atol=2e-5)
    assert found.variance == pytest.approx(shares[:8].sum(), abs=1e-6)
    centred = vertices.astype(np.float64) - vertices.astype(np.float64).mean(0)
    assert found.deviation == pytest.approx((centred @ rows[0]).std(ddof=1), rel=1e-4)


def test_as_many_components_as_the_variance_needs() -> None:
    vertices = moving(300, 20, 30)
    _, shares = exact(vertices)
    for variance in (0.5, 0.9, 0.99, 0.999):
        found = fit_basis(pieces(vertices, 64), MeshSettings(variance=variance, max_components=40))
        least = int(np.searchsorted(np.cumsum(shares), variance)) + 1
        assert len(found.rows) == least, variance
        assert found.variance >= variance


def test_all_of_the_variance_can_be_asked_for() -> None:
    """Four curves, and nothing else but rounding: four components."""
    found = fit_basis([moving(200, 20, 4)], MeshSettings(variance=1.0))
    assert len(found.rows) == 4


def test_how_frames_come_changes_nothing() -> None:
    vertices = moving(500, 20, 12)
    asked = MeshSettings(components=6)
    one, other = fit_basis([vertices], asked), fit_basis(pieces(vertices, 3, 11), asked)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.mean, other.mean)


def test_too_few_components_say_how_far_they_go() -> None:
    with pytest.raises(TeacherError, match=r"^3 components keep 9\d\.\d+% .* expected 99\.9000%"):
        fit_basis([moving(100, 20, 8)], MeshSettings(max_components=3))


def test_fewer_frames_than_components() -> None:
    with pytest.raises(TeacherError, match="found 9, expected at least 10, one for each"):
        fit_basis([moving(9, 20, 4)], MeshSettings(components=10))
    with pytest.raises(TeacherError, match="found 1, expected at least 2"):
        fit_basis([moving(1, 20, 4)], MeshSettings())
    with pytest.raises(TeacherError, match="There is no frame"):
        fit_basis([], MeshSettings())
    assert len(fit_basis([moving(10, 20, 4)], MeshSettings(components=10)).rows) == 10


def test_more_components_than_values() -> None:
    with pytest.raises(TeacherError, match="components is 13, expected at most 12"):
        fit_basis([moving(100, 4, 2)], MeshSettings(components=13))


def test_a_mesh_that_never_moves() -> None:
    still = np.repeat(moving(1, 20, 4), 200, 0)
    with pytest.raises(TeacherError, match=r"The 20 vertices .* do not move over 200 frames"):
        fit_basis([still], MeshSettings())
    rounding = np.random.default_rng(0).integers(0, 2, still.shape)
    with pytest.raises(TeacherError, match="do not move"):
        fit_basis([np.nextafter(still, np.where(rounding, np.inf, -np.inf))], MeshSettings())
    late = np.concatenate([still, moving(100, 20, 2)])
    assert len(fit_basis([late], MeshSettings(variance=0.99, max_components=8)).rows) <= 3


# --------------------------------------------------------------------------- projecting, rebuilding


def test_coefficients_are_of_the_size_of_blendshapes() -> None:
    vertices = 37 * moving(400, 30, 6)
    mesh = mesh_of(vertices, MeshSettings(components=6))
    deviations = mesh.project(vertices).std(0)
    assert deviations[0] == pytest.approx(0.25, rel=0.01)
    _, shares = exact(vertices)
    np.testing.assert_allclose(deviations / deviations[0], np.sqrt(shares[:6] / shares[0]), 0.01)


@given(st.integers(1, 700), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_vertices_come_back(frames: int, batch: int) -> None:
    """A rank-4 mesh in four components, at any number of frames; float32 rounds 100 by 1e-5."""
    vertices = moving(700, 10, 4)
    mesh = mesh_of(vertices, MeshSettings(components=4))
    asked = np.stack([vertices[:frames]] * batch)
    coefficients = mesh.project(asked)
    assert (coefficients.shape, coefficients.dtype) == ((batch, frames, 4), np.float32)
    rebuilt = mesh.rebuild(coefficients)
    assert (rebuilt.shape, rebuilt.dtype) == (asked.shape, np.float32)
    np.testing.assert_allclose(rebuilt, asked, atol=5e-5)


def test_the_residual_is_what_is_left_out() -> None:
    vertices = moving(300, 10, 8)
    mesh = with_residual(mesh_of(vertices, MeshSettings(components=3), (2, 7)), [vertices])
    apart = (mesh.rebuild(mesh.project(vertices)) - vertices).reshape(300, 10, 3)
    distances = np.sqrt((apart.astype(np.float64) ** 2).sum(2))
    assert mesh.facts.residual == pytest.approx(np.sqrt((distances**2).mean()), rel=1e-6)
    assert mesh.facts.lip_residual == pytest.approx(distances[:, [2, 7]].max(1).mean(), rel=1e-6)
    unknown = with_residual(mesh_of(vertices, MeshSettings(components=3)), [vertices])
    assert unknown.facts.lip_residual is None


# --------------------------------------------------------------------------------------------- file


@pytest.fixture
def mesh() -> Mesh:
    return mesh_of(moving(100, 10, 4), MeshSettings(components=4), (2, 7))


def test_a_mesh_is_read_back(mesh: Mesh, tmp_path: Path) -> None:
    path = tmp_path / "mesh.npz"
    path.write_bytes(mesh.to_bytes())
    again = read_mesh(path)
    for name in ("mean", "basis", "lips"):
        np.testing.assert_array_equal(getattr(again, name), getattr(mesh, name))
    assert again.facts == mesh.facts
    assert again.to_bytes() == mesh.to_bytes()
    assert find_mesh(path, "key") is not None
    assert find_mesh(path, "another") is None


def test_two_lines_of_numpy_rebuild_it(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "mesh.npz").write_bytes(mesh.to_bytes())
    code = (
        "import numpy, sys\n"
        "mesh = numpy.load('mesh.npz')\n"
        "print(*(mesh['mean'] + numpy.array([1, -1, 0.5, 0]) @ mesh['basis'])[:3])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    expected = mesh.rebuild(np.array([1, -1, 0.5, 0], np.float32))[:3]
    np.testing.assert_allclose([float(word) for word in done.stdout.split()], expected, rtol=1e-6)


def test_damage_is_named_and_fitted_again(mesh: Mesh, tmp_path: Path) -> None:
    path, whole = tmp_path / "mesh.npz", mesh.to_bytes()
    other = tmp_path / "other.npz"
    np.savez(other, mean=mesh.mean)
    for content in (b"", whole[: len(whole) // 2], whole[:-30], b"PK" + whole, other.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=r"mesh\.npz cannot be read as a mesh"):
            read_mesh(path)
        assert find_mesh(path, "key") is None
    middle = bytearray(whole)
    middle[len(whole) // 3] ^= 0xFF
    path.write_bytes(bytes(middle))
    assert find_mesh(path, "key") is None
    assert find_mesh(tmp_path / "nowhere.npz", "key") is None


def test_parts_that_do_not_fit_are_refused(mesh: Mesh) -> None:
    with pytest.raises(ValueError, match=r"basis is float32 \[3, 30\], expected float32 \[4, 30\]"):
        replace(mesh, basis=mesh.basis[:3])
    with pytest.raises(ValueError, match="lips name vertices from 2 to 10 of 10"):
        replace(mesh, lips=np.array([2, 10]))
    with pytest.raises(ValueError, match="mean is not finite"):
        replace(mesh, mean=np.full(30, np.nan, np.float32))


# ------------------------------------------------------------------------------------------ teacher


def test_a_teacher_of_vertices_answers_the_contract() -> None:
    import torch

    teacher = SwellingMesh()
    audio = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 4000)).astype(np.float32))
    vertices = teacher.animate(audio).numpy()
    mesh = mesh_of(vertices.reshape(-1, 180), MeshSettings(components=4))
    reduced = MeshTeacher(teacher, mesh)
    assert reduced.controls == ("pca_000", "pca_001", "pca_002", "pca_003") == names(4)
    assert (reduced.rate_hz, reduced.sample_rate_hz, reduced.limits) == (25, 16_000, None)
    assert reduced.description == "A swelling mesh; its 60 vertices as 4 PCA coefficients."
    np.testing.assert_allclose(mesh.rebuild(reduced.animate(audio).numpy()), vertices, atol=1e-5)


def test_a_teacher_that_gives_another_mesh_is_refused() -> None:
    import torch

    reduced = MeshTeacher(SwellingMesh(20), mesh_of(moving(50, 60, 4), MeshSettings(components=4)))
    with pytest.raises(TeacherError, match=r"\[1, 7, 60\], expected \[batch, frames, 180\]"):
        reduced.animate(torch.zeros(1, 4000))


def test_values_that_cannot_be_vertices() -> None:
    teacher = SwellingMesh(5)
    assert vertex_count(teacher) == 5
    teacher.controls = teacher.controls[:-1]
    with pytest.raises(TeacherError, match=r"14 values a frame, .* 3 does not divide"):
        vertex_count(teacher)


# --------------------------------------------------------------------------------------------- lips


def test_lips_in_every_form(tmp_path: Path) -> None:
    np.save(tmp_path / "numbers.npy", np.array([4, 2, 4]))
    np.save(tmp_path / "mask.npy", np.array([0, 0, 1, 0, 1]) > 0)
    (tmp_path / "numbers.txt").write_text("4, 2\n")
    (tmp_path / "mask.txt").write_text("0\n0\n1.0\n0\n1e0\n")
    for lips in ("numbers.npy", "mask.npy", "numbers.txt", "mask.txt", (4, 2)):
        found = lip_vertices(read_lips(lips, tmp_path), 5)
        assert found.tolist() == [2, 4], lips
    assert lip_vertices(read_lips((0, 1), tmp_path), 5).tolist() == [0, 1]
    assert lip_vertices(read_lips(None, tmp_path), 5).tolist() == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds nothing"),
        ("upper lip", "could not convert"),
        ("1 2.5", "holds 2.5, which is no number of a vertex"),
        ("1 nan", "holds nan, which is no number of a vertex"),
    ],
)
def test_files_that_say_nothing_of_lips(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "lips.txt").write_text(content)
    with pytest.raises(TeacherError, match=rf"lips\.txt .*{said}.* Expected numbers of vertices"):
        read_lips("lips.txt", tmp_path)


def test_arrays_that_say_nothing_of_lips(tmp_path: Path) -> None:
    np.save(tmp_path / "square.npy", np.eye(3))
    with pytest.raises(TeacherError, match=r"holds float64 of shape \[3, 3\]"):
        read_lips("square.npy", tmp_path)
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(TeacherError, match="cannot be read"):
        read_lips("object.npy", tmp_path)
    with pytest.raises(TeacherError, match=r"nowhere\.npy cannot be read"):
        read_lips("nowhere.npy", tmp_path)


@pytest.mark.parametrize(
    ("lips", "said"),
    [
        ((3, 5), "names vertex 5, but .* vertices 0 to 4"),
        ((-1, 3), "names vertex -1"),
        ((0, 1, 1, 0), "has 0 or 1 for 4 vertices, but .* has 5"),
        ((0, 0, 0, 0, 0), "has 0 for every vertex"),
    ],
)
def test_lips_that_a_mesh_does_not_have(lips: tuple[int, ...], said: str) -> None:
    with pytest.raises(TeacherError, match=said):
        lip_vertices(lips, 5)
