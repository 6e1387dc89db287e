"""What an export writes as TFLite: bytes, names, metadata, constants; and what it cannot write."""

import copy
import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from torch import nn

import exporters
from exporters import requirements
from exporters.errors import ExportFailed, MissingToolError
from exporters.files import ExportedFile, describe_file
from exporters.signature import Signature
from exporters.targets.tflite import target as tflite
from tests.exporters.targets.tflite.tflite_models import unpacked

pytestmark = pytest.mark.slow  # converters take seconds to begin

HOME = Path(exporters.__path__[0]).parent


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


def test_exporting_again_gives_the_same_bytes_and_no_chatter(
    tflite_exported: ExportedFile,
    tflite_int8: Path,
    tflite_source: nn.Module,
    integer_student: nn.Module,
    signature: Signature,
    integer_signature: Signature,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    module = copy.deepcopy(tflite_source).train()
    again = tflite.export(module, signature, tmp_path / "elsewhere.tflite")
    assert again.path.read_bytes() == tflite_exported.path.read_bytes()
    assert again.sha256 == tflite_exported.sha256
    assert [entry.name for entry in tmp_path.iterdir()] == ["elsewhere.tflite"]
    assert module.training, "the caller's module is left as it was"
    again = tflite.export(integer_student, integer_signature, tmp_path / "int8.tflite")
    assert again.path.read_bytes() == tflite_int8.read_bytes()
    assert capfd.readouterr() == ("", "")


def test_another_process_gives_the_same_bytes_and_no_chatter(
    signature: Signature, tmp_path: Path
) -> None:
    signature.write(tmp_path / "signature.json")
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from exporters.targets.tflite import target as tflite\n"
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


def test_export_tells_size_and_hash(tflite_exported: ExportedFile) -> None:
    assert tflite_exported == describe_file(tflite_exported.path, "tflite")
    assert tflite_exported.bytes == len(tflite_exported.path.read_bytes())


def test_names_and_shapes_are_ours(tflite_fp32: Path, speech: np.ndarray) -> None:
    interpreter = Interpreter(str(tflite_fp32))
    ends = (*interpreter.get_input_details(), *interpreter.get_output_details())
    shapes = {end["name"]: (end["dtype"], end["shape"].tolist()) for end in ends}
    assert shapes == {"audio": (np.float32, [1, 1, 64]), "rig": (np.float32, [1, 3])}
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["audio"], "outputs": ["rig"]}
    }
    rig = interpreter.get_signature_runner("serving_default")(audio=speech[:1])["rig"]
    assert np.array_equal(rig, tflite.open_runtime(tflite_fp32).run(speech[:1]))


def metadata(path: Path) -> dict[str, str]:
    model = unpacked(path)
    return {
        entry.name.decode(): model.buffers[entry.buffer].data.tobytes().decode()
        for entry in model.metadata
    }


def test_metadata_serves_programs_and_people(
    tflite_fp32: Path, tflite_int8: Path, signature: Signature
) -> None:
    found = metadata(tflite_fp32)
    assert Signature.from_json(found["lipstill.signature"]) == signature
    assert json.loads(found["lipstill.signature"])["window"] == 64
    assert found["lipstill.rig_controls"] == "jawOpen, mouthClose, mouthPucker"
    assert (found["lipstill.past_ms"], found["lipstill.future_ms"]) == ("3", "1")
    assert found["lipstill.latency_ms"] == "33"
    assert unpacked(tflite_fp32).description == b"lipstill: tiny, fp32"
    rest = [key for key in found if not key.startswith("lipstill.")]
    assert rest == ["min_runtime_version"]
    assert metadata(tflite_int8)["lipstill.quantization"] == (
        "layers: features int8, head int8; made by: method ptq, calibration_batches 1"
    )


def test_int8_file_keeps_int8_weights(tflite_int8: Path, tflite_int8_weights: Path) -> None:
    for path in (tflite_int8, tflite_int8_weights):
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


def test_constants_are_aligned_and_used(tflite_fp32: Path, tflite_fp16: Path) -> None:
    for path in (tflite_fp32, tflite_fp16):
        model = schema.Model.GetRootAs(path.read_bytes(), 0)
        buffers = [model.Buffers(number) for number in range(model.BuffersLength())]
        places = [b._tab.Vector(b._tab.Offset(4)) for b in buffers if not b.DataIsNone()]
        assert len(places) == len(buffers) - 1, "the first alone is empty"
        assert {place % 16 for place in places} == {0}


def test_file_tells_nothing_of_this_machine(tflite_fp32: Path, tflite_int8: Path) -> None:
    paths = [HOME, Path(torch.__file__).parent, Path.home(), Path(__file__).parent, Path.cwd()]
    private = [*map(str, paths), socket.gethostname()]
    for content in (tflite_fp32.read_bytes(), tflite_int8.read_bytes()):
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
    tflite_source: nn.Module, signature: Signature, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = requirements.find_spec
    monkeypatch.setattr(
        requirements, "find_spec", lambda name: None if name == "litert_torch" else found(name)
    )
    with pytest.raises(MissingToolError, match="pip install litert-torch"):
        tflite.export(tflite_source, signature, tmp_path / "model.tflite")
