"""Rows of the students that ship: where they say something, and beside what they are timed."""

from dataclasses import replace
from pathlib import Path

import pytest

from compress.errors import UsageError
from compress.recipe.recipe import Recipe, load_recipe
from compress.run.jobs import Plan
from compress.run.planning import find_inputs, plan
from compress.students.reference import TEACHER, float_twin, reference_students

NAMES = {
    *("reference-small", "reference-tiny", "reference-realtime", "reference-tiny-realtime"),
    *("reference-small-pruned-int8", "reference-tiny-int8", "reference-tiny-pruned-int8"),
    "reference-tiny-realtime-int8",
}


@pytest.fixture(scope="module")
def demo() -> Recipe:
    """The demo with rows for all that ship."""
    return load_recipe("demo", ["report.references=null"])


@pytest.fixture(scope="module")
def planned(demo: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return plan(demo, find_inputs(demo), tmp_path_factory.mktemp("runs") / "demo")


def test_every_student_that_ships_has_a_tier(planned: Plan) -> None:
    references = [student for student in planned.students if student.reference]
    assert {student.name for student in references} == NAMES
    for student in references:
        (tier,) = student.tiers
        assert list(tier.export.files) == ["onnx", "tflite"]
        assert tier.export.precision == ("int8" if student.name.endswith("int8") else "fp32")
    assert [s.name for s in planned.students if not s.reference] == ["tiny"]


def test_folders_name_the_precision_once(planned: Plan) -> None:
    names = [tier.name for tier in planned.tiers]
    assert len(set(names)) == len(names)
    assert {"reference-tiny-fp32", "reference-tiny-int8", "tiny-int8"} <= set(names)


def test_smaller_files_take_turns_with_the_float_file_they_were_made_of(planned: Plan) -> None:
    beside = {
        tier.name: job.reference and job.reference.relative_to(planned.folder).as_posix()
        for tier in planned.tiers
        for target, job in tier.benchmark.items()
        if target == "onnx"
    }
    assert beside["tiny-fp32"] is None
    assert beside["tiny-int8"] == beside["tiny-fp16"] == "models/tiny-fp32/model.onnx"
    assert beside["reference-small-fp32"] is None
    small = "models/reference-small-fp32/model.onnx"
    assert beside["reference-small-pruned-int8"] == small
    assert float_twin("reference-tiny-pruned-int8") == "reference-tiny"


def test_of_another_teacher_they_say_nothing(demo: Recipe) -> None:
    teacher = find_inputs(demo).teacher
    assert teacher.name == TEACHER
    assert len(reference_students(demo, teacher)) == len(NAMES)
    assert reference_students(demo, replace(teacher, name="my-teacher")) == ()


@pytest.mark.parametrize("wanted", ["[]", "[coreml]"])
def test_the_recipe_decides_for_which_targets(wanted: str, tmp_path: Path) -> None:
    recipe = load_recipe("demo", [f"report.reference_targets={wanted}", "export.targets=[onnx]"])
    made = plan(recipe, find_inputs(recipe), tmp_path / "run")
    assert [student.name for student in made.students] == ["tiny"]


def test_the_recipe_decides_which(demo: Recipe, tmp_path: Path) -> None:
    teacher = find_inputs(demo).teacher
    few = load_recipe("demo", ["report.references=[tiny-int8, small]"])
    assert [s.name for s in reference_students(few, teacher)] == [
        "reference-small",
        "reference-tiny-int8",
    ]
    planned = plan(few, find_inputs(few), tmp_path / "run")
    alone = next(tier for tier in planned.tiers if tier.name == "reference-tiny-int8")
    assert alone.benchmark["onnx"].reference is None, "its float student is not shown"
    wrong = load_recipe("demo", ["report.references=[huge, tiny]"])
    with pytest.raises(UsageError, match=r"no student huge ships with lipstill; there are .*tiny"):
        reference_students(wrong, teacher)


def test_one_asked_for_student_comes_without_them(demo: Recipe, tmp_path: Path) -> None:
    made = plan(demo, find_inputs(demo), tmp_path / "run", ["tiny"])
    assert [student.name for student in made.students] == ["tiny"]


def test_two_students_cannot_write_one_folder(tmp_path: Path) -> None:
    recipe = load_recipe("demo")
    tiny = recipe.students[0]
    twice = recipe.model_copy(
        update={
            "students": (tiny, tiny.model_copy(update={"name": "tiny-int8", "quantization": None}))
        }
    )
    # tiny in int8 and a student of that name in fp32 have folders of their own.
    plan(twice, find_inputs(twice), tmp_path / "run")
    clash = recipe.model_copy(
        update={"students": (tiny, tiny.model_copy(update={"name": "tiny-int8"}))}
    )
    with pytest.raises(UsageError, match="models/tiny-int8"):
        plan(clash, find_inputs(clash), tmp_path / "other")
