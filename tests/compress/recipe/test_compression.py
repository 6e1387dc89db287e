"""The sections pruning and quantization of a recipe: what is refused, hashed, shown and read back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from compress.recipe.compression import PruningSettings, QuantizationSettings
from compress.recipe.recipe import dump_yaml, load_recipe, recipe_hash, recipe_schema
from compress.recipe.students import SHAPE, StudentSettings

Cli = Callable[..., Any]


def test_a_shown_recipe_is_the_same_recipe(workshop: Path, tmp_path: Path, cli: Cli) -> None:
    for number, sets in enumerate(
        (
            (),
            ("students.0.quantization.keep_float=[first]",),
            (
                "students.0.quantization.keep_float=[]",
                "students.0.quantization.float_activations=[rig]",
            ),
            ("students.0.pruning=", "students.0.quantization.method=ptq"),
        )
    ):
        options = [part for text in sets for part in ("--set", text)]
        shown = tmp_path / f"{number}.yaml"
        shown.write_text(cli("recipe", "show", workshop / "shrinking.yaml", *options).out)
        recipe = load_recipe(workshop / "shrinking.yaml", sets)
        assert recipe_hash(load_recipe(shown)) == recipe_hash(recipe)
        jsonschema.validate(yaml.safe_load(shown.read_text()), recipe_schema())


def test_a_shown_recipe_with_a_start_is_the_same_recipe(workshop: Path, tmp_path: Path) -> None:
    """Its shape is shown with all defaults, which say nothing that the start contradicts."""
    tree = yaml.safe_load((workshop / "shrinking.yaml").read_text())
    (small,) = tree["students"]
    kept = {name: value for name, value in small.items() if name not in SHAPE}
    tree["students"] = [kept | {"start": "builtin:tiny"}]
    (tmp_path / "start.yaml").write_text(yaml.safe_dump(tree))
    recipe = load_recipe(tmp_path / "start.yaml")
    (tmp_path / "shown.yaml").write_text(dump_yaml(recipe))
    assert recipe_hash(load_recipe(tmp_path / "shown.yaml")) == recipe_hash(recipe)


def test_a_section_can_be_set_where_there_is_none(workshop: Path) -> None:
    recipe = load_recipe(workshop / "recipe.yaml", ["students.0.quantization={method: ptq}"])
    (student,) = recipe.students
    assert student.quantization is not None
    assert (student.quantization.method, student.pruning) == ("ptq", None)


def test_recipes_without_these_sections_make_one_tier(workshop: Path) -> None:
    (student,) = load_recipe(workshop / "recipe.yaml").students
    assert (student.pruning, student.quantization, student.start) == (None, None, None)


@pytest.mark.parametrize("remove", [0, 1, -0.5, 1.5, float("nan")])
def test_a_share_to_remove_is_between_none_and_all(remove: float) -> None:
    with pytest.raises(ValidationError, match="remove"):
        PruningSettings(remove=remove)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("pruning.criterion=luck",), ("pruning.criterion", "taylor")),
        (("pruning.of=weights",), ("pruning.of", "multiply_adds")),
        (("pruning.multiple=0",), ("pruning.multiple", "found 0")),
        (("pruning.remov=0.5",), ("pruning.remov", 'did you mean "remove"?')),
        (("pruning={rounds: 2}",), ("pruning.remove: missing",)),
        (("quantization.method=ptq4",), ("quantization.method", "qat")),
        (("quantization.keep_float=all",), ("quantization.keep_float", "all")),
        (("quantization.float_activations=[rig]",), ("float_activations", "keep_float", "auto")),
        (
            ("quantization.keep_float=[first, rig]", "quantization.float_activations=[rig]"),
            ("both name rig",),
        ),
        (("quantization.gate.mse=-1",), ("quantization.gate.mse", "-1")),
    ],
)
def test_mistakes_are_named(
    workshop: Path, tmp_path: Path, cli: Cli, sets: tuple[str, ...], said: tuple[str, ...]
) -> None:
    options = [part for text in sets for part in ("--set", f"students.0.{text}")]
    run = tmp_path / "run"
    ended = cli("compress", workshop / "shrinking.yaml", "--out", run, *options)
    assert ended.failed(2, "students.0.", *said)
    assert not run.exists()


def test_a_start_with_a_shape_is_refused_by_name(workshop: Path, tmp_path: Path, cli: Cli) -> None:
    """The recipe's own student has a shape, every field of which is one too many."""
    start = ("--set", "students.0.start=builtin:tiny")
    ended = cli("compress", workshop / "shrinking.yaml", "--out", tmp_path / "run", *start)
    assert ended.failed(2, "`start`", "filters", "head_kernel", "past_ms", "must be left out")
    with pytest.raises(ValidationError, match="so width must be left out"):
        StudentSettings(name="a", start="builtin:tiny", width=0.5)
    assert StudentSettings(name="a", start="builtin:tiny", smoothing=(1, 1, 1)).start is not None


def test_every_field_of_a_shape_is_one_of_a_student() -> None:
    """All that is neither a name, nor how it is trained, nor what comes after."""
    others = {"name", "architecture", "guide", "start", "smoothing", "training"}
    others |= {"pruning", "quantization"}
    assert set(StudentSettings.model_fields) - others == SHAPE


def test_each_field_is_described() -> None:
    for section in (PruningSettings, QuantizationSettings):
        for name, field in section.model_fields.items():
            assert field.description, name


def test_the_schema_knows_both_sections() -> None:
    schema = json.dumps(recipe_schema())
    for name in ("PruningSettings", "QuantizationSettings", "QualityGate", "calibration_batches"):
        assert name in schema
