"""What a run will do: keys that follow what they should, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from compress.alignments import Alignment
from compress.errors import UsageError
from compress.planning import STAGES, Inputs, Plan, find_inputs, plan
from compress.recipe import load_recipe
from compress.visemes import segments_of

Keys = dict[str, str]


def keys(planned: Plan) -> Keys:
    return {f"{stage} {what}".strip(): key for stage, what, _, key in planned.steps()}


@pytest.fixture
def keys_of(workshop: Path, finished: Path) -> Callable[..., Keys]:
    """Keys of the finished run's steps, with some settings changed."""

    def of(*sets: str, inputs: Inputs | None = None) -> Keys:
        recipe = load_recipe(workshop / "recipe.yaml", sets)
        return keys(plan(recipe, inputs or find_inputs(recipe), finished))

    return of


def changed(one: Keys, other: Keys) -> list[str]:
    assert one.keys() == other.keys()
    return [step for step in one if one[step] != other[step]]


EXPORTED = ["export small", "verify small onnx", "benchmark small onnx", "report"]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("description=other", EXPORTED),  # the recipe's hash is inside the files
        ("gates.min_r2=0.5", EXPORTED),
        ("students.0.smoothing=[1, 1, 1]", EXPORTED),  # the client does it: nothing is trained
        ("students.0.training.steps=7", ["distill small", *EXPORTED]),
        ("seed=8", ["distill small", *EXPORTED]),
        ("labels.shard_clips=5", "all"),
        ("teacher.max_chunk_s=20", "all"),
        ("threads=2", "all"),
    ],
)
def test_a_setting_changes_what_depends_on_it(
    keys_of: Callable[..., Keys], setting: str, expected: list[str] | str
) -> None:
    before = keys_of()
    assert changed(before, keys_of(setting)) == (list(before) if expected == "all" else expected)


def test_an_alignment_changes_what_is_judged(keys_of: Callable[..., Keys], workshop: Path) -> None:
    found = find_inputs(load_recipe(workshop / "recipe.yaml"))
    phones = (("P", 0.1, 0.2),)
    known = {"100": Alignment("pub", phones, tuple(segments_of(phones)))}
    aligned = Inputs(found.teacher, found.speech, known)
    expected = ["verify small onnx", "verify baselines", "report"]
    assert changed(keys_of(), keys_of(inputs=aligned)) == expected


def test_a_changed_file_changes_its_checks(workshop: Path, run: Path) -> None:
    recipe = load_recipe(workshop / "recipe.yaml")
    planned = plan(recipe, find_inputs(recipe), run)
    before = keys(planned)
    model = run / "models" / "small-fp32" / "model.onnx"
    model.write_bytes(model.read_bytes()[::-1])
    expected = ["verify small onnx", "benchmark small onnx", "report"]
    assert changed(before, keys(planned)) == expected
    assert [row[0] for row in planned.outlook("report") if row[2]] == [
        "verify",
        "benchmark",
        "report",
    ]


def test_keys_do_not_depend_on_where_things_lie(
    keys_of: Callable[..., Keys], own: Path, run: Path
) -> None:
    recipe = load_recipe(own / "recipe.yaml")
    assert changed(keys_of(), keys(plan(recipe, find_inputs(recipe), run))) == []


def test_some_students_only(workshop: Path, tmp_path: Path) -> None:
    recipe = load_recipe(workshop / "recipe.yaml")
    inputs = find_inputs(recipe)
    one = plan(recipe, inputs, tmp_path, ["small", "small"])
    assert [jobs.name for jobs in one.students] == ["small"]
    with pytest.raises(UsageError, match="no student large, tall; it has small"):
        plan(recipe, inputs, tmp_path, ["large", "small", "tall"])


def test_stages_are_those_that_steps_name(workshop: Path, finished: Path) -> None:
    recipe = load_recipe(workshop / "recipe.yaml")
    steps = [step[0] for step in plan(recipe, find_inputs(recipe), finished).steps()]
    assert set(steps) == set(STAGES)


def test_only_empty_folders_and_runs_are_written(workshop: Path, tmp_path: Path) -> None:
    recipe = load_recipe(workshop / "recipe.yaml")
    inputs = find_inputs(recipe)
    (tmp_path / ".lock").touch()  # of a run killed at its very start
    plan(recipe, inputs, tmp_path)
    (tmp_path / "letter.txt").touch()
    with pytest.raises(UsageError, match="no run of lipstill"):
        plan(recipe, inputs, tmp_path)
    (tmp_path / "run.json").touch()
    plan(recipe, inputs, tmp_path)
