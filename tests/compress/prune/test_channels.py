"""Channels that leave, against zeroed weights; and what they are worth, by hand and by trying."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compress.distill.losses import reconstruction
from compress.prune.channels import Batches, mean_activations, pruned, scores
from compress.speech.audio import HOP
from compress.students.contract import Window
from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer

GABOR = ConvFCConfig(
    first_layer="gabor_log",
    first=Layer(32, 16, 8),
    layers=(Layer(3, 2, 6), Layer(1, 1, 7)),
    head_kernel=2,
    head_channels=(6, 5),
    past=256,
    future=192,
    outputs=4,
    limits=(-0.1, 0.1),
    batch_norm=False,
    energy=Layer(3, 2, 0),
    activation="leaky_relu",  # untrained, half of the channels would be dead with relu
)
# 4 samples a step: conv1 sees 12 samples, the heads 16 and 20.
PLAIN = ConvFCConfig(
    first_layer="conv",
    first=Layer(4, 4, 3),
    layers=(Layer(3, 1, 2),),
    head_kernel=2,
    head_channels=(2, 2),
    past=8,
    future=12,
    outputs=1,
    batch_norm=False,
)
CONSUMER = {"first": "conv1", "conv1": "conv2", "conv2": "head1", "head1": "head2", "head2": "rig"}


def fixed(config: ConvFCConfig) -> ConvFC:
    torch.manual_seed(3)
    return ConvFC(config).eval()


def speech_like(config: ConvFCConfig, batches: int = 2, frames: int = 4) -> Batches:
    """Noise that swells, with labels that no student guesses."""
    generator = torch.Generator().manual_seed(4)
    found = []
    for _ in range(batches):
        audio = torch.randn(2, 1, config.window + (frames - 1) * HOP, generator=generator)
        swell = torch.linspace(0, 1, audio.shape[2]) ** 2
        found.append((audio * swell, torch.randn(2, config.outputs, frames, generator=generator)))
    return found


def convolution(student: ConvFC, name: str) -> nn.Conv1d:
    module = student.steps.get_submodule(name)
    assert isinstance(module, nn.Conv1d)
    return module


def silenced(student: ConvFC, keep: dict[str, list[int]]) -> ConvFC:
    """The same without pruning: what is not kept is multiplied by zero where it is used."""
    found = copy.deepcopy(student)
    names = [name for name, m in found.steps.named_children() if isinstance(m, nn.Conv1d)]
    with torch.no_grad():
        for name, consumer in itertools.pairwise(names):
            weight = convolution(found, consumer).weight
            for channel in set(range(weight.shape[1])) - set(
                keep.get(name, range(weight.shape[1]))
            ):
                weight[:, channel] = 0
    return found


def assert_same_in_all_forms(small: ConvFC, large: ConvFC) -> None:
    torch.manual_seed(6)
    audio = torch.randn(2, 1, large.config.window + 2 * HOP)
    with torch.no_grad():
        # Sums of other lengths round differently.
        torch.testing.assert_close(small(audio), large(audio), atol=1e-5, rtol=1e-5)
        window = audio[:, :, : large.config.window]
        torch.testing.assert_close(Window(small)(window), Window(large)(window), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        small.animate(audio[:, 0]), large.animate(audio[:, 0]), atol=1e-5, rtol=0
    )


def test_prunable_layers() -> None:
    widths = {"first": 8, "conv1": 6, "conv2": 7, "head1": 6, "head2": 5}
    assert list(GABOR.prunable().items()) == list(widths.items()), (
        "pairs, in order, without the rig"
    )
    assert replace(PLAIN, layers=(), past=8, future=4).prunable() == {
        "first": 3,
        "head1": 2,
        "head2": 2,
    }


@pytest.mark.parametrize("layer", GABOR.prunable())
def test_one_layer_loses_channels(layer: str) -> None:
    student = fixed(GABOR)
    before = copy.deepcopy(student.state_dict())
    small = pruned(student, {layer: [4, 1, 2]})
    assert small.config.prunable() == GABOR.prunable() | {layer: 3}
    assert not small.training
    assert type(small) is ConvFC
    assert_same_in_all_forms(small, silenced(student, {layer: [1, 2, 4]}))
    torch.testing.assert_close(student.state_dict(), before, atol=0, rtol=0)
    assert student.config == GABOR
    assert not any(module._forward_hooks for module in student.modules())


def test_a_gabor_pair_leaves_whole() -> None:
    student = fixed(GABOR)
    small = pruned(student, {"first": [0, 5]})
    own = convolution(student, "first").weight
    assert torch.equal(convolution(small, "first").weight, own[[0, 5, 8, 13]])
    kept = convolution(student, "conv1").weight[:, [0, 5]]
    assert torch.equal(convolution(small, "conv1").weight, kept)


@given(st.data())
@settings(max_examples=8, deadline=None)
def test_any_plan_loses_any_channels(
    plans: st.SearchStrategy[ConvFCConfig], data: st.DataObject
) -> None:
    config = replace(data.draw(plans), batch_norm=False)
    keep = {
        name: data.draw(st.lists(st.integers(0, channels - 1), min_size=1, unique=True))
        for name, channels in config.prunable().items()
    }
    student = fixed(config)
    small = pruned(student, keep)
    assert small.config.prunable() == {name: len(kept) for name, kept in keep.items()}
    assert_same_in_all_forms(small, silenced(student, keep))


def test_nothing_removed_is_the_same_student() -> None:
    student = fixed(GABOR)
    same = pruned(student, {"conv1": range(6)})
    assert same.config == GABOR
    torch.testing.assert_close(same.state_dict(), student.state_dict(), atol=0, rtol=0)


@torch.no_grad()
def test_means_go_into_the_consumers_bias() -> None:
    """A channel that is constant on all calibration speech is lost without a trace."""
    student = fixed(GABOR)
    for name, channel in (("conv1", 2), ("head1", 0), ("head2", 4)):
        layer = convolution(student, name)
        layer.weight[channel] = 0
        assert layer.bias is not None
        layer.bias[channel] = 3.0
    keep = {"conv1": [0, 1, 3, 4, 5], "head1": [1, 2, 3, 4, 5], "head2": [0, 1, 2, 3]}
    means = mean_activations(student, speech_like(GABOR))
    assert means["conv1"][2] == 3.0
    assert_same_in_all_forms(pruned(student, keep, means), student)


def test_means_lower_the_error_on_calibration_speech() -> None:
    student = fixed(GABOR)
    batches = speech_like(GABOR)
    means = mean_activations(student, batches)

    def error(small: ConvFC) -> float:
        with torch.no_grad():
            return sum(((small(audio) - student(audio)) ** 2).mean().item() for audio, _ in batches)

    for layer in GABOR.prunable():
        keep = {layer: [0, 1, 2]}
        assert error(pruned(student, keep, means)) < error(pruned(student, keep)), layer
    keep = {"first": [0, 2, 4, 6]}
    # Log energies are far from zero: 15 on average here.
    assert error(pruned(student, keep, means)) < 0.25 * error(pruned(student, keep))


@torch.no_grad()
def test_means_are_those_of_the_activations() -> None:
    student = fixed(GABOR)
    batches = speech_like(GABOR)
    means = mean_activations(student, batches)
    assert {name: len(mean) for name, mean in means.items()} == GABOR.prunable()
    energies = torch.cat([student.steps[:2](audio) for audio, _ in batches])
    _, taps = student.tapped(torch.cat([audio for audio, _ in batches]), ["conv2", "head2"])
    for name, activation in (taps | {"first": energies}).items():
        expected = activation.mean((0, 2))
        torch.testing.assert_close(means[name], expected, atol=1e-5, rtol=1e-5)


def by_hand() -> ConvFC:
    """Channel 0 of conv1 is what it hears, channel 1 twice that; the rest adds with weight 1."""
    student = fixed(PLAIN)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
        convolution(student, "first").weight[0, 0, 0] = 1
        convolution(student, "conv1").weight[:, 0, 0] = torch.tensor([1.0, 2.0])
        convolution(student, "head1").weight[0, :, 0] = torch.tensor([3.0, 4.0])
        convolution(student, "head2").weight[0, 0, 0] = 1
        convolution(student, "rig").weight[0, 0, 0] = 1
    return student


def test_magnitude_by_hand() -> None:
    student = by_hand()
    bias = convolution(student, "conv1").bias
    assert bias is not None
    bias.data.fill_(100.0)  # a constant, which the consumer's bias can have instead
    found = scores(student, "magnitude", (), reconstruction)
    expected = {
        "first": [(1 + 1 + 4) ** 0.5, 0, 0],
        "conv1": [(1 + 9) ** 0.5, (4 + 16) ** 0.5],
        "head1": [(9 + 16 + 1) ** 0.5, 0],
        "head2": [2**0.5, 0],
    }
    assert_scores(found, expected)
    pairs = fixed(GABOR)
    own = convolution(pairs, "first").weight.detach()
    used = convolution(pairs, "conv1").weight.detach()[:, 5]
    norm = torch.cat([own[5].flatten(), own[13].flatten(), used.flatten()]).norm()
    assert scores(pairs, "magnitude", (), reconstruction)["first"][5] == pytest.approx(norm.item())


def assert_scores(found: dict[str, Tensor], expected: dict[str, list[float]]) -> None:
    wanted = {name: torch.tensor(value, dtype=torch.float32) for name, value in expected.items()}
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_activation_by_hand() -> None:
    """first hears 2, 0, 0, 0 and 0: its mean is 0.4, its variance 0.64."""
    audio = torch.zeros(1, 1, 20)
    audio[..., 0] = 2
    found = scores(by_hand(), "activation", [(audio, torch.zeros(1, 1, 1))], reconstruction)
    third = 2 / 3  # conv1 makes three steps, head1 two
    expected = {
        "first": [0.64 * 5, 0, 0],
        "conv1": [(4 / 3 - third**2) * 9, (16 / 3 - (2 * third) ** 2) * 16],
        "head1": [11.0**2, 0],
        "head2": [0, 0],  # one step only: nothing varies
    }
    assert_scores(found, expected)


def test_taylor_foresees_the_change_of_the_loss() -> None:
    """A step of the way from each channel to its mean, against the loss before and after."""
    student = fixed(GABOR).double()
    batches = [(audio.double(), label.double()) for audio, label in speech_like(GABOR, batches=1)]
    [(audio, label)] = batches
    found = scores(student, "taylor", batches, reconstruction)
    means = mean_activations(student, batches)
    step = 1e-6
    for name, channels in GABOR.prunable().items():
        for channel in range(channels):
            moved = copy.deepcopy(student)
            consumer = convolution(moved, CONSUMER[name])
            with torch.no_grad():
                assert consumer.bias is not None
                mean = means[name][channel].double()
                consumer.bias += step * mean * consumer.weight[:, channel].sum(1)
                consumer.weight[:, channel] *= 1 - step
                change = reconstruction(moved(audio), label) - reconstruction(student(audio), label)
            expected = (change.item() / step) ** 2
            # The step's own curvature, and means in float32.
            assert found[name][channel].item() == pytest.approx(expected, rel=1e-3, abs=1e-11)


def test_taylor_sums_over_batches() -> None:
    student, batches = fixed(PLAIN), speech_like(PLAIN, batches=1)
    once = scores(student, "taylor", batches, reconstruction)
    thrice = scores(student, "taylor", [*batches] * 3, reconstruction)
    for name, score in once.items():
        torch.testing.assert_close(thrice[name], 3 * score)


@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "activation"])
def test_scoring_leaves_no_trace(criterion: str) -> None:
    student = fixed(GABOR)
    convolution(student, "conv2").requires_grad_(False)
    convolution(student, "head1").weight.grad = torch.ones(6, 7, 2)
    before = copy.deepcopy(student.state_dict())
    with torch.no_grad():
        found = scores(student, criterion, speech_like(GABOR), reconstruction)  # type: ignore[arg-type]
    assert list(found) == list(GABOR.prunable())
    assert {name: score.shape for name, score in found.items()} == {
        name: (channels,) for name, channels in GABOR.prunable().items()
    }
    assert all(score.dtype == torch.float32 and (score >= 0).all() for score in found.values())
    torch.testing.assert_close(student.state_dict(), before, atol=0, rtol=0)
    flags = {name: p.requires_grad for name, p in student.named_parameters()}
    assert flags == {name: "conv2" not in name for name in flags}
    for name, parameter in student.named_parameters():
        if name == "steps.head1.weight":
            assert torch.equal(parameter.grad, torch.ones(6, 7, 2))
        else:
            assert parameter.grad is None


def test_what_cannot_be_pruned() -> None:
    student = fixed(GABOR)
    with pytest.raises(ValueError, match="no layer rig to prune, expected one of first, conv1"):
        pruned(student, {"rig": [0]})
    with pytest.raises(ValueError, match=r"conv1 has no channels \[-1, 6\], expected 0 to 5"):
        pruned(student, {"conv1": [0, 6, -1]})
    for layer in ("first", "conv1"):
        with pytest.raises(ValueError, match=f"no channel of {layer} would be kept"):
            pruned(student, {layer: []})
    unfolded = fixed(replace(GABOR, batch_norm=True))
    for action in (
        lambda: pruned(unfolded, {}),
        lambda: mean_activations(unfolded, ()),
        lambda: scores(unfolded, "magnitude", (), reconstruction),
    ):
        with pytest.raises(ValueError, match="fold it first"):
            action()
