"""The Core ML target: numbers, codes, structure, names and metadata."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporters.proof.parity import check_parity, probe_windows
from exporters.signature import Signature
from exporters.targets.coreml import device as coreml_device
from exporters.targets.coreml import target as coreml
from exporters.targets.coreml.mil import read_program
from exporters.targets.coreml.package import read_model
from exporters.targets.structure import Convolution, structural_faults
from tests.exporters.targets.coreml.coreml_sources import LIMITS, noise, rig_of

pytestmark = pytest.mark.slow  # converters take seconds to begin

FLOATS = Convolution(compute="float", weights="float32")


# ----------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("precision", coreml.PRECISIONS)
def test_a_package_says_what_its_source_says(
    packages: dict[str, Path], student: nn.Module, integer_student: nn.Module, precision: str
) -> None:
    source = integer_student if precision == "int8" else student
    windows = {**probe_windows(64, seed=1), "noise": noise(-12, 64)}
    runtime = coreml.open_runtime(packages[precision])
    result = check_parity(runtime, source, windows, max_abs=LIMITS[precision])
    assert [(item.name, item.reason) for item in result.sets if item.status != "passed"] == []
    assert np.ptp(runtime.run(windows["noise"]), axis=0).min() > 0.01, "the outputs must move"
    if precision == "fp16":
        assert max(item.max_abs or 0 for item in result.sets) > 1e-5, "nothing was rounded"


def test_codes_by_hand(packages: dict[str, Path], speech: np.ndarray) -> None:
    """The first layer in NumPy: integers multiplied and summed, then rounded to codes once."""
    program = read_program(packages["int8"])
    known = program.constants
    audio_codes, hidden_codes = [step for step in program.operations if step.kind == "quantize"]
    assert audio_codes.outputs[0].dtype == "int8"
    assert hidden_codes.outputs[0].dtype == "uint8", "the converter's way to write -128"
    # The zero points that remain are 0: that of the audio was, and uint8 counts from 0.
    assert not {"zero_point"} & (audio_codes.inputs.keys() | hidden_codes.inputs.keys())
    scale, hidden_scale = (
        known[step.inputs["scale"]].item() for step in (audio_codes, hidden_codes)
    )
    weights = next(step for step in program.operations if step.kind.startswith("constexpr"))
    integers, weight_scale = (
        known[weights.inputs[name]].numpy() for name in ("quantized_data", "scale")
    )
    first = next(step for step in program.operations if step.kind == "conv")
    bias = known[first.inputs["bias"]].numpy()

    codes = np.clip(np.rint(speech / np.float32(scale)), -128, 127)[:, 0]
    frames = np.stack([codes[:, start : start + 16] for start in range(0, 49, 8)], axis=2)
    sums = np.einsum("nkt,ck->nct", frames.astype(np.int64), integers[:, 0].astype(np.int64))
    hidden = sums * scale * weight_scale[:, None] + bias[:, None]
    expected = np.clip(np.rint(np.maximum(hidden, 0) / hidden_scale) - 128, -128, 127)

    found = coreml.open_runtime(packages["int8"]).codes(speech)
    assert found is not None
    assert (found.dtype, found.shape) == (np.int8, (5, 4, 7))
    assert np.abs(found - expected).max() <= 1
    assert np.mean(found != expected) < 0.01
    assert len(np.unique(found)) > 50, "the codes must move, or nothing was compared"


def test_only_quantized_activations_have_codes(
    packages: dict[str, Path],
    integer_weights_student: nn.Module,
    integer_signature: Signature,
    speech: np.ndarray,
    tmp_path: Path,
) -> None:
    assert coreml.open_runtime(packages["fp32"]).codes(speech) is None
    path = coreml.export(integer_weights_student, integer_signature, tmp_path / "w.mlpackage").path
    assert coreml.open_runtime(path).codes(speech) is None
    rig = coreml.open_runtime(path).run(speech)
    np.testing.assert_allclose(rig, rig_of(integer_weights_student, speech), atol=LIMITS["fp32"])
    stored = coreml.structure(path).convolutions
    assert stored == (Convolution(compute="float", weights="int8"),) * 2
    empty = coreml.open_runtime(packages["int8"]).codes(speech[:0])
    assert empty is not None
    assert (empty.dtype, empty.shape) == (np.int8, (0, 4, 7))


def test_tensors_on_the_way(packages: dict[str, Path], student: nn.Module) -> None:
    audio = noise(-12, 64)[:1]
    with torch.inference_mode():
        hidden = student.features(torch.from_numpy(audio)).numpy()
    tensors = coreml.open_runtime(packages["fp32"]).tensors(audio)
    shapes = [(1, 4, 7), (1, 4, 7), (1, 3, 1), (1, 3)]
    assert [tensor.shape for tensor in tensors.values()] == shapes
    first, after_relu, _, rig = tensors.values()
    np.testing.assert_allclose(first, hidden, atol=1e-6)
    assert np.array_equal(after_relu, np.maximum(first, 0))
    assert list(tensors)[-1] == "rig"
    assert np.array_equal(rig, coreml.open_runtime(packages["fp32"]).run(audio))

    integer = coreml.open_runtime(packages["int8"])
    codes = integer.codes(audio)
    assert codes is not None
    values = integer.tensors(audio)
    assert {tensor.dtype for tensor in values.values()} == {np.dtype(np.float32)}
    last = coreml_device.last_codes(read_program(packages["int8"]))
    assert last is not None
    value, scale, zero_point = last
    np.testing.assert_allclose(values[value.name][0], (codes[0] - float(zero_point)) * scale)


# --------------------------------------------------------------------------------------- structure


def test_structure(
    packages: dict[str, Path], signature: Signature, integer_signature: Signature
) -> None:
    found = {precision: coreml.structure(path) for precision, path in packages.items()}
    assert dict(found["fp32"].operations) == {"conv": 2, "relu": 1, "squeeze": 1}
    assert found["fp32"].convolutions == (FLOATS, FLOATS)
    half = Convolution(compute="float", weights="float16")
    assert found["fp16"].convolutions == (half, half)
    # The head's output is no code in this student, so only its first layer is one of integers.
    assert found["int8"].convolutions == (
        Convolution(compute="int8", weights="int8"),
        Convolution(compute="float", weights="int8"),
    )
    assert found["int8"].operations["quantize"] == 2
    assert all(structure.layout_changes == 0 for structure in found.values())
    assert structural_faults(found["fp32"], signature) == []
    assert structural_faults(found["fp16"], replace(signature, precision="fp16")) == []
    made = {
        **integer_signature.quantization,
        "layers": {"features": "int8", "head": "int8_weights"},
    }
    assert structural_faults(found["int8"], replace(integer_signature, quantization=made)) == []


# ------------------------------------------------------------------------------ names and metadata


def test_names_shapes_and_versions_are_ours(packages: dict[str, Path]) -> None:
    for package in packages.values():
        spec, _ = read_model(package)
        values = [*spec.description.input, *spec.description.output]
        shapes = {value.name: list(value.type.multiArrayType.shape) for value in values}
        assert shapes == {"audio": [1, 1, 64], "rig": [1, 3]}
        types = {value.type.multiArrayType.dataType for value in values}
        assert types == {type(values[0].type.multiArrayType).FLOAT32}
        assert spec.specificationVersion == 8, "iOS 17 and macOS 14"
        assert dict(spec.mlProgram.attributes) == {}


def test_metadata_serves_programs_and_people(
    packages: dict[str, Path], signature: Signature
) -> None:
    description = read_model(packages["fp32"])[0].description
    metadata = dict(description.metadata.userDefined)
    assert Signature.from_json(metadata["lipstill.signature"]) == signature
    assert json.loads(metadata["lipstill.signature"])["window"] == 64
    assert metadata["lipstill.rig_controls"] == "jawOpen, mouthClose, mouthPucker"
    assert metadata["lipstill.latency_ms"] == "33"
    assert all(key.startswith("lipstill.") for key in metadata)
    assert description.metadata.author == "lipstill"
    assert description.metadata.shortDescription == (
        "tiny, fp32: the pose of a face from 64 samples of speech."
    )
    assert description.input[0].shortDescription == (
        "Mono speech, -1 to 1, 16000 samples a second; the pose is that of the moment after the "
        "first 48 of the 64 samples."
    )
    assert description.output[0].shortDescription == "The pose: jawOpen, mouthClose, mouthPucker."


def test_runtime_says_what_it_is(packages: dict[str, Path], signature: Signature) -> None:
    runtime = coreml.open_runtime(packages["fp32"], threads=2)
    assert runtime.signature == signature
    facts = runtime.describe()
    assert facts["runtime"] == "MIL evaluated in PyTorch"
    assert facts["proof"] == "evaluated, not run on a device"
    assert facts["version"] == torch.__version__
    assert facts["coremltools"][0].isdigit()


# ------------------------------------------------------------------------------------------- audio


@pytest.mark.parametrize(
    "audio",
    [
        np.zeros((2, 1, 63), np.float32),
        np.zeros((2, 64), np.float32),
        np.zeros((2, 1, 64), np.float64),
    ],
)
def test_wrong_audio_is_refused(packages: dict[str, Path], audio: np.ndarray) -> None:
    runtime = coreml.open_runtime(packages["fp32"])
    for ask in (runtime.run, runtime.codes, runtime.tensors):
        with pytest.raises(ValueError, match="expected float32 \\[n, 1, 64\\]"):
            ask(audio)


def test_no_windows_give_no_poses(packages: dict[str, Path]) -> None:
    empty = np.empty((0, 1, 64), np.float32)
    assert coreml.open_runtime(packages["fp32"]).run(empty).shape == (0, 3)
