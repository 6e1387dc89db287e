"""Stages prune and quantize: what they leave, what they start from, and what is refused early."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from compress.distill.shrinking import lesson_of
from compress.errors import AudioError
from compress.labels import stage as labelling
from compress.labels.store import Labels
from compress.prune import stage as pruning
from compress.quantize import stage as quantizing
from compress.recipe.recipe import load_recipe
from compress.recipe.students import SHAPE
from compress.rig.rig import ARKIT_RIG
from compress.run.jobs import Plan
from compress.run.planning import find_inputs, plan
from compress.speech.split import watched
from compress.students.finding import KnownStudent
from compress.students.storing import load_student

Cli = Callable[..., Any]


@pytest.fixture
def planned(workshop: Path, shrunk_run: Path) -> Plan:
    recipe = load_recipe(workshop / "shrinking.yaml")
    return plan(recipe, find_inputs(recipe), shrunk_run)


@pytest.fixture
def made(planned: Plan) -> Labels:
    return labelling.run(planned.label)


# ------------------------------------------------------------------------------------------------
# what they leave


def test_a_pruned_student_is_smaller_and_was_trained_on(shrunk: Path) -> None:
    folder = shrunk / "students" / "small"
    whole, before = load_student(folder / "distilled")
    student, card = load_student(folder / "pruned")
    record = json.loads((folder / "pruned" / "pruned.json").read_text())
    assert card.step == "pruned"
    assert card.parameters == student.parameters_count <= 0.6 * whole.parameters_count
    assert card.parameters == record["rounds"][-1]["after"]["parameters"]
    assert (before.training_steps, card.training_steps) == (6, 6 + 2 * 3)
    assert student.config.outputs == whole.config.outputs
    assert (student.config.past, student.config.future) == (whole.config.past, whole.config.future)
    assert all(width % 8 == 0 for width in record["layers_after"].values())


def test_an_int8_student_has_codes_of_the_pruned_one_s_shape(shrunk: Path) -> None:
    folder = shrunk / "students" / "small"
    student, card = load_student(folder / "int8")
    pruned, before = load_student(folder / "pruned")
    assert card.step == "int8"
    assert student.config == pruned.config
    assert card.training_steps == before.training_steps + 4
    assert card.quantization is not None
    assert card.quantization.made_by["method"] == "qat"
    stored = load_file(folder / "int8" / "weights.safetensors")
    for layer, choice in card.quantization.layers.items():
        kind = str(stored[f"steps.{layer}.weight"].dtype)
        assert kind == ("torch.float32" if choice == "float" else "torch.int8"), layer


def test_what_is_there_is_found(planned: Plan, made: Labels) -> None:
    (student,) = planned.students
    assert student.prune is not None
    assert student.quantize is not None
    before = {path: path.stat().st_mtime_ns for path in planned.folder.rglob("*.*")}
    found = [pruning.run(student.prune, made), quantizing.run(student.quantize, made)]
    assert [row.folder.name for row in found] == ["pruned", "int8"]
    assert found[0].parameters == found[1].parameters
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_what_was_kept_to_go_on_from_goes_when_it_is_there(planned: Plan, made: Labels) -> None:
    """That of other settings stays: somebody may want to go on from it."""
    job = planned.students[0].prune
    assert job is not None
    (job.checkpoints / "round-1").mkdir(parents=True)
    (job.work / "other-key").mkdir()
    pruning.run(job, made)
    assert [path.name for path in job.work.iterdir()] == ["other-key"]
    (job.work / "other-key").rmdir()
    job.checkpoints.mkdir()
    pruning.run(job, made)
    assert not job.work.parent.exists()


def test_choices_are_made_on_clips_that_training_sets_aside(planned: Plan, made: Labels) -> None:
    """On those that it hears where there are none, as here; held-out speech has no part in it."""
    job = planned.students[0].prune
    assert job is not None
    train = made.side("train")
    assert not any(watched(clip.id) for clip in train), "of these eight, by chance"
    lesson = lesson_of(job, made)
    assert len(lesson.watched.clips) == len(lesson.material.train) == 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compress.speech.split.watched", lambda prompt: prompt == train[2].id)
        lesson = lesson_of(job, made)
    (aside,) = lesson.watched.clips
    assert len(aside.samples) == len(lesson.material.validation[0].samples)
    assert (aside.curves == lesson.material.validation[0].curves).all()
    assert len(lesson.material.train) == 7


def test_without_speech_to_learn_from_nothing_is_made_smaller(planned: Plan, made: Labels) -> None:
    job = planned.students[0].prune
    assert job is not None
    silent = replace(made, clips=made.side("heldout"))
    with pytest.raises(AudioError, match=r"no speech to train on.* small .*speech\.train"):
        lesson_of(job, silent)


# ------------------------------------------------------------------------------------------------
# another student to start from


@pytest.fixture
def starting(own: Path, finished: Path) -> Callable[..., Path]:
    """Writes a recipe that starts from a student of another run, and quantizes it."""

    def write(
        start: Path | str = finished / "students" / "small" / "distilled", **more: Any
    ) -> Path:
        tree = yaml.safe_load((own / "shrinking.yaml").read_text())
        (small,) = tree["students"]
        kept = {name: value for name, value in small.items() if name not in {*SHAPE, "pruning"}}
        integers = {"method": "ptq", "calibration_batches": 2, "keep_float": ["first"]}
        student = kept | {"name": "ready", "start": str(start), "quantization": integers}
        tree["students"] = [student | more]
        (own / "starting.yaml").write_text(yaml.safe_dump(tree))
        return own / "starting.yaml"

    return write


@pytest.mark.slow
def test_a_student_to_start_from(
    starting: Callable[..., Path], finished: Path, tmp_path: Path, cli: Cli
) -> None:
    """It is copied, quantized and exported, and the report says that nothing was trained."""
    recipe, run = starting(), tmp_path / "run"
    assert (
        "ready: about 0.00 M parameters, waits: future 16 ms + hop 16 ms = 32 ms\n"
        in cli("recipe", "check", recipe).out
    )
    ended = cli("compress", recipe, "--out", run)
    assert ended.code == 0, ended.err
    source, copied = finished / "students" / "small" / "distilled", run / "students" / "ready"
    weights = "weights.safetensors"
    assert (copied / "distilled" / weights).read_bytes() == (source / weights).read_bytes()
    assert load_student(copied / "distilled")[1].name == "ready"
    layers = json.loads((copied / "int8" / "int8.json").read_text())["scan"]["choices"]
    assert layers == dict.fromkeys(layers, "int8") | {"first": "float"}
    report = json.loads((run / "report" / "report.json").read_text())
    rows = {row["name"]: row["provenance"] for row in report["tiers"] if row["kind"] == "student"}
    assert rows == {
        "student ready, fp32, onnx": "reference weights",
        "student ready, int8, onnx": "reference weights",
    }
    assert (report["training"], report["pruning"]) == ([], [])
    (integers,) = report["quantization"]
    assert (integers["chosen_by"], integers["gate"]) == ("recipe", {})
    assert [row["result"]["status"] for row in report["parity"]] == ["passed", "passed"]
    again = cli("compress", recipe, "--out", run)
    assert ": 0 of " in again.out


def test_another_start_is_another_student(
    starting: Callable[..., Path], finished: Path, shrunk: Path, tmp_path: Path
) -> None:
    def key() -> str:
        recipe = load_recipe(tmp_path / "own" / "starting.yaml")
        return plan(recipe, find_inputs(recipe), tmp_path / "run").students[0].distill.key

    starting()
    one = key()
    elsewhere = shutil.copytree(finished / "students" / "small" / "distilled", tmp_path / "copy")
    starting(elsewhere)
    assert key() == one, "known by its bytes, wherever it lies"
    starting(shrunk / "students" / "small" / "pruned")
    assert key() != one


def test_a_start_that_is_not_there(starting: Callable[..., Path], tmp_path: Path, cli: Cli) -> None:
    ended = cli("compress", starting("gone"), "--out", tmp_path / "run")
    assert ended.failed(3, "The start of ready is gone", "no student.json")
    assert not (tmp_path / "run").exists()


def test_a_start_of_another_rig(
    starting: Callable[..., Path], finished: Path, tmp_path: Path, cli: Cli
) -> None:
    other = shutil.copytree(finished / "students" / "small" / "distilled", tmp_path / "other")
    card = json.loads((other / "student.json").read_text())
    card["driven"] = card["driven"][::-1]
    (other / "student.json").write_text(json.dumps(card))
    run = tmp_path / "run"
    ended = cli("compress", starting(other), "--out", run)
    assert ended.failed(3, f"The start of ready in {other} moves 27 controls", "the same rig")
    assert not (run / "students").exists()


def test_a_start_that_is_rounded_already(
    starting: Callable[..., Path], shrunk: Path, tmp_path: Path, cli: Cli
) -> None:
    """It cannot be made int8 again."""
    ended = cli("compress", starting(shrunk / "students/small/int8"), "--out", tmp_path / "run")
    assert ended.failed(3, "The start of ready", "is an int8 student", "distilled")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_start_in_int8_has_that_tier_alone(
    starting: Callable[..., Path], shrunk: Path, tmp_path: Path, cli: Cli
) -> None:
    """The same file as in the run that made it, but for what its signature says of the recipe."""
    source, run = shrunk / "students" / "small" / "int8", tmp_path / "run"
    ended = cli("compress", starting(source, quantization=None), "--out", run)
    assert ended.code == 0, ended.err
    assert [path.name for path in (run / "models").iterdir()] == ["ready-int8"]
    golden = [
        np.load(folder / "golden.npz")["rig"]
        for folder in (run / "models" / "ready-int8", shrunk / "models" / "small-int8")
    ]
    assert np.array_equal(*golden)
    report = json.loads((run / "report" / "report.json").read_text())
    assert [row["result"]["status"] for row in report["parity"]] == ["passed"]
    (row,) = [row for row in report["tiers"] if row["kind"] == "student"]
    assert (row["name"], row["provenance"]) == ("student ready, int8, onnx", "reference weights")


# ------------------------------------------------------------------------------------------------
# what cannot work is said before anything heavy runs


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "pruning={remove: 0.95}",
            ("cannot be made smaller: pruning.remove is 0.95", "in first", "that works here is 0."),
        ),
        (
            "pruning={remove: 0.95, allocation: uniform}",
            ("pruning.remove is 0.95", "would empty ", "that works here is 0."),
        ),
        ("pruning={remove: 0.2, multiple: 16}", ("leave pruning out, or lower pruning.multiple",)),
        (
            "quantization.keep_float=[conv9, first]",
            ("names conv9, which it lacks", "first, conv1, head1, head2, rig"),
        ),
        (
            "quantization={keep_float: [], float_activations: [head3]}",
            ("names head3", "first, conv1, head1, head2, rig"),
        ),
        (
            "quantization.keep_float=[first, conv1, head1, head2, rig]",
            ("keep_float names all its layers", "nothing would be int8"),
        ),
    ],
)
def test_what_cannot_work(
    workshop: Path, tmp_path: Path, cli: Cli, setting: str, said: tuple[str, ...]
) -> None:
    asked = ("--out", tmp_path / "run", "--set", f"students.0.{setting}")
    ended = cli("compress", workshop / "shrinking.yaml", *asked)
    assert ended.failed(2, "Student small", *said)
    assert not (tmp_path / "run").exists()


def test_the_largest_share_that_is_named_works(workshop: Path, cli: Cli) -> None:
    """And the next hundredth does not; by sensitivity, the way that is named is the one asked for."""
    check = ("recipe", "check", workshop / "shrinking.yaml", "--set")
    refused = cli(*check, "students.0.pruning.remove=0.95")
    assert "pruning.allocation (now sensitivity)" in refused.err
    named = float(refused.err.split("that works here is ")[1].split(";")[0])
    assert cli(*check, f"students.0.pruning.remove={named}").code == 0
    assert cli(*check, f"students.0.pruning.remove={named + 0.01:.2f}").code == 2


# ------------------------------------------------------------------------------------------------
# rigs and choices


@pytest.mark.slow
def test_a_rig_without_lips(
    own: Path, tmp_path: Path, cli: Cli, make_teacher: Callable[..., None]
) -> None:
    """Whose closures nobody can judge: PBM is no part of any choice."""
    shutil.rmtree(own / "teacher")
    make_teacher(own / "teacher", moving=("brow", "eye"))
    run = tmp_path / "run"
    gate = ("--set", "students.0.quantization.gate.mse=0.5")
    ended = cli("quantize", own / "shrinking.yaml", "--out", run, *gate)
    assert ended.code == 0, ended.err
    folder = run / "students" / "small"
    driven = load_student(folder / "int8")[1].driven
    assert driven
    assert ARKIT_RIG.closure_of(driven) is None
    record = json.loads((folder / "pruned" / "pruned.json").read_text())
    assert {row["after_recovery"]["pbm"] for row in record["rounds"]} == {None}
    scan = json.loads((folder / "int8" / "int8.json").read_text())["scan"]
    assert {row["cost"]["pbm_loss"] for row in scan["rows"]} == {None}
    # Half of the float student's error cannot be: what is nearest to it was taken.
    assert {"int8", "int8_weights"} & set(scan["choices"].values())


@pytest.mark.slow
def test_known_closures_have_a_part_in_the_choice(own: Path, tmp_path: Path, cli: Cli) -> None:
    aligned = {
        str(i): {"text": "pub", "phones": [["P", 0.1, 0.2], ["AH", 0.2, 0.4], ["B", 0.4, 0.5]]}
        for i in range(8)
    }
    (own / "speech" / "train" / "alignments.json").write_text(json.dumps(aligned))
    run = tmp_path / "run"
    ended = cli("prune", own / "shrinking.yaml", "--out", run)
    assert ended.code == 0, ended.err
    record = json.loads((run / "students" / "small" / "pruned" / "pruned.json").read_text())
    assert all(0 <= row["after_recovery"]["pbm"] <= 1 for row in record["rounds"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "learning",
    [
        {"feature_weight": 0.5, "feature_layers": {"conv1": "conv1", "head2": "head2"}},
        {
            "feature_weight": 0.0,
            "feature_layers": {"conv4": "conv4"},
        },  # which it lacks, and needs not
    ],
)
def test_a_guide_goes_on_guiding_where_it_has_a_weight(
    planned: Plan, made: Labels, tmp_path: Path, learning: dict[str, Any]
) -> None:
    (student,) = planned.students
    assert student.quantize is not None
    settings = student.quantize.settings
    training = settings.training.model_copy(update=learning)
    asked = replace(
        student.quantize,
        folder=tmp_path / "int8",
        work=tmp_path / "work" / "small",
        events=tmp_path / "events",
        settings=settings.model_copy(update={"training": training}),
        guide=KnownStudent(student.distill.folder, student.distill.key),
    )
    assert asked.key != student.quantize.key
    quantizing.run(asked, made)
    name = "steps.head2.bias"
    alone, guided = (
        load_student(folder)[0].get_parameter(name)
        for folder in (student.quantize.folder, asked.folder)
    )
    assert bool((alone == guided).all()) is (learning["feature_weight"] == 0)
