"""The TFLite target: numbers, names, metadata, bytes, and files that are not ours."""

import copy
import hashlib
import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import exporters
from exporters import requirements, tflite, tflite_graph
from exporters.errors import ExportFailed, MissingToolError, ModelFileError
from exporters.files import ExportedFile, describe_file
from exporters.signature import Signature
from exporters.structure import Convolution, structural_faults
from exporters.tflite_file import sealed

HOME = Path(exporters.__path__[0]).parent


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


class Scaled(nn.Module):
    """The first samples of the window times a weight, for each of some controls."""

    def __init__(self, controls: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(1, 2, controls))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return audio[:, 0, : len(self.weight)] * self.weight


class Moody(nn.Module):
    """Its control flow depends on the samples, which no graph can follow."""

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return audio[:, 0, :3] if audio.sum() > 0 else audio[:, 0, 3:6]


class Exotic(nn.Module):
    """An operation that TFLite has not."""

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return torch.special.i0e(audio[:, 0, :3])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tflite")


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    """TinyStudent of conftest.py; its fixture lasts for one test."""
    module = nn.Sequential(nn.Conv1d(1, 4, 16, 8), nn.ReLU(), nn.Conv1d(4, 3, 7), nn.Flatten())
    with torch.no_grad():
        for scale, weights in enumerate(module.parameters(), start=1):
            count = torch.arange(weights.numel(), dtype=torch.float64)
            weights.copy_((torch.sin(scale + count) / math.sqrt(8 * scale)).view_as(weights))
    return module


@pytest.fixture(scope="module")
def exported(tiny: nn.Module, signature: Signature, folder: Path) -> ExportedFile:
    return tflite.export(tiny, signature, folder / "model.tflite")


@pytest.fixture(scope="module")
def model_file(exported: ExportedFile) -> Path:
    return exported.path


@pytest.fixture(scope="module")
def half_file(tiny: nn.Module, signature: Signature, folder: Path) -> Path:
    halved = replace(signature, precision="fp16")
    return tflite.export(tiny, halved, folder / "half.tflite").path


@pytest.fixture(scope="module")
def integer_file(integer_student: nn.Module, integer_signature: Signature, folder: Path) -> Path:
    return tflite.export(integer_student, integer_signature, folder / "int8.tflite").path


@pytest.fixture(scope="module")
def integer_weights_file(
    integer_weights_student: nn.Module, integer_signature: Signature, folder: Path
) -> Path:
    path = folder / "int8-weights.tflite"
    return tflite.export(integer_weights_student, integer_signature, path).path


def unpacked(path: Path) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))


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
    model_file: Path, tiny: nn.Module, speech: np.ndarray
) -> None:
    rig = tflite.open_runtime(model_file).run(speech)
    assert rig.dtype == np.float32
    assert rig.shape == (5, 3)
    # Sums of a few dozen float32 products of order 1 round at about 1e-7 each.
    np.testing.assert_allclose(rig, by_hand(tiny, speech), atol=2e-6, rtol=0)
    assert np.ptp(rig, axis=0).min() > 0.01, "the outputs must move, or nothing was compared"


def test_halves_are_weights_rounded_and_nothing_else(
    half_file: Path, tiny: nn.Module, speech: np.ndarray
) -> None:
    rig = tflite.open_runtime(half_file).run(speech)
    np.testing.assert_allclose(rig, by_hand(tiny, speech, np.float16), atol=2e-6, rtol=0)
    assert np.abs(rig - by_hand(tiny, speech)).max() > 1e-5, "as if nothing had been rounded"


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
    model_file: Path,
    half_file: Path,
    integer_file: Path,
    integer_weights_file: Path,
    signature: Signature,
    integer_signature: Signature,
) -> None:
    def layers(*kinds: tuple[str, str]) -> tuple[Convolution, ...]:
        return tuple(Convolution(compute=c, weights=w) for c, w in kinds)  # type: ignore[arg-type]

    found = tflite.structure(model_file)
    assert found.operations == {"RESHAPE": 2, "DEPTHWISE_CONV_2D": 1, "CONV_2D": 1}
    assert found.layout_changes == 0
    assert found.convolutions == layers(("float", "float32"), ("float", "float32"))
    assert structural_faults(found, signature) == []

    found = tflite.structure(half_file)
    assert found.convolutions == layers(("float", "float16"), ("float", "float16"))
    assert structural_faults(found, replace(signature, precision="fp16")) == []

    # The head has codes in and a float rig out, so it is computed in float.
    found = tflite.structure(integer_file)
    assert found.convolutions == layers(("int8", "int8"), ("float", "int8"))
    head_in_float = {"layers": {"features": "int8", "head": "int8_weights"}}
    made_so = replace(integer_signature, quantization=head_in_float)
    assert structural_faults(found, made_so) == []

    found = tflite.structure(integer_weights_file)
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
    integer_file: Path, integer_student: nn.Module, speech: np.ndarray
) -> None:
    found = tflite.open_runtime(integer_file).codes(speech)
    expected = integer_student.codes(torch.from_numpy(speech)).numpy()
    assert found is not None
    assert (found.dtype, found.shape) == (np.int8, (5, 4, 7))
    # LiteRT rounds the bias to an integer first, which can tip a value that lies on an edge.
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert np.mean(found != expected) < 0.01
    assert len(np.unique(found)) > 50, "the codes must move, or nothing was compared"


def test_codes_are_those_that_the_rig_is_made_of(integer_file: Path, speech: np.ndarray) -> None:
    # What comes after the codes, run alone on them, must give the very bits that the file gives.
    model = unpacked(integer_file)
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

    runtime = tflite.open_runtime(integer_file)
    codes = runtime.codes(speech)
    assert codes is not None
    for window, pose in zip(codes, runtime.run(speech), strict=True):
        interpreter.set_tensor(last, window.T[np.newaxis, np.newaxis])
        interpreter.invoke()
        (end,) = interpreter.get_output_details()
        assert np.array_equal(interpreter.get_tensor(end["index"])[0], pose)


def test_only_quantized_activations_have_codes(
    integer_file: Path, integer_weights_file: Path, model_file: Path, speech: np.ndarray
) -> None:
    assert tflite.open_runtime(model_file).codes(speech) is None
    assert tflite.open_runtime(integer_weights_file).codes(speech) is None
    codes = tflite.open_runtime(integer_file).codes(speech[:0])
    assert codes is not None
    assert codes.shape == (0, 4, 7)
    with pytest.raises(ValueError, match="expected float32 \\[n, 1, 64\\]"):
        tflite.open_runtime(integer_file).codes(speech[:, 0])


def test_tensors_on_the_way(
    model_file: Path, integer_file: Path, tiny: nn.Module, speech: np.ndarray
) -> None:
    audio = torch.from_numpy(speech[:1])
    with torch.no_grad():
        hidden = torch.relu(tiny[0](audio)).numpy()
    found = tflite.open_runtime(model_file).tensors(speech[:1])
    assert list(found) == ["reshape_0", "depthwise_conv_2d_1", "conv_2d_2", "rig"]
    np.testing.assert_array_equal(found["reshape_0"].ravel(), speech[0, 0])
    np.testing.assert_allclose(found["depthwise_conv_2d_1"][0, 0].T, hidden[0], atol=2e-6, rtol=0)
    np.testing.assert_allclose(
        found["rig"], tflite.open_runtime(model_file).run(speech[:1]), atol=1e-6, rtol=0
    )

    found = tflite.open_runtime(integer_file).tensors(speech[:1])
    codes = next(values for name, values in found.items() if name.startswith("depthwise"))
    assert codes.dtype == np.float32
    # Of the quantized layer: its values are multiples of a scale, one of 256.
    step = np.diff(np.unique(codes)).min()
    assert np.abs(codes[0, 0].T - hidden[0]).max() < 3 * step
    np.testing.assert_allclose(codes / step, np.rint(codes / step), atol=1e-3, rtol=0)
    assert list(found)[-1] == "rig"
    assert not [name for name in found if "." in name], "constants are left out"


def test_exporting_again_gives_the_same_bytes_and_no_chatter(
    exported: ExportedFile,
    integer_file: Path,
    tiny: nn.Module,
    integer_student: nn.Module,
    signature: Signature,
    integer_signature: Signature,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    module = copy.deepcopy(tiny).train()
    again = tflite.export(module, signature, tmp_path / "elsewhere.tflite")
    assert again.path.read_bytes() == exported.path.read_bytes()
    assert again.sha256 == exported.sha256
    assert [entry.name for entry in tmp_path.iterdir()] == ["elsewhere.tflite"]
    assert module.training, "the caller's module is left as it was"
    again = tflite.export(integer_student, integer_signature, tmp_path / "int8.tflite")
    assert again.path.read_bytes() == integer_file.read_bytes()
    assert capfd.readouterr() == ("", "")


def test_another_process_gives_the_same_bytes_and_no_chatter(
    signature: Signature, tmp_path: Path
) -> None:
    signature.write(tmp_path / "signature.json")
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from exporters import tflite\n"
        "from exporters.signature import Signature\n"
        "signature = Signature.read(Path(sys.argv[1]))\n"
        "module = torch.nn.Sequential(torch.nn.Conv1d(1, 3, 64), torch.nn.Flatten())\n"
        "for weights in module.parameters():\n"
        "    torch.nn.init.constant_(weights, 0.25)\n"
        "file = tflite.export(module, signature, Path(sys.argv[2]))\n"
        "tflite.open_runtime(file.path)\n"
    )
    found = set()
    for number, seed in enumerate(("1", "2")):
        path = tmp_path / f"{number}.tflite"
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "signature.json"), str(path)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(HOME), "PYTHONHASHSEED": seed},
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        found.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(found) == 1


def test_export_tells_size_and_hash(exported: ExportedFile) -> None:
    assert exported == describe_file(exported.path, "tflite")
    assert exported.bytes == len(exported.path.read_bytes())


def test_names_and_shapes_are_ours(model_file: Path, speech: np.ndarray) -> None:
    interpreter = Interpreter(str(model_file))
    ends = (*interpreter.get_input_details(), *interpreter.get_output_details())
    shapes = {end["name"]: (end["dtype"], end["shape"].tolist()) for end in ends}
    assert shapes == {"audio": (np.float32, [1, 1, 64]), "rig": (np.float32, [1, 3])}
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["audio"], "outputs": ["rig"]}
    }
    rig = interpreter.get_signature_runner("serving_default")(audio=speech[:1])["rig"]
    assert np.array_equal(rig, tflite.open_runtime(model_file).run(speech[:1]))


def metadata(path: Path) -> dict[str, str]:
    model = unpacked(path)
    return {
        entry.name.decode(): model.buffers[entry.buffer].data.tobytes().decode()
        for entry in model.metadata
    }


def test_metadata_serves_programs_and_people(
    model_file: Path, integer_file: Path, signature: Signature
) -> None:
    found = metadata(model_file)
    assert Signature.from_json(found["lipstill.signature"]) == signature
    assert json.loads(found["lipstill.signature"])["window"] == 64
    assert found["lipstill.rig_controls"] == "jawOpen, mouthClose, mouthPucker"
    assert (found["lipstill.past_ms"], found["lipstill.future_ms"]) == ("3", "1")
    assert found["lipstill.latency_ms"] == "17"
    assert unpacked(model_file).description == b"lipstill: tiny, fp32"
    rest = [key for key in found if not key.startswith("lipstill.")]
    assert rest == ["min_runtime_version"]
    assert metadata(integer_file)["lipstill.quantization"] == (
        "layers: features int8, head int8; made by: method ptq, calibration_batches 1"
    )


def test_int8_file_keeps_int8_weights(integer_file: Path, integer_weights_file: Path) -> None:
    for path in (integer_file, integer_weights_file):
        model = unpacked(path)
        stored = {
            tuple(tensor.shape): tensor.type
            for tensor in model.subgraphs[0].tensors
            if model.buffers[tensor.buffer].data is not None and len(tensor.shape) == 4
        }
        assert stored == {
            (1, 1, 16, 4): schema.TensorType.INT8,
            (3, 1, 7, 4): schema.TensorType.INT8,
        }


def test_constants_are_aligned_and_used(model_file: Path, half_file: Path) -> None:
    for path in (model_file, half_file):
        model = schema.Model.GetRootAs(path.read_bytes(), 0)
        buffers = [model.Buffers(number) for number in range(model.BuffersLength())]
        places = [b._tab.Vector(b._tab.Offset(4)) for b in buffers if not b.DataIsNone()]
        assert len(places) == len(buffers) - 1, "the first alone is empty"
        assert {place % 16 for place in places} == {0}


def test_file_tells_nothing_of_this_machine(model_file: Path, integer_file: Path) -> None:
    paths = [HOME, Path(torch.__file__).parent, Path.home(), Path(__file__).parent, Path.cwd()]
    private = [*map(str, paths), socket.gethostname()]
    for content in (model_file.read_bytes(), integer_file.read_bytes()):
        for text in (*private, ".py", "torch.", "Conv1d", "arith", "MLIR"):
            assert text.encode() not in content, f"{text} is in the file"


def test_dropout_is_off_in_the_file(signature: Signature, tmp_path: Path) -> None:
    module = nn.Sequential(Scaled(3), nn.Dropout(0.9)).train()
    file = tflite.export(module, signature, tmp_path / "model.tflite")
    ones = np.ones((1, 1, 64), np.float32)
    assert tflite.open_runtime(file.path).run(ones).tolist() == [[1.0, 1.5, 2.0]]


def test_module_with_other_outputs_than_the_signature(signature: Signature, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="driven control \\(3\\)"):
        tflite.export(Scaled(5), signature, tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", [Moody(), Exotic()])
def test_module_that_cannot_be_converted(
    module: nn.Module, signature: Signature, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportFailed, match="tiny cannot be converted to TFLite: ") as error:
        tflite.export(module, signature, tmp_path / "model.tflite")
    assert "\n" not in str(error.value), "one paragraph"
    assert error.value.__cause__ is not None
    assert capfd.readouterr() == ("", "")


def test_missing_converter_is_named_first(
    tiny: nn.Module, signature: Signature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = requirements.find_spec
    monkeypatch.setattr(
        requirements, "find_spec", lambda name: None if name == "litert_torch" else found(name)
    )
    with pytest.raises(MissingToolError, match="pip install litert-torch"):
        tflite.export(tiny, signature, tmp_path / "model.tflite")


def test_runtime_says_what_it_is(
    model_file: Path, signature: Signature, capfd: pytest.CaptureFixture[str]
) -> None:
    runtime = tflite.open_runtime(model_file, threads=2)
    assert runtime.signature == signature
    facts = runtime.describe()
    assert facts["runtime"] == "LiteRT"
    assert facts["delegate"] == "XNNPACK"
    assert facts["threads"] == "2"
    assert tflite.further_runtimes(model_file) == {}
    assert capfd.readouterr() == ("", "")


def test_no_windows_give_no_poses(model_file: Path) -> None:
    empty = np.empty((0, 1, 64), np.float32)
    assert tflite.open_runtime(model_file).run(empty).shape == (0, 3)


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros((2, 1, 63), np.float32),
        np.zeros((2, 64), np.float32),
        np.zeros((2, 1, 64), np.float64),
    ],
)
def test_wrong_audio_is_refused(model_file: Path, audio: np.ndarray) -> None:
    for take in (tflite.open_runtime(model_file).run, tflite.open_runtime(model_file).tensors):
        with pytest.raises(ValueError, match="expected float32 \\[n, 1, 64\\]"):
            take(audio)


def test_windows_need_not_lie_in_one_piece(model_file: Path, speech: np.ndarray) -> None:
    runtime = tflite.open_runtime(model_file)
    strided = np.repeat(speech, 2, axis=2)[:, :, ::2]
    assert np.array_equal(runtime.run(strided), runtime.run(speech))


def test_signature_that_the_graph_contradicts(
    model_file: Path, signature: Signature, tmp_path: Path
) -> None:
    model = unpacked(model_file)
    other = replace(signature, window=128, past=112)
    for entry in model.metadata:
        if entry.name == b"lipstill.signature":
            text = other.to_json().encode()
            model.buffers[entry.buffer].data = np.frombuffer(text, np.uint8)
    (tmp_path / "changed.tflite").write_bytes(sealed(tflite_graph._packed(model)))
    with pytest.raises(ModelFileError, match="contradicts its own signature"):
        tflite.open_runtime(tmp_path / "changed.tflite")


def test_operation_that_the_runtime_has_not(model_file: Path, tmp_path: Path) -> None:
    model = unpacked(model_file)
    for code in model.operatorCodes:
        code.version = 99
    (tmp_path / "newer.tflite").write_bytes(sealed(tflite_graph._packed(model)))
    with pytest.raises(ModelFileError, match=r"newer\.tflite cannot be opened"):
        tflite.open_runtime(tmp_path / "newer.tflite")
