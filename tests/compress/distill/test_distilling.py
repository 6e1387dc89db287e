"""Distillation: the log, what is kept, what stops it, and that it ends in the same weights always."""

import json
import math
import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from compress.distill import distilling as distillation
from compress.distill import losses
from compress.distill.accelerators import training_precision
from compress.distill.distilling import Material, TrainingLog, distill
from compress.distill.optimisation import Optimisation, feature_weight, learning_rate
from compress.distill.stretches import Stretches
from compress.errors import AudioError, BadAudio, DivergedError, UsageError
from compress.judge import metrics
from compress.labels.examples import Example, examples
from compress.labels.store import Labels
from compress.recipe.recipe import StudentSettings, TrainingSettings
from compress.students.conv_fc import ConvFC, build
from compress.students.folding import fold_batch_norm

Result = tuple[ConvFC, TrainingLog]
Batch = tuple[torch.Tensor, torch.Tensor]
LAYERS = {"conv1": "conv1", "head2": "head2"}


def builder(
    settings: StudentSettings, limits: tuple[float, float] | None = None
) -> Callable[[], ConvFC]:
    return lambda: build(settings, 2, limits)


def with_training(settings: StudentSettings, **changes: object) -> StudentSettings:
    training = settings.training.model_copy(update=changes)
    return settings.model_copy(update={"training": training})


def assert_same_weights(one: ConvFC, other: ConvFC) -> None:
    other_state = other.state_dict()
    for name, value in one.state_dict().items():
        assert torch.equal(value, other_state[name]), name


def without_seconds(log: TrainingLog) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in log.rows]


@pytest.fixture
def material(labels: Labels) -> Material:
    """Three clips to learn from, one to watch."""
    train = examples(labels, labels.side("train"))
    return Material(train[:3], train[3:], labels.driven)


@pytest.fixture
def settings(student_settings: StudentSettings) -> StudentSettings:
    return with_training(student_settings, feature_layers=LAYERS, feature_weight=0.5)


@pytest.fixture
def guide(settings: StudentSettings) -> ConvFC:
    """A student with its batch norm folded; twice as wide, and it hears 16 ms more on each side."""
    torch.manual_seed(11)
    wider = {"past_ms": 32.0, "future_ms": 32.0, "width": 2.0}
    return fold_batch_norm(build(settings.model_copy(update=wider), 2, None))


@pytest.fixture(params=["alone", "guided"])
def guided(request: pytest.FixtureRequest, guide: ConvFC) -> ConvFC | None:
    """Both stages: without a guide, and with one."""
    return guide if request.param == "guided" else None


@pytest.fixture
def undisturbed(
    material: Material, settings: StudentSettings, guided: ConvFC | None, tmp_path: Path
) -> Result:
    work = tmp_path / "undisturbed"
    return distill(builder(settings), material, settings.training, 7, work, guide=guided)


def judge(student: ConvFC, clips: list[Example], velocity_weight: float) -> float:
    """The loss on clips set aside, each frame counting the same, by the functions of one term."""
    loss, frames = 0.0, 0
    for clip in clips:
        curves = student.animate(torch.from_numpy(clip.samples)[None]).transpose(1, 2)
        label = torch.from_numpy(clip.curves).T[None]
        one = losses.reconstruction(curves, label) + velocity_weight * losses.velocity(
            curves, label
        )
        loss, frames = loss + len(clip.curves) * one.item(), frames + len(clip.curves)
    return loss / frames


# ------------------------------------------------------------------------------------------------
# the schedule and the log


def test_the_feature_weight_falls_to_the_share_that_is_asked_for() -> None:
    asked = TrainingSettings(steps=101, feature_weight=0.02, feature_falls_to=0.5)
    assert [feature_weight(step, asked) for step in (1, 51, 101)] == pytest.approx(
        [0.02, 0.015, 0.01]
    )
    kept = TrainingSettings(steps=101, feature_weight=0.02)
    assert {feature_weight(step, kept) for step in range(1, 102)} == {0.02}


def test_the_learning_rate_rises_and_falls() -> None:
    asked = TrainingSettings(steps=100, warmup_steps=10, learning_rate=1.0)
    assert learning_rate(5, asked) == pytest.approx(0.5, abs=0.01)
    # Half-way down the cosine, and at its end: a fiftieth of the peak.
    assert learning_rate(50, asked) == pytest.approx(0.51)
    assert learning_rate(100, asked) == pytest.approx(0.02)
    rates = [learning_rate(step, asked) for step in range(11, 101)]
    assert rates == sorted(rates, reverse=True)


def test_the_log_says_what_happened(
    undisturbed: Result, material: Material, guided: ConvFC | None
) -> None:
    student, log = undisturbed
    assert [row["step"] for row in log.rows] == [4, 8, 12]
    assert log.seconds == log.rows[-1]["seconds"] > 0
    weights = {"reconstruction": 1.0, "velocity": 12.0} | ({"feature": 0.5} if guided else {})
    for row in log.rows:
        measured = {"validation", "validation_r2"}
        assert set(row) == {"step", "seconds", "loss", *weights, *measured}
        total = sum(weight * row[name] for name, weight in weights.items())
        assert row["loss"] == pytest.approx(total, rel=1e-5)
    best = min(log.rows, key=lambda row: row["validation"])
    assert judge(student, list(material.validation), 12.0) == pytest.approx(best["validation"])
    curves = [student.animate(torch.from_numpy(e.samples)[None])[0] for e in material.validation]
    expected = metrics.r2([c.numpy() for c in curves], [e.curves for e in material.validation])
    assert best["validation_r2"] == pytest.approx(expected)
    assert not student.training


def test_the_losses_of_a_row_are_means_since_the_row_before(
    material: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    """One row a step, and one in four: the same training, logged finely and coarsely."""
    fine = with_training(settings, checkpoint_every=1)
    _, each = distill(builder(fine), material, fine.training, 7, tmp_path / "fine")
    _, fourth = distill(builder(settings), material, settings.training, 7, tmp_path / "coarse")
    assert [row["step"] for row in each.rows] == list(range(1, 13))
    for i, row in enumerate(fourth.rows):
        mean = np.mean([one["loss"] for one in each.rows[4 * i : 4 * i + 4]])
        assert row["loss"] == pytest.approx(float(mean))


def test_clips_that_stand_still_have_no_score_and_no_clips_no_validation(
    material: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    still = [replace(clip, curves=np.zeros_like(clip.curves)) for clip in material.validation]
    training = settings.training
    _, log = distill(
        builder(settings), replace(material, validation=still), training, 7, tmp_path / "still"
    )
    assert "validation" in log.rows[-1]
    assert "validation_r2" not in log.rows[-1]
    none = with_training(settings, patience=1)
    _, log = distill(
        builder(none), replace(material, validation=[]), none.training, 7, tmp_path / "none"
    )
    assert [row["step"] for row in log.rows] == [4, 8, 12], "no patience with what is not there"
    assert not any("validation" in row for row in log.rows)


# ------------------------------------------------------------------------------------------------
# the same weights, whatever happens on the way


def test_a_run_is_the_same_twice_and_another_with_another_seed(
    undisturbed: Result,
    material: Material,
    settings: StudentSettings,
    guided: ConvFC | None,
    tmp_path: Path,
) -> None:
    make, training = builder(settings), settings.training
    again, log = distill(make, material, training, 7, tmp_path / "again", guide=guided)
    assert_same_weights(undisturbed[0], again)
    assert without_seconds(log) == without_seconds(undisturbed[1])
    other, _ = distill(make, material, training, 8, tmp_path / "other", guide=guided)
    weights = [student.state_dict()["steps.rig.weight"] for student in (other, again)]
    assert not torch.equal(weights[0], weights[1])


@pytest.mark.parametrize(("step", "goes_on_at"), [(3, 1), (6, 5), (9, 9)])
def test_an_interrupted_run_ends_in_the_same_weights(
    undisturbed: Result,
    material: Material,
    settings: StudentSettings,
    guided: ConvFC | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    goes_on_at: int,
) -> None:
    make, training = builder(settings), settings.training
    whole, asked = Stretches.batch, []

    def interrupted(self: Stretches, now: int, past: int, future: int) -> Batch:
        if now == step:
            raise KeyboardInterrupt
        return whole(self, now, past, future)

    def seen(self: Stretches, now: int, past: int, future: int) -> Batch:
        asked.append(now)
        return whole(self, now, past, future)

    work = tmp_path / "work"
    with monkeypatch.context() as patch:
        patch.setattr(Stretches, "batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            distill(make, material, training, 7, work, guide=guided)
    monkeypatch.setattr(Stretches, "batch", seen)
    student, log = distill(make, material, training, 7, work, guide=guided)
    assert asked[0] == goes_on_at
    assert_same_weights(undisturbed[0], student)
    assert without_seconds(log) == without_seconds(undisturbed[1])


def test_a_run_that_had_ended_is_not_trained_further(
    material: Material,
    settings: StudentSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed after its last checkpoint, before its student was written."""
    make, training = builder(settings), settings.training
    ended, log = distill(make, material, training, 7, tmp_path / "work")
    monkeypatch.setattr(Stretches, "batch", None)
    again, same = distill(make, material, training, 7, tmp_path / "work")
    assert_same_weights(ended, again)
    assert same == log


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from compress.distill.distilling import Material, distill
from compress.labels.examples import examples
from compress.labels.store import read_labels
from compress.recipe.recipe import StudentSettings
from compress.distill.stretches import Stretches
from compress.students.conv_fc import build
from compress.students.storing import load_student

folder, speech, work, guide, settings = sys.argv[1:]
settings = StudentSettings.model_validate_json(settings)
labels = read_labels(Path(folder), pickle.loads(Path(speech).read_bytes()))
clips = examples(labels, labels.side("train"))
whole = Stretches.batch

def killed(self, step, past, future):
    if step == 11:  # asked for once step 8 is done with, two batches ahead
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, step, past, future)

Stretches.batch = killed
guide = torch.load(guide, weights_only=False)
material = Material(clips[:3], clips[3:], labels.driven)
distill(lambda: build(settings, 2, None), material, settings.training, 7, Path(work), guide=guide)
"""


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_weights(
    undisturbed: Result,
    labels: Labels,
    material: Material,
    settings: StudentSettings,
    guided: ConvFC | None,
    tmp_path: Path,
) -> None:
    work = tmp_path / "work"
    torch.save(guided, tmp_path / "guide.pt")
    speech = tmp_path / "speech.pickle"
    speech.write_bytes(pickle.dumps({clip.id: clip.audio for clip in labels.clips}))
    arguments = [labels.folder, speech, work, tmp_path / "guide.pt", settings.model_dump_json()]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(Path(distillation.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert torch.load(work / "checkpoint.pt", weights_only=True)["step"] == 8
    make, training = builder(settings), settings.training
    student, log = distill(make, material, training, 7, work, guide=guided)
    assert_same_weights(undisturbed[0], student)
    assert without_seconds(log) == without_seconds(undisturbed[1])


# ------------------------------------------------------------------------------------------------
# which weights are kept, and when it ends


@pytest.fixture
def contrary(material: Material) -> Material:
    """Clips to watch whose curves are far off: what is learned makes it worse on them."""
    far = [replace(clip, curves=clip.curves - 3) for clip in material.validation]
    near = [replace(clip, curves=clip.curves + 3) for clip in material.train]
    return Material(near, far, material.driven)


def test_the_best_validation_is_kept(
    contrary: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    eager = with_training(settings, learning_rate=0.03, ema=0.5, velocity_weight=0.0)
    student, log = distill(builder(eager), contrary, eager.training, 7, tmp_path / "work")
    found = [row["validation"] for row in log.rows]
    assert found == sorted(found)
    assert found[0] < 0.95 * found[-1]
    assert judge(student, list(contrary.validation), 0.0) == pytest.approx(found[0])


def test_training_ends_when_patience_does(
    contrary: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    eager = with_training(settings, learning_rate=0.03, ema=0.5, velocity_weight=0.0)
    whole, _ = distill(builder(eager), contrary, eager.training, 7, tmp_path / "whole")
    impatient = with_training(eager, patience=1, steps=12)
    student, log = distill(builder(impatient), contrary, impatient.training, 7, tmp_path / "work")
    assert [row["step"] for row in log.rows] == [4, 8], "the second validation was no better"
    assert_same_weights(student, whole)
    again, same = distill(builder(impatient), contrary, impatient.training, 7, tmp_path / "work")
    assert same == log
    assert_same_weights(student, again)


def test_without_averaging_the_last_weights_are_taken(
    material: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    last = with_training(settings, ema=0.0)
    unwatched = replace(material, validation=[])
    student, _ = distill(builder(last), unwatched, last.training, 7, tmp_path / "work")
    kept = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)["trainee"]
    for name, value in student.state_dict().items():
        assert torch.equal(value, kept[f"student.{name}"]), name


@pytest.mark.slow
def test_two_processes_learn_what_one_does(
    material: Material, settings: StudentSettings, guide: ConvFC, tmp_path: Path
) -> None:
    """The same batches, statistics and gradients, all losses among them: sums in another order.

    Each step's loss has agreed to 1.3e-6 of itself over these steps, a few roundings of float32. Two
    kinds of weights have no gradient but rounding, which AdamW makes steps of: what is added before a
    batch norm. The norm's running mean takes that out again, a little late.
    """
    each = with_training(
        settings, steps=60, batch=4, checkpoint_every=1, closure_weight=0.5, learning_rate=3e-3
    )
    found = []
    for devices in (1, 2):
        training = with_training(each, devices=devices).training
        make = partial(build, each, len(material.driven), None)
        work = tmp_path / str(devices)
        found.append(distill(make, material, training, 7, work, guide=guide))
    (alone, before), (both, after) = found
    assert [row["step"] for row in after.rows] == list(range(1, 61))
    for one, other in zip(before.rows, after.rows, strict=True):
        for name in ("loss", "reconstruction", "velocity", "closure", "feature"):
            assert other[name] == pytest.approx(one[name], rel=1e-5), (one["step"], name)
    assert after.rows[-1]["validation"] == pytest.approx(before.rows[-1]["validation"], rel=0.01)
    weights = both.state_dict()
    for name, value in alone.state_dict().items():
        if "bias" not in name and "running_mean" not in name:
            torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_audio_that_one_of_two_processes_cannot_read_ends_both(
    labels: Labels, settings: StudentSettings, tmp_path: Path, which: int
) -> None:
    """Of two clips of equal length each process hears one in an epoch."""
    clips = labels.side("train")[::3]
    assert clips[0].hops == clips[1].hops
    both = with_training(settings, devices=2, steps=400)
    make = partial(build, both, len(labels.driven), None)
    lost = clips[which].audio
    assert lost is not None
    Path(lost.path).unlink()
    with pytest.raises(BadAudio, match=Path(lost.path).name):
        learned = Material(examples(labels, clips), [], labels.driven)
        distill(make, learned, both.training, 7, tmp_path / "work")
    assert not (tmp_path / "work" / "notes").exists()


@pytest.mark.slow
def test_a_student_of_two_processes_may_be_of_any_size(
    material: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    """More than the pipe between them holds, which is 64 KiB."""
    wide = with_training(settings, devices=2, steps=1).model_copy(update={"head_channels": 160})
    make = partial(build, wide, len(material.driven), None)
    student, _ = distill(make, material, wide.training, 7, tmp_path / "work")
    assert sum(value.nbytes for value in student.state_dict().values()) > 2 * 2**16


@pytest.mark.slow
def test_what_ends_one_of_two_processes_is_our_own_error(
    material: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    far = with_training(settings, devices=2, frames=5000)
    make = partial(build, far, len(material.driven), None)
    with pytest.raises(AudioError, match="No training clip is as long"):
        distill(make, material, far.training, 7, tmp_path / "work")


def test_averaged_weights_follow_the_trained_ones(
    material: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    """By hand, with a young average's decay of (1 + step) / (10 + step) while that is less."""
    fine = with_training(settings, checkpoint_every=1, ema=0.25, steps=4)
    states: list[dict[str, torch.Tensor]] = []
    save = Optimisation.save

    def seen(self: Optimisation, work: Path, rows: list[dict[str, float]]) -> None:
        states.append({k: v.clone() for k, v in self.trainee.module.student.state_dict().items()})
        save(self, work, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Optimisation, "save", seen)
        unwatched = replace(material, validation=[])
        student, _ = distill(builder(fine), unwatched, fine.training, 7, tmp_path / "work")
    torch.manual_seed(7)
    mean = build(fine, 2, None).get_parameter("steps.rig.weight").detach().clone()
    for step, state in enumerate(states, 1):
        decay = min(0.25, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * state["steps.rig.weight"]
    torch.testing.assert_close(student.get_parameter("steps.rig.weight").detach(), mean)
    counts = [int(state["steps.head1_norm.num_batches_tracked"]) for state in states]
    assert counts == [1, 2, 3, 4]


def test_a_student_learns(material: Material, settings: StudentSettings, tmp_path: Path) -> None:
    """``jawOpen`` of the known teacher is the size of one sample: its mean is learnt at once."""
    longer = with_training(settings, steps=150, validate_every=150, warmup_steps=10)
    _, log = distill(builder(longer), material, longer.training, 7, tmp_path / "work")
    assert log.rows[-1]["reconstruction"] < 0.5 * log.rows[0]["reconstruction"]


# ------------------------------------------------------------------------------------------------
# the guide


def test_a_guided_student_comes_nearer_to_its_guide_which_stays_as_it_was(
    material: Material, settings: StudentSettings, guide: ConvFC, tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    longer = with_training(settings, steps=120, feature_weight=10.0, warmup_steps=5)
    _, log = distill(builder(longer), material, longer.training, 7, tmp_path / "work", guide=guide)
    assert log.rows[-1]["feature"] < 0.7 * log.rows[0]["feature"]
    assert all(torch.equal(value, before[name]) for name, value in guide.state_dict().items())
    assert not guide.training
    assert not any(p.requires_grad or p.grad is not None for p in guide.parameters())


def test_projections_are_trained_and_no_part_of_the_student(
    material: Material, settings: StudentSettings, guide: ConvFC, tmp_path: Path
) -> None:
    student, _ = distill(
        builder(settings), material, settings.training, 7, tmp_path / "work", guide=guide
    )
    assert student.state_dict().keys() == builder(settings)().state_dict().keys()
    kept = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    projections = {name for name in kept["trainee"] if not name.startswith("student.")}
    assert projections == {
        f"guidance.projections.{layer}.{what}" for layer in LAYERS for what in ("weight", "bias")
    }
    trained = kept["optimizer"]["state"]
    assert len(trained) == len(list(builder(settings)().parameters())) + len(projections)


def test_without_a_feature_weight_a_guide_changes_nothing(
    material: Material, settings: StudentSettings, guide: ConvFC, tmp_path: Path
) -> None:
    none = with_training(settings, feature_weight=0.0)
    make, training = builder(none), none.training
    alone, log = distill(make, material, training, 7, tmp_path / "alone")
    beside, same = distill(make, material, training, 7, tmp_path / "beside", guide=guide)
    assert_same_weights(alone, beside)
    assert without_seconds(log) == without_seconds(same)


def test_layers_that_the_guide_lacks_are_refused(
    material: Material, settings: StudentSettings, guide: ConvFC, tmp_path: Path
) -> None:
    missing = with_training(settings, feature_layers={"conv1": "conv4"})
    with pytest.raises(UsageError, match=r"feature_layers compares conv1 .* no layer 'conv4'"):
        distill(builder(missing), material, missing.training, 7, tmp_path / "work", guide=guide)


# ------------------------------------------------------------------------------------------------
# what stops it


def test_no_clip_long_enough_is_said_before_anything_is_built(
    material: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    long = with_training(settings, frames=500)
    with pytest.raises(AudioError, match="frames = 500 needs"):
        distill(lambda: pytest.fail("built"), material, long.training, 7, tmp_path / "work")


def test_a_loss_that_is_no_number_stops_with_step_and_settings(
    material: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    wild = with_training(settings, learning_rate=1e30, warmup_steps=0, checkpoint_every=1)
    expected = r"stopped at step 2: the loss is (nan|inf).*learning_rate \(now 1e\+30\)"
    with pytest.raises(DivergedError, match=f"{expected}.*grad_clip .now 1") as caught:
        distill(builder(wild), material, wild.training, 7, tmp_path / "work")
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)["step"] == 1


def test_a_loss_that_explodes_stops_and_keeps_the_checkpoint_before(
    material: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    """Curves far from 0 at the sixth step: finite, and more than 20 times the lowest loss."""
    whole = Stretches.batch

    def far(self: Stretches, step: int, past: int, future: int) -> Batch:
        heard, label = whole(self, step, past, future)
        return heard, label + (100 if step == 6 else 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stretches, "batch", far)
        with pytest.raises(
            DivergedError, match=r"step 8: the loss is \S+ after it was \S+\. The last checkpoint"
        ):
            distill(builder(settings), material, settings.training, 7, tmp_path / "work")
    kept = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 4
    assert json.loads(kept["rows"])[-1]["step"] == 4
    assert kept["best"] is not None


def test_where_steps_are_not_waited_for_nothing_is_kept_of_what_is_no_number(
    material: Material,
    settings: StudentSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On an accelerator: found when a row is due, which is before each checkpoint."""
    whole = Stretches.batch

    def broken(self: Stretches, step: int, past: int, future: int) -> Batch:
        heard, label = whole(self, step, past, future)
        return heard, label * (float("nan") if step == 6 else 1)

    monkeypatch.setattr(Stretches, "batch", broken)
    monkeypatch.setattr("compress.distill.optimisation.LOOKED_AT", ())
    with pytest.raises(DivergedError, match=r"stopped at step 6: the loss is nan"):
        distill(builder(settings), material, settings.training, 7, tmp_path / "work")
    kept = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 4
    tensors = [*kept["trainee"].values(), *kept["averaged"].values(), *kept["best"].values()]
    assert all(bool(value.isfinite().all()) for value in tensors)


def test_a_gradient_that_is_no_number_stops_before_it_is_taken(
    material: Material,
    settings: StudentSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The root of a zero has a value, and no gradient."""

    def zero(predicted: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return (predicted * 0).abs().sum().sqrt() + (label * 0).sum()

    monkeypatch.setattr("compress.distill.losses.velocity", zero)
    with pytest.raises(DivergedError, match="stopped at step 1: the gradient's norm is nan"):
        distill(builder(settings), material, settings.training, 7, tmp_path / "work")


# ------------------------------------------------------------------------------------------------
# precision, and TensorBoard's files


def test_bfloat16_trains_float32_weights_to_about_the_same(
    material: Material,
    settings: StudentSettings,
    guided: ConvFC | None,
    tmp_path: Path,
) -> None:
    logs = {}
    for precision in ("fp32", "bf16"):
        # In small steps, since each step adds to what rounding did before.
        half = with_training(settings, precision=precision, learning_rate=1e-3)
        student, logs[precision] = distill(
            builder(half), material, half.training, 7, tmp_path / precision, guide=guided
        )
        assert {value.dtype for value in student.parameters()} == {torch.float32}
    before, now = ([row["loss"] for row in log.rows] for log in logs.values())
    assert now != before
    # 8 bits of each product's factors, over 12 steps.
    assert now == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("instructions", [{}, {"avx512_bf16": True}, {"amx_bf16": True}])
def test_auto_takes_bfloat16_where_the_processor_has_it(
    settings: StudentSettings, instructions: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    chosen = {
        asked: training_precision(with_training(settings, precision=asked).training)
        for asked in ("fp32", "bf16", "auto")
    }
    assert chosen == {"fp32": "fp32", "bf16": "bf16", "auto": "bf16" if instructions else "fp32"}


def scalars(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Name, step and value of every scalar in TensorBoard's files, read record by record."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            # Length and data are followed by four bytes of checksum each.
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length
            for value in event.summary.value:
                yield value.tag, event.step, value.simple_value
        assert place == len(data), "no record is cut off"


def test_tensorboard_shows_the_log(
    material: Material, settings: StudentSettings, tmp_path: Path
) -> None:
    events = tmp_path / "tensorboard" / "tiny"
    _, log = distill(
        builder(settings), material, settings.training, 7, tmp_path / "work", events=events
    )
    found = {(name, step): value for name, step, value in scalars(events)}
    expected = {(name, int(row["step"])): value for row in log.rows for name, value in row.items()}
    assert found == pytest.approx(expected, rel=1e-6)
    assert ("validation", 12) in found
    # Another training of this name begins anew; its last row comes after its last checkpoint.
    other = with_training(settings, steps=6)
    distill(builder(other), material, other.training, 7, tmp_path / "other", events=events)
    assert {step for _, step, _ in scalars(events)} == {4, 6}


def test_an_interrupted_run_goes_on_in_tensorboard(
    material: Material,
    settings: StudentSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events, whole = tmp_path / "tensorboard" / "tiny", Stretches.batch

    def interrupted(self: Stretches, step: int, past: int, future: int) -> Batch:
        if step == 10:
            raise KeyboardInterrupt
        return whole(self, step, past, future)

    def train() -> None:
        make, training = builder(settings), settings.training
        distill(make, material, training, 7, tmp_path / "work", events=events)

    with monkeypatch.context() as patch:
        patch.setattr(Stretches, "batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train()
    assert [step for name, step, _ in scalars(events) if name == "loss"] == [4, 8]
    (file,) = events.iterdir()  # TensorBoard's files are named after the second
    file.rename(file.with_name(file.name.replace(file.name.split(".")[3], "1000000000")))
    train()
    assert sorted(step for name, step, _ in scalars(events) if name == "loss") == [4, 8, 12]
    assert not any(math.isnan(value) for _, _, value in scalars(events))
