"""Quality in PyTorch and of baselines: the hops of the chain that are no files."""

import json
from pathlib import Path

import pytest

from compress.judge.held_out import HeldOut
from compress.judge.metrics import Share
from compress.judge.quality import Quality
from compress.prove import source_stage as judging
from compress.recipe.recipe import load_recipe
from compress.run.jobs import Plan
from compress.run.planning import find_inputs, plan


@pytest.fixture
def planned(workshop: Path, run: Path) -> Plan:
    recipe = load_recipe(workshop / "recipe.yaml")
    return plan(recipe, find_inputs(recipe), run)


def nothing() -> HeldOut:
    raise AssertionError("nothing is measured")


def test_quality_comes_back_from_json() -> None:
    measured = Quality(
        {"mse": 0.25, "r2": None, "lag_ms": -2.5},
        {"pbm": Share(value=0.5, n=4, low=0.1, high=0.9)},
        {"lips": {"mse": 0.5, "correlation": None}},
        {"jawOpen": {"mse": 0.125, "correlation": 0.75}},
    )
    text = json.dumps(judging.quality_to_json(measured))
    assert judging.quality_from_json(json.loads(text)) == measured


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
