"""Stage distill: found or made, and refused early."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from compress.errors import UsageError
from compress.label_store import Labels
from compress.planning import Plan, find_inputs, plan
from compress.recipe import StudentSettings, load_recipe
from compress.stages import labelling, training


@pytest.fixture
def planned(workshop: Path, run: Path) -> Plan:
    recipe = load_recipe(workshop / "recipe.yaml")
    return plan(recipe, find_inputs(recipe), run)


@pytest.fixture
def made(planned: Plan) -> Labels:
    return labelling.run(planned.label)


def test_a_student_that_is_there_is_found(planned: Plan, made: Labels) -> None:
    job = planned.students[0].distill
    found = training.run(job, made)
    assert (found.folder, found.key) == (job.folder, job.key)
    assert [row["step"] for row in found.log][-1] == 6


def test_the_log_of_another_training_is_not_shown(planned: Plan, made: Labels) -> None:
    job = planned.students[0].distill
    record = json.loads((job.logs / "stage.json").read_text())
    (job.logs / "stage.json").write_text(json.dumps(record | {"key": "other"}))
    assert training.run(job, made).log == ()


def test_its_checkpoints_go_when_the_student_is_there(planned: Plan, made: Labels) -> None:
    """Those of other settings stay: somebody may want to go on from them."""
    job = planned.students[0].distill
    job.checkpoints.mkdir(parents=True)
    (job.work / "other-key").mkdir()
    training.run(job, made)
    assert [path.name for path in job.work.iterdir()] == ["other-key"]
    (job.work / "other-key").rmdir()
    job.checkpoints.mkdir()
    training.run(job, made)
    assert not job.work.parent.exists()


def test_other_settings_are_another_student(planned: Plan, made: Labels, tmp_path: Path) -> None:
    job = planned.students[0].distill
    fewer = job.settings.training.model_copy(update={"steps": 3})
    other = replace(
        job,
        folder=tmp_path / "distilled",
        logs=tmp_path / "logs",
        work=tmp_path / "work" / "small",
        settings=job.settings.model_copy(update={"training": fewer}),
    )
    assert other.key != job.key
    trained = training.run(other, made)
    assert [row["step"] for row in trained.log][-1] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["distilled", "logs", "run"]
    assert json.loads((tmp_path / "distilled" / "student.json").read_text())["step"] == "distilled"


def test_all_plans_that_cannot_work_are_named(student_settings: StudentSettings) -> None:
    def changed(name: str, **fields: object) -> StudentSettings:
        return student_settings.model_copy(update={"name": name, **fields})

    plans = [changed("a", head_kernel=90), changed("b"), changed("c", first_kernel=33)]
    with pytest.raises(UsageError, match=r"(?s)Student a cannot.*Student c cannot") as error:
        training.check_students(plans)
    assert "Student b" not in str(error.value)


def test_parameters_by_hand(student_settings: StudentSettings) -> None:
    """First layer, norms, three convolutions of the head: counted for three outputs."""
    sizes = training.check_students([student_settings], outputs=3)
    more = training.check_students([student_settings], outputs=4)
    assert list(sizes) == ["tiny"]
    assert more["tiny"] - sizes["tiny"] == 8 + 1, "one more row of eight weights, and its bias"
