"""The section `gates` of a recipe: what it accepts, whose limits win, and that null lifts one."""

from pathlib import Path

import pytest

from compress.errors import RecipeError
from compress.recipe.gates import GateSettings, Limits
from compress.recipe.recipe import Recipe, dump_yaml, load_recipe, recipe_hash, recipe_schema

RECIPE = """\
name: gated
teacher: {checkpoint: teacher}
speech: {train: [speech]}
students:
  - name: tiny
    quantization: {method: ptq}
  - name: small
export: {targets: [onnx, tflite], precisions: [fp32, int8]}
gates:
  max_bytes: 800000
  targets: {tflite: {max_bytes: 200000, min_r2: 0.5}}
  tiers: {tiny-fp32: {max_bytes: null}, tiny-int8: {max_bytes: 100000}}
"""


def write(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "gated.yaml"
    path.write_text(text, "utf-8")
    return path


def mistakes(path: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return caught.value.mistakes


def test_the_narrower_limit_wins_and_null_lifts_it(tmp_path: Path) -> None:
    gates = load_recipe(write(tmp_path)).gates
    assert gates.of("small-fp32", "onnx") == {"max_bytes": 800_000}
    assert gates.of("small-fp32", "tflite") == {"min_r2": 0.5, "max_bytes": 200_000}
    assert gates.of("tiny-int8", "tflite") == {"min_r2": 0.5, "max_bytes": 100_000}
    assert gates.of("tiny-fp32", "onnx") == {}


def test_the_recipe_comes_back_from_what_it_is_shown_as(tmp_path: Path) -> None:
    """A null that nobody wrote must not lift a limit there."""
    recipe = load_recipe(write(tmp_path))
    again = Recipe.model_validate_json(recipe.model_dump_json())
    (tmp_path / "shown.yaml").write_text(dump_yaml(recipe))
    shown = load_recipe(tmp_path / "shown.yaml")
    for other in (again, shown):
        assert recipe_hash(other) == recipe_hash(recipe)
        for tier in ("small-fp32", "tiny-fp32", "tiny-int8"):
            for target in ("onnx", "tflite"):
                assert other.gates.of(tier, target) == recipe.gates.of(tier, target)


def test_limits_can_be_set_on_the_command_line(tmp_path: Path) -> None:
    sets = ["gates.targets.onnx.max_lag_ms=4", "gates.tiers.tiny-int8.max_parity=1e-3"]
    gates = load_recipe(write(tmp_path), sets).gates
    assert gates.of("tiny-int8", "onnx") == {
        "max_bytes": 100_000,
        "max_parity": 1e-3,
        "max_lag_ms": 4.0,
    }


def test_no_limit_is_asked_without_being_written() -> None:
    assert GateSettings().of("tiny-int8", "onnx") == {}


@pytest.mark.parametrize(
    ("override", "pieces"),
    [
        ("gates.targets.tflit.max_bytes=1", ('found "tflit"', '"tflite"?', "onnx, tflite")),
        ("gates.targets.coreml.max_bytes=1", ('found "coreml"', "does not make", "onnx, tflite")),
        (
            "gates.tiers.tiny-int9.max_bytes=1",
            ('found "tiny-int9"', '"tiny-int8"?', "tiny-fp32, tiny-int8, small-fp32"),
        ),
        # It has no `quantization`.
        ("gates.tiers.small-int8.max_bytes=1", ('found "small-int8"', "small-fp32")),
        ("gates.tiers.tiny-int8.tiers={}", ("unknown key", "accepted here: min_r2")),
        ("gates.tiers.tiny-int8.targets={}", ("unknown key", "accepted here: min_r2")),
        ("gates.tiers.tiny-int8.max_bites=1", ("unknown key", '"max_bytes"?')),
        ("gates.tiers.tiny-int8.max_bytes=0", ("found 0", "largest model file, in bytes")),
        ("gates.tiers.tiny-int8=5", ("found 5", "expected a mapping with keys of min_r2")),
        ("gates.min_pbm=90", ("found 90", "lowest PBM accuracy, 0 to 1")),
        ("gates.max_latency_ratio=0", ("found 0", "greater than 0")),
    ],
)
def test_mistakes_say_what_is_accepted(
    tmp_path: Path, override: str, pieces: tuple[str, ...]
) -> None:
    (found,) = mistakes(write(tmp_path), override)
    assert found.startswith("gates")
    assert not [piece for piece in pieces if piece not in found], found


def test_all_unknown_names_are_said_together(tmp_path: Path) -> None:
    sets = ("gates.targets.onx.max_bytes=1", "gates.tiers.huge-fp32.max_bytes=1")
    target, tier = mistakes(write(tmp_path), *sets)
    assert target.startswith('gates.targets.onx: found "onx"')
    assert tier.startswith('gates.tiers.huge-fp32: found "huge-fp32"')


def test_names_are_not_judged_by_students_that_are_mistakes_themselves(tmp_path: Path) -> None:
    (found,) = mistakes(write(tmp_path), "students.0.width=-1")
    assert found.startswith("students.0.width")


def test_every_limit_is_described_in_the_schema() -> None:
    definitions = recipe_schema()["$defs"]
    for section in ("GateSettings", "Override"):
        fields = definitions[section]["properties"]
        assert set(Limits.model_fields) <= set(fields)
        assert all(field.get("description") for field in fields.values())
