"""Pruning to a budget in rounds: what is left, what is written down, and what a kill leaves."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.distill import watching
from compress.distill.distilling import Material
from compress.distill.losses import reconstruction, velocity
from compress.distill.stretches import Stretches
from compress.errors import UsageError
from compress.judge import metrics
from compress.labels.examples import examples
from compress.labels.store import Labels
from compress.prune import rounds as pruning_rounds
from compress.prune.allocation import measure
from compress.prune.rounds import (
    QUANTITIES,
    Lesson,
    Pruned,
    cut,
    figures,
    prune_in_rounds,
    recovered,
)
from compress.recipe.compression import PruningSettings
from compress.recipe.recipe import LayerSettings, StudentSettings
from compress.students.conv_fc import ConvFC, build
from compress.students.folding import fold_batch_norm
from compress.students.storing import StudentCard, load_student, save_student
from exporters import records

CARD = StudentCard(
    name="tiny",
    architecture="conv_fc",
    step="distilled",
    controls=("jawOpen", "mouthClose"),
    driven=("jawOpen", "mouthClose"),
    constants={},
    parameters=1,
    labels_key="key",
    training_steps=12,
)
SETTINGS = PruningSettings(
    remove=0.6, rounds=2, recovery_steps=3, calibration_batches=2, allocation="uniform"
)


def changed(**changes: Any) -> PruningSettings:
    return PruningSettings(**(SETTINGS.model_dump() | changes))


@pytest.fixture
def student(student_settings: StudentSettings) -> ConvFC:
    """24 channels everywhere."""
    torch.manual_seed(1)
    wide = {"filters": 24, "head_channels": 24}
    layers = (LayerSettings(kernel=3, stride=4, channels=24),)
    settings = student_settings.model_copy(update=wide | {"layers": layers})
    return fold_batch_norm(build(settings, 2, (-1.0, 1.0)))


@pytest.fixture
def lesson(labels: Labels, student_settings: StudentSettings) -> Lesson:
    sides = labels.side("train")
    clips = examples(labels, sides)
    material = Material(clips[:3], clips[3:], labels.driven)
    watched = watching.choose(sides[3:], clips[3:], {}, labels.driven)
    return Lesson(material, watched, student_settings.training, seed=3)


def assert_same(one: ConvFC, other: ConvFC) -> None:
    assert one.config == other.config
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def loss(student: ConvFC, lesson: Lesson) -> float:
    """Of the one clip that is set aside, by the functions of one term."""
    (clip,) = lesson.watched.clips
    curves = student.animate(torch.from_numpy(clip.samples)[None]).transpose(1, 2)
    label = torch.from_numpy(clip.curves).T[None]
    return (reconstruction(curves, label) + 12 * velocity(curves, label)).item()


# ------------------------------------------------------------------------------------------------
# the budget, and what is written down


def test_the_budget_is_met_and_every_round_is_on_record(
    student: ConvFC, lesson: Lesson, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in student.state_dict().items()}
    found, record = prune_in_rounds(student, CARD, lesson, SETTINGS, tmp_path)
    whole = {name: measure(student.config, name) for name in QUANTITIES}  # type: ignore[arg-type]
    assert record.before == whole
    assert found.parameters_count == record.after["parameters"] <= 0.4 * whole["parameters"]
    assert record.after == {
        name: measure(found.config, name)  # type: ignore[arg-type]
        for name in QUANTITIES
    }
    assert record.layers_before == dict.fromkeys(("first", "conv1", "head1", "head2"), 24)
    assert record.layers_after == found.config.prunable()
    assert all(channels % 8 == 0 for channels in record.layers_after.values())
    assert len(record.rounds) == 2
    # The first leaves the same share as the second: √0.4, and no more.
    first = record.rounds[0]
    assert 0.4 * whole["parameters"] < first.after["parameters"] <= 0.4**0.5 * whole["parameters"]
    assert first.recovery_steps == 3
    assert first.before_cut.loss == pytest.approx(loss(student, lesson), rel=1e-5)
    assert record.rounds[1].before_cut == first.after_recovery
    assert record.rounds[1].after_recovery.loss == pytest.approx(loss(found, lesson), rel=1e-5)
    assert not found.config.batch_norm
    assert not found.training
    assert_same_state(student, before)


def assert_same_state(student: ConvFC, before: dict[str, torch.Tensor]) -> None:
    assert not student.training
    torch.testing.assert_close(dict(student.state_dict()), before, rtol=0, atol=0)


def test_figures_are_those_of_the_clips_set_aside(student: ConvFC, lesson: Lesson) -> None:
    found = figures(student, lesson)
    (clip,) = lesson.watched.clips
    curves = student.animate(torch.from_numpy(clip.samples)[None])[0].numpy()
    assert found.r2 == pytest.approx(metrics.r2([curves], [clip.curves]))
    assert found.pbm is None, "nothing is aligned"


def test_a_record_comes_back_from_json(student: ConvFC, lesson: Lesson, tmp_path: Path) -> None:
    _, record = prune_in_rounds(student, CARD, lesson, changed(rounds=1), tmp_path)
    assert records.from_json(Pruned, json.dumps(record.to_json(), allow_nan=False)) == record


def test_a_pruned_student_is_read_without_any_pruning(
    student: ConvFC, lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = cut(student, lesson, SETTINGS, 0.5)
    save_student(tmp_path / "student", found, CARD)
    for module in ("compress.prune.channels", "compress.prune.rounds", "compress.prune.allocation"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    again, _ = load_student(tmp_path / "student")
    assert type(again) is ConvFC
    assert_same(again, found)
    audio = torch.from_numpy(lesson.watched.clips[0].samples)[None]
    assert torch.equal(again.animate(audio), found.animate(audio))


@pytest.mark.parametrize("allocation", ["uniform", "global", "sensitivity"])
@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "activation"])
def test_every_criterion_cuts_by_every_allocation(
    student: ConvFC, lesson: Lesson, criterion: str, allocation: str
) -> None:
    settings = changed(criterion=criterion, allocation=allocation, of="multiply_adds")
    found = cut(student, lesson, settings, 0.3)
    left = measure(found.config, "multiply_adds") / measure(student.config, "multiply_adds")
    assert 0.3 < left <= 0.7
    assert math.isfinite(loss(found, lesson))


@pytest.mark.parametrize("of", QUANTITIES)
def test_a_budget_of_any_quantity(student: ConvFC, lesson: Lesson, tmp_path: Path, of: str) -> None:
    settings = changed(of=of, remove=0.4, rounds=1, recovery_steps=1, criterion="magnitude")
    _, record = prune_in_rounds(student, CARD, lesson, settings, tmp_path)
    assert record.after[of] <= 0.6 * record.before[of]


def test_the_very_budget_is_enough(student: ConvFC, lesson: Lesson, tmp_path: Path) -> None:
    """96 channels → 72, 56, 48. In floating point 1 − 48 / 56 of 56 is a little more than 8, and
    one channel less is a block less."""
    settings = changed(
        of="channels",
        remove=0.5,
        rounds=3,
        recovery_steps=1,
        allocation="global",
        criterion="magnitude",
    )
    _, record = prune_in_rounds(student, CARD, lesson, settings, tmp_path)
    assert [row.after["channels"] for row in record.rounds] == [72, 56, 48]


@pytest.mark.parametrize("allocation", ["uniform", "global", "sensitivity"])
def test_a_budget_that_cannot_be_is_said_before_anything_is_trained(
    student: ConvFC,
    lesson: Lesson,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allocation: str,
) -> None:
    monkeypatch.setattr(pruning_rounds, "distill", None)
    monkeypatch.setattr(pruning_rounds, "judge", None)
    settings = changed(remove=0.95, allocation=allocation)
    with pytest.raises(
        UsageError, match=r"pruning.remove is 0.95 of the parameters, but .* 0.[5-9]"
    ):
        prune_in_rounds(student, CARD, lesson, settings, tmp_path / "work")
    assert not (tmp_path / "work").exists()


# ------------------------------------------------------------------------------------------------
# recovery


def counted(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[int, Any], None] = lambda call, build: None
) -> list[Path]:
    """Where each training from now on has its checkpoint; `before` is told its number and build."""
    whole, works = pruning_rounds.distill, []

    def counting(
        build: Any, material: Material, settings: Any, seed: int, work: Path, **rest: Any
    ) -> Any:
        works.append(work)
        before(len(works), build)
        return whole(build, material, settings, seed, work, **rest)

    monkeypatch.setattr(pruning_rounds, "distill", counting)
    return works


def test_recovery_trains_as_a_new_student_is_trained(
    student: ConvFC, lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind batch norm in training mode, which starts as the student itself."""
    audio = torch.from_numpy(lesson.watched.clips[0].samples)[None]

    def look(call: int, make: Callable[[], ConvFC]) -> None:
        built = make()
        assert built.training
        assert built.steps.get_submodule("conv1_norm").training
        expected = student.animate(audio)
        torch.testing.assert_close(built.eval().animate(audio), expected, rtol=0, atol=1e-4)
        assert make().training, "each call gives a new one"

    counted(monkeypatch, look)
    start = {name: value.clone() for name, value in student.state_dict().items()}
    found = recovered(student, lesson, SETTINGS, 1, tmp_path, None)
    assert not torch.equal(found.state_dict()["steps.rig.weight"], start["steps.rig.weight"])
    assert_same_state(student, start)


def test_recovery_lowers_the_loss(student: ConvFC, lesson: Lesson, tmp_path: Path) -> None:
    settings = changed(recovery_steps=40, learning_rate=0.01, remove=0.3)
    small = cut(student, lesson, settings, 0.3)
    found = recovered(small, lesson, settings, 1, tmp_path, None)
    assert loss(found, lesson) < 0.8 * loss(small, lesson)


def test_each_round_hears_other_speech(student: ConvFC, lesson: Lesson, tmp_path: Path) -> None:
    one, other, again = (
        recovered(student, lesson, SETTINGS, number, tmp_path / name, None)
        for number, name in ((1, "one"), (2, "other"), (1, "again"))
    )
    assert_same(one, again)
    assert not torch.equal(
        one.state_dict()["steps.rig.weight"], other.state_dict()["steps.rig.weight"]
    )


def test_a_guide_is_listened_to_after_the_cut(
    student: ConvFC, lesson: Lesson, student_settings: StudentSettings, tmp_path: Path
) -> None:
    """Layers that lost channels are projected to the guide's."""
    torch.manual_seed(5)
    guide = fold_batch_norm(build(student_settings, 2, None))
    training = lesson.training.model_copy(
        update={"feature_layers": {"conv1": "conv1", "head2": "head2"}, "feature_weight": 5.0}
    )
    guided = Lesson(lesson.material, lesson.watched, training, lesson.seed, guide)
    alone = Lesson(lesson.material, lesson.watched, training, lesson.seed)
    results = [
        prune_in_rounds(student, CARD, one, changed(rounds=1), tmp_path / name)[0]
        for one, name in ((guided, "guided"), (alone, "alone"))
    ]
    weights = [found.state_dict()["steps.conv1.weight"] for found in results]
    assert weights[0].shape == weights[1].shape
    assert not torch.equal(*weights)


def test_the_schedule_is_the_students_own_made_shorter(lesson: Lesson) -> None:
    found = lesson.schedule(3, 0.001)
    assert (found.steps, found.learning_rate, found.warmup_steps) == (3, 0.001, 0)
    assert (found.validate_every, found.checkpoint_every, found.patience) == (1, 1, 0)
    assert (found.batch, found.frames) == (lesson.training.batch, lesson.training.frames)
    long = lesson.schedule(1000, 0.001, precision="bf16")
    assert (long.warmup_steps, long.validate_every, long.precision) == (2, 4, "bf16")


# ------------------------------------------------------------------------------------------------
# killed


def test_killed_in_the_second_round_the_first_is_not_made_again(
    student: ConvFC, lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, expected = prune_in_rounds(student, CARD, lesson, SETTINGS, tmp_path / "whole")

    def kill(call: int, build: Any) -> None:
        if call == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        counted(patch, kill)
        with pytest.raises(KeyboardInterrupt):
            prune_in_rounds(student, CARD, lesson, SETTINGS, tmp_path / "work")
    works = counted(monkeypatch)
    found, record = prune_in_rounds(student, CARD, lesson, SETTINGS, tmp_path / "work")
    assert works == [tmp_path / "work" / "round-2"]
    assert_same(found, undisturbed)
    assert record == expected
    again, same = prune_in_rounds(student, CARD, lesson, SETTINGS, tmp_path / "work")
    assert len(works) == 1, "all is there"
    assert_same(again, undisturbed)
    assert same == expected


def test_killed_in_a_recovery_it_goes_on_there(
    student: ConvFC, lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(rounds=1, recovery_steps=6)
    undisturbed, expected = prune_in_rounds(student, CARD, lesson, settings, tmp_path / "whole")
    whole, asked = Stretches.batch, []

    def interrupted(self: Stretches, step: int, past: int, future: int) -> Any:
        asked.append(step)
        if len(asked) == 8:  # four to score and put batch norm in by, then the steps 1 to 4
            raise KeyboardInterrupt
        return whole(self, step, past, future)

    with monkeypatch.context() as patch:
        patch.setattr(Stretches, "batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prune_in_rounds(student, CARD, lesson, settings, tmp_path / "work")
    assert asked[:8] == [1, 2, 1, 2, 1, 2, 3, 4]
    assert (tmp_path / "work" / "round-1" / "checkpoint.pt").exists()
    found, record = prune_in_rounds(student, CARD, lesson, settings, tmp_path / "work")
    assert_same(found, undisturbed)
    assert record == expected
