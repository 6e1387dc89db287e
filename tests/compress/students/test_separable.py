"""A second architecture, in one file: whatever trains, shrinks, exports and proves a student takes it."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from compress.prune.channels import mean_activations, pruned
from compress.quantize.calibration import calibrate
from compress.quantize.graph import IntegerDense, IntegerWindow, with_integer_biases
from compress.recipe.recipe import StudentSettings
from compress.speech.audio import HOP
from compress.students import conv_fc
from compress.students.contract import Window
from compress.students.conv_fc import ConvFCConfig
from compress.students.facts import facts_of
from compress.students.folding import fold_batch_norm, unfold_batch_norm
from compress.students.separable import Separable, SeparableConfig, build, from_config
from tests.conftest import Cli

FRAMES = 3
# Float sums in another order.
ROUNDING = 2e-4


def trained(plan: ConvFCConfig) -> Separable:
    """One whose norms have seen a batch, in evaluation mode."""
    torch.manual_seed(3)
    student = Separable(SeparableConfig(**vars(plan))).train()
    student(noise(plan, batch=4))
    return student.eval()


def noise(plan: ConvFCConfig, batch: int = 1) -> Tensor:
    return 0.1 * torch.randn(batch, 1, plan.window + (FRAMES - 1) * HOP)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_its_forms_agree_and_its_arithmetic_is_right(
    plans: st.SearchStrategy[ConvFCConfig], data: st.DataObject
) -> None:
    student = trained(data.draw(plans))
    audio = noise(student.config)
    dense = student(audio)
    assert dense.shape == (1, 3, FRAMES)
    folded = fold_batch_norm(student)
    torch.testing.assert_close(folded(audio), dense, atol=ROUNDING, rtol=ROUNDING)
    for frame in range(FRAMES):
        heard = audio[:, :, frame * HOP : frame * HOP + student.config.window]
        shown = Window(folded)(heard)
        torch.testing.assert_close(shown, dense[:, :, frame], atol=ROUNDING, rtol=ROUNDING)
    assert facts_of(student.config).parameters == folded.parameters_count
    assert from_config(json.loads(json.dumps(student.config.to_json()))).config == student.config


@pytest.fixture(scope="module")
def student() -> Separable:
    """One as a recipe makes it, small, its norms folded."""
    torch.manual_seed(5)
    built = build(StudentSettings(name="small", width=0.2, future_ms=64, past_ms=448), 6, None)
    built.train()(0.1 * torch.randn(2, 1, built.config.window + 3 * HOP))
    return fold_batch_norm(built.eval())


def test_it_has_fewer_weights_in_the_same_window(student: Separable) -> None:
    own = student.config
    plain = conv_fc.planned(
        StudentSettings(name="small", width=0.2, future_ms=64, past_ms=448), 6, None
    )
    assert (own.window, own.total_stride, own.compared) == (
        plain.window,
        plain.total_stride,
        plain.compared,
    )
    assert own.layer_names[1:3] == ("depth1", "conv1")
    assert facts_of(own).parameters < facts_of(plain).parameters / 2
    assert [own.grid(name) for name in own.compared] == [plain.grid(n) for n in plain.compared]


def test_norms_come_back(student: Separable) -> None:
    audio = 0.1 * torch.randn(2, 1, student.config.window + 3 * HOP)
    unfolded = unfold_batch_norm(student, [audio])
    torch.testing.assert_close(unfolded(audio), student(audio), atol=ROUNDING, rtol=ROUNDING)


def test_channels_leave_with_what_moves_them(student: Separable) -> None:
    audio = 0.1 * torch.randn(2, 1, student.config.window + 3 * HOP)
    batches = [(audio, torch.zeros(2, 6, 4))]
    means = mean_activations(student, batches)
    assert set(means) == set(student.config.prunable())
    keep = {"conv2": range(8), "head1": range(8)}
    smaller = pruned(student, keep, means)
    assert isinstance(smaller, Separable)
    assert smaller.convolutions["depth3"].groups == 8
    assert facts_of(smaller.config).parameters == smaller.parameters_count
    assert pruned(student, {name: range(n) for name, n in student.config.prunable().items()})(
        audio
    ).equal(student(audio))


def test_both_int8_forms_are_one_graph(student: Separable) -> None:
    audio = 0.1 * torch.randn(1, 1, student.config.window + 3 * HOP)
    codes = calibrate(student, [audio], "minmax")
    assert set(codes.layers) == set(student.config.layer_names)
    twin = with_integer_biases(student, codes)
    window, dense = IntegerWindow(twin, codes), IntegerDense(twin, codes)
    found = window(audio[:, :, : student.config.window])
    torch.testing.assert_close(found, dense(audio)[:, :, 0], atol=1e-5, rtol=0)


def test_a_recipe_takes_it_from_teacher_to_proved_files(
    workshop: Path, tmp_path: Path, cli: Cli
) -> None:
    """Trained, pruned, trained with rounding, exported and verified, with one setting changed."""
    run = tmp_path / "run"
    asked = ("compress", workshop / "shrinking.yaml", "--out", run, "--until", "verify")
    ended = cli(*asked, "--set", "students.0.architecture=separable")
    assert ended.code == 0, ended.err
    made = json.loads((run / "students" / "small" / "int8" / "student.json").read_text("utf-8"))
    assert made["architecture"] == "separable"
    assert "depth1" in made["quantization"]["layers"]
    proved = [json.loads(path.read_text("utf-8")) for path in run.glob("checks/*/*/parity.json")]
    assert proved
    assert {parity["status"] for parity in proved} == {"passed"}
