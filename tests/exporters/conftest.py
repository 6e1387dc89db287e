"""A student small enough to compute by hand, and the files and bundles made of it."""

import copy
import math
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from exporters.files import ExportedFile
from exporters.report.records.document import ReportDocument, Speech, Teacher
from exporters.signature import Signature
from exporters.targets.coreml import target as coreml
from exporters.targets.onnx import target as onnx_target
from exporters.targets.tflite import target as tflite
from tests.exporters.bundles import MakeBundle, Student, write_bundle
from tests.exporters.targets.coreml.mil_programs import save

WINDOW = 64


class TinyStudent(nn.Module):
    """Two convolutions with weights that follow a rule: [batch, 1, 64] -> [batch, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv1d(1, 4, kernel_size=16, stride=8)
        self.head = nn.Conv1d(4, 3, kernel_size=7)
        with torch.no_grad():
            for scale, weights in enumerate(self.parameters(), start=1):
                count = torch.arange(weights.numel(), dtype=torch.float64)
                weights.copy_((torch.sin(scale + count) / math.sqrt(8 * scale)).view_as(weights))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.features(audio))).squeeze(-1)


class IntegerStudent(nn.Module):
    """An int8 graph of torch.export in a plain module, as the exporters are given one."""

    def __init__(self, program: torch.fx.GraphModule, unfolded: torch.fx.GraphModule) -> None:
        super().__init__()
        self.program = program
        self._unfolded = (unfolded,)  # in a tuple, so that it is no submodule
        quantize = torch.ops.quantized_decomposed.quantize_per_tensor.default
        self.until_codes = cut_after_last(program, quantize)

    def train(self, mode: bool = True) -> "IntegerStudent":
        # An exported graph refuses eval(); it has no other mode.
        self.training = mode
        return self

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.program(audio)

    def codes(self, audio: torch.Tensor) -> torch.Tensor | None:
        return self.until_codes(audio) if self.until_codes is not None else None

    def unfolded(self) -> torch.fx.GraphModule:
        return self._unfolded[0]


def cut_after_last(program: torch.fx.GraphModule, operation: object) -> torch.fx.GraphModule | None:
    """A copy of the graph whose output is that of its last such operation, or None without one."""
    with warnings.catch_warnings():
        # torch's own, see exporters/targets/source.py
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        part = copy.deepcopy(program)
    found = [node for node in part.graph.nodes if node.target is operation]
    if not found:
        return None
    part.graph.output_node().args = ((found[-1],),)
    part.graph.eliminate_dead_code()
    part.recompile()
    return part


def quantized(student: nn.Module, activations: bool) -> IntegerStudent:
    """A student with int8 weights, and with int8 activations or float ones."""
    from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import (
        QuantizationAnnotation,
        QuantizationSpec,
        Quantizer,
    )

    activation = QuantizationSpec(torch.int8, MinMaxObserver, -128, 127, torch.per_tensor_affine)
    weight = QuantizationSpec(
        torch.int8, PerChannelMinMaxObserver, -127, 127, torch.per_channel_symmetric, ch_axis=0
    )

    class Convolutions(Quantizer):
        def annotate(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
            for node in model.graph.find_nodes(
                op="call_function", target=torch.ops.aten.conv1d.default
            ):
                audio, weights = node.args[:2]
                inputs = {weights: weight} | ({audio: activation} if activations else {})
                node.meta["quantization_annotation"] = QuantizationAnnotation(
                    input_qspec_map=inputs, _annotated=True
                )
                (user,) = node.users
                if activations and user.target is torch.ops.aten.relu.default:
                    user.meta["quantization_annotation"] = QuantizationAnnotation(
                        output_qspec=activation, _annotated=True
                    )
            return model

        def validate(self, model: torch.fx.GraphModule) -> None:
            pass

    speech = torch.rand(16, 1, WINDOW, generator=torch.Generator().manual_seed(11)) - 0.5

    def converted(fold: bool, shapes: tuple[object, ...] | None, part: torch.Tensor) -> Any:
        program = torch.export.export(student.eval(), (part,), dynamic_shapes=shapes)
        prepared = prepare_pt2e(program.module(check_guards=False), Convolutions())
        for window in speech:
            prepared(window[None])
        return convert_pt2e(prepared, fold_quantize=fold)

    any_number = ({0: torch.export.Dim("windows")},)
    return IntegerStudent(converted(True, any_number, speech), converted(False, None, speech[:1]))


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def student() -> TinyStudent:
    return TinyStudent()


@pytest.fixture(scope="session")
def fields() -> dict[str, object]:
    """Arguments of a signature that fits TinyStudent."""
    return {
        "student": "tiny",
        "precision": "fp32",
        "controls": ("jawOpen", "tongueOut", "mouthClose", "mouthPucker"),
        "driven": ("jawOpen", "mouthClose", "mouthPucker"),
        "constants": {"tongueOut": 0.125},
        "sample_rate_hz": 16000,
        "hop": 256,
        "window": WINDOW,
        "past": 48,
        "future": 16,
        "smoothing": (0.25, 0.5, 0.25),
        "made_from": "c0ffee",
        "teacher": "demo teacher, 0123abcd",
        "tool_versions": {"torch": "2.13.0"},
        "quantization": {},
    }


@pytest.fixture(scope="session")
def signature(fields: dict[str, object]) -> Signature:
    return Signature(**fields)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def exported(signature: Signature, tmp_path_factory: pytest.TempPathFactory) -> ExportedFile:
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    return onnx_target.export(TinyStudent(), signature, path)


@pytest.fixture(scope="session")
def model_file(exported: ExportedFile) -> Path:
    return exported.path


@pytest.fixture(scope="session")
def integer_signature(signature: Signature) -> Signature:
    made = {
        "layers": {"features": "int8", "head": "int8"},
        "tensors": {"audio": {"scale": 0.0039, "zero_point": 0}},
        "made_by": {"method": "ptq", "calibration_batches": 1},
    }
    return replace(signature, precision="int8", quantization=made)


@pytest.fixture(scope="session")
def integer_student() -> IntegerStudent:
    """TinyStudent with int8 weights and activations, calibrated on noise."""
    return quantized(TinyStudent(), activations=True)


@pytest.fixture(scope="session")
def integer_file(
    integer_student: IntegerStudent,
    integer_signature: Signature,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    return onnx_target.export(integer_student, integer_signature, path).path


@pytest.fixture(scope="session")
def integer_weights_student() -> IntegerStudent:
    """TinyStudent with int8 weights that computes in float."""
    return quantized(TinyStudent(), activations=False)


@pytest.fixture(scope="session")
def integer_weights_file(
    integer_weights_student: IntegerStudent,
    integer_signature: Signature,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    return onnx_target.export(integer_weights_student, integer_signature, path).path


@pytest.fixture
def speech() -> np.ndarray:
    """Five windows of noise, float32 [5, 1, 64]."""
    noise = np.random.default_rng(7).uniform(-0.5, 0.5, size=(5, 1, WINDOW))
    return noise.astype(np.float32)


@pytest.fixture(scope="session")
def packages(
    signature: Signature,
    integer_signature: Signature,
    integer_student: nn.Module,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """TinyStudent for Core ML in each precision."""
    folder = tmp_path_factory.mktemp("packages")
    sources = {
        "fp32": (TinyStudent(), signature),
        "fp16": (TinyStudent(), replace(signature, precision="fp16")),
        "int8": (integer_student, integer_signature),
    }
    return {
        precision: coreml.export(source, of, folder / f"{precision}.mlpackage").path
        for precision, (source, of) in sources.items()
    }


@pytest.fixture(scope="session")
def tflite_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tflite")


@pytest.fixture(scope="session")
def tflite_source() -> nn.Module:
    """TinyStudent in a row of modules; the fixture ``student`` lasts for one test."""
    module = nn.Sequential(nn.Conv1d(1, 4, 16, 8), nn.ReLU(), nn.Conv1d(4, 3, 7), nn.Flatten())
    with torch.no_grad():
        for scale, weights in enumerate(module.parameters(), start=1):
            count = torch.arange(weights.numel(), dtype=torch.float64)
            weights.copy_((torch.sin(scale + count) / math.sqrt(8 * scale)).view_as(weights))
    return module


@pytest.fixture(scope="session")
def tflite_exported(
    tflite_source: nn.Module, signature: Signature, tflite_folder: Path
) -> ExportedFile:
    return tflite.export(tflite_source, signature, tflite_folder / "model.tflite")


@pytest.fixture(scope="session")
def tflite_fp32(tflite_exported: ExportedFile) -> Path:
    return tflite_exported.path


@pytest.fixture(scope="session")
def tflite_fp16(tflite_source: nn.Module, signature: Signature, tflite_folder: Path) -> Path:
    halved = replace(signature, precision="fp16")
    return tflite.export(tflite_source, halved, tflite_folder / "half.tflite").path


@pytest.fixture(scope="session")
def tflite_int8(
    integer_student: nn.Module, integer_signature: Signature, tflite_folder: Path
) -> Path:
    return tflite.export(integer_student, integer_signature, tflite_folder / "int8.tflite").path


@pytest.fixture(scope="session")
def tflite_int8_weights(
    integer_weights_student: nn.Module, integer_signature: Signature, tflite_folder: Path
) -> Path:
    path = tflite_folder / "int8-weights.tflite"
    return tflite.export(integer_weights_student, integer_signature, path).path


@pytest.fixture(scope="session")
def make_bundle(
    signature: Signature,
    integer_signature: Signature,
    integer_student: nn.Module,
    tmp_path_factory: pytest.TempPathFactory,
) -> MakeBundle:
    """A sealed bundle in a precision, with a file for every target that has it. Read, never written."""
    made: dict[str, Path] = {}

    def make(precision: str) -> Path:
        if precision not in made:
            made[precision] = folder = tmp_path_factory.mktemp(f"tiny-{precision}")
            signed = replace(signature, precision=precision)
            if precision == "int8":
                # The head takes codes and gives values.
                layers = {"features": "int8", "head": "int8_weights"}
                made_of = {**integer_signature.quantization, "layers": layers}
                signed = replace(integer_signature, quantization=made_of)
            module = integer_student if precision == "int8" else Student()
            write_bundle(folder, module, signed)
        return made[precision]

    return make


@pytest.fixture
def own_bundle(make_bundle: MakeBundle, tmp_path: Path) -> Path:
    """A copy of the bundle in fp32 to spoil."""
    return shutil.copytree(make_bundle("fp32"), tmp_path / "tiny")


@pytest.fixture
def saved_mil(tmp_path: Path) -> Callable[..., Path]:
    """Save a small program of MIL, and where it is."""
    return partial(save, tmp_path / "small.mlpackage")


@pytest.fixture
def empty_report() -> ReportDocument:
    """A report of a run in which nothing was made yet."""
    return ReportDocument(
        name="demo",
        recipe_hash="c0ffee",
        created="2025-11-22T08:00:00+00:00",
        teacher=Teacher(
            name="demo teacher",
            sha256="ab" * 32,
            description="Small.",
            controls=52,
            driven=26,
            parameters=None,
            frame_rate_hz=60.0,
        ),
        speech=Speech(
            train_minutes=1.0,
            held_out_minutes=1.0,
            clips=2,
            languages=("en",),
            skipped=(),
            train_key="0" * 16,
            held_out_key="1" * 16,
        ),
        machine={},
        versions={"torch": "2.13.0"},
        licence="of their own",
        commits={},
        tiers=(),
        parity=(),
        checks=(),
        chain=(),
        gates=(),
        training=(),
        pruning=(),
        quantization=(),
        clips=(),
    )
