"""What the report says of pruning and int8, from what the stages left behind."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compress.distill.shrinking import Shrunk
from compress.labels import stage as labelling
from compress.prune import stage as pruning
from compress.quantize import stage as quantizing
from compress.recipe.recipe import load_recipe
from compress.report.compression import pruning_of, quantization_of
from compress.run.jobs import StudentJobs
from compress.run.planning import find_inputs, plan
from exporters.report.records import compression as doc

Make = Callable[..., doc.Quantization]


@pytest.fixture
def known(workshop: Path, shrunk_run: Path) -> tuple[StudentJobs, Shrunk, Shrunk]:
    recipe = load_recipe(workshop / "shrinking.yaml")
    planned = plan(recipe, find_inputs(recipe), shrunk_run)
    labels, (jobs,) = labelling.run(planned.label), planned.students
    assert jobs.prune is not None
    assert jobs.quantize is not None
    return jobs, pruning.run(jobs.prune, labels), quantizing.run(jobs.quantize, labels)


@pytest.fixture
def described(known: tuple[StudentJobs, Shrunk, Shrunk]) -> Make:
    """The report's quantization, with another cost or other choices in the record."""
    jobs, _, integers = known

    def make(cost: dict[str, Any] | None = None, **choices: str) -> doc.Quantization:
        record = integers.record
        scan = record["scan"]
        rows = [row | {"cost": row["cost"] | (cost or {})} for row in scan["rows"]]
        scan = scan | {"rows": rows, "choices": scan["choices"] | choices}
        changed = {"scan": scan, "cost": record["cost"] | (cost or {})}
        return quantization_of(jobs, replace(integers, record=record | changed))

    return make


def test_shares_follow_from_what_was_counted(known: tuple[StudentJobs, Shrunk, Shrunk]) -> None:
    jobs, pruned, _ = known
    found = pruning_of(jobs, pruned)
    assert found.removed == 1 - found.parameters_after / found.parameters_before
    assert found.parameters_after == pruned.parameters
    assert [layer.name for layer in found.layers] == ["first", "conv1", "head1", "head2"]
    assert [row.round for row in found.rounds] == [1, 2]
    # What a round begins with is what the one before ended in.
    assert found.rounds[1].before_cut == found.rounds[0].after_recovery


def test_chosen_rows_are_what_the_student_has(described: Make) -> None:
    found = described(rig="float", head1="int8_weights")
    chosen = {(row.what, row.choice) for row in found.scan if row.chosen}
    assert chosen == {
        *(("first", "int8"), ("conv1", "int8"), ("head2", "int8")),
        ("head1", "int8_weights"),
    }
    everything = described(**dict.fromkeys(found.layers, "int8"))
    assert {row.choice for row in everything.scan if row.chosen} == {"int8"}
    assert [row.chosen for row in everything.scan if row.what == "everything"] == [True, False]


def test_what_was_not_measured_is_said_to_be_so(described: Make) -> None:
    """Curves that do not move have no jitter, and speech without a text no /p b m/."""
    found = described({"jitter": None, "pbm_loss": None})
    assert {(row.jitter_ratio, row.pbm_points) for row in found.scan} == {(None, None)}
    assert [found.gate[name].held for name in ("jitter", "pbm_loss")] == [None, None]


def test_a_limit_that_does_not_hold_is_said_to_be_so(described: Make) -> None:
    """A loss of 0.02 is two points, of which one is allowed; a gain is written as one."""
    lost = described({"pbm_loss": 0.02, "false_rise": 0.03, "mse": 1.06})
    assert {(row.pbm_points, row.false_points) for row in lost.scan} == {(-2.0, 3.0)}
    assert [lost.gate[name].held for name in ("pbm_loss", "false_rise", "mse")] == [False] * 3
    won = described({"pbm_loss": -0.02, "mse": 1.05})
    assert {row.pbm_points for row in won.scan} == {2.0}
    assert [won.gate[name].held for name in ("pbm_loss", "mse")] == [True, True]
