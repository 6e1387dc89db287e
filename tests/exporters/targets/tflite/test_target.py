"""The TFLite target: numbers, structure, codes, and what its runtime takes and tells."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import nn

from exporters.errors import ModelFileError
from exporters.signature import Signature
from exporters.targets.structure import Convolution, structural_faults
from exporters.targets.tflite import graph as tflite_graph
from exporters.targets.tflite import target as tflite
from exporters.targets.tflite.file import sealed
from tests.exporters.targets.tflite.tflite_models import unpacked

pytestmark = pytest.mark.slow  # converters take seconds to begin


class Energies(nn.Module):
    """A first layer of pairs with log energies, then a head: [batch, 1, 64] -> [batch, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 4, kernel_size=16, stride=8, bias=False)
        self.head = nn.Conv1d(2, 3, kernel_size=7)
        with torch.no_grad():
            for weights in self.parameters():
                count = torch.arange(weights.numel(), dtype=torch.float64)
                weights.copy_((torch.sin(1 + count) / math.sqrt(8)).view_as(weights))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        cosine, sine = self.first(audio).chunk(2, dim=1)
        return self.head(torch.log(1e8 * (cosine * cosine + sine * sine) + 1))[:, :, 0]


def by_hand(student: nn.Module, audio: np.ndarray, weight_type: Any = float) -> np.ndarray:
    """The tiny student in NumPy and float64, from its weights alone: [n, 1, 64] -> [n, 3]."""
    tensors = [value.detach().numpy() for value in student.parameters()]
    first, first_bias, head, head_bias = (
        value.astype(weight_type if value.ndim == 3 else float).astype(float) for value in tensors
    )
    rig = []
    for window in audio[:, 0].astype(float):
        frames = np.stack([window[start : start + 16] for start in range(0, 49, 8)])
        hidden = np.maximum(frames @ first[:, 0].T + first_bias, 0)
        rig.append(np.einsum("tc,kct->k", hidden, head) + head_bias)
    return np.array(rig)


def test_file_says_what_a_hand_calculation_says(
    tflite_fp32: Path, tflite_source: nn.Module, speech: np.ndarray
) -> None:
    rig = tflite.open_runtime(tflite_fp32).run(speech)
    assert rig.dtype == np.float32
    assert rig.shape == (5, 3)
    # Sums of a few dozen float32 products of order 1 round at about 1e-7 each.
    np.testing.assert_allclose(rig, by_hand(tflite_source, speech), atol=2e-6, rtol=0)
    assert np.ptp(rig, axis=0).min() > 0.01, "the outputs must move, or nothing was compared"


def test_halves_are_weights_rounded_and_nothing_else(
    tflite_fp16: Path, tflite_source: nn.Module, speech: np.ndarray
) -> None:
    rig = tflite.open_runtime(tflite_fp16).run(speech)
    np.testing.assert_allclose(rig, by_hand(tflite_source, speech, np.float16), atol=2e-6, rtol=0)
    assert np.abs(rig - by_hand(tflite_source, speech)).max() > 1e-5, (
        "as if nothing had been rounded"
    )


def test_what_stands_before_a_logarithm_keeps_its_precision(
    signature: Signature, tmp_path: Path
) -> None:
    halved = replace(signature, precision="fp16")
    file = tflite.export(Energies(), halved, tmp_path / "model.tflite")
    found = tflite.structure(file.path)
    assert [layer.weights for layer in found.convolutions] == ["float32", "float16"]
    assert structural_faults(found, halved) == []
    # Quiet enough that squares are below float16's least normal number, 6e-5.
    quiet = np.sin(np.arange(64, dtype=np.float32))[np.newaxis, np.newaxis] * np.float32(1e-3)
    with torch.no_grad():
        expected = Energies()(torch.from_numpy(quiet)).numpy()
    # Energies give logarithms near 6, weights of order 0.3 are rounded by 2e-4: 14 of them.
    np.testing.assert_allclose(
        tflite.open_runtime(file.path).run(quiet), expected, atol=5e-3, rtol=0
    )


def test_halves_that_two_layers_share(signature: Signature, tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again = nn.Conv1d(1, 4, 4, 4), nn.Conv1d(4, 4, 1)
            self.head = nn.Conv1d(4, 3, 16)

        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            return self.head(self.again(torch.relu(self.again(self.first(audio))))).squeeze(-1)

    torch.manual_seed(1)
    module = Twice()
    halved = replace(signature, precision="fp16")
    file = tflite.export(module, halved, tmp_path / "model.tflite")
    found = tflite.structure(file.path)
    assert (found.operations["CONV_2D"], found.operations["DEQUANTIZE"]) == (3, 3)
    assert structural_faults(found, halved) == []
    audio = torch.linspace(-1, 1, 64).view(1, 1, 64)
    with torch.no_grad():
        for layer in (module.first, module.again, module.head):
            layer.weight.copy_(layer.weight.half())
        expected = module(audio).numpy()
    rig = tflite.open_runtime(file.path).run(audio.numpy())
    np.testing.assert_allclose(rig, expected, atol=2e-6, rtol=0)


def test_structure_by_precision(
    tflite_fp32: Path,
    tflite_fp16: Path,
    tflite_int8: Path,
    tflite_int8_weights: Path,
    signature: Signature,
    integer_signature: Signature,
) -> None:
    def layers(*kinds: tuple[str, str]) -> tuple[Convolution, ...]:
        return tuple(Convolution(compute=c, weights=w) for c, w in kinds)  # type: ignore[arg-type]

    found = tflite.structure(tflite_fp32)
    assert found.operations == {"RESHAPE": 2, "DEPTHWISE_CONV_2D": 1, "CONV_2D": 1}
    assert found.layout_changes == 0
    assert found.convolutions == layers(("float", "float32"), ("float", "float32"))
    assert structural_faults(found, signature) == []

    found = tflite.structure(tflite_fp16)
    assert found.convolutions == layers(("float", "float16"), ("float", "float16"))
    assert structural_faults(found, replace(signature, precision="fp16")) == []

    # The head has codes in and a float rig out, so it is computed in float.
    found = tflite.structure(tflite_int8)
    assert found.convolutions == layers(("int8", "int8"), ("float", "int8"))
    head_in_float = {"layers": {"features": "int8", "head": "int8_weights"}}
    made_so = replace(integer_signature, quantization=head_in_float)
    assert structural_faults(found, made_so) == []

    found = tflite.structure(tflite_int8_weights)
    assert found.convolutions == layers(("float", "int8"), ("float", "int8"))


def test_transposes_are_counted(signature: Signature, tmp_path: Path) -> None:
    class Turning(nn.Module):
        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            return audio.view(1, 16, 4).transpose(1, 2).reshape(1, 64)[:, 15:18]

    file = tflite.export(Turning(), signature, tmp_path / "model.tflite")
    found = tflite.structure(file.path)
    assert found.layout_changes == found.operations["TRANSPOSE"] == 1
    assert structural_faults(found, signature) == ["1 transposes, expected none"]


def test_codes_are_those_of_torch(
    tflite_int8: Path, integer_student: nn.Module, speech: np.ndarray
) -> None:
    found = tflite.open_runtime(tflite_int8).codes(speech)
    expected = integer_student.codes(torch.from_numpy(speech)).numpy()
    assert found is not None
    assert (found.dtype, found.shape) == (np.int8, (5, 4, 7))
    # LiteRT rounds the bias to an integer first, which can tip a value that lies on an edge.
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert np.mean(found != expected) < 0.01
    assert len(np.unique(found)) > 50, "the codes must move, or nothing was compared"


def test_codes_are_those_that_the_rig_is_made_of(tflite_int8: Path, speech: np.ndarray) -> None:
    # What comes after the codes, run alone on them, must give the very bits that the file gives.
    model = unpacked(tflite_int8)
    (graph,) = model.subgraphs
    last = max(i for i, tensor in enumerate(graph.tensors) if tensor.name.startswith(b"depthwise"))
    after = [i for i, operator in enumerate(graph.operators) if last in operator.outputs.tolist()]
    made_before = {
        tensor
        for operator in graph.operators[: after[0]]
        for tensor in operator.outputs.tolist()
        if tensor != last
    }
    graph.operators = graph.operators[after[0] + 1 :]
    assert not made_before.intersection(
        tensor for operator in graph.operators for tensor in operator.inputs.tolist()
    )
    graph.inputs = np.array([last], np.int32)
    model.signatureDefs = []
    interpreter = Interpreter(model_content=tflite_graph._packed(model))
    interpreter.allocate_tensors()

    runtime = tflite.open_runtime(tflite_int8)
    codes = runtime.codes(speech)
    assert codes is not None
    for window, pose in zip(codes, runtime.run(speech), strict=True):
        interpreter.set_tensor(last, window.T[np.newaxis, np.newaxis])
        interpreter.invoke()
        (end,) = interpreter.get_output_details()
        assert np.array_equal(interpreter.get_tensor(end["index"])[0], pose)


def test_only_quantized_activations_have_codes(
    tflite_int8: Path, tflite_int8_weights: Path, tflite_fp32: Path, speech: np.ndarray
) -> None:
    assert tflite.open_runtime(tflite_fp32).codes(speech) is None
    assert tflite.open_runtime(tflite_int8_weights).codes(speech) is None
    codes = tflite.open_runtime(tflite_int8).codes(speech[:0])
    assert codes is not None
    assert codes.shape == (0, 4, 7)
    with pytest.raises(ValueError, match="expected float32 \\[n, 1, 64\\]"):
        tflite.open_runtime(tflite_int8).codes(speech[:, 0])


def test_tensors_on_the_way(
    tflite_fp32: Path, tflite_int8: Path, tflite_source: nn.Module, speech: np.ndarray
) -> None:
    audio = torch.from_numpy(speech[:1])
    with torch.no_grad():
        hidden = torch.relu(tflite_source[0](audio)).numpy()
    found = tflite.open_runtime(tflite_fp32).tensors(speech[:1])
    assert list(found) == ["reshape_0", "depthwise_conv_2d_1", "conv_2d_2", "rig"]
    np.testing.assert_array_equal(found["reshape_0"].ravel(), speech[0, 0])
    np.testing.assert_allclose(found["depthwise_conv_2d_1"][0, 0].T, hidden[0], atol=2e-6, rtol=0)
    np.testing.assert_allclose(
        found["rig"], tflite.open_runtime(tflite_fp32).run(speech[:1]), atol=1e-6, rtol=0
    )

    found = tflite.open_runtime(tflite_int8).tensors(speech[:1])
    codes = next(values for name, values in found.items() if name.startswith("depthwise"))
    assert codes.dtype == np.float32
    # Of the quantized layer: its values are multiples of a scale, one of 256.
    step = np.diff(np.unique(codes)).min()
    assert np.abs(codes[0, 0].T - hidden[0]).max() < 3 * step
    np.testing.assert_allclose(codes / step, np.rint(codes / step), atol=1e-3, rtol=0)
    assert list(found)[-1] == "rig"
    assert not [name for name in found if "." in name], "constants are left out"


def test_runtime_says_what_it_is(
    tflite_fp32: Path, signature: Signature, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime = tflite.open_runtime(tflite_fp32, threads=2)
    assert runtime.signature == signature
    facts = runtime.describe()
    assert facts["runtime"] == "LiteRT"
    assert facts["delegate"] == "XNNPACK"
    assert facts["threads"] == "2"
    assert tflite.further_runtimes(tflite_fp32) == {}
    assert capfd.readouterr() == ("", "")


def test_no_windows_give_no_poses(tflite_fp32: Path) -> None:
    empty = np.empty((0, 1, 64), np.float32)
    assert tflite.open_runtime(tflite_fp32).run(empty).shape == (0, 3)


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros((2, 1, 63), np.float32),
        np.zeros((2, 64), np.float32),
        np.zeros((2, 1, 64), np.float64),
    ],
)
def test_wrong_audio_is_refused(tflite_fp32: Path, audio: np.ndarray) -> None:
    for take in (tflite.open_runtime(tflite_fp32).run, tflite.open_runtime(tflite_fp32).tensors):
        with pytest.raises(ValueError, match="expected float32 \\[n, 1, 64\\]"):
            take(audio)


def test_windows_need_not_lie_in_one_piece(tflite_fp32: Path, speech: np.ndarray) -> None:
    runtime = tflite.open_runtime(tflite_fp32)
    strided = np.repeat(speech, 2, axis=2)[:, :, ::2]
    assert np.array_equal(runtime.run(strided), runtime.run(speech))


def test_signature_that_the_graph_contradicts(
    tflite_fp32: Path, signature: Signature, tmp_path: Path
) -> None:
    model = unpacked(tflite_fp32)
    other = replace(signature, window=128, past=112)
    for entry in model.metadata:
        if entry.name == b"lipstill.signature":
            text = other.to_json().encode()
            model.buffers[entry.buffer].data = np.frombuffer(text, np.uint8)
    (tmp_path / "changed.tflite").write_bytes(sealed(tflite_graph._packed(model)))
    with pytest.raises(ModelFileError, match="contradicts its own signature"):
        tflite.open_runtime(tmp_path / "changed.tflite")


def test_operation_that_the_runtime_has_not(tflite_fp32: Path, tmp_path: Path) -> None:
    model = unpacked(tflite_fp32)
    for code in model.operatorCodes:
        code.version = 99
    (tmp_path / "newer.tflite").write_bytes(sealed(tflite_graph._packed(model)))
    with pytest.raises(ModelFileError, match=r"newer\.tflite cannot be read as .*older version"):
        tflite.open_runtime(tmp_path / "newer.tflite")
