"""A teacher of vertices through the whole command line: run, check, stop, go on, repeat."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.judge import animation
from compress.prove import source_stage as judging
from compress.recipe.recipe import load_recipe
from compress.speech.audio import read
from compress.store import file_hash
from exporters.bundle.folder import seal_bundle
from exporters.mesh import read_mesh
from exporters.report.records.document import read_report
from exporters.signature import Signature
from exporters.targets.contract import load_target
from tests.compress.meshes import SwellingMesh, of_swelling, write_swelling
from tests.compress.test_pipeline import strike

Cli = Callable[..., Any]
pytestmark = pytest.mark.slow  # a run of the command line takes seconds

LIPS = (3, 7, 20)


@pytest.fixture(scope="module")
def mesh_workshop(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workshop with the swelling mesh for a teacher. Read, never written."""
    folder = shutil.copytree(workshop, tmp_path_factory.mktemp("mesh") / "workshop")
    write_swelling(folder)
    mask = np.isin(np.arange(60), LIPS)
    np.save(folder / "lips.npy", mask)
    plain = (folder / "recipe.yaml").read_text()
    asked = "{components: 6, lips: lips.npy}"
    (folder / "mesh.yaml").write_text(of_swelling(plain, asked))
    return folder


@pytest.fixture(scope="module")
def finished_mesh(mesh_workshop: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of that. Read, never written."""
    run = tmp_path_factory.mktemp("finished") / "run"
    ended = cli("compress", mesh_workshop / "mesh.yaml", "--out", run)
    assert ended.code == 0, ended.err
    return run


def hashes(run: Path) -> dict[str, str]:
    folders = [run / name for name in ("labels", "students", "models")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(run).as_posix(): file_hash(path) for path in files}


def test_what_rebuilds_the_mesh_ships_with_each_tier(finished_mesh: Path) -> None:
    tiers = sorted((finished_mesh / "models").iterdir())
    assert [tier.name for tier in tiers] == ["small-fp32"]
    for tier in tiers:
        assert (tier / "mesh.npz").read_bytes() == (finished_mesh / "labels/mesh.npz").read_bytes()
        assert "  mesh.npz\n" in (tier / "SHA256SUMS").read_text()
        signature = Signature.read(tier / "signature.json")
        assert signature.controls == tuple(f"pca_00{i}" for i in range(6))
        assert signature.driven == signature.controls[:4]
        assert set(signature.constants) == set(signature.controls[4:])


def test_a_file_and_two_lines_of_numpy_give_vertices(
    finished_mesh: Path, mesh_workshop: Path
) -> None:
    """As far from the teacher's as `vertex_error` in its report says, of all held-out speech."""
    tier = finished_mesh / "models" / "small-fp32"
    runtime = load_target("onnx").open_runtime(tier / "model.onnx")
    stored = np.load(tier / "mesh.npz")
    apart = []
    for path in sorted((mesh_workshop / "speech" / "heldout").glob("*.wav")):
        samples = read(path)
        times = np.arange(-(-len(samples) * 25 // 16_000)) / 25
        driven = animation.driven_curves(runtime, samples, times)
        rig = animation.whole_rig(runtime.signature, driven)
        assert rig.shape == (len(times), 6)
        vertices = stored["mean"] + rig @ stored["basis"]
        assert vertices.shape == (len(times), 180)
        mesh = read_mesh(tier / "mesh.npz")
        teacher = SwellingMesh().animate(torch.from_numpy(samples[None]))[0].numpy()
        kept = mesh.rebuild(mesh.project(teacher))
        np.testing.assert_allclose(kept, teacher, atol=1e-4)
        apart.append((vertices - kept).astype(np.float64).reshape(-1, 60, 3))
    distances = np.linalg.norm(np.concatenate(apart), axis=2)
    judged = judging.read_quality(finished_mesh / "checks/small-fp32/onnx-verify/quality.json")
    found = judged.against_teacher
    assert found["vertex_error"] == pytest.approx(np.sqrt((distances**2).mean()), rel=1e-3)
    largest = distances[:, list(LIPS)].max(1).mean()
    assert found["lip_vertex_error"] == pytest.approx(largest, rel=1e-3)


def test_the_report_has_errors_of_vertices(finished_mesh: Path) -> None:
    report = read_report(finished_mesh / "report" / "report.json")
    assert report.teacher.mesh == read_mesh(finished_mesh / "labels" / "mesh.npz").facts
    students = [tier for tier in report.tiers if tier.kind == "student"]
    assert students
    for tier in [*students, *(tier for tier in report.tiers if tier.kind == "baseline")]:
        assert isinstance(tier.against_teacher["vertex_error"], float)
        assert isinstance(tier.against_teacher["lip_vertex_error"], float)
    page = " ".join((finished_mesh / "report" / "report.md").read_text().split())
    assert "vertices off (RMS, mesh units) | farthest lip vertex off (mean, mesh units) |" in page
    assert "60 vertices as 6 PCA coefficients, which keep 100 % of their variance on" in page
    assert "no student can undo that" in page


def test_the_card_says_how_and_what_it_leaves_out(finished_mesh: Path) -> None:
    tier = finished_mesh / "models" / "small-fp32"
    card = (tier / "README.md").read_text("utf-8")
    assert f"`mesh.npz` ({(tier / 'mesh.npz').stat().st_size:,} bytes) turns them back" in card
    assert "6 stand for its 60 vertices and keep 100 % of their variance" in card
    assert "| vertices off, RMS in mesh units (onnx) |" in card
    snippet = card.partition("## Vertices")[2].partition("```python\n")[2].partition("```")[0]
    known: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tier)
        exec(snippet, known)
    pose = {f"pca_00{i}": 0.25 * i for i in range(4)}
    signature = Signature.read(tier / "signature.json")
    whole = np.array([(signature.constants | pose)[name] for name in signature.controls])
    expected = read_mesh(tier / "mesh.npz").rebuild(whole.astype(np.float32)).reshape(60, 3)
    np.testing.assert_allclose(known["vertices"](pose), expected, atol=1e-5)


def test_animate_writes_vertices(
    finished_mesh: Path, finished: Path, mesh_workshop: Path, tmp_path: Path, cli: Cli
) -> None:
    tier = finished_mesh / "models" / "small-fp32"
    speech = mesh_workshop / "speech" / "heldout" / "100.wav"
    out = tmp_path / "face.npy"
    ended = cli("animate", tier / "model.onnx", speech, "--out", out, "--fps", "24")
    assert ended.code == 0, ended.err
    assert "60 vertices, 24 fps" in ended.out
    runtime = load_target("onnx").open_runtime(tier / "model.onnx")
    samples = read(speech)
    times = animation.frame_times(len(samples), 24, 16_000)
    driven = animation.driven_curves(runtime, samples, times)
    mesh = read_mesh(tier / "mesh.npz")
    expected = mesh.rebuild(animation.whole_rig(runtime.signature, driven))
    np.testing.assert_array_equal(np.load(out), expected.reshape(len(times), 60, 3))
    rig = finished / "models" / "small-fp32" / "model.onnx"
    assert cli("animate", rig, speech, "--out", out).failed(
        2, "no mesh.npz beside", ".csv or .json"
    )
    alone = shutil.copy(finished / "models" / "small-fp32" / "model.onnx", tmp_path)
    shutil.copy(tier / "mesh.npz", tmp_path)
    ended = cli("animate", alone, speech, "--out", out)
    assert ended.failed(3, "is not the mesh of", "for 52 controls; expected one for each")


# ------------------------------------------------------------------------------------------- verify


@pytest.fixture
def mesh_run(finished_mesh: Path, tmp_path: Path) -> Path:
    """A copy of the run to spoil."""
    return shutil.copytree(finished_mesh, tmp_path / "run")


def test_verify_asks_the_mesh_too(mesh_run: Path, cli: Cli) -> None:
    ended = cli("verify", mesh_run)
    assert ended.code == 0, ended.err
    assert "mesh.npz" in ended.out
    assert "6 rows of 60 vertices for 6 controls" in ended.out
    mesh = mesh_run / "models" / "small-fp32" / "mesh.npz"
    mesh.write_bytes(mesh.read_bytes()[:-9])
    assert cli("verify", mesh.parent).failed(3, "mesh.npz has the SHA-256")
    seal_bundle(mesh.parent)
    assert cli("verify", mesh.parent).failed(3, "mesh.npz cannot be read as a mesh")
    mesh.unlink()
    assert cli("verify", mesh.parent).failed(3, "mesh.npz is missing")


def test_a_mesh_of_another_rig_fails(mesh_run: Path, cli: Cli) -> None:
    tier = mesh_run / "models" / "small-fp32"
    mesh = read_mesh(tier / "mesh.npz")
    fewer = replace(mesh, basis=mesh.basis[:5], facts=replace(mesh.facts, components=5))
    (tier / "mesh.npz").write_bytes(fewer.to_bytes())
    seal_bundle(tier)
    ended = cli("verify", tier)
    assert ended.failed(1, "mesh.npz, mesh: 5 rows of 60 vertices for 6 controls; expected one")


# ----------------------------------------------------------------------------- stopped and repeated


def test_two_runs_end_in_the_same_bytes(
    finished_mesh: Path, mesh_workshop: Path, tmp_path: Path, cli: Cli
) -> None:
    assert cli("compress", mesh_workshop / "mesh.yaml", "--out", tmp_path / "run").code == 0
    assert hashes(tmp_path / "run") == hashes(finished_mesh)


def test_a_killed_run_does_not_fit_again(
    finished_mesh: Path, mesh_workshop: Path, tmp_path: Path, cli: Cli, process: Cli
) -> None:
    run = tmp_path / "run"
    asked = ("label", mesh_workshop / "mesh.yaml", "--out", run)
    ended = process(*asked, before=strike("*/shard-*", 2, signal.SIGKILL))
    assert ended.code == -signal.SIGKILL, ended.err
    assert not (run / "labels" / "stage.json").exists()
    time = (run / "labels" / "mesh.npz").stat().st_mtime_ns
    assert cli(*asked).code == 0
    assert (run / "labels" / "mesh.npz").stat().st_mtime_ns == time
    expected = {name: h for name, h in hashes(finished_mesh).items() if name.startswith("labels/")}
    assert hashes(run) == expected


# ----------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("mesh", "said"),
    [
        ("{lips: nowhere.txt}", ("nowhere.txt", "cannot be read", "0 or 1 for each vertex")),
        ("{lips: recipe.yaml}", ("recipe.yaml", "cannot be read as vertices of the lips")),
        ("{components: 4, lips: [3, 60]}", ("names vertex 60", "0 to 59")),
        ("{variance: 1.0, max_components: 2}", ("2 components keep", "expected 100.0000%")),
        ("{components: 181}", ("components is 181", "at most 180")),
    ],
)
def test_mistakes_are_said_in_one_paragraph(
    mesh_workshop: Path, mesh: str, said: tuple[str, ...], tmp_path: Path, cli: Cli
) -> None:
    folder = shutil.copytree(mesh_workshop, tmp_path / "own")
    (folder / "wrong.yaml").write_text(of_swelling((folder / "recipe.yaml").read_text(), mesh))
    assert cli("label", folder / "wrong.yaml", "--out", tmp_path / "run").failed(3, *said)


def test_int8_tiers_are_measured_in_vertices_too(
    mesh_workshop: Path, tmp_path: Path, cli: Cli
) -> None:
    folder = shutil.copytree(mesh_workshop, tmp_path / "own")
    asked = "{variance: 0.999, lips: [3, 7]}"
    (folder / "mesh.yaml").write_text(of_swelling((folder / "shrinking.yaml").read_text(), asked))
    assert load_recipe(folder / "mesh.yaml").students[0].quantization is not None
    ended = cli("compress", folder / "mesh.yaml", "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "run/report/report.json").read_text())
    assert [hop["name"] for hop in report["chain"]][:3] == ["distilled", "pruned", "int8"]
    for hop in report["chain"]:
        assert hop["against_teacher"]["vertex_error"] > 0
        assert hop["against_teacher"]["lip_vertex_error"] > 0
    assert (tmp_path / "run" / "models" / "small-int8" / "mesh.npz").exists()
