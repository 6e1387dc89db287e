"""The int8 graph against whole numbers in NumPy, and one form of it against another."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, fx, nn

from compress.quantize.calibration import calibrate, choosing
from compress.quantize.graph import (
    IntegerDense,
    IntegerWindow,
    captured_dense,
    captured_window,
    integer_graph,
    tensors_of,
    with_integer_biases,
)
from compress.speech.audio import HOP
from compress.students.contract import Window
from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer
from compress.students.folding import fold_batch_norm
from compress.students.integers import Choice, Quantization, Range
from compress.students.storing import StudentCard, load_student, save_student

Array = np.ndarray
CHOICES: tuple[Choice, ...] = ("int8", "int8_weights", "float")
GABOR = ConvFCConfig(
    first_layer="gabor_log",
    first=Layer(32, 16, 8),
    layers=(Layer(3, 2, 8),),
    head_kernel=2,
    head_channels=(8, 8),
    past=256,
    future=256,
    outputs=2,
    limits=(-0.4, 0.4),
    energy=Layer(3, 2, 0),
)
# A first layer without energies, and an activation that is no part of a convolution's kernel.
PLAIN = ConvFCConfig(
    first_layer="conv",
    first=Layer(8, 8, 6),
    layers=(Layer(3, 2, 5), Layer(3, 4, 8)),
    head_kernel=2,
    head_channels=(8, 7),
    past=200,
    future=240,
    outputs=3,
    batch_norm=False,
    activation="silu",
)
MIXED: dict[str, Choice] = {
    "first": "float",
    "conv1": "int8",
    "head1": "int8_weights",
    "head2": "int8",
    "rig": "float",
}


def speech_like(config: ConvFCConfig, batch: int = 2, frames: int = 6, seed: int = 4) -> Tensor:
    """Noise that swells, `[batch, 1, samples]`."""
    generator = torch.Generator().manual_seed(seed)
    audio = torch.randn(batch, 1, config.window + (frames - 1) * HOP, generator=generator)
    return 0.3 * audio * torch.linspace(0.1, 1, audio.shape[2])


def fixed(config: ConvFCConfig) -> ConvFC:
    """Always the same weights, with biases that matter."""
    torch.manual_seed(3)
    student = ConvFC(replace(config, batch_norm=False)).eval()
    with torch.no_grad():
        for module in student.steps:
            if isinstance(module, nn.Conv1d) and module.bias is not None:
                module.bias.add_(0.2 * torch.rand_like(module.bias))
    return student


@pytest.fixture(scope="module")
def student() -> ConvFC:
    """Gabor pairs, ReLU, limits; its batch norm did something before it was folded."""
    torch.manual_seed(1)
    whole = ConvFC(GABOR)
    whole(speech_like(GABOR))  # in training mode: its statistics move
    return fold_batch_norm(whole)


@pytest.fixture(scope="module")
def codes(student: ConvFC) -> Quantization:
    return calibrate(student, [speech_like(student.config)], "minmax")


def windows(audio: Tensor, config: ConvFCConfig) -> Tensor:
    """Each frame's window by itself: `[batch, 1, samples]` → `[batch · frames, 1, window]`."""
    return audio[:, 0].unfold(1, config.window, HOP).reshape(-1, 1, config.window)


# ------------------------------------------------------------------------------------------------
# the oracle


def convolved(x: Array, weight: Array, stride: int) -> Array:
    """`[batch, in, steps]` and `[out, in, kernel]`; whole numbers in float64 have exact sums."""
    seen = sliding_window_view(x, weight.shape[2], axis=2)[:, :, ::stride].astype(np.float64)
    return np.moveaxis(np.tensordot(seen, weight.astype(np.float64), ([1, 3], [1, 2])), 2, 1)


def quantized(x: Array, code: Range) -> Array:
    """Whole numbers −128 to 127; `np.rint` takes halves to the even neighbour."""
    return np.clip(np.rint(x / code.scale) + code.zero_point, -128, 127).astype(np.int64)


def behind(x: Array, config: ConvFCConfig, layer: str) -> Array:
    """What follows a convolution, in float64."""
    if layer == "rig":
        return x
    if layer == "first" and config.first_layer == "gabor_log":
        cosine, sine = np.split(x, 2, axis=1)
        energy = sliding_window_view(cosine**2 + sine**2, config.energy.kernel, axis=2).mean(-1)
        return np.log1p(energy[:, :, :: config.energy.stride] * 1e8)
    return {
        "relu": lambda x: np.maximum(x, 0),
        "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
        "silu": lambda x: x / (1 + np.exp(-x)),
    }[config.activation](x)


def oracle(student: ConvFC, found: Quantization, audio: Tensor) -> tuple[Array, Array | None]:
    """The rig before the limits, and the codes of the last quantized tensor.

    As an integer kernel goes about it: codes less their zero point, int8 weights, int32 sums with
    an int32 bias, one rounding to the codes of what leaves.
    """
    config = student.config
    x, held, last = audio.double().numpy(), "", None
    for layer in config.layer_names:
        module = getattr(student.steps, layer)
        weight = module.weight.detach().double().numpy()
        bias = np.zeros(len(weight))
        if module.bias is not None:
            bias = module.bias.detach().double().numpy()
        choice, stride = found.layers[layer], module.stride[0]
        if choice != "float":
            scales = np.array(found.weights[layer])
            by_channel = scales[:, None, None]
            weight = np.clip(np.rint(weight / by_channel), -127, 127).astype(np.int64)
        if choice == "int8":
            arriving, leaving = tensors_of(config, layer)
            code = found.tensors[arriving]
            if held != arriving:
                last = quantized(x, code)
                x = code.scale * (last - code.zero_point)
            whole = np.rint(x / code.scale).astype(np.int64)
            steps = code.scale * scales
            sums = convolved(whole, weight, stride) + np.rint(bias / steps)[:, None]
            assert abs(sums).max() < 2**31
            x = sums * steps[:, None]
            if leaving == layer:
                x = behind(x, config, layer)
            code = found.tensors[leaving]
            last, held = quantized(x, code), leaving
            x = code.scale * (last - code.zero_point)
            if leaving != layer:
                x = behind(x, config, layer)
        else:
            if choice == "int8_weights":
                weight = weight * by_channel
            x, held = behind(convolved(x, weight, stride) + bias[:, None], config, layer), ""
    return x, last


@torch.no_grad()
def assert_as_the_oracle_says(student: ConvFC, found: Quantization, audio: Tensor) -> None:
    """Sums in float32 come out on the other side of a half once in a long while."""
    student = with_integer_biases(student, found)
    form = IntegerWindow(student, found)
    rig, codes = oracle(student, found, audio)
    made = form.codes(audio)
    tolerance = 1e-4 * max(1.0, float(abs(rig).max()))
    if codes is None:
        assert made is None
    else:
        assert made is not None
        assert made.dtype == torch.int8
        apart = abs(made.numpy().astype(int) - codes)
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.01
        # One code more or less at the end, as far as that moves the rig.
        moved = 1 if found.layers["rig"] == "int8" else reach(student)
        tolerance += (apart.max() > 0) * moved * max(r.scale for r in found.tensors.values())
    if student.config.limits is not None:
        rig = np.clip(rig, *student.config.limits)
    np.testing.assert_allclose(form(audio).numpy(), rig[:, :, 0], rtol=0, atol=tolerance)


def reach(student: ConvFC) -> float:
    """How much the last layers can make of a change of 1 in their input."""
    found = 1.0
    for layer in student.config.layer_names[1:]:
        found *= float(getattr(student.steps, layer).weight.detach().abs().sum((1, 2)).max())
    return found


@pytest.mark.parametrize("choice", CHOICES)
def test_whole_numbers_agree(student: ConvFC, codes: Quantization, choice: Choice) -> None:
    found = choosing(codes, student.config, dict.fromkeys(student.config.layer_names, choice))
    audio = windows(speech_like(student.config, seed=5), student.config)
    assert_as_the_oracle_says(student, found, audio)


def test_whole_numbers_agree_where_layers_differ(student: ConvFC, codes: Quantization) -> None:
    audio = windows(speech_like(student.config, seed=5), student.config)
    assert_as_the_oracle_says(student, choosing(codes, student.config, MIXED), audio)


def test_the_oracle_in_float_is_the_student() -> None:
    """It is worth nothing as an oracle where it computes something else."""
    student = fixed(PLAIN)
    nothing = Quantization(dict.fromkeys(PLAIN.layer_names, "float"), {}, {}, {})
    audio = speech_like(PLAIN)
    with torch.no_grad():
        expected = student(audio).numpy()
    np.testing.assert_allclose(oracle(student, nothing, audio)[0], expected, atol=1e-5)


@settings(max_examples=3)
@given(st.data())
def test_whole_numbers_agree_for_any_plan_and_choices(
    plans: st.SearchStrategy[ConvFCConfig], data: st.DataObject
) -> None:
    student = fixed(data.draw(plans))
    config = student.config
    choices = {name: data.draw(st.sampled_from(CHOICES)) for name in config.layer_names}
    whole = calibrate(student, [speech_like(config, frames=2)], "minmax")
    audio = windows(speech_like(config, frames=2, seed=5), config)
    assert_as_the_oracle_says(student, choosing(whole, config, choices), audio)


# ------------------------------------------------------------------------------------------------
# one form against another


@pytest.mark.parametrize("choices", [dict.fromkeys(MIXED, "int8"), MIXED])
def test_folded_or_not_the_numbers_are_equal(
    student: ConvFC, codes: Quantization, choices: dict[str, Choice]
) -> None:
    found = choosing(codes, student.config, choices)
    audio = windows(speech_like(student.config), student.config)[:1]
    folded = IntegerWindow(student, found)
    unfolded = folded.unfolded()
    assert torch.equal(folded(audio), unfolded(audio))
    by_channel = torch.ops.quantized_decomposed.quantize_per_channel.default
    assert len(nodes(folded.graph_module, by_channel)) == 0, "codes are stored"
    assert len(nodes(unfolded, by_channel)) == len(found.weights)
    stored = {value.dtype for value in folded.graph_module.state_dict().values()}
    assert torch.int8 in stored


def test_layers_are_what_the_next_one_sees(student: ConvFC, codes: Quantization) -> None:
    form = IntegerWindow(student, codes)
    audio = windows(speech_like(student.config), student.config)
    layers = form.layers(audio)
    assert tuple(layers) == student.config.layer_names
    assert torch.equal(layers["rig"][:, :, 0], form(audio))
    found = codes.tensors["conv1"]
    as_codes = layers["conv1"] / found.scale + found.zero_point
    assert torch.allclose(as_codes, as_codes.round(), atol=1e-3), "values of whole codes"
    floats = Window(student).layers(audio)
    assert {name: x.shape for name, x in floats.items()} == {n: x.shape for n, x in layers.items()}
    assert torch.equal(floats["rig"][:, :, 0], Window(student)(audio))


@pytest.mark.parametrize(("batch", "frames"), [(1, 1), (3, 6)])
def test_the_dense_form_is_the_window_form_frame_by_frame(
    student: ConvFC, codes: Quantization, batch: int, frames: int
) -> None:
    audio = speech_like(student.config, batch, frames)
    dense = IntegerDense(student, codes)
    rig = dense(audio)
    assert rig.shape == (batch, 2, frames)
    each = IntegerWindow(student, codes)(windows(audio, student.config))
    limited = dense.limited(rig).transpose(1, 2).reshape(-1, 2)
    # A sum in another order may come out on the other side of a half: one code.
    torch.testing.assert_close(limited, each, rtol=0, atol=1.01 * codes.tensors["rig"].scale)
    assert (limited != each).float().mean() < 0.02


def test_a_clip_of_any_length_is_animated_within_the_limits(
    student: ConvFC, codes: Quantization
) -> None:
    dense = IntegerDense(student, codes)
    for samples in (1, 256, 2000):
        curves = dense.animate(speech_like(student.config, frames=8)[:1, 0, :samples])
        assert curves.shape == (1, -(-samples // HOP), 2)
        assert curves.abs().max() <= 0.4


def test_all_in_float_is_the_float_student(student: ConvFC, codes: Quantization) -> None:
    found = choosing(codes, student.config, dict.fromkeys(MIXED, "float"))
    assert (found.tensors, found.weights) == ({}, {})
    audio = speech_like(student.config)
    with torch.no_grad():
        assert torch.equal(IntegerDense(student, found)(audio), student(audio))
        window = windows(audio, student.config)
        form = IntegerWindow(student, found)
        assert torch.equal(form(window), Window(student)(window))
    assert form.codes(window) is None


def test_int8_weights_leave_activations_in_float(student: ConvFC, codes: Quantization) -> None:
    """It is the float student with the weights that the codes stand for."""
    found = choosing(codes, student.config, dict.fromkeys(MIXED, "int8_weights"))
    assert found.tensors == {}
    form = IntegerWindow(student, found)
    audio = windows(speech_like(student.config), student.config)
    assert form.codes(audio) is None
    rounded = copy.deepcopy(student)
    with torch.no_grad():
        for layer, scales in found.weights.items():
            weight = getattr(rounded.steps, layer).weight
            scale = torch.tensor(scales).view(-1, 1, 1)
            weight.copy_(torch.round(weight / scale) * scale)
        torch.testing.assert_close(form(audio), Window(rounded)(audio), atol=1e-6, rtol=1e-5)


def test_a_student_that_was_stored_makes_the_very_same_graph(
    student: ConvFC, codes: Quantization, tmp_path: Path
) -> None:
    found = choosing(codes, student.config, MIXED)
    card = StudentCard(
        "tiny", "conv_fc", "int8", ("a", "b"), ("a", "b"), {}, 1, "key", 12, quantization=found
    )
    rounded = with_integer_biases(student, found)
    save_student(tmp_path / "student", rounded, card)
    again, read = load_student(tmp_path / "student")
    assert read.quantization == found
    assert torch.equal(again.steps.get_parameter("first.weight"), student.steps.first.weight)
    audio = speech_like(student.config)
    assert torch.equal(IntegerDense(again, found)(audio), IntegerDense(rounded, found)(audio))
    one, other = IntegerWindow(again, found), IntegerWindow(rounded, found)
    window = windows(audio, student.config)
    assert torch.equal(one(window), other(window))
    assert str(one.graph_module.graph) == str(other.graph_module.graph)
    state, expected = one.graph_module.state_dict(), other.graph_module.state_dict()
    used = {node.target for node in one.graph_module.graph.nodes if node.op == "get_attr"}
    assert used <= state.keys()
    assert all(torch.equal(state[name], expected[name]) for name in used)


def test_a_window_graph_of_one_shape_gives_the_same(student: ConvFC, codes: Quantization) -> None:
    graph = captured_window(student, batch=1)
    values = [node.meta.get("val") for node in graph.graph.nodes]
    shapes = [value.shape for value in values if isinstance(value, Tensor)]
    assert len(shapes) > 10
    assert all(type(size) is int for shape in shapes for size in shape)
    integers = integer_graph(graph, student.config, codes, fold=False)
    window = windows(speech_like(student.config), student.config)[:1]
    assert torch.equal(integers(window), IntegerWindow(student, codes)(window))


def test_modes_may_be_asked_for(student: ConvFC, codes: Quantization) -> None:
    """Exported graphs refuse to change their mode, and whoever is given a module may ask."""
    for form in (IntegerWindow(student, codes), IntegerDense(student, codes)):
        assert form.eval() is form
        assert not form.training
        assert form.train().training


def test_the_student_stays_as_it_is(student: ConvFC, codes: Quantization) -> None:
    before = copy.deepcopy(student.state_dict())
    student = copy.deepcopy(student).train()
    with_integer_biases(student, codes)
    IntegerWindow(student, codes)
    IntegerDense(student, codes)
    assert student.training
    torch.testing.assert_close(student.state_dict(), before, rtol=0, atol=0)


# ------------------------------------------------------------------------------------------------
# what is quantized


def nodes(graph: fx.GraphModule, target: Callable[..., object]) -> list[fx.Node]:
    return [node for node in graph.graph.nodes if node.target is target]


ALL_INT8: dict[str, Choice] = dict.fromkeys(MIXED, "int8")


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        (ALL_INT8, "audio first.conv first conv1 head1 head2 rig"),
        (ALL_INT8 | {"first": "float", "rig": "float"}, "first conv1 head1 head2"),
        (ALL_INT8 | {"conv1": "float"}, "audio first.conv conv1 head1 head2 rig"),
        (ALL_INT8 | {"head1": "int8_weights"}, "audio first.conv first conv1 head1 head2 rig"),
        (MIXED, "first conv1 head1 head2"),
        (dict.fromkeys(MIXED, "float") | {"rig": "int8"}, "head2 rig"),
    ],
)
def test_each_tensor_is_quantized_once(
    student: ConvFC, codes: Quantization, choices: Mapping[str, Choice], expected: str
) -> None:
    """What gives a tensor and what takes it share its codes, by hand; with ReLU in the kernels."""
    found = choosing(codes, student.config, choices)
    assert set(found.tensors) == set(expected.split())
    by_tensor = torch.ops.quantized_decomposed.quantize_per_tensor.default
    made = nodes(IntegerWindow(student, found).graph_module, by_tensor)
    scales = [(node.args[1], node.args[2]) for node in made]
    assert sorted(scales) == sorted((r.scale, r.zero_point) for r in found.tensors.values())


def test_another_activation_is_no_part_of_the_kernel() -> None:
    student = fixed(PLAIN)
    found = calibrate(student, [speech_like(PLAIN, frames=2)], "minmax")
    names = ["first", "conv1", "conv2", "head1", "head2"]
    expected = {"audio", "rig", *names, *(f"{name}.conv" for name in names)}
    assert set(found.tensors) == expected
    by_tensor = torch.ops.quantized_decomposed.quantize_per_tensor.default
    graph = IntegerWindow(student, found).graph_module
    assert len(nodes(graph, by_tensor)) == len(expected)


def test_taps_of_a_captured_student_are_what_its_layers_give(student: ConvFC) -> None:
    graph = captured_dense(student, ("conv1", "head2"))
    audio = speech_like(student.config)
    expected, taps = student.tapped(audio, ("conv1", "head2"))
    rig, conv1, head2 = graph(audio)
    assert torch.equal(rig, expected)
    assert torch.equal(conv1, taps["conv1"])
    assert torch.equal(head2, taps["head2"])


# ------------------------------------------------------------------------------------------------
# biases


def test_biases_of_int8_layers_become_whole(student: ConvFC, codes: Quantization) -> None:
    found = choosing(codes, student.config, MIXED)
    rounded = with_integer_biases(student, found)
    for layer in ("head1", "rig"):
        assert torch.equal(getattr(rounded.steps, layer).bias, getattr(student.steps, layer).bias)
    for layer, arriving in (("conv1", "first"), ("head2", "head1")):
        scale = found.tensors[arriving].scale
        step = scale * torch.tensor(found.weights[layer], dtype=torch.float64)
        bias = getattr(rounded.steps, layer).bias
        steps = bias.double() / step
        # float32 keeps 24 bits of the product.
        torch.testing.assert_close(steps, steps.round(), rtol=2**-23, atol=0)
        assert ((bias - getattr(student.steps, layer).bias).abs() <= 0.5001 * step).all()
        assert not torch.equal(bias, getattr(student.steps, layer).bias)
    again = with_integer_biases(rounded, found)
    torch.testing.assert_close(again.state_dict(), rounded.state_dict(), rtol=0, atol=0)


def test_whole_biases_hardly_move_the_float_student(student: ConvFC, codes: Quantization) -> None:
    """Half a step for each bias, carried to the rig by the sizes of the weights: ReLU adds none."""
    error = torch.zeros(student.config.first.channels, dtype=torch.float64)
    for layer in student.config.layer_names[1:]:
        weight = getattr(student.steps, layer).weight.detach().double().abs()
        scale = codes.tensors[tensors_of(student.config, layer)[0]].scale
        half = scale * torch.tensor(codes.weights[layer], dtype=torch.float64) / 2
        error = weight.sum(2) @ error + half
    audio = speech_like(student.config)
    with torch.no_grad():
        moved = with_integer_biases(student, codes)(audio) - student(audio)
    furthest = moved.abs().amax((0, 2)).double()
    assert (furthest > 0).any()
    assert (furthest <= error + 1e-6).all()
    assert furthest.max() < codes.tensors["rig"].scale, "less than one code"
