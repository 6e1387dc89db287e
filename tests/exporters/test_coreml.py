"""The Core ML target: numbers, codes, names, metadata, bytes, and packages that are not ours."""

import json
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import exporters
from compress.quantization import IntegerWindow
from compress.students.conv_fc import Window
from compress.students.storing import load_student
from exporters import coreml, coreml_device, coreml_package
from exporters.coreml_package import quiet, read_model, write_package
from exporters.errors import ExportFailed, ModelFileError
from exporters.files import describe_file
from exporters.mil import evaluate, evaluate_to, read_program
from exporters.parity import check_parity, probe_windows
from exporters.runtime import Runtime
from exporters.signature import Signature
from exporters.structure import Convolution, structural_faults
from tests.exporters.conftest import TinyStudent

ASSETS = Path(__file__).parents[2] / "compress" / "assets"
SHIPPED = sorted(card.parent.name for card in ASSETS.glob("*/student.json"))
LIMITS = {"fp32": 1e-5, "fp16": 5e-3, "int8": 2e-3}
FLOATS = Convolution(compute="float", weights="float32")


class Moody(nn.Module):
    """Its control flow depends on the samples, which no program can follow."""

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return audio[:, 0, :3] if audio.sum() > 0 else audio[:, 0, 3:6]


class First(nn.Module):
    """Nothing to learn: half of the first samples, for each of some controls."""

    def __init__(self, controls: int) -> None:
        super().__init__()
        self.controls = controls

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(audio[:, 0, : self.controls], 0.9, self.training) * 0.5


@pytest.fixture(scope="module")
def packages(
    signature: Signature,
    integer_signature: Signature,
    integer_student: nn.Module,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """TinyStudent in each precision."""
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
def shipped(
    signature: Signature, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], tuple[Path, nn.Module]]:
    """A shipped student's package in a precision, and what it was made of."""
    made: dict[tuple[str, str], tuple[Path, nn.Module]] = {}

    def export(name: str, precision: str) -> tuple[Path, nn.Module]:
        if (name, precision) not in made:
            student, card = load_student(ASSETS / name)
            quantization = card.quantization
            source = (
                IntegerWindow(student, quantization) if quantization else Window(student).eval()
            )
            of = replace(
                signature,
                student=name,
                precision=precision,
                controls=card.controls,
                driven=card.driven,
                constants=card.constants,
                window=student.config.window,
                past=student.config.past,
                future=student.config.future,
                quantization=quantization.in_brief() if quantization else {},
            )
            path = tmp_path_factory.mktemp("shipped") / f"{name}.mlpackage"
            made[name, precision] = coreml.export(source, of, path).path, source
        return made[name, precision]

    return export


def noise(decibels: float, window: int, seed: int = 0) -> np.ndarray:
    """Four windows of white noise, so many decibels below full scale."""
    draw = np.random.default_rng(seed).standard_normal((4, 1, window))
    return (draw * 10 ** (decibels / 20)).clip(-1, 1).astype(np.float32)


def rig_of(source: nn.Module, audio: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return source(torch.from_numpy(audio)).numpy()


def contents(package: Path) -> dict[str, bytes]:
    files = [path for path in sorted(package.rglob("*")) if path.is_file()]
    return {path.relative_to(package).as_posix(): path.read_bytes() for path in files}


# ---------------------------------------------------------------------------------------- numbers


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


@pytest.mark.parametrize(
    ("name", "precision"), [("tiny", "fp32"), ("tiny", "fp16"), ("tiny-int8", "int8")]
)
def test_shipped_students(
    shipped: Callable[[str, str], tuple[Path, nn.Module]], name: str, precision: str
) -> None:
    path, source = shipped(name, precision)
    runtime = coreml.open_runtime(path)
    window = runtime.signature.window
    windows = {f"{level} dB": noise(level, window) for level in (-90, -60, -30, -10)}
    windows |= probe_windows(window, seed=1)
    result = check_parity(runtime, source, windows, max_abs=LIMITS[precision], max_lsb=1)
    assert [(item.name, item.reason) for item in result.sets if item.status != "passed"] == []
    assert (result.max_lsb_limit is None) == (precision != "int8")
    assert structural_faults(coreml.structure(path), runtime.signature) == []


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("level", [None, -90, -70, -30])
def test_the_logarithm_of_quiet_samples_in_fp16(
    shipped: Callable[[str, str], tuple[Path, nn.Module]], flush: bool, level: float | None
) -> None:
    path, source = shipped("tiny", "fp16")
    program = read_program(path, flush_subnormals=flush)
    silence = np.zeros((1, *program.audio.shape[1:]), np.float32)
    audio = silence if level is None else noise(level, program.audio.shape[-1])
    rig = evaluate(program, audio)
    assert np.isfinite(rig).all()
    assert np.abs(rig - rig_of(source, audio)).max() < LIMITS["fp16"]
    before_log = [step for step in program.operations if step.kind in ("conv", "mul", "log")]
    assert {step.outputs[0].dtype for step in before_log[:5]} == {"fp32"}


def test_a_logarithm_in_fp16_is_found_out(
    shipped: Callable[[str, str], tuple[Path, nn.Module]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """What the test above is worth: with all in float16 a device that flushes is far off."""
    path, source = shipped("tiny", "fp16")
    monkeypatch.setattr(coreml, "_bears_half", lambda operation: True)
    plain = coreml.export(source, coreml.open_runtime(path).signature, tmp_path / "p.mlpackage")
    quiet_one, loud = noise(-70, 8192), noise(-30, 8192)
    kept, flushed = (read_program(plain.path, flush_subnormals=flush) for flush in (False, True))
    assert np.abs(evaluate(kept, quiet_one) - rig_of(source, quiet_one)).max() < LIMITS["fp16"]
    assert np.abs(evaluate(flushed, quiet_one) - rig_of(source, quiet_one)).max() > 0.02
    # The energies times 1e8 are beyond float16: infinite, and infinity less infinity no number.
    assert not np.isfinite(evaluate(kept, loud)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_all_shipped_students_are_what_their_precision_promises(
    shipped: Callable[[str, str], tuple[Path, nn.Module]], name: str
) -> None:
    _, card = load_student(ASSETS / name)
    for precision in ("fp32", "fp16") if card.quantization is None else ("int8",):
        path, source = shipped(name, precision)
        runtime = coreml.open_runtime(path)
        assert structural_faults(coreml.structure(path), runtime.signature) == []
        windows = {"noise": noise(-30, runtime.signature.window)}
        result = check_parity(runtime, source, windows, max_abs=LIMITS[precision])
        assert result.status == "passed", result.sets[0].reason


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


# -------------------------------------------------------------------------------------- structure


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


# ------------------------------------------------------------------------------------------ bytes


def test_exporting_again_gives_the_same_bytes_and_no_chatter(
    packages: dict[str, Path],
    student: nn.Module,
    signature: Signature,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    student.train()
    again = coreml.export(student, signature, tmp_path / "elsewhere.mlpackage")
    assert contents(again.path) == contents(packages["fp32"])
    assert again == describe_file(again.path, "coreml")
    assert again.bytes == sum(len(content) for content in contents(again.path).values())
    assert [entry.name for entry in tmp_path.iterdir()] == ["elsewhere.mlpackage"]
    assert student.training, "the caller's module is left as it was"
    coreml.open_runtime(again.path)
    assert capfd.readouterr() == ("", "")


def test_another_process_writes_the_same_bytes_and_not_a_word(
    packages: dict[str, Path], signature: Signature, tmp_path: Path
) -> None:
    signature.write(tmp_path / "signature.json")
    code = f"""
from dataclasses import replace
from pathlib import Path
import numpy as np
from exporters import coreml
from exporters.signature import Signature
from tests.exporters.conftest import TinyStudent
folder = Path({str(tmp_path)!r})
signature = replace(Signature.read(folder / "signature.json"), precision="fp16")
made = coreml.export(TinyStudent(), signature, folder / "model.mlpackage")
coreml.open_runtime(made.path).run(np.zeros((1, 1, 64), np.float32))
coreml.structure(made.path)
"""
    home = str(Path(exporters.__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert contents(tmp_path / "model.mlpackage") == contents(packages["fp16"])


def test_int8_again_gives_the_same_bytes(
    packages: dict[str, Path],
    integer_student: nn.Module,
    integer_signature: Signature,
    tmp_path: Path,
) -> None:
    again = coreml.export(integer_student, integer_signature, tmp_path / "model.mlpackage")
    assert contents(again.path) == contents(packages["int8"])


def test_a_package_holds_what_it_needs_and_nothing_of_this_machine(
    packages: dict[str, Path],
) -> None:
    for package in packages.values():
        found = contents(package)
        model, weights = (
            "Data/com.apple.CoreML/model.mlmodel",
            "Data/com.apple.CoreML/weights/weight.bin",
        )
        assert set(found) == {"Manifest.json", model, weights}
        paths = [Path(exporters.__file__).parent, Path(torch.__file__).parent, Path.home()]
        private = [str(path) for path in (*paths, Path(__file__).parent, Path.cwd())]
        for text in (*private, socket.gethostname(), ".py", "coremltools", "executorch", "torch=="):
            for name, content in found.items():
                assert text.encode() not in content, f"{text} is in {name}"


def test_a_package_that_is_there_is_replaced_whole(
    packages: dict[str, Path], student: nn.Module, signature: Signature, tmp_path: Path
) -> None:
    path = tmp_path / "model.mlpackage"
    shutil.copytree(packages["int8"], path)
    (path / "left over").touch()
    coreml.export(student, signature, path)
    assert contents(path) == contents(packages["fp32"])
    shutil.rmtree(path)
    path.write_text("a file of that name")
    coreml.export(student, signature, path)
    assert contents(path) == contents(packages["fp32"])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("broken", ["_manifest", "describe_file"])
def test_a_failure_leaves_what_was_there(
    packages: dict[str, Path],
    student: nn.Module,
    signature: Signature,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
) -> None:
    def full(*_: object) -> str:
        raise OSError("no space left on device")

    path = tmp_path / "model.mlpackage"
    shutil.copytree(packages["int8"], path)
    monkeypatch.setattr(coreml_package, broken, full)
    with pytest.raises(OSError, match="no space left"):
        coreml.export(student, signature, path)
    assert contents(path) == contents(packages["int8"])
    assert list(tmp_path.iterdir()) == [path]


def test_a_rename_that_fails_puts_back_what_was_there(
    packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.mlpackage"
    shutil.copytree(packages["int8"], path)
    spec, weights = read_model(packages["fp32"])
    original = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("no")
        return original(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="no"):
        write_package(path, spec, (weights / "weight.bin").read_bytes())
    assert contents(path) == contents(packages["int8"])
    assert list(tmp_path.iterdir()) == [path]


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
    assert metadata["lipstill.latency_ms"] == "17"
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
    assert facts["torch"] == torch.__version__
    assert facts["version"][0].isdigit()


# ----------------------------------------------------------------------------- what is not possible


def test_module_with_other_outputs_than_the_signature(signature: Signature, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="driven control \\(3\\)"):
        coreml.export(First(5), signature, tmp_path / "model.mlpackage")
    assert list(tmp_path.iterdir()) == []


def test_module_that_cannot_be_converted(
    signature: Signature, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportFailed, match="tiny cannot be converted to Core ML") as error:
        coreml.export(Moody(), signature, tmp_path / "model.mlpackage")
    assert "\n" not in str(error.value), "one paragraph"
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_without_weights_and_without_dropout(signature: Signature, tmp_path: Path) -> None:
    module = First(3).train()
    file = coreml.export(module, signature, tmp_path / "model.mlpackage")
    assert set(contents(file.path)) == {"Manifest.json", "Data/com.apple.CoreML/model.mlmodel"}
    ones = np.ones((1, 1, 64), np.float32)
    assert coreml.open_runtime(file.path).run(ones).tolist() == [[0.5, 0.5, 0.5]]


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


MODEL, WEIGHTS = (
    f"Data/com.apple.CoreML/{name}" for name in ("model.mlmodel", "weights/weight.bin")
)


def shortened(part: str, length: int) -> Callable[[Path], None]:
    def damage(package: Path) -> None:
        (package / part).write_bytes((package / part).read_bytes()[:length])

    return damage


def one_bit(part: str) -> Callable[[Path], None]:
    def damage(package: Path) -> None:
        content = bytearray((package / part).read_bytes())
        content[len(content) // 2] ^= 1
        (package / part).write_bytes(content)

    return damage


def other_manifest(content: str) -> Callable[[Path], object]:
    return lambda package: (package / "Manifest.json").write_text(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "half a model": shortened(MODEL, 2000),
    "an empty model": shortened(MODEL, 0),
    "no model": lambda package: (package / MODEL).unlink(),
    "a bit of the model": one_bit(MODEL),
    "half of the weights": shortened(WEIGHTS, 200),
    "no weights": lambda package: (package / WEIGHTS).unlink(),
    "no folder of weights": lambda package: shutil.rmtree((package / WEIGHTS).parent),
    "no manifest": lambda package: (package / "Manifest.json").unlink(),
    "half a manifest": shortened("Manifest.json", 300),
    "a manifest of other kind": other_manifest("[]"),
    "a manifest of nothing": other_manifest("{}"),
    "an empty folder": lambda package: [shutil.rmtree(package), package.mkdir()],
    "a plain file": lambda package: [shutil.rmtree(package), package.touch()],
    "nothing": lambda package: shutil.rmtree(package),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_packages(
    packages: dict[str, Path],
    tmp_path: Path,
    damage: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "damaged.mlpackage"
    shutil.copytree(packages["fp32"], path)
    coreml.open_runtime(path)
    DAMAGES[damage](path)
    with pytest.raises(ModelFileError, match=r"damaged\.mlpackage") as error:
        coreml.open_runtime(path)
    assert "\n" not in str(error.value), "one paragraph"
    assert error.value.exit_code == 3
    assert capfd.readouterr() == ("", "")


def test_other_weights_are_for_golden_windows_to_find(
    packages: dict[str, Path], tmp_path: Path, speech: np.ndarray
) -> None:
    path = shutil.copytree(packages["fp32"], tmp_path / "other.mlpackage")
    content = (path / WEIGHTS).read_bytes()
    weight = TinyStudent().head.weight.detach().numpy().ravel()[0]
    (path / WEIGHTS).write_bytes(content.replace(weight.tobytes(), (2 * weight).tobytes()))
    changed, whole = (coreml.open_runtime(p).run(speech) for p in (path, packages["fp32"]))
    assert np.abs(changed - whole).max() > 1e-3


@pytest.mark.parametrize("damage", ["half of the weights", "no weights", "half a model", "nothing"])
def test_structure_of_damaged_packages(
    packages: dict[str, Path], tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "damaged.mlpackage"
    shutil.copytree(packages["fp32"], path)
    DAMAGES[damage](path)
    with pytest.raises(ModelFileError, match=r"damaged\.mlpackage"):
        coreml.structure(path)


def rewritten(package: Path, path: Path, change: Callable[[Any], None]) -> Path:
    spec, weights = read_model(package)
    change(spec)
    write_package(path, spec, (weights / "weight.bin").read_bytes())
    return path


def test_core_ml_of_other_origin(packages: dict[str, Path], tmp_path: Path) -> None:
    path = rewritten(
        packages["fp32"],
        tmp_path / "foreign.mlpackage",
        lambda spec: spec.description.metadata.userDefined.clear(),
    )
    with pytest.raises(ModelFileError, match="none that lipstill wrote"):
        coreml.open_runtime(path)


def test_signature_that_the_program_contradicts(
    packages: dict[str, Path], signature: Signature, tmp_path: Path
) -> None:
    other = replace(signature, window=128, past=112)

    def change(spec: Any) -> None:
        spec.description.metadata.userDefined["lipstill.signature"] = other.to_json()

    path = rewritten(packages["fp32"], tmp_path / "changed.mlpackage", change)
    with pytest.raises(ModelFileError, match="contradicts its own signature"):
        coreml.open_runtime(path)


# ------------------------------------------------------------------------------------ in Core ML

NAMES = [
    "Core ML, CPU only",
    "Core ML, CPU and GPU",
    "Core ML, CPU and Neural Engine",
    "Core ML, all units",
]


def on_core_ml(package: Path) -> dict[str, Runtime | str]:
    """The further runtimes without the first, which runs everywhere."""
    first, *others = coreml.further_runtimes(package).items()
    assert first[0] == coreml.FLUSHED
    assert [name for name, _ in others] == NAMES
    return dict(others)


def test_a_device_that_flushes_is_a_runtime_of_its_own(
    packages: dict[str, Path], speech: np.ndarray
) -> None:
    flushed = coreml.further_runtimes(packages["fp16"])[coreml.FLUSHED]
    assert not isinstance(flushed, str)
    assert flushed.describe()["runtime"] == coreml.FLUSHED
    program = read_program(packages["fp16"], flush_subnormals=True)
    np.testing.assert_array_equal(flushed.run(speech), evaluate(program, speech))


@pytest.mark.skipif(platform.system() == "Darwin", reason="Core ML is here")
def test_elsewhere_core_ml_is_a_reason(packages: dict[str, Path]) -> None:
    found = on_core_ml(packages["fp32"])
    assert set(found.values()) == {f"Core ML runs on macOS only; this is {platform.system()}"}


class Framework:
    """Core ML's part: what MLModel gives where there is one. It evaluates what it is given."""

    opened: list[str] = []  # noqa: RUF012

    def __init__(self, path: str, compute_units: Any) -> None:
        self.opened.append(compute_units.name)
        self.program = read_program(Path(path))
        self.__proxy__ = None if compute_units.name == "CPU_AND_GPU" else object()

    def predict(self, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = self.program.outputs
        found = evaluate_to(self.program, data["audio"], names)
        return {
            name: values[0].astype(np.float16)
            if self.program.values[name].dtype == "fp16"
            else values[0]
            for name, values in found.items()
        }


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mac whose Core ML refuses the GPU."""
    with quiet():
        import coremltools
    machine = SimpleNamespace(
        system=lambda: "Darwin",
        mac_ver=lambda: ("14.5", ("", "", ""), "arm64"),
        machine=lambda: "arm64",
    )
    monkeypatch.setattr(coreml_device, "platform", machine)
    monkeypatch.setattr(coremltools.models, "MLModel", Framework)
    Framework.opened.clear()


@pytest.mark.usefixtures("mac")
@pytest.mark.parametrize("precision", coreml.PRECISIONS)
def test_on_a_mac_core_ml_is_asked_what_the_evaluator_is(
    packages: dict[str, Path], speech: np.ndarray, precision: str
) -> None:
    """The framework is a stand-in: this tests what it is asked, not what it answers."""
    found = on_core_ml(packages[precision])
    assert Framework.opened == ["CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL"]
    refused = found["Core ML, CPU and GPU"]
    assert isinstance(refused, str)
    assert refused.startswith("Core ML cannot load")
    runtime, evaluator = found["Core ML, all units"], coreml.open_runtime(packages[precision])
    assert not isinstance(runtime, str)
    np.testing.assert_allclose(runtime.run(speech), evaluator.run(speech), atol=5e-3)
    codes, expected = runtime.codes(speech[:1]), evaluator.codes(speech[:1])
    assert (codes is None) == (expected is None) == (precision != "int8")
    if codes is not None:
        assert codes.dtype == np.int8
        assert np.array_equal(codes, expected)
    tensors, wanted = runtime.tensors(speech[:1]), evaluator.tensors(speech[:1])
    assert list(tensors) == list(wanted)
    for name, values in tensors.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, wanted[name])
    facts = runtime.describe()
    assert facts["runtime"] == "Core ML, all units"
    assert facts["version"] == "macOS 14.5"


@pytest.mark.usefixtures("mac")
def test_a_mac_that_is_too_old(packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreml_device.platform, "mac_ver", lambda: ("13.6.1", ("",) * 3, "arm64"))
    found = on_core_ml(packages["fp32"])
    assert set(found.values()) == {"the package needs macOS 14; this is macOS 13.6.1"}
