"""Core ML packages on disk: bytes, what a failure leaves, damage, and packages that are not ours."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import exporters
from exporters.errors import ExportFailed, ModelFileError
from exporters.files import describe_file
from exporters.signature import Signature
from exporters.targets.coreml import package as coreml_package
from exporters.targets.coreml import target as coreml
from exporters.targets.coreml.package import read_model, write_package
from tests.exporters.conftest import TinyStudent

pytestmark = pytest.mark.slow  # converters take seconds to begin

MODEL, WEIGHTS = (
    f"Data/com.apple.CoreML/{name}" for name in ("model.mlmodel", "weights/weight.bin")
)


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


def contents(package: Path) -> dict[str, bytes]:
    files = [path for path in sorted(package.rglob("*")) if path.is_file()]
    return {path.relative_to(package).as_posix(): path.read_bytes() for path in files}


# ------------------------------------------------------------------------------------------- bytes


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
from exporters.targets.coreml import target as coreml
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


def test_without_weights_and_without_dropout(signature: Signature, tmp_path: Path) -> None:
    module = First(3).train()
    file = coreml.export(module, signature, tmp_path / "model.mlpackage")
    assert set(contents(file.path)) == {"Manifest.json", "Data/com.apple.CoreML/model.mlmodel"}
    ones = np.ones((1, 1, 64), np.float32)
    assert coreml.open_runtime(file.path).run(ones).tolist() == [[0.5, 0.5, 0.5]]


# ------------------------------------------------------- what was there, and what a failure leaves


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


# ------------------------------------------------------------------------ damage, and other origin


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
