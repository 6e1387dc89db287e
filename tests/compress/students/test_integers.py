"""Codes of weights, by hand and against PyTorch's own."""

import json

import pytest
import torch
from torch.ao.quantization.fx import _decomposed  # noqa: F401  (registers what it is compared with)

from compress.students.integers import Quantization, Range, from_codes, to_codes
from exporters import records

SCALES = (0.5, 0.25)


def test_codes_by_hand() -> None:
    """Halves to the even neighbour; what is beyond ±127 stays there, on both sides."""
    weight = torch.tensor(
        [[[1.0, 0.25, 0.75, -63.5]], [[-0.125, -0.375, 100.0, -100.0]]], dtype=torch.float32
    )
    codes = to_codes(weight, SCALES)
    assert codes.dtype == torch.int8
    assert codes.tolist() == [[[2, 0, 2, -127]], [[0, -2, 127, -127]]]


def test_codes_become_weights_by_hand() -> None:
    codes = torch.tensor([[[2, -127]], [[127, 0]]], dtype=torch.int8)
    weight = from_codes(codes, SCALES)
    assert weight.dtype == torch.float32
    assert weight.tolist() == [[[1.0, -63.5]], [[31.75, 0.0]]]


def test_minus_128_is_never_used() -> None:
    weight = torch.linspace(-1, 1, 1001).view(1, 1, -1)
    codes = to_codes(weight, (1 / 200,))  # the ends would be ±200
    assert (codes.min(), codes.max()) == (-127, 127)


@pytest.mark.parametrize("scale", [1.1754944e-38, 1.1920929e-07, 0.0123, 1 / 3, 7.7, 1e36])
def test_every_code_comes_back(scale: float) -> None:
    scale = float(torch.tensor(scale))  # float32, as scales are found
    codes = torch.arange(-127, 128).to(torch.int8).view(1, -1, 1)
    assert torch.equal(to_codes(from_codes(codes, (scale,)), (scale,)), codes)


def test_codes_are_those_that_the_graph_finds() -> None:
    """At the very halves, where a division and a product with the reciprocal part ways."""
    torch.manual_seed(0)
    scales = torch.rand(64) * 0.01
    weight = (torch.arange(-130, 130) + 0.5) * scales[:, None]
    expected = torch.ops.quantized_decomposed.quantize_per_channel(
        weight, scales, torch.zeros(64, dtype=torch.int64), 0, -127, 127, torch.int8
    )
    divided = torch.round(weight / scales[:, None]).clamp(-127, 127)
    assert not torch.equal(divided.to(torch.int8), expected), "the halves tell them apart"
    assert torch.equal(to_codes(weight, tuple(scales.tolist())), expected)


def test_json_and_back() -> None:
    whole = Quantization(
        layers={"first": "float", "conv1": "int8_weights", "rig": "int8"},
        tensors={"head2": Range(0.1, -128), "rig": Range(1 / 3, 5)},
        weights={"conv1": (0.25, 1e-7), "rig": (0.1,)},
        made_by={"method": "ptq", "seed": 3},
    )
    assert records.from_json(Quantization, json.dumps(whole.to_json())) == whole
