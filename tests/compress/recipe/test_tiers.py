"""Tiers: one name for each, the same for a limit and for the files that it is asked of."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.errors import RecipeError
from compress.recipe.recipe import load_recipe
from compress.recipe.tiers import tier_name
from compress.run.planning import find_inputs, plan

Cli = Callable[..., Any]

STARTS = """\
name: starts
teacher: {checkpoint: "builtin:voice2face-demo"}
speech: {train: ["builtin:speech"]}
students:
  - {name: hero-int8, start: "builtin:tiny-int8"}
  - {name: hero, start: "builtin:tiny"}
  - {name: extra-int8, quantization: {}}
  - {name: plain}
export: {targets: [onnx], precisions: [fp32, int8]}
report: {reference_targets: []}
"""
MADE = ("hero-int8", "hero-fp32", "extra-int8-fp32", "extra-int8", "plain-fp32")


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    path = tmp_path / "starts.yaml"
    path.write_text(STARTS)
    return path


def test_a_precision_is_not_written_twice() -> None:
    assert tier_name("hero", "int8") == "hero-int8"
    assert tier_name("hero-int8", "int8") == "hero-int8"
    assert tier_name("hero-int8", "fp32") == "hero-int8-fp32"


def test_limits_are_accepted_for_what_is_planned_and_nothing_else(
    starts: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(starts)
    planned = [tier.name for tier in plan(recipe, find_inputs(recipe), tmp_path / "run").tiers]
    assert tuple(planned) == MADE
    for name in MADE:
        load_recipe(starts, [f"gates.tiers.{name}.max_bytes=1"])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("hero-int8-int8", "hero-int8"),  # the precision twice
        ("hero-int8-fp32", "hero-int8"),  # an int8 start has no float tier
        ("hero-fp16", "hero-fp32"),  # no precision of the export
        ("plain-int8", "plain-fp32"),  # no quantization
        ("extra-int8-int8", "extra-int8"),
        ("reference-tiny-fp32", ""),  # rows of what ships are no files of the recipe
    ],
)
def test_a_name_of_no_file_is_a_mistake(starts: Path, name: str, near: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(starts, [f"gates.tiers.{name}.max_bytes=1"])
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f'gates.tiers.{name}: found "{name}"')
    assert mistake.endswith(f"accepted: {', '.join(MADE)}")
    assert near in mistake


def test_a_start_that_is_not_there_hides_no_other_mistake(starts: Path) -> None:
    sets = ["students.0.start=./nowhere", "gates.tiers.hero-int8.max_bytes=1"]
    load_recipe(starts, sets)  # what it will be is not known: another check misses the start
    with pytest.raises(RecipeError, match=r"plain-int8"):
        load_recipe(starts, [*sets, "gates.tiers.plain-int8.max_bytes=1"])


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("tiers.hero-fp32.max_latency_ratio=1", "which is for fp16, int8 files"),
        ("tiers.hero-int8.max_arena_bytes=1", "which is for int8, tflite files"),
        ("targets.onnx.max_arena_bytes=1", "which is for int8, tflite files"),
    ],
)
def test_a_limit_that_no_file_is_asked_is_a_mistake(starts: Path, limit: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        load_recipe(starts, [f"gates.{limit}"])
    assert caught.value.mistakes[0].startswith(f"gates.{limit.partition('=')[0]}: no file here")
    load_recipe(starts, [f"gates.{limit.partition('=')[0]}=null"])
    both = ["export.targets=[onnx, tflite]", "gates.tiers.hero-int8.max_arena_bytes=1"]
    load_recipe(starts, [*both, "gates.targets.onnx.max_latency_ratio=1"])


def test_a_limit_of_an_int8_start_is_asked_and_its_breach_ends_with_1(
    workshop: Path, shrunk: Path, cli: Cli, tmp_path: Path
) -> None:
    """The student and the speech of the tiny run: nothing is trained."""
    recipe = tmp_path / "again.yaml"
    start = shutil.copytree(shrunk / "students" / "small" / "int8", tmp_path / "hero")
    text = (workshop / "recipe.yaml").read_text()
    head = re.split(r"^students:", text, flags=re.MULTILINE)[0]
    recipe.write_text(
        head.replace("checkpoint: teacher", f"checkpoint: {workshop / 'teacher'}").replace(
            "speech/", f"{workshop}/speech/"
        )
        + f"students: [{{name: hero-int8, start: {start}}}]\n"
        + "export: {targets: [onnx], precisions: [int8]}\nparity: {max_lag_ms: 1000}\n"
        + "report: {clips: 0}\n"
    )
    run = tmp_path / "run"
    kept = cli("compress", recipe, "--out", run, "--set", "gates.tiers.hero-int8.max_bytes=9999999")
    assert kept.code == 0, kept.err
    broken = cli("compress", recipe, "--out", run, "--set", "gates.tiers.hero-int8.max_bytes=1000")
    assert broken.failed(1, "hero-int8 onnx: bytes")
