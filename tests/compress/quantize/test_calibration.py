"""Ranges of activations and scales of weights, against what the student's layers really give."""

import copy

import pytest
import torch
from torch import Tensor, nn

from compress.quantize.calibration import calibrate, choosing
from compress.speech.audio import HOP
from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer
from compress.students.integers import Choice, Quantization, Range

CONFIG = ConvFCConfig(
    first_layer="gabor_log",
    first=Layer(32, 16, 4),
    layers=(Layer(3, 4, 6),),
    head_kernel=2,
    head_channels=(5, 4),
    past=256,
    future=256,
    outputs=2,
    batch_norm=False,
)


@pytest.fixture(scope="module")
def student() -> ConvFC:
    torch.manual_seed(2)
    return ConvFC(CONFIG).eval()


@pytest.fixture(scope="module")
def batches() -> list[Tensor]:
    """Three of them, each louder than the one before."""
    generator = torch.Generator().manual_seed(4)
    samples = CONFIG.window + 5 * HOP
    return [loud * torch.randn(2, 1, samples, generator=generator) for loud in (0.01, 0.05, 0.2)]


@pytest.fixture(scope="module")
def minmax(student: ConvFC, batches: list[Tensor]) -> Quantization:
    return calibrate(student, batches, "minmax")


@torch.no_grad()
def given(student: ConvFC, batches: list[Tensor]) -> dict[str, list[Tensor]]:
    """What each named tensor was, batch by batch: each layer's name is that of its ReLU."""
    names = {"first": "first.conv", "first_log": "first", "rig": "rig"}
    names |= {f"{layer}_relu": layer for layer in ("conv1", "head1", "head2")}
    found: dict[str, list[Tensor]] = {"audio": list(batches)}
    for audio in batches:
        x = audio
        for name, module in student.steps.named_children():
            x = module(x)
            if name in names:
                found.setdefault(names[name], []).append(x)
    return found


def test_every_tensor_has_one_range_that_holds_all_it_was(
    student: ConvFC, batches: list[Tensor], minmax: Quantization
) -> None:
    """256 codes from the least to the most; a zero point that stands for 0 itself."""
    expected = given(student, batches)
    assert set(minmax.tensors) == set(expected)
    for name, values in expected.items():
        least = min(0.0, *(x.min().item() for x in values))
        most = max(0.0, *(x.max().item() for x in values))
        scale = (most - least) / 255
        assert minmax.tensors[name].scale == pytest.approx(scale, rel=1e-5), name
        assert minmax.tensors[name].zero_point == round(-128 - least / scale), name
    assert minmax.layers == dict.fromkeys(CONFIG.layer_names, "int8")
    assert minmax.made_by == {"observer": "minmax"}


def test_weights_have_a_scale_for_each_channel(student: ConvFC, minmax: Quantization) -> None:
    assert tuple(minmax.weights) == CONFIG.layer_names
    for layer, scales in minmax.weights.items():
        weight = getattr(student.steps, layer).weight.detach()
        expected = weight.abs().amax((1, 2)) / 127
        torch.testing.assert_close(torch.tensor(scales), expected, rtol=1e-6, atol=0)


def test_a_channel_without_weights_has_a_scale_too(student: ConvFC, batches: list[Tensor]) -> None:
    empty = copy.deepcopy(student)
    with torch.no_grad():
        empty.steps.get_parameter("conv1.weight")[2].zero_()
    assert calibrate(empty, batches[:1], "minmax").weights["conv1"][2] > 0


def test_a_histogram_cuts_off_what_is_rare(student: ConvFC) -> None:
    """Where the tails are long, a narrower range has the smaller error; judged by quantizing."""
    generator = torch.Generator().manual_seed(1)
    first, second = torch.rand(2, 1, 1, 300_000, generator=generator).clamp(1e-9, 1)
    tailed = 0.07 * torch.log(first / second)  # Laplace's distribution
    whole, cut = (calibrate(student, [tailed], o).tensors["audio"] for o in ("minmax", "histogram"))
    assert cut.scale < 0.95 * whole.scale

    def error(code: Range) -> float:
        codes = torch.clamp(torch.round(tailed / code.scale) + code.zero_point, -128, 127)
        return float(((codes - code.zero_point) * code.scale - tailed).square().mean())

    assert error(cut) < error(whole)


def test_a_histogram_takes_all_where_nothing_is_rare(student: ConvFC) -> None:
    uniform = torch.rand(2, 1, CONFIG.window, generator=torch.Generator().manual_seed(1)) - 0.5
    found = calibrate(student, [uniform], "histogram").tensors["audio"]
    assert found.scale == pytest.approx(1 / 255, rel=0.01)  # it has 2048 bins


@pytest.mark.parametrize("observer", ["minmax", "histogram"])
def test_silence_can_be_calibrated_on(student: ConvFC, observer: str) -> None:
    found = calibrate(student, [torch.zeros(1, 1, CONFIG.window)], observer)
    assert all(0 < code.scale < 1 for code in found.tensors.values())


def test_the_student_and_its_audio_stay_as_they_are(student: ConvFC, batches: list[Tensor]) -> None:
    own, audio = copy.deepcopy(student).train(), [batch.clone() for batch in batches]
    calibrate(own, audio)
    torch.testing.assert_close(own.state_dict(), student.state_dict(), rtol=0, atol=0)
    assert own.training
    assert all(p.requires_grad and p.grad is None for p in own.parameters())
    assert not any(module._forward_hooks for module in own.modules())
    assert all(torch.equal(one, other) for one, other in zip(audio, batches, strict=True))
    assert isinstance(own.steps.rig, nn.Conv1d)


def test_choosing_keeps_what_the_choices_need(minmax: Quantization) -> None:
    """By hand: conv1 in int8 takes the log energies and gives its ReLU's output."""
    choices: dict[str, Choice] = {
        "first": "int8_weights",
        "conv1": "int8",
        "head1": "float",
        "head2": "float",
        "rig": "int8",
    }
    found = choosing(minmax, CONFIG, choices)
    assert found.layers == choices
    assert set(found.tensors) == {"first", "conv1", "head2", "rig"}
    assert set(found.weights) == {"first", "conv1", "rig"}
    assert all(minmax.tensors[name] == code for name, code in found.tensors.items())
    assert all(minmax.weights[name] == scales for name, scales in found.weights.items())
    assert found.made_by == minmax.made_by
    assert choosing(minmax, CONFIG, choices, {"seed": 1}).made_by == {"seed": 1}
    assert choosing(minmax, CONFIG, minmax.layers) == minmax
