"""The ONNX target: numbers, names, metadata, bytes, and files that are not ours."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import exporters
from exporters.errors import ExportFailed, ModelFileError
from exporters.files import ExportedFile, describe_file
from exporters.signature import Signature
from exporters.targets.onnx import target as onnx_target
from exporters.targets.onnx.opsets import NEWEST_OPSET, OLDEST_OPSET


class Mean(nn.Module):
    """Nothing to learn: the mean of the window, for each of some controls."""

    def __init__(self, controls: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(controls))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return audio.mean(dim=2) * self.weight


class Moody(nn.Module):
    """Its control flow depends on the samples, which no graph can follow."""

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return audio[:, 0, :3] if audio.sum() > 0 else audio[:, 0, 3:6]


class Shrinking(nn.Module):
    """Its shape depends on the samples, which no file of fixed shape can follow."""

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return audio[audio > 0.5]


def by_hand(student: nn.Module, audio: np.ndarray) -> np.ndarray:
    """TinyStudent in NumPy and float64, from its weights alone: [n, 1, 64] -> [n, 3]."""
    weights = {name: value.numpy().astype(float) for name, value in student.state_dict().items()}
    rig = []
    for window in audio[:, 0].astype(float):
        frames = np.stack([window[start : start + 16] for start in range(0, 49, 8)])
        hidden = frames @ weights["features.weight"][:, 0].T + weights["features.bias"]
        hidden = np.maximum(hidden, 0)
        head = np.einsum("tc,kct->k", hidden, weights["head.weight"])
        rig.append(head + weights["head.bias"])
    return np.array(rig)


def test_file_says_what_a_hand_calculation_says(
    model_file: Path, student: nn.Module, speech: np.ndarray
) -> None:
    rig = onnx_target.open_runtime(model_file).run(speech)
    assert rig.dtype == np.float32
    assert rig.shape == (5, 3)
    # Sums of a few dozen float32 products of order 1 round at about 1e-7 each.
    np.testing.assert_allclose(rig, by_hand(student, speech), atol=2e-6, rtol=0)
    assert np.ptp(rig, axis=0).min() > 0.01, "the outputs must move, or nothing was compared"


def test_int8_file_keeps_int8_weights_and_says_how_it_was_made(
    integer_file: Path, integer_weights_file: Path
) -> None:
    eight_bits = {  # beside codes of activations as uint8, beside floats as int8
        integer_file: [onnx.TensorProto.UINT8] * 2,
        integer_weights_file: [onnx.TensorProto.INT8] * 2,
    }
    for path, types in eight_bits.items():
        model = onnx.load(path)
        shapes = {"features": [4, 1, 16], "head": [3, 4, 7]}
        weights = [
            value for value in model.graph.initializer if list(value.dims) in shapes.values()
        ]
        # Folded into float they would be four bytes each, and stored twice if folded in part.
        first, second = sorted(weights, key=lambda value: value.dims[1])
        assert [first.data_type, second.data_type] == types
        assert sum(len(value.raw_data) for value in weights) == 4 * 16 + 3 * 4 * 7
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert metadata["lipstill.quantization"] == (
            "layers: features int8, head int8; made by: method ptq, calibration_batches 1"
        )


def test_codes_by_hand(integer_file: Path, integer_student: nn.Module, speech: np.ndarray) -> None:
    """The first layer in NumPy: integers multiplied and summed, then rounded to codes once."""
    initial = {
        value.name: onnx.numpy_helper.to_array(value)
        for value in onnx.load(integer_file).graph.initializer
    }
    nodes = onnx.load(integer_file).graph.node
    audio_node, hidden_node = [node for node in nodes if node.op_type == "QuantizeLinear"]
    audio_scale, audio_zero = (initial[name] for name in audio_node.input[1:])
    hidden_scale, hidden_zero = (initial[name].item() for name in hidden_node.input[1:])
    (weights,) = [value for value in initial.values() if value.shape == (4, 1, 16)]
    (weight_scale,) = [
        initial[node.input[1]]
        for node in nodes
        if node.op_type == "DequantizeLinear" and initial.get(node.input[0]) is weights
    ]
    bias = integer_student.state_dict()["program.features.bias"].numpy()

    # In the file all codes are shifted by 128, which is the zero point of the weights.
    assert weights.dtype == audio_zero.dtype == np.uint8
    weights, audio_zero = weights.astype(int) - 128, audio_zero.astype(int) - 128
    hidden_zero -= 128

    codes = np.clip(np.rint(speech / audio_scale) + audio_zero, -128, 127)[:, 0] - audio_zero
    frames = np.stack([codes[:, start : start + 16] for start in range(0, 49, 8)], axis=2)
    sums = np.einsum("nkt,ck->nct", frames.astype(np.int64), weights[:, 0].astype(np.int64))
    hidden = sums * float(audio_scale) * weight_scale[:, None] + bias[:, None]
    expected = np.clip(np.rint(np.maximum(hidden, 0) / hidden_scale) + hidden_zero, -128, 127)

    found = onnx_target.open_runtime(integer_file).codes(speech)
    assert found is not None
    assert (found.dtype, found.shape) == (np.int8, (5, 4, 7))
    # ONNX Runtime rounds the bias to an integer first, which can tip a value that lies on an edge.
    assert np.abs(found - expected).max() <= 1
    assert np.mean(found != expected) < 0.01
    assert len(np.unique(found)) > 50, "the codes must move, or nothing was compared"


def test_codes_are_those_that_the_rig_is_made_of(integer_file: Path, speech: np.ndarray) -> None:
    # What comes after the codes, run alone on them, must give the very bits that the file gives.
    runtime = onnx_target.open_runtime(integer_file)
    model = onnx.load(integer_file)
    *_, quantize = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    rest = onnx.utils.Extractor(model).extract_model([quantize.output[0]], ["rig"])
    session = onnxruntime.InferenceSession(rest.SerializeToString())
    codes = runtime.codes(speech)
    assert codes is not None
    unsigned = (codes.astype(np.int16) + 128).astype(np.uint8)
    rig = [session.run(None, {quantize.output[0]: window[np.newaxis]})[0][0] for window in unsigned]
    assert np.array_equal(np.stack(rig), runtime.run(speech))


def test_codes_are_computed_in_integers_wherever_the_rig_is(
    integer_file: Path, speech: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What ONNX Runtime made of a graph is what it writes there.
    optimized = tmp_path / "optimized.onnx"

    def telling() -> onnxruntime.SessionOptions:
        options = original()
        options.optimized_model_filepath = str(optimized)
        options.log_severity_level = 3  # it warns that the written graph suits this machine only
        return options

    def convolutions() -> list[str]:
        return [node.op_type for node in onnx.load(optimized).graph.node if "Conv" in node.op_type]

    original = onnxruntime.SessionOptions
    monkeypatch.setattr(onnxruntime, "SessionOptions", telling)
    runtime = onnx_target.open_runtime(integer_file)
    assert convolutions() == ["QLinearConv", "Conv"]
    runtime.codes(speech)
    assert convolutions() == ["QLinearConv"]


def test_only_quantized_activations_have_codes(
    integer_file: Path, integer_weights_file: Path, model_file: Path, speech: np.ndarray
) -> None:
    assert onnx_target.open_runtime(model_file).codes(speech) is None
    assert onnx_target.open_runtime(integer_weights_file).codes(speech) is None
    codes = onnx_target.open_runtime(integer_file).codes(speech[:0])
    assert codes is not None
    assert codes.shape == (0, 4, 7)
    with pytest.raises(ValueError, match="expected float32 \\[n, 1, 64\\]"):
        onnx_target.open_runtime(integer_file).codes(speech[:, 0])


def test_exporting_int8_again_gives_the_same_bytes_and_no_chatter(
    integer_file: Path,
    integer_student: nn.Module,
    integer_signature: Signature,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    again = onnx_target.export(integer_student, integer_signature, tmp_path / "model.onnx")
    assert again.path.read_bytes() == integer_file.read_bytes()
    assert capfd.readouterr() == ("", "")


def test_exporting_again_gives_the_same_bytes_and_no_chatter(
    exported: ExportedFile,
    student: nn.Module,
    signature: Signature,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    student.train()
    again = onnx_target.export(student, signature, tmp_path / "elsewhere.onnx")
    assert again.path.read_bytes() == exported.path.read_bytes()
    assert again.sha256 == exported.sha256
    assert [entry.name for entry in tmp_path.iterdir()] == ["elsewhere.onnx"]
    assert student.training, "the caller's module is left as it was"
    assert capfd.readouterr() == ("", "")


def test_export_tells_size_and_hash(exported: ExportedFile) -> None:
    assert exported == describe_file(exported.path, "onnx")
    assert exported.bytes == len(exported.path.read_bytes())


def test_names_and_shapes_are_ours(model_file: Path) -> None:
    graph = onnx.load(model_file).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"audio": [1, 1, 64], "rig": [1, 3]}


def test_metadata_serves_programs_and_people(model_file: Path, signature: Signature) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(model_file).metadata_props}
    assert Signature.from_json(metadata["lipstill.signature"]) == signature
    assert json.loads(metadata["lipstill.signature"])["window"] == 64
    assert metadata["lipstill.rig_controls"] == "jawOpen, mouthClose, mouthPucker"
    assert (metadata["lipstill.past_ms"], metadata["lipstill.future_ms"]) == ("3", "1")
    assert metadata["lipstill.smoothing"] == "0.25, 0.5, 0.25"
    assert metadata["lipstill.latency_ms"] == "33"
    assert all(key.startswith("lipstill.") for key in metadata)


def test_file_tells_nothing_of_this_machine(model_file: Path) -> None:
    content = model_file.read_bytes()
    paths = [Path(exporters.__file__).parent, Path(torch.__file__).parent, Path.home()]
    private = [str(path) for path in (*paths, Path(__file__).parent, Path.cwd())]
    for text in (*private, socket.gethostname(), ".py", "pkg.torch", "stack_trace", "onnxsim"):
        assert text.encode() not in content, f"{text} is in the file"


def test_torch_alone_would_have_told(student: nn.Module) -> None:
    # The test above can only fail if torch does write paths; should it stop, drop the stripping.
    with onnx_target._quiet():
        program = torch.onnx.export(student.eval(), (torch.zeros(1, 1, 64),), dynamo=True)
    assert program is not None
    assert b".py" in program.model_proto.SerializeToString()


def test_dropout_is_off_in_the_file(signature: Signature, tmp_path: Path) -> None:
    module = nn.Sequential(Mean(3), nn.Dropout(0.9)).train()
    file = onnx_target.export(module, signature, tmp_path / "model.onnx")
    ones = np.ones((1, 1, 64), np.float32)
    assert onnx_target.open_runtime(file.path).run(ones).tolist() == [[1.0, 1.0, 1.0]]


def test_module_with_other_outputs_than_the_signature(signature: Signature, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="driven control \\(3\\)"):
        onnx_target.export(Mean(5), signature, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_module_that_cannot_be_converted(signature: Signature, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="tiny cannot be converted to ONNX opset 18") as error:
        onnx_target.export(Moody(), signature, tmp_path / "model.onnx")
    assert "\n" not in str(error.value), "one paragraph"


@pytest.mark.parametrize("opset", [OLDEST_OPSET, NEWEST_OPSET])
def test_the_file_has_the_opset_that_was_asked(
    opset: int, signature: Signature, tmp_path: Path
) -> None:
    path = onnx_target.export(Mean(3), signature, tmp_path / "model.onnx", opset=opset).path
    (entry,) = onnx.load(path).opset_import
    assert (entry.domain, entry.version) == ("", opset)
    ones = np.ones((1, 1, 64), np.float32)
    assert onnx_target.open_runtime(path).run(ones).tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize("opset", [OLDEST_OPSET - 1, NEWEST_OPSET + 1, 99])
def test_an_opset_that_cannot_be_written_is_refused_at_once(
    opset: int, signature: Signature, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"opset is {opset}, expected 18 to {NEWEST_OPSET}"):
        onnx_target.export(Mean(3), signature, tmp_path / "model.onnx", opset=opset)


def test_a_converter_that_leaves_another_opset_gives_no_file(
    signature: Signature,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(onnx_target, "NEWEST_OPSET", 99)
    with pytest.raises(ExportFailed, match=r"became a graph of opset ai\.onnx 18, expected .* 99"):
        onnx_target.export(Mean(3), signature, tmp_path / "model.onnx", opset=99)
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in capfd.readouterr().err


def test_module_whose_shape_is_not_fixed(signature: Signature, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match=r"'rig', 1, \(0,\)"):
        onnx_target.export(Shrinking(), signature, tmp_path / "model.onnx")


def test_runtime_says_what_it_is(model_file: Path, signature: Signature) -> None:
    runtime = onnx_target.open_runtime(model_file, threads=2)
    assert runtime.signature == signature
    facts = runtime.describe()
    assert facts["runtime"] == "ONNX Runtime"
    assert facts["providers"] == "CPUExecutionProvider"
    assert facts["threads"] == "2"


def test_no_windows_give_no_poses(model_file: Path) -> None:
    empty = np.empty((0, 1, 64), np.float32)
    assert onnx_target.open_runtime(model_file).run(empty).shape == (0, 3)


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros((2, 1, 63), np.float32),
        np.zeros((2, 64), np.float32),
        np.zeros((2, 1, 64), np.float64),
    ],
)
def test_wrong_audio_is_refused(model_file: Path, audio: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected float32 \\[n, 1, 64\\]"):
        onnx_target.open_runtime(model_file).run(audio)


def test_damaged_files(model_file: Path, tmp_path: Path) -> None:
    good = model_file.read_bytes()
    damaged = {
        "empty": b"",
        "garbage": b"RIFF0000WAVEfmt ",
        "half": good[: len(good) // 2],
        "short by one": good[:-1],
    }
    for name, content in damaged.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=f"{name}.onnx") as error:
            onnx_target.open_runtime(path)
        assert error.value.exit_code == 3


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ModelFileError, match="is not a file"):
            onnx_target.open_runtime(path)


def test_onnx_of_other_origin(model_file: Path, tmp_path: Path) -> None:
    model = onnx.load(model_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ModelFileError, match="none that lipstill wrote"):
        onnx_target.open_runtime(tmp_path / "foreign.onnx")


def test_signature_that_the_graph_contradicts(
    model_file: Path, signature: Signature, tmp_path: Path
) -> None:
    model = onnx.load(model_file)
    other = replace(signature, window=128, past=112)
    for entry in model.metadata_props:
        if entry.key == "lipstill.signature":
            entry.value = other.to_json()
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(ModelFileError, match="contradicts its own signature"):
        onnx_target.open_runtime(tmp_path / "changed.onnx")
