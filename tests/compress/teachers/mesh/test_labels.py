"""Labels of a teacher of vertices: what it is reduced by, when that is fitted, and what is kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.errors import TeacherError
from compress.judge.held_out import load_heldout
from compress.judge.quality import quality
from compress.labels import stage as labelling
from compress.labels.making import Spoken
from compress.labels.stage import LabelJob
from compress.labels.store import Labels, audio_of, curves_of
from compress.recipe.recipe import load_recipe
from compress.recipe.teacher import MeshSettings
from compress.run.planning import find_inputs, plan
from compress.store import stage
from compress.teachers.mesh.fitting import _spread, _stretches, fit
from compress.teachers.pieces import Cutting
from exporters.mesh import read_mesh
from tests.compress.meshes import SwellingMesh, of_swelling, write_swelling

MakeSpeech = Callable[..., list[Spoken]]
MakeJob = Callable[..., LabelJob]


@pytest.fixture
def make_job(own: Path, tmp_path: Path) -> MakeJob:
    """The labelling of the workshop's speech by the swelling mesh."""
    write_swelling(own)
    plain = (own / "recipe.yaml").read_text()

    def make(mesh: str = "{components: 6, lips: [3, 7]}", **changes: Any) -> LabelJob:
        (own / "mesh.yaml").write_text(of_swelling(plain, mesh))
        recipe = load_recipe(own / "mesh.yaml")
        planned = plan(recipe, find_inputs(recipe), tmp_path / "run")
        places = {
            "folder": tmp_path / "labels",
            "rest": replace(planned.rest, folder=tmp_path / "rest"),
        }
        return replace(planned.label, **(places | changes))

    return make


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rebuilt(labels: Labels) -> list[np.ndarray]:
    """The vertices of all labelled clips, [frames, vertices × 3], constants beside the driven."""
    mesh_file = labels.mesh_file
    assert mesh_file is not None
    mesh = read_mesh(mesh_file)
    found = []
    for driven in curves_of(labels, labels.clips, "frames"):
        still = [labels.constants.get(name, 0.0) for name in labels.controls]
        whole = np.tile(np.array(still, np.float32), (len(driven), 1))
        whole[:, labels.driven_columns] = driven
        found.append(mesh.rebuild(whole))
    return found


def test_labels_are_coefficients_of_the_teachers_vertices(make_job: MakeJob) -> None:
    """The teacher's mesh has four dimensions; two more components stand still."""
    job = make_job()
    labels = labelling.run(job)
    assert labels.controls == tuple(f"pca_00{i}" for i in range(6))
    assert labels.driven == labels.controls[:4]
    assert all(abs(value) < 1e-4 for value in labels.constants.values())
    assert labels.limits is None
    teacher = SwellingMesh()
    for clip, vertices in zip(labels.clips, rebuilt(labels), strict=True):
        samples = torch.from_numpy(audio_of(labels, clip))
        np.testing.assert_allclose(vertices, teacher.animate(samples[None])[0], atol=1e-4)
    assert np.ptp(rebuilt(labels)[0], axis=0).max() > 0.1, "the mesh moves"


def test_the_mesh_is_sealed_with_the_labels(make_job: MakeJob) -> None:
    job = make_job()
    labels = labelling.run(job)
    assert labels.mesh_file == job.folder / "mesh.npz"
    assert "mesh.npz" in stage(job.folder, job.key, verify=True).files
    found = labelling.run(job)
    assert (found.mesh_file, found.controls) == (labels.mesh_file, labels.controls)
    facts = read_mesh(labels.mesh_file).facts
    assert (facts.key, facts.vertices, facts.components) == (job.mesh_key, 60, 6)
    assert facts.variance == pytest.approx(1, abs=1e-6)
    assert (facts.fitted_clips, facts.heldout_clips) == (8, 3)
    seconds = sum(s.clip.seconds for s in job.speech.spoken if s.side == "train")
    assert facts.fitted_minutes == pytest.approx(seconds / 60, abs=1e-3)
    assert 0 < facts.residual < 1e-5, "four of six components hold all of it"
    assert facts.lip_residual is not None
    assert read_mesh(labels.mesh_file).lips.tolist() == [3, 7]


def test_the_first_coefficient_moves_by_a_quarter(make_job: MakeJob) -> None:
    labels = labelling.run(make_job())
    train = np.concatenate(curves_of(labels, labels.side("train"), "frames"))
    assert train[:, 0].std() == pytest.approx(0.25, rel=0.01)


def test_what_was_fitted_is_found_again(make_job: MakeJob) -> None:
    """As a run leaves it that was killed while it labelled."""
    job = make_job()
    labelling.run(job)
    whole = content(job.folder)
    (job.folder / "stage.json").unlink()
    next(job.folder.glob("shard-*")).unlink()
    time = (job.folder / "mesh.npz").stat().st_mtime_ns
    labelling.run(job)
    assert (job.folder / "mesh.npz").stat().st_mtime_ns == time
    assert content(job.folder) == whole


def test_what_is_damaged_or_anothers_is_fitted_again(make_job: MakeJob) -> None:
    job = make_job()
    labelling.run(job)
    whole = content(job.folder)
    path = job.folder / "mesh.npz"
    path.write_bytes(path.read_bytes()[:-100])
    labelling.run(job)
    assert content(job.folder) == whole
    other = make_job("{components: 3, lips: [3, 7]}")
    assert other.key != job.key
    assert len(labelling.run(other).controls) == 3
    labelling.run(job)
    assert content(job.folder) == whole


def test_two_runs_give_equal_files(make_job: MakeJob, tmp_path: Path) -> None:
    one, other = make_job(), make_job(folder=tmp_path / "elsewhere")
    labelling.run(one)
    labelling.run(other)
    assert content(one.folder) == content(other.folder)


def test_a_recipe_without_a_mesh_leaves_none(make_job: MakeJob) -> None:
    job = make_job()
    labelling.run(job)
    plain = replace(job, teacher_settings=job.teacher_settings.model_copy(update={"mesh": None}))
    labels = labelling.run(plain)
    assert labels.mesh_file is None
    assert len(labels.controls) == 180


def test_the_key_stands_for_the_lips(make_job: MakeJob, own: Path) -> None:
    (own / "lips.txt").write_text("3 7")
    job = make_job("{components: 6, lips: lips.txt}")
    before = job.key, job.mesh_key
    assert before == (job.key, job.mesh_key)
    (own / "lips.txt").write_text("3 8")
    assert job.key != before[0]
    assert job.mesh_key != before[1]


def test_errors_of_vertices_are_measured_on_held_out_speech(make_job: MakeJob) -> None:
    labels = labelling.run(make_job())
    heldout = load_heldout(labels, {})
    still = [np.zeros_like(clip) for clip in heldout.teacher]
    judged = quality(still, heldout).against_teacher
    moved = [v - read_mesh(labels.folder / "mesh.npz").mean for v in rebuilt(labels)]
    apart = np.concatenate(
        [
            vertices.reshape(-1, 60, 3)
            for vertices, clip in zip(moved, labels.clips, strict=True)
            if clip.side == "heldout"
        ]
    )
    distances = np.linalg.norm(apart.astype(np.float64), axis=2)
    # The two constants are 0 but for rounding.
    expected = np.sqrt((distances**2).mean())
    assert judged["vertex_error"] == pytest.approx(expected, rel=1e-3)
    assert judged["lip_vertex_error"] == pytest.approx(distances[:, [3, 7]].max(1).mean(), rel=1e-3)
    blind = labelling.run(make_job("{components: 6}"))
    judged = quality(still, load_heldout(blind, {})).against_teacher
    assert judged["vertex_error"] == pytest.approx(expected, rel=1e-3)
    assert judged["lip_vertex_error"] is None


# ----------------------------------------------------------------------------- which speech, and how


def test_training_speech_alone_is_fitted_on(tmp_path: Path, make_speech: MakeSpeech) -> None:
    """A mesh of more held-out speech is the same."""
    speech = make_speech(tmp_path / "speech", (0.6, 0.7, 0.6, 0.5, 0.6, 0.8))
    fewer = [s for s in speech if s.side == "train" or s.clip.id == "2"]
    asked = MeshSettings(components=4)
    one, other = (fit(SwellingMesh(), "k", some, asked, Cutting(), ()) for some in (speech, fewer))
    np.testing.assert_array_equal(one.basis, other.basis)
    assert (one.facts.heldout_clips, other.facts.heldout_clips) == (2, 1)


def test_speech_is_spread_evenly(tmp_path: Path, make_speech: MakeSpeech) -> None:
    """Ten seconds of forty clips of 0.5 s: every second one; of long clips, pieces."""
    speech = [replace(s, side="train") for s in make_speech(tmp_path / "a", (0.5,) * 40)]
    stretches = _stretches(SwellingMesh(), speech, "train", Cutting())
    chosen = _spread(stretches, 10 / 60)
    assert [stretches.index(s) for s in chosen] == list(range(1, 40, 2))
    assert _spread(stretches, 20 / 60) == stretches
    assert len(_spread(stretches, 0.7 / 60)) == 1
    assert _spread(stretches, 0.001) == [stretches[20]]
    long = [replace(s, side="train") for s in make_speech(tmp_path / "b", (6.0,))]
    pieces = _stretches(SwellingMesh(), long, "train", Cutting(1.0, 0.25))
    assert len(pieces) == 8
    assert {round(piece.seconds, 2) for piece in pieces[:-1]} == {1.0}
    halved = _spread(pieces, 4.0 / 60)
    assert len(halved) == 4
    assert halved[0].start > 0


def test_no_more_speech_than_asked_is_heard(tmp_path: Path, make_speech: MakeSpeech) -> None:
    speech = make_speech(tmp_path / "speech", (0.5,) * 30)
    teacher = SwellingMesh()
    fit(teacher, "k", speech, MeshSettings(components=4, fit_minutes=2 / 60), Cutting(), ())
    assert sum(samples for _, samples in teacher.calls) == (2.0 + 5.0) * 16_000


def test_a_long_clip_is_heard_in_pieces(tmp_path: Path, make_speech: MakeSpeech) -> None:
    speech = make_speech(tmp_path / "speech", (5.0, 0.6, 0.7))
    teacher = SwellingMesh()
    mesh = fit(teacher, "k", speech, MeshSettings(components=4), Cutting(1.0), ())
    assert max(samples for _, samples in teacher.calls) == 16_000
    assert mesh.facts.fitted_clips == 2


def test_a_teacher_of_no_vertices(tmp_path: Path, make_speech: MakeSpeech) -> None:
    speech = make_speech(tmp_path / "speech", (0.6, 0.7, 0.6))
    teacher = SwellingMesh()
    teacher.controls = teacher.controls[:-2]
    with pytest.raises(TeacherError, match="178 values a frame"):
        fit(teacher, "k", speech, MeshSettings(), Cutting(), ())
    assert teacher.calls == [], "nothing is run first"
    with pytest.raises(TeacherError, match="names vertex 60"):
        fit(SwellingMesh(), "k", speech, MeshSettings(), Cutting(), (60,))
