"""Parity and quality of a file, kept when they hold and measured again when they do not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compress.judge.held_out import HeldOut, load_heldout
from compress.labels import stage as labelling
from compress.prove import source_stage as judging
from compress.prove import verify_stage as checking
from compress.recipe.recipe import load_recipe
from compress.run.jobs import Plan
from compress.run.planning import find_inputs, plan
from compress.store import stage


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
    tier = planned.students[0].tiers[0]
    source = judging.source(tier.source, nothing)
    verified = checking.verify(tier.verify["onnx"], nothing, source)
    assert verified.sound
    assert verified.parity.status == "passed"
    assert len(judging.baselines(planned.baselines, list, nothing)) == 3


def test_a_failed_parity_is_measured_again(planned: Plan, heldout: Callable[[], HeldOut]) -> None:
    tier = planned.students[0].tiers[0]
    source = judging.source(tier.source, nothing)
    strict = tier.verify["onnx"].limits.model_copy(update={"max_abs": 1e-12})
    job = replace(tier.verify["onnx"], limits=strict)
    failed = checking.verify(job, heldout, source).parity
    assert failed.status == "failed"
    assert failed.sets[0].name == "held-out speech"
    assert failed.sets[0].max_abs is not None
    assert 1e-12 < failed.sets[0].max_abs < 1e-5
    assert "parity-failed" in stage(job.folder, job.key).reason
    with pytest.raises(AssertionError, match="nothing is measured"):
        checking.verify(job, nothing, source)


def test_a_new_benchmark_for_a_new_file(planned: Plan) -> None:
    job = planned.students[0].tiers[0].benchmark["onnx"]
    content = job.file.read_bytes()
    before, key = checking.benchmark(job), job.key
    assert before.size.bytes == len(content)
    assert before.file == "models/small-fp32/model.onnx"
    assert {pace.reference for pace in before.paces} == {before.file}, "itself, for the noise"
    job.file.unlink()
    assert job.key != key
    job.file.write_bytes(content)
    assert job.key == key


def test_a_lag_of_too_little_speech_is_not_run(
    planned: Plan, heldout: Callable[[], HeldOut]
) -> None:
    """2.1 s are held out: by chance alone the lag would be several frames, and no fault of the file."""
    tier = planned.students[0].tiers[0]
    source = judging.source(tier.source, nothing)
    strict = tier.verify["onnx"].limits.model_copy(update={"max_lag_ms": 1e-9})
    verified = checking.verify(replace(tier.verify["onnx"], limits=strict), heldout, source)
    (lag,) = [check for check in verified.checks if check.what == "lag"]
    assert (lag.status, verified.sound) == ("not run", True)
    assert "not measured: 2.1 s of speech are held out" in lag.detail
    assert verified.quality.against_teacher["lag_ms"] is None
