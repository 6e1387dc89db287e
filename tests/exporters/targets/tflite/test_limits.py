"""Limits of an int8 rig are kept in float, by comparison with PyTorch's own operations."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import fx
from torch.ao.quantization.fx import _decomposed  # noqa: F401 - defines quantized_decomposed

from exporters.errors import ExportFailed
from exporters.targets.tflite.target import _keep_limits_float

ATEN, PT2E = torch.ops.aten, torch.ops.quantized_decomposed
SCALE, ZERO = 0.01, 3
Ending = Callable[[fx.Graph, fx.Node], fx.Node]


def dequantized(graph: fx.Graph, audio: fx.Node) -> fx.Node:
    asked = (SCALE, ZERO, -128, 127, torch.int8)
    codes = graph.call_function(PT2E.quantize_per_tensor.default, (audio, *asked))
    return graph.call_function(PT2E.dequantize_per_tensor.default, (codes, *asked))


def per_channel(graph: fx.Graph, audio: fx.Node) -> fx.Node:
    asked = (torch.tensor([SCALE]), torch.tensor([ZERO]), 0, -128, 127, torch.int8)
    codes = graph.call_function(PT2E.quantize_per_channel.default, (audio, *asked))
    return graph.call_function(PT2E.dequantize_per_channel.default, (codes, *asked))


def by_tensors(graph: fx.Graph, audio: fx.Node) -> fx.Node:
    asked = (torch.tensor(SCALE), torch.tensor(ZERO), -128, 127, torch.int8)
    codes = graph.call_function(PT2E.quantize_per_tensor.tensor, (audio, *asked))
    return graph.call_function(PT2E.dequantize_per_tensor.tensor, (codes, *asked))


def reshaped(graph: fx.Graph, audio: fx.Node) -> fx.Node:
    return graph.call_function(ATEN.select.int, (dequantized(graph, audio), 0, 0))


def dequantize_in_name_only(graph: fx.Graph, audio: fx.Node) -> fx.Node:
    def dequantize(values: torch.Tensor) -> torch.Tensor:
        return 2 * values

    return graph.call_function(dequantize, (audio,))


def floats(graph: fx.Graph, audio: fx.Node) -> fx.Node:
    return graph.call_function(ATEN.mul.Tensor, (audio, 2.0))


def limited(ending: Ending, target: Any = ATEN.clamp.default, *limits: Any) -> fx.GraphModule:
    graph = fx.Graph()
    source = ending(graph, graph.placeholder("audio"))
    graph.output(graph.call_function(target, (source, *(limits or (-0.104, 0.104)))))
    return fx.GraphModule(torch.nn.Module(), graph)


def targets(module: fx.GraphModule) -> list[Any]:
    return [node.target for node in module.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("limits", [(-0.104, 0.104), (None, 0.104), (0, None)])
def test_the_limits_of_codes_become_those_of_a_sum(limits: tuple[float | None, ...]) -> None:
    module = limited(dequantized, ATEN.clamp.default, *limits)
    audio = torch.linspace(-1, 1, 64)
    before = module(audio)
    _keep_limits_float(module)
    assert targets(module)[2:] == [ATEN.add.Tensor, ATEN.clamp.default, ATEN.sub.Tensor]
    # A sum with 1 rounds at 6e-8 and its difference too.
    torch.testing.assert_close(module(audio), before, atol=2e-7, rtol=0)


@pytest.mark.parametrize("ending", [floats, dequantize_in_name_only])
def test_the_limits_of_a_float_layer_stay(ending: Ending) -> None:
    module = limited(ending)
    before = targets(module)
    _keep_limits_float(module)
    assert targets(module) == before


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (limited(per_channel), "quantized_decomposed.dequantize_per_channel.default within limits"),
        (limited(by_tensors), "quantized_decomposed.dequantize_per_tensor.tensor within limits by"),
        (limited(reshaped), "keeps aten.select.int within limits by aten.clamp.default"),
        (limited(dequantized, ATEN.clamp_min.default, 0.0), "within limits by aten.clamp_min.def"),
        (limited(dequantized, ATEN.hardtanh.default, -1.0, 1.0), "limits by aten.hardtanh.default"),
        (
            limited(dequantized, ATEN.clamp.Tensor, torch.zeros(1), torch.ones(1)),
            "within limits by aten.clamp.Tensor. Expected aten.clamp.default with numbers",
        ),
    ],
)
def test_other_forms_are_refused(module: fx.GraphModule, said: str) -> None:
    with pytest.raises(ExportFailed) as raised:
        _keep_limits_float(module)
    assert said in str(raised.value)
