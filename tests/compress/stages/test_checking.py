"""Parity and quality of a file, kept when they hold and measured again when they do not."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.evaluation import HeldOut, Quality, load_heldout
from compress.metrics import Share
from compress.planning import Plan, find_inputs, plan
from compress.recipe import load_recipe
from compress.stages import checking, labelling
from compress.store import stage
from compress.students.integers import Range
from compress.students.storing import load_student


@pytest.fixture
def planned(workshop: Path, run: Path) -> Plan:
    recipe = load_recipe(workshop / "recipe.yaml")
    return plan(recipe, find_inputs(recipe), run)


@pytest.fixture
def heldout(planned: Plan) -> Callable[[], HeldOut]:
    return lambda: load_heldout(labelling.run(planned.label), {})


def nothing() -> HeldOut:
    raise AssertionError("nothing is measured")


def test_what_is_there_is_not_measured_again(planned: Plan) -> None:
    job = planned.students[0].tiers[0].verify["onnx"]
    assert checking.verify(job, nothing).parity.status == "passed"
    assert len(checking.baselines(planned.baselines, list, nothing)) == 3


def test_a_failed_parity_is_measured_again(planned: Plan, heldout: Callable[[], HeldOut]) -> None:
    job = replace(planned.students[0].tiers[0].verify["onnx"], max_abs=1e-12)
    failed = checking.verify(job, heldout).parity
    assert failed.status == "failed"
    assert failed.sets[0].name == "held-out speech"
    assert failed.sets[0].max_abs is not None
    assert 1e-12 < failed.sets[0].max_abs < 1e-5
    assert "parity-failed" in stage(job.folder, job.key).reason
    with pytest.raises(AssertionError, match="nothing is measured"):
        checking.verify(job, nothing)


def test_a_new_benchmark_for_a_new_file(planned: Plan) -> None:
    job = planned.students[0].tiers[0].benchmark["onnx"]
    content = job.file.read_bytes()
    before, key = checking.benchmark(job), job.key
    assert before.bytes == len(content)
    job.file.unlink()
    assert job.key != key
    job.file.write_bytes(content)
    assert job.key == key


def test_windows_of_speech_cover_all_of_it() -> None:
    ramp = np.arange(1, 1001, dtype=np.float32)
    speech = HeldOut((), (ramp[:600], ramp[600:]), (), (), (), 30.0, 0.0)
    windows = checking.speech_windows(speech, 100)
    assert windows.shape == (checking.PARITY_WINDOWS, 1, 100)
    assert windows[0, 0, 0] == 1
    assert (windows[-1] == 0).all(), "the silence after the last clip"
    assert (np.diff(windows[:, 0, 0])[:-1] > 0).all()


def test_quality_comes_back_from_json() -> None:
    measured = Quality(
        {"mse": 0.25, "r2": None, "lag_ms": -2.5},
        {"pbm": Share(value=0.5, n=4, low=0.1, high=0.9)},
        {"lips": {"mse": 0.5, "correlation": None}},
        {"jawOpen": {"mse": 0.125, "correlation": 0.75}},
    )
    text = json.dumps(checking.quality_to_json(measured))
    assert checking.quality_from_json(json.loads(text)) == measured


def test_the_teacher_and_two_baselines(planned: Plan) -> None:
    teacher, ridge, mean = checking.baselines(planned.baselines, list, nothing)
    assert (teacher.name, teacher.parameters) == ("the teacher", 0)
    assert teacher.quality.against_teacher["mse"] == 0
    assert ridge.name.startswith("ridge")
    assert mean.name == "mean curve"


def test_an_int8_rig_may_differ_by_a_code(workshop: Path, shrunk: Path) -> None:
    """Whatever a code stands for; a float head has the recipe's limit, and so has a float file."""
    recipe = load_recipe(workshop / "shrinking.yaml")
    job = plan(recipe, find_inputs(recipe), shrunk).students[0].tiers[1].verify["onnx"]
    codes = load_student(job.student_folder)[1].quantization
    assert codes is not None
    coarse = replace(codes, tensors=codes.tensors | {"rig": Range(0.25, 0)})
    fine = replace(codes, tensors=codes.tensors | {"rig": Range(0.0001, 0)})
    in_float = replace(coarse, layers=codes.layers | {"rig": "int8_weights"})
    limits = [checking._limit(job, codes) for codes in (coarse, fine, in_float, None)]
    assert limits[1:] == [2e-3] * 3
    assert 0.25 < limits[0] < 0.251
    assert 0.5 < checking._limit(replace(job, max_lsb=2), coarse) < 0.502
