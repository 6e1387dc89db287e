"""Recipes: what is refused and how it is said, overrides, hashes, and the recipes that ship."""

import re
import subprocess
import sys
import tomllib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from compress.errors import RecipeError
from compress.recipe import recipe as recipes
from compress.recipe import yaml_files as recipe_yaml
from compress.recipe.recipe import (
    Recipe,
    dump_yaml,
    load_recipe,
    recipe_hash,
    recipe_schema,
    shipped_recipes,
)
from compress.teachers.pieces import cutting_of

SMALLEST = """\
name: tiny
teacher: {checkpoint: teacher.safetensors}
speech: {train: [speech]}
students:
  - name: one
    layers: [{kernel: 4, stride: 2, channels: 8}]
  - name: two
    layers: [{kernel: 4, channels: 8}]
"""


def write(folder: Path, text: str = SMALLEST) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(dedent(text), "utf-8")
    return path


def mistakes(path: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return caught.value.mistakes


def test_defaults_are_filled_and_the_result_is_frozen(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path))
    assert recipe.students[0].training.steps == 2000
    assert recipe.students[1].layers[0].stride == 1
    assert recipe.gates.min_r2 is None
    assert recipe.folder == tmp_path
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]
    assert isinstance(recipe.students, tuple)


def test_all_mistakes_are_reported_together_with_path_found_and_accepted(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
        name: Tiny One
        sede: 3
        threads: "2"
        teacher: {chekpoint: a}
        speech: {train: [], max_bad_share: 5}
        gates:
        students:
          - name: one
            architecture: conv_fd
            past_ms: 16.7
            layers: [{kernel: 0, channels: 8}]
            training:
              augmentation: {gain_db: [6, -30], speed: [0, 1], room_share: 2, decay_s: [0.1]}
              control_weights: {jawOpen: -1}
              feature_layers: {}
              precision: fp16
              patience: -1
              learning_rate: .nan
              frames: 1
              ema: 1
          - 5
        export: {targets: [onnx, onx], onnx: {opset: 11}}
        """,
    )
    found = mistakes(path, "students.7.name=x", "seed.low=3", "name")
    expected = [
        ("--set students.7.name=x", "list of 2 entries", '"7"'),
        ("--set name", "KEY=VALUE"),
        ("name", '"Tiny One"', "expected lower case letters, digits, and . _ -"),
        ("sede", "unknown key", 'did you mean "seed"?', "accepted here: name, description"),
        ("threads", '"2"', "integer", "CPU threads"),
        ("teacher.checkpoint", "missing", "builtin:NAME"),
        ("teacher.chekpoint", "unknown key", '"checkpoint"'),
        ("speech.train", "[]", "at least 1"),
        ("speech.max_bad_share", "5", "less than or equal to 1"),
        ("gates", "found nothing", "min_r2"),
        ("students.0.architecture", '"conv_fd"', '"conv_fc"'),
        ("students.0.past_ms", "267.2 samples", "16.6875, 16.75"),
        ("students.0.layers.0.kernel", "found 0", "greater than or equal to 1"),
        ("students.0.training.augmentation.gain_db", "[6.0, -30.0]", "the lower one first"),
        ("students.0.training.augmentation.speed", "[0.0, 1.0]", "from 0.25 to 4"),
        ("students.0.training.augmentation.room_share", "2", "less than or equal to 1"),
        ("students.0.training.augmentation.decay_s.1", "missing"),
        ("students.0.training.control_weights.jawOpen", "-1", "greater than or equal to 0"),
        ("students.0.training.feature_layers", "{}", "at least 1"),
        ("students.0.training.precision", '"fp16"', "fp32", "bf16"),
        ("students.0.training.patience", "-1", "greater than or equal to 0"),
        ("students.0.training.learning_rate", "NaN", "finite"),
        ("students.0.training.frames", "found 1", "2"),
        ("students.0.training.ema", "less than 1"),
        ("students.1", "found 5", "a mapping with keys of name, architecture"),
        ("export.targets", '"onx"', "accepted: coreml, onnx, tflite"),
        ("export.onnx.opset", "found 11", "18"),
    ]
    for path_of, *pieces in expected:
        (one,) = [mistake for mistake in found if mistake.startswith(f"{path_of}: ")]
        for piece in pieces:
            assert piece in one
    # `seed.low` is no mistake of the override: seed is absent, so it becomes a mapping, found later.
    assert any(one.startswith("seed: ") for one in found)
    assert len(found) == len(expected) + 1


@pytest.mark.parametrize(
    ("override", "path", "piece"),
    [
        ("students.1.name=one", "students", "one is there more than once"),
        (
            "students.0.first_stride=3",
            "students.0",
            "`energy_stride` and the strides of `layers` multiply to 24 samples",
        ),
        ("students.0.first_stride=256", "students.0", "divisor of the hop, 256"),
        ("students.0={name: a, past_ms: 0, future_ms: 0, layers: []}", "students.0", "both 0"),
        ("speech.heldout=[speech]", "speech", "`train` and `heldout` both list speech"),
        ("speech.rest=[speech]", "speech", "`train` and `rest` both list speech"),
        ("speech.rest_share=0.6", "speech.rest_share", "0.5"),
        ("export.targets=[onnx, onnx]", "export.targets", "onnx is there more than once"),
        ("labels=", "labels", "found nothing"),
        ("students=[]", "students", "at least 1"),
        ("seed=true", "seed", "integer"),
        ("seed=7.0", "seed", "found 7.0"),
        ("name=no good/", "name", "expected lower case letters, digits, and . _ -"),
        ("students.0.training.steps.x=1", "students.0.training.steps", "integer"),
    ],
)
def test_one_mistake_is_one_message(tmp_path: Path, override: str, path: str, piece: str) -> None:
    (only,) = mistakes(write(tmp_path), override)
    assert only.startswith(f"{path}: ")
    assert piece in only


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("name: tiny\nseed: [1, 2\n", "line 3, column 1"),
        ("name: tiny\nseed: 1\nname: other\n", 'line 3, column 1: the key "name" is there twice'),
        ("teacher: {trust: true, trust: false}", 'the key "trust" is there twice'),
        ("a: &a [*a]", "recursive"),
        ("", "found nothing, expected the keys"),
        ("- name: tiny", "expected the keys"),
        ("name: \x07", "not readable as YAML"),
        ("!!python/object/apply:os.getcwd []", "line 1, column 1"),
    ],
)
def test_text_that_is_no_recipe(tmp_path: Path, text: str, piece: str) -> None:
    (only,) = mistakes(write(tmp_path, text))
    assert piece in only


def laughs(levels: int, use: str) -> str:
    """Mappings, each of which has nine times what the one before it has."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{i}: &a{i} {use}".replace("?", f"*a{i - 1}") for i in range(1, levels + 1)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "use", ["[?, ?, ?, ?, ?, ?, ?, ?, ?]", "{a: ?, b: ?, c: ?, d: ?, e: ?, f: ?, g: ?, h: ?, i: ?}"]
)
def test_anchors_of_anchors_end_before_they_fill_the_memory(tmp_path: Path, use: str) -> None:
    tracemalloc.start()
    found = mistakes(write(tmp_path, laughs(60, use)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    (only,) = found
    assert "anchors (&name) are used so often" in only
    assert most < 20e6
    with pytest.raises(ValueError, match=r"1,[0-9]{3},[0-9]{3} values, expected at most 100,000"):
        recipe_yaml.parse(laughs(6, use))


def test_merges_of_merges_are_small(tmp_path: Path) -> None:
    """Nine copies of the same keys are these keys, however deep."""
    bomb = laughs(60, "{<<: [?, ?, ?, ?, ?, ?, ?, ?, ?], y: 3}")
    assert recipe_yaml.parse(bomb)["a60"] == {"x": 1, "y": 3}
    later = "{<<: [{x: 1, y: 1}, {y: 2, z: 2}], w: 0}"
    assert recipe_yaml.parse(later) == {"x": 1, "y": 1, "z": 2, "w": 0}, (
        "the first of a list counts"
    )


def test_a_long_text_behind_an_anchor_counts_as_often_as_it_is_there() -> None:
    text = f"a: &a {'x' * 1000}\nb: [{', '.join(['*a'] * 10_000)}]"
    with pytest.raises(ValueError, match="anchors"):
        recipe_yaml.parse(text)


def test_nesting_has_an_end(tmp_path: Path) -> None:
    (only,) = mistakes(write(tmp_path, "name: " + "[" * 5000))
    assert "nested too deeply" in only


# Numbers that no memory, thread or file depends on: tolerances, weights of a loss, rates of
# learning, limits of a gate, values of a rig.
UNBOUNDED = {
    *(("ParitySettings", name) for name in ("max_abs", "fp16_max_abs", "int8_max_abs")),
    *(("ParitySettings", name) for name in ("fp16_max_mse_ratio", "max_lag_ms")),
    *(("QualityGate", name) for name in ("mse", "quiet_mse", "jitter")),
    *(("TrainingSettings", name) for name in ("learning_rate", "weight_decay", "grad_clip")),
    *(("TrainingSettings", f"{loss}_weight") for loss in ("velocity", "closure", "feature")),
    ("TrainingSettings", "control_weights"),
    ("PruningSettings", "learning_rate"),
    ("QuantizationSettings", "qat_learning_rate"),
    ("StudentSettings", "smoothing"),  # shares of a sum
    ("InterfaceSettings", "limits"),
    ("InterfaceSettings", "inputs"),
    ("MeshClosureSettings", "below"),
    ("WindowSettings", "stride"),  # with the sample rate it makes a rate that has a limit
    # Each has limits of its own, as the next test shows.
    *(("AugmentationSettings", name) for name in ("gain_db", "snr_db", "speed", "decay_s")),
}


def numbers(node: object) -> Iterator[dict[str, object]]:
    """Every number that a field of a schema may be or hold."""
    if isinstance(node, list):
        for part in node:
            yield from numbers(part)
    elif isinstance(node, dict):
        if node.get("type") in ("integer", "number"):
            yield node
        for key in ("anyOf", "items", "prefixItems", "additionalProperties"):
            yield from numbers(node.get(key))


def test_every_number_has_an_upper_limit() -> None:
    schema = recipe_schema()
    free, bounded = set(), set()
    for section, fields in {**schema["$defs"], "Recipe": schema}.items():
        for name, field in fields.get("properties", {}).items():
            for number in numbers(field):
                limited = "maximum" in number or "exclusiveMaximum" in number
                # Limits of gates are compared with what is measured, and with nothing else.
                if not limited and section not in ("GateSettings", "Override"):
                    free.add((section, name))
                if number["type"] == "integer":
                    assert limited, f"{section}.{name}: no file or loop takes any whole number"
                bounded |= {(section, name)} if limited else set()
    assert free == UNBOUNDED
    assert len(bounded) > 70


@pytest.mark.parametrize(
    ("override", "accepted"),
    [
        ("threads=10000", "256"),
        ("students.0.width=1e9", "64"),
        ("students.0.head_channels=1000000000000000", "8192"),
        ("students.0.filters=2000000000", "8192"),
        ("students.0.past_ms=1e9", "10000"),
        ("students.0.future_ms=10001", "10000"),
        ("students.0.layers.0.channels=100000", "8192"),
        ("students.0.training.steps=1000000000", "100000000"),
        ("students.0.training.batch=1000000000000", "65536"),
        ("students.0.training.batch=6000", "6000 × 96 = 576000, expected at most 250000 frames"),
        ("students.0.training.devices=1000", "256"),
        ("students.0.training.augmentation.decay_s=[0.1, 1e9]", "from 0.001 to 10"),
        ("students.0.training.augmentation.speed=[1e-9, 1]", "from 0.25 to 4"),
        ("students.0.training.augmentation.gain_db=[-36, 1e9]", "from -120 to 60"),
        ("students.0.training.augmentation.snr_db=[-1e9, 8]", "from -60 to 120"),
        ("students.0.quantization={calibration_batches: 100000}", "1024"),
        ("students.0.pruning={remove: 0.5, rounds: 1000}", "100"),
        ("report.clips=1000000", "100"),
        ("labels.batch_s=1e9", "36000"),
        ("teacher.interface={rate_hz: 1e9}", "10000"),
        ("teacher.interface={window: {samples: 9, moment: 1, stride: 1e-6}}", "at most 10000"),
        ("export.onnx.opset=26", "25"),
        (f"gates.max_bytes=1{'0' * 400}", "1000000000000000"),
        (f"students.0.training.learning_rate=1{'0' * 400}", "should be a valid number"),
    ],
)
def test_a_number_that_would_take_the_machine_down_is_a_mistake(
    tmp_path: Path, override: str, accepted: str
) -> None:
    (only,) = mistakes(write(tmp_path), override)
    assert only.startswith(override.split("=")[0].partition(".augmentation")[0][:10])
    assert accepted in only


def test_layers_have_an_end(tmp_path: Path) -> None:
    many = ", ".join(["{kernel: 1, channels: 8}"] * 20_000)
    (only,) = mistakes(write(tmp_path), f"students.0.layers=[{many}]")
    assert "students.0.layers" in only
    assert "64" in only


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_is_no_part_of_a_recipe(tmp_path: Path, encoding: str) -> None:
    text = SMALLEST.replace("name: tiny", 'name: tiny\ndescription: "größer"')
    mark = "\ufeff" if encoding.endswith("e") else ""
    path = tmp_path / "marked.yaml"
    path.write_bytes((mark + text.replace("\n", "\r\n")).encode(encoding))
    assert load_recipe(path).description == "größer"


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_bytes(b"name: \xff\xfe")
    (only,) = mistakes(path)
    assert "not readable as YAML" in only


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("3.0e-3", 0.003),
        (".5", 0.5),
        ("16_000", 16000),
        ("-30", -30),
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("007", "007"),
        ("2024-01-01", "2024-01-01"),
        ("true", True),
        ("", None),
        ("~", None),
        ('"1"', "1"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    parsed = recipe_yaml.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(trees)
@settings(max_examples=60, deadline=None)
def test_a_dumped_tree_is_parsed_as_the_same_tree(tree: object) -> None:
    again = recipe_yaml.parse(recipe_yaml.dump(tree))
    assert again == tree
    assert repr(again) == repr(tree)  # also 1 and 1.0 and True apart


keys = st.text("abcxyz_", min_size=1, max_size=6)


@given(path=st.lists(keys, min_size=1, max_size=4), value=st.integers() | st.booleans())
@settings(max_examples=60, deadline=None)
def test_an_override_sets_one_value_at_its_path(path: list[str], value: int | bool) -> None:
    tree: dict[str, object] = {}
    assert recipe_yaml.override(tree, f"{'.'.join(path)}={str(value).lower()}") is None
    here: object = tree
    for key in path:
        assert isinstance(here, dict)
        assert list(here) == [key]
        here = here[key]
    assert here == value


@given(st.text(max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_override_is_applied_or_explained(text: str) -> None:
    tree = {"a": [1, {"b": 2}], "c": {}, "d": 5}
    mistake = recipe_yaml.override(tree, text)
    assert mistake is None or mistake.startswith(f"--set {text}: ")
    if "=" not in text:
        assert mistake is not None


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("[1]", (1.0,)),
        ("[7]", (1.0,)),
        ("[1, 1, 1]", (1 / 3, 1 / 3, 1 / 3)),
        ("[0.333333, 0.333333, 0.333333]", (1 / 3, 1 / 3, 1 / 3)),
        ("[0.25, 0.5, 0.25]", (0.25, 0.5, 0.25)),
        ("[1, 2, 1]", (0.25, 0.5, 0.25)),
        ("[0, 3, 1]", (0.0, 0.75, 0.25)),
        ("[0.1, 0.1, 0.1, 0.3, 0.1, 0.1, 0.2]", (0.1, 0.1, 0.1, 0.3, 0.1, 0.1, 0.2)),
    ],
)
def test_smoothing_weights_become_shares_once(
    tmp_path: Path, written: str, stored: tuple[float, ...]
) -> None:
    recipe = load_recipe(write(tmp_path), [f"students.0.smoothing={written}"])
    assert recipe.students[0].smoothing == pytest.approx(stored, rel=1e-12)
    assert recipe.students[1].smoothing == (1.0,)
    again = load_recipe(write(tmp_path, dump_yaml(recipe)))
    assert again.students[0].smoothing == recipe.students[0].smoothing, "to the bit"
    assert recipe_hash(again) == recipe_hash(recipe)


@pytest.mark.parametrize(
    ("written", "place", "piece"),
    [
        ("[]", "", "found 0 weights, expected an odd number"),
        ("[0.5, 0.5]", "", "found 2 weights, expected an odd number: the middle one is of"),
        ("[0, 0, 0]", "", "sum above 0"),
        ("[1e308, 1e308, 1e308]", "", "finite"),
        ("[0, 1, 0]", "", "leave out both"),
        ("[-1, 3, -1]", ".0", "greater than or equal to 0"),
        ("[a]", ".0", "number"),
        ("3", "", "list (weights of predictions 16 ms apart"),
    ],
)
def test_weights_that_are_no_mean(tmp_path: Path, written: str, place: str, piece: str) -> None:
    found = mistakes(write(tmp_path), f"students.0.smoothing={written}")
    assert found[0].startswith(f"students.0.smoothing{place}: ")
    assert piece in found[0]


def test_overrides_reach_into_lists_and_unwritten_sections(tmp_path: Path) -> None:
    recipe = load_recipe(
        write(tmp_path),
        [
            "students.0.training.steps=50",
            "students.1.training.learning_rate=1e-3",
            "gates.max_bytes=200_000",
            "export.targets=[tflite, onnx]",
            "description=a = b",
            "students.0.training.steps=60",
        ],
    )
    assert [student.training.steps for student in recipe.students] == [60, 2000]
    assert recipe.students[1].training.learning_rate == 0.001
    assert recipe.gates.max_bytes == 200_000
    assert recipe.export.targets == ("tflite", "onnx")
    assert recipe.description == "a = b"


@pytest.mark.parametrize(
    ("sets", "found", "stands_before"),
    [
        (["students.0.guide=two"], '"two"', "none"),
        (["students.1.guide=two"], '"two"', "one"),
        (["students.1.guide=three"], '"three"', "one"),
    ],
    ids=["one after it", "itself", "nobody"],
)
def test_a_guide_stands_before_the_student_that_it_guides(
    tmp_path: Path, sets: list[str], found: str, stands_before: str
) -> None:
    (only,) = mistakes(write(tmp_path), *sets)
    assert f"has the guide {found}, expected a student that stands before it" in only
    assert f"({stands_before})" in only
    assert "builtin:NAME, or the folder of a distilled student with a / in its path" in only


def test_guides_are_of_this_recipe_or_from_elsewhere(tmp_path: Path) -> None:
    for guide, within in (("one", True), ("builtin:small", False), ("runs/a/distilled", False)):
        student = load_recipe(write(tmp_path), [f"students.1.guide={guide}"]).students[1]
        assert (student.guide, student.guided_within) == (guide, within)
    assert not load_recipe(write(tmp_path)).students[1].guided_within


def test_energies_count_among_the_strides_where_there_are_some(tmp_path: Path) -> None:
    sets = ["students.0.energy_stride=8", "students.0.layers.0.stride=2"]
    (only,) = mistakes(write(tmp_path), *sets)
    assert "multiply to 512 samples" in only
    plain = load_recipe(write(tmp_path), [*sets, "students.0.first_layer=conv"])
    assert plain.students[0].first_layer == "conv"


def test_an_override_of_one_alias_leaves_the_others(tmp_path: Path) -> None:
    shared = """\
        name: tiny
        teacher: {checkpoint: teacher.safetensors}
        speech: {train: [speech]}
        students:
          - name: one
            layers: &layers [{kernel: 4, channels: 8}]
            training: &training {steps: 5}
          - {name: two, layers: *layers, training: {<<: *training, ema: 0.5}}
        """
    path = write(tmp_path, shared)
    sets = ["students.0.layers.0.kernel=3", "students.0.training.steps=9"]
    recipe = load_recipe(path, sets)
    assert [student.layers[0].kernel for student in recipe.students] == [3, 4]
    assert [student.training.steps for student in recipe.students] == [9, 5]


def test_the_hash_follows_facts_not_places_or_layout(tmp_path: Path) -> None:
    here = load_recipe(write(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    laid_out = dump_yaml(here)
    there = load_recipe(write(tmp_path / "elsewhere", laid_out))
    assert laid_out != SMALLEST
    assert there.folder != here.folder
    assert recipe_hash(there) == recipe_hash(here)
    assert recipe_hash(Recipe.model_validate_json(here.model_dump_json())) == recipe_hash(here)
    changed = load_recipe(write(tmp_path), ["students.1.training.ema=0.99"])
    assert recipe_hash(changed) != recipe_hash(here)
    # 256 and 256.0 milliseconds are one fact.
    whole = load_recipe(write(tmp_path), ["students.0.past_ms=256"])
    assert recipe_hash(whole) == recipe_hash(here)


@given(st.text(max_size=40))
@settings(max_examples=30)
def test_any_description_survives_yaml(tmp_path: Path, text: str) -> None:
    recipe = load_recipe(write(tmp_path)).model_copy(update={"description": text})
    again = Recipe.model_validate(recipe_yaml.frozen(recipe_yaml.parse(dump_yaml(recipe))))
    assert again.description == text


def test_the_schema_describes_every_field() -> None:
    schema = recipe_schema()
    sections = [schema, *schema["$defs"].values()]
    fields = [
        (section["title"], name, field)
        for section in sections
        for name, field in section["properties"].items()
    ]
    assert len(fields) > 40
    assert not [(title, name) for title, name, field in fields if not field.get("description")]
    assert all(section["additionalProperties"] is False for section in sections)


def test_a_name_that_is_nowhere_lists_what_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {"demo": write(tmp_path)}
    monkeypatch.setattr(recipes, "shipped_recipes", lambda: ours)
    assert load_recipe("demo").name == "tiny"
    with pytest.raises(RecipeError, match=r'did you mean "demo"\?.*shipped: demo') as caught:
        load_recipe("dmeo")
    assert caught.value.exit_code == 2
    with pytest.raises(RecipeError, match="a folder, expected a YAML file"):
        load_recipe(tmp_path)


def test_every_shipped_recipe_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # with the architectures and targets that are really there
    shipped = shipped_recipes()
    assert "demo" in shipped
    for name, path in shipped.items():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description, f"{path} has no description for `lipstill recipe list`"
        assert load_recipe(path) == recipe
        assert recipe_yaml.parse(dump_yaml(recipe)) == recipe.model_dump(mode="json")


def test_every_recipe_goes_into_the_wheel() -> None:
    checkout = Path(recipes.__file__).parents[2]
    pyproject = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))
    listed = pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert listed == {
        f"recipes/{path.name}": f"compress/_recipes/{path.name}"
        for path in (checkout / "recipes").glob("*.yaml")
    }


def test_reading_recipes_loads_nothing_heavy() -> None:
    heavy = ["torch", "numpy", "scipy", "soundfile", "lhotse", "onnx"]
    code = f"import sys, compress.recipe.recipe; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("interface", "said"),
    [
        ("{}", "found neither rate_hz nor window.stride"),
        ("{rate_hz: 30, window: {samples: 9, moment: 4, stride: 2}}", "found rate_hz and window"),
        ("{window: {samples: 9, moment: 10, stride: 2}}", "moment is 10, expected at most the 9"),
        ("{rate_hz: 30, limits: [1, 1]}", "expected the lower one first"),
        ("{rate_hz: 30, audio: a, inputs: {a: 1.0}}", "input a is for audio, and has a constant"),
        ("{rate_hz: 30, inputs: {a: x}}", 'inputs.a: found "x", expected a number, a list of num'),
        ("{rate_hz: 30, inputs: {a: {path: b}}}", "or {file: NAME.npy}"),
        ("{rate_hz: 30, columns: [{start: 3, stop: 3}]}", "expected start < stop"),
        ("{rate_hz: 30, columns: [{names: [a], prefix: b}]}", "names and prefix, expected one"),
        ("{rate_hz: 30, layout: wide}", "teacher.interface.layout"),
    ],
)
def test_an_interface_that_cannot_be(tmp_path: Path, interface: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path), [f"teacher.interface={interface}"])
    assert len(caught.value.mistakes) == 1
    assert said in str(caught.value)


def test_an_interface_says_its_rate_in_one_of_two_ways(tmp_path: Path) -> None:
    for text in (
        "{rate_hz: 62.5}",
        "{window: {samples: 9, moment: 4, stride: 256}}",
    ):
        interface = load_recipe(write(tmp_path), [f"teacher.interface={text}"]).teacher.interface
        assert interface is not None
        assert interface.frames_hz == 62.5


def test_pieces_may_share_half_of_themselves_at_most(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="overlap_s is 16, expected at most half of max_chunk_s"):
        load_recipe(write(tmp_path), ["teacher.overlap_s=16"])
    teacher = load_recipe(write(tmp_path), ["teacher.max_chunk_s=4"]).teacher
    assert cutting_of(teacher).shared_s == 1.0


def test_what_was_allowed_is_no_part_of_the_hash(tmp_path: Path) -> None:
    plain = recipe_hash(load_recipe(write(tmp_path)))
    for allowed in ("trust=true", "download=true", "time_limit_s=5"):
        assert recipe_hash(load_recipe(write(tmp_path), [f"teacher.{allowed}"])) == plain
    assert recipe_hash(load_recipe(write(tmp_path), ["teacher.overlap_s=1"])) != plain


def test_a_star_is_every_entry_of_a_list() -> None:
    tree = {"students": [{"name": "a"}, {"name": "b", "training": {"devices": 1, "steps": 5}}]}
    assert recipe_yaml.override(tree, "students.*.training.devices=2") is None
    assert tree["students"] == [
        {"name": "a", "training": {"devices": 2}},
        {"name": "b", "training": {"devices": 2, "steps": 5}},
    ]
    assert recipe_yaml.override(tree, "students.*.layers=[{kernel: 3}]") is None
    first, second = (student["layers"] for student in tree["students"])
    assert first == second
    assert first is not second
    assert "an index from 0" in str(recipe_yaml.override(tree, "students.**.name=x"))
    assert recipe_yaml.override(tree, "seed.*=1") is None, "a mapping may have such a key"


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path: Path) -> None:
    (only,) = mistakes(write(tmp_path), "students.0.training.devices=5")
    assert re.search(r"`batch` = \d+ stretches cannot be shared equally by `devices` = 5", only)
