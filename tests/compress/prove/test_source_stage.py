"""Quality in PyTorch and of baselines: the hops of the chain that are no files."""

from pathlib import Path

import pytest

from compress.judge.held_out import HeldOut
from compress.prove import source_stage as judging
from compress.recipe.recipe import load_recipe
from compress.run.jobs import Plan
from compress.run.planning import find_inputs, plan
from exporters import records
from exporters.report.records.chain import Proportion
from exporters.report.records.quality import Quality


@pytest.fixture
def planned(workshop: Path, run: Path) -> Plan:
    recipe = load_recipe(workshop / "recipe.yaml")
    return plan(recipe, find_inputs(recipe), run)


def nothing() -> HeldOut:
    raise AssertionError("nothing is measured")


def test_quality_comes_back_from_json(tmp_path: Path) -> None:
    measured = Quality(
        against_teacher={"mse": 0.25, "r2": None, "lag_ms": -2.5},
        against_truth={"pbm": Proportion(value=0.5, n=4, low=0.1, high=0.9)},
        by_region={"lips": {"mse": 0.5, "correlation": None}},
        by_control={"jawOpen": {"mse": 0.125, "correlation": 0.75}},
    )
    path = tmp_path / "quality.json"
    path.write_text(records.to_json(measured), "utf-8")
    assert judging.read_quality(path) == measured


def test_the_teacher_and_two_baselines(planned: Plan) -> None:
    teacher, ridge, mean = judging.baselines(planned.baselines, list, nothing)
    assert (teacher.name, teacher.parameters) == ("the teacher", 0)
    assert teacher.quality.against_teacher["mse"] == 0
    assert ridge.name.startswith("ridge")
    assert mean.name == "mean curve"


def test_a_student_in_pytorch_is_judged_as_its_file_is(planned: Plan) -> None:
    tier = planned.students[0].tiers[0]
    mine = judging.source(tier.source, nothing).against_teacher
    file = judging.read_quality(tier.verify["onnx"].folder / "quality.json").against_teacher
    assert mine["mse"] == pytest.approx(file["mse"], rel=1e-4)
    assert mine["jitter_ratio"] == pytest.approx(file["jitter_ratio"], rel=1e-3)
