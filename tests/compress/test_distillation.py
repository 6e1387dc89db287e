"""Distillation: what a batch holds, and that an interrupted run ends in the undisturbed weights."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compress import distillation, metrics
from compress.audio import HOP
from compress.distillation import Example, Stretches, distill, examples, learning_rate
from compress.errors import AudioError, DivergedError
from compress.labels import Labels
from compress.recipe import StudentSettings, TrainingSettings
from compress.students.conv_fc import ConvFC, build


def builder(settings: StudentSettings, labels: Labels) -> Callable[[], ConvFC]:
    return lambda: build(settings, len(labels.driven), labels.limits)


def with_training(settings: StudentSettings, **changes: object) -> StudentSettings:
    training = settings.training.model_copy(update=changes)
    return settings.model_copy(update={"training": training})


def assert_same_weights(one: ConvFC, other: ConvFC) -> None:
    other_state = other.state_dict()
    for name, value in one.state_dict().items():
        assert torch.equal(value, other_state[name]), name


def without_seconds(log: distillation.TrainingLog) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in log.rows]


def test_examples_are_audio_with_its_curves(labels: Labels) -> None:
    train = examples(labels, "train")
    assert len(train) == 4
    for example in train:
        assert example.curves.shape == (-(-len(example.samples) // HOP), 2)
        # 30 frames a second of the known teacher and hops meet at the clip's start.
        np.testing.assert_allclose(example.curves[0, 1], 0.5 * example.samples[0], atol=1e-6)
    assert len(examples(labels, "heldout")) == 2


QUIET = {"gain_db": (0.0, 0.0), "noise_db": (-300.0, -300.0)}


def counting_clip(hops: int) -> Example:
    """A clip in which sample s has the value s / 2¹⁶, and hop j the curve of its sample."""
    samples = (np.arange(hops * HOP) / 2**16).astype(np.float32)
    return Example(samples, samples[::HOP, None].copy())


@pytest.mark.parametrize(("past", "future"), [(512, 256), (0, 700), (5000, 0)])
def test_a_label_belongs_to_the_sample_that_its_frame_stands_for(past: int, future: int) -> None:
    """Frame j of the dense form stands for the sample j · HOP + past of what the student hears."""
    asked = TrainingSettings(batch=16, frames=8, **QUIET)  # type: ignore[arg-type]
    stretches = Stretches([counting_clip(8), counting_clip(12)], asked, seed=1)
    heard, labelled = stretches.batch(3, past, future)
    assert heard.shape == (16, 1, past + future + 7 * HOP)
    assert labelled.shape == (16, 1, 8)
    if future:
        # Labels between hops are interpolated in float32, and the samples count linearly.
        torch.testing.assert_close(heard[:, :, past::HOP][..., :8], labelled, atol=1e-8, rtol=0)
    starts = (labelled[:, 0, 0] * 2**16).round().int()
    for row, start in zip(heard[:, 0], starts.tolist(), strict=True):
        before = min(past, max(0, past - start))
        assert not row[:before].abs().gt(1e-12).any(), "silence before the clip"
    assert len({start % HOP for start in starts.tolist()}) > 2, "stretches begin at any sample"


def test_longer_clips_are_heard_in_proportion() -> None:
    loud = Example(np.ones(30 * HOP, np.float32), np.ones((30, 1), np.float32))
    soft = Example(np.zeros(10 * HOP, np.float32), np.zeros((10, 1), np.float32))
    asked = TrainingSettings(batch=400, frames=4, **QUIET)  # type: ignore[arg-type]
    _, labelled = Stretches([loud, soft], asked, seed=1).batch(1, 0, HOP)
    # Four standard deviations of a binomial with p = 3/4.
    assert float(labelled[:, 0, 0].mean()) == pytest.approx(0.75, abs=4 * (0.1875 / 400) ** 0.5)


def test_gain_and_noise_have_the_levels_asked_for() -> None:
    ones = Example(np.ones(64 * HOP, np.float32), np.zeros((64, 1), np.float32))
    asked = TrainingSettings(batch=4, frames=60, gain_db=(-20.0, -20.0), noise_db=(-40.0, -40.0))
    heard, _ = Stretches([ones], asked, seed=1).batch(1, 0, HOP)
    assert float(heard.mean()) == pytest.approx(0.1, abs=1e-3)
    assert float(heard.std()) == pytest.approx(0.01, rel=0.02)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    asked = TrainingSettings(batch=3, frames=4)
    clips = [counting_clip(40)]

    def batch(seed: int, step: int) -> torch.Tensor:
        return Stretches(clips, asked, seed).batch(step, 64, 64)[0]

    assert torch.equal(batch(1, 5), batch(1, 5))
    assert not torch.equal(batch(1, 5), batch(1, 6))
    assert not torch.equal(batch(1, 5), batch(2, 5))


def test_clips_shorter_than_a_stretch_are_refused_when_all_are() -> None:
    asked = TrainingSettings(frames=96)
    with pytest.raises(AudioError, match=r"frames = 96 needs 1.54 s, the longest clip has 0.64 s"):
        Stretches([counting_clip(40), counting_clip(30)], asked, seed=1)


def test_the_learning_rate_rises_and_falls() -> None:
    asked = TrainingSettings(steps=100, warmup_steps=10, learning_rate=1.0)
    assert learning_rate(5, asked) == pytest.approx(0.5, abs=0.01)
    # Half-way down the cosine, and at its end: a fiftieth of the peak.
    assert learning_rate(50, asked) == pytest.approx(0.51)
    assert learning_rate(100, asked) == pytest.approx(0.02)
    rates = [learning_rate(step, asked) for step in range(11, 101)]
    assert rates == sorted(rates, reverse=True)


@pytest.fixture
def undisturbed(
    labels: Labels, student_settings: StudentSettings, tmp_path: Path
) -> tuple[ConvFC, distillation.TrainingLog]:
    training = student_settings.training
    return distill(builder(student_settings, labels), labels, training, 7, tmp_path / "undisturbed")


def test_the_log_says_what_happened(
    undisturbed: tuple[ConvFC, distillation.TrainingLog], labels: Labels
) -> None:
    student, log = undisturbed
    assert [row["step"] for row in log.rows] == [4, 8, 12]
    assert log.seconds == log.rows[-1]["seconds"] > 0
    heldout = examples(labels, "heldout")
    curves = [student.animate(torch.from_numpy(e.samples)[None])[0].numpy() for e in heldout]
    expected = metrics.r2(curves, [e.curves for e in heldout])
    assert log.rows[-1]["heldout_r2"] == pytest.approx(expected)
    assert not student.training


def test_a_run_is_the_same_twice_and_another_with_another_seed(
    undisturbed: tuple[ConvFC, distillation.TrainingLog],
    labels: Labels,
    student_settings: StudentSettings,
    tmp_path: Path,
) -> None:
    make, training = builder(student_settings, labels), student_settings.training
    again, log = distill(make, labels, training, 7, tmp_path / "again")
    assert_same_weights(undisturbed[0], again)
    assert without_seconds(log) == without_seconds(undisturbed[1])
    other, _ = distill(make, labels, training, 8, tmp_path / "other")
    weights = [student.state_dict()["steps.rig.weight"] for student in (other, again)]
    assert not torch.equal(weights[0], weights[1])


@pytest.mark.parametrize("step", [3, 6, 9])
def test_an_interrupted_run_ends_in_the_same_weights(
    undisturbed: tuple[ConvFC, distillation.TrainingLog],
    labels: Labels,
    student_settings: StudentSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    make, training = builder(student_settings, labels), student_settings.training
    whole, seen = Stretches.batch, []

    def interrupted(
        self: Stretches, now: int, past: int, future: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(now)
        if now == step:
            raise KeyboardInterrupt
        return whole(self, now, past, future)

    work = tmp_path / "work"
    with monkeypatch.context() as patch:
        patch.setattr(Stretches, "batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            distill(make, labels, training, 7, work)
    student, log = distill(make, labels, training, 7, work)
    assert seen == list(range(1, step + 1))
    assert_same_weights(undisturbed[0], student)
    assert without_seconds(log) == without_seconds(undisturbed[1])


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from compress.distillation import Stretches, distill
from compress.labels import read_labels
from compress.recipe import StudentSettings
from compress.students.conv_fc import build

folder, speech, work, settings = sys.argv[1:]
settings = StudentSettings.model_validate_json(settings)
labels = read_labels(Path(folder), {str(i): f"{speech}/{i}.wav" for i in range(6)})
whole = Stretches.batch

def killed(self, step, past, future):
    if step == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, step, past, future)

Stretches.batch = killed
distill(lambda: build(settings, 2, labels.limits), labels, settings.training, 7, Path(work))
"""


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_weights(
    undisturbed: tuple[ConvFC, distillation.TrainingLog],
    labels: Labels,
    student_settings: StudentSettings,
    tmp_path: Path,
) -> None:
    work = tmp_path / "work"
    speech = Path(labels.clips[0].path).parent
    arguments = [str(labels.folder), str(speech), str(work), student_settings.model_dump_json()]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(distillation.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert torch.load(work / "checkpoint.pt", weights_only=True)["step"] == 8
    make, training = builder(student_settings, labels), student_settings.training
    student, log = distill(make, labels, training, 7, work)
    assert_same_weights(undisturbed[0], student)
    assert without_seconds(log) == without_seconds(undisturbed[1])


def test_a_loss_that_is_no_number_stops_with_step_and_settings(
    labels: Labels, student_settings: StudentSettings, tmp_path: Path
) -> None:
    wild = with_training(student_settings, learning_rate=1e30, warmup_steps=0, checkpoint_every=1)
    expected = r"stopped at step 2: the loss is (nan|inf).*learning_rate \(now 1e\+30\)"
    with pytest.raises(DivergedError, match=f"{expected}.*grad_clip .now 1") as caught:
        distill(builder(wild, labels), labels, wild.training, 7, tmp_path / "work")
    assert caught.value.exit_code == 3
    assert torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)["step"] == 1


def test_a_gradient_that_is_no_number_stops_before_it_is_taken(
    labels: Labels,
    student_settings: StudentSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The root of a zero has a value, and no gradient."""

    def zero(predicted: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return (predicted * 0).abs().sum().sqrt() + (label * 0).sum()

    monkeypatch.setattr("compress.losses.velocity", zero)
    with pytest.raises(DivergedError, match="stopped at step 1: the gradient's norm is nan"):
        distill(
            builder(student_settings, labels), labels, student_settings.training, 7, tmp_path / "w"
        )


def test_without_averaging_the_last_weights_are_taken(
    labels: Labels, student_settings: StudentSettings, tmp_path: Path
) -> None:
    last = with_training(student_settings, ema=0.0)
    student, _ = distill(builder(last, labels), labels, last.training, 7, tmp_path / "work")
    trained = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)["student"]
    for name, value in student.state_dict().items():
        assert torch.equal(value, trained[name]), name


def test_held_out_clips_that_stand_still_have_no_score(
    labels: Labels, student_settings: StudentSettings, tmp_path: Path
) -> None:
    training_only = replace(labels, clips=labels.side("train"))
    make = builder(student_settings, labels)
    _, log = distill(make, training_only, student_settings.training, 7, tmp_path / "work")
    assert "heldout_r2" not in log.rows[-1]


def test_a_student_learns(
    labels: Labels, student_settings: StudentSettings, tmp_path: Path
) -> None:
    """``jawOpen`` of the known teacher is the size of one sample: its mean is learnt at once."""
    longer = with_training(student_settings, steps=150, validate_every=150, warmup_steps=10)
    _, log = distill(builder(longer, labels), labels, longer.training, 7, tmp_path / "work")
    assert log.rows[-1]["reconstruction"] < 0.5 * log.rows[0]["reconstruction"]
