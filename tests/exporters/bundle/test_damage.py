"""A bundle's sums, and that no damage to a bundle goes unnoticed."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from exporters.bundle.folder import check_bundle, seal_bundle
from exporters.errors import ModelFileError
from exporters.proof.golden import make_golden
from exporters.signature import Signature
from tests.exporters.bundles import TARGETS, model_of, parts

pytestmark = pytest.mark.slow  # converters take seconds to begin


def refused(folder: Path, *said: str, **options: Any) -> bool:
    with pytest.raises(ModelFileError) as error:
        check_bundle(folder, **options)
    text = str(error.value)
    assert "\n\n" not in text, "one paragraph"
    assert [word for word in said if word not in text] == [], text
    return True


# -------------------------------------------------------------------------------------------- sums


def test_sums_are_those_of_sha256sum(own_bundle: Path) -> None:
    # The tool itself reads ours, and ours reads what the tool writes.
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(command, cwd=own_bundle, check=True)
    names = [
        line.split("  ", 1)[1] for line in (own_bundle / "SHA256SUMS").read_text().splitlines()
    ]
    files = [
        path.relative_to(own_bundle).as_posix() for path in own_bundle.rglob("*") if path.is_file()
    ]
    assert names == sorted(set(files) - {"SHA256SUMS"})
    written = subprocess.run(
        ["sha256sum", "--binary", *names], cwd=own_bundle, check=True, capture_output=True
    )
    assert b" *" in written.stdout
    (own_bundle / "SHA256SUMS").write_bytes(written.stdout)
    assert check_bundle(own_bundle, ["onnx"])[0].detail == f"{len(names)} files as they are listed"


def test_stamps_and_hidden_files_are_no_part_of_it(own_bundle: Path) -> None:
    before = (own_bundle / "SHA256SUMS").read_bytes()
    (own_bundle / "stage.json").write_text("{}")
    (own_bundle / ".DS_Store").write_text("a desktop was here")
    (own_bundle / ".cache").mkdir()
    (own_bundle / ".cache" / "model.onnx").write_text("none of ours")
    (own_bundle / ".model.onnx").write_text("half copied")
    check_bundle(own_bundle, ["onnx"])
    seal_bundle(own_bundle)
    assert (own_bundle / "SHA256SUMS").read_bytes() == before


def test_without_sums_nothing_is_proved(own_bundle: Path) -> None:
    (own_bundle / "SHA256SUMS").unlink()
    assert refused(own_bundle, "SHA256SUMS is missing")
    assert refused(own_bundle / "nowhere", "SHA256SUMS is missing")
    (own_bundle / "SHA256SUMS").mkdir()
    assert refused(own_bundle, "SHA256SUMS cannot be read")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "some words",
        "0" * 63 + "  model.onnx",
        "0" * 64 + " model.onnx",
        "0" * 64 + "  /etc/passwd",
        "0" * 64 + "  ../model.onnx",
        "0" * 64 + "  a/../model.onnx",
        "0" * 64 + "  ./model.onnx",
        "0" * 64 + "  a\\b",
        "0" * 64 + "  README.md",  # a second time
        "\0",
    ],
)
def test_sums_that_are_damaged(own_bundle: Path, line: str) -> None:
    sums = own_bundle / "SHA256SUMS"
    count = len(sums.read_text().splitlines())
    sums.write_text(sums.read_text() + line + "\n")
    assert refused(own_bundle, f"SHA256SUMS is damaged in line {count + 1}")
    sums.write_bytes(b"\xff\xfe")
    assert refused(own_bundle, "SHA256SUMS cannot be read")
    sums.write_text("")
    assert refused(own_bundle, "lists no file")


# ------------------------------------------------------------------------------ damage to one file


@pytest.mark.parametrize("target", TARGETS)
def test_one_byte(own_bundle: Path, target: str) -> None:
    found = 0
    for path in parts(model_of(own_bundle, target)):
        content = path.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            name = path.relative_to(own_bundle).as_posix()
            assert refused(own_bundle, f"{name} has the SHA-256 ", ", expected ")
            found += 1
        path.write_bytes(content)
    assert found >= 3


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_that_is_missing(own_bundle: Path, target: str) -> None:
    model = model_of(own_bundle, target)
    first = parts(model)[0]
    name, content = first.relative_to(own_bundle).as_posix(), first.read_bytes()
    first.unlink()
    assert refused(own_bundle, f"{name} is missing")
    first.symlink_to("nowhere")
    assert refused(own_bundle, f"{name} is missing")
    first.unlink()
    first.mkdir()
    assert refused(own_bundle, f"{name} cannot be read: Is a directory")
    first.rmdir()
    first.write_bytes(content)
    if model.is_dir():
        shutil.rmtree(model)
        model.write_text("a file now")
        assert refused(
            own_bundle, f"{name} cannot be read: Not a directory", f"{model.name} is not listed"
        )


def test_a_file_that_may_not_be_read(own_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything, so the refusal is played.
    original = Path.open

    def refusing(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "golden.npz":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refusing)
    assert refused(own_bundle, "golden.npz cannot be read: Permission denied")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("content", [b"", b"no model" * 100])
def test_a_file_that_is_no_model_though_its_sum_is_right(
    own_bundle: Path, target: str, content: bytes
) -> None:
    for path in parts(model_of(own_bundle, target)):
        path.write_bytes(content)
    seal_bundle(own_bundle)
    assert refused(own_bundle, f"{own_bundle}")


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_of_the_other_form(own_bundle: Path, target: str) -> None:
    # A folder where a file belongs, or a file where a folder does.
    model = model_of(own_bundle, target)
    if model.is_dir():
        shutil.rmtree(model)
        model.write_bytes(b"no model")
    else:
        model.unlink()
        model.mkdir()
        (model / "model").write_bytes(b"no model")
    seal_bundle(own_bundle)
    assert refused(own_bundle, model.name)


# --------------------------------------------------------------- files that do not belong together


def test_all_faults_are_named_together(own_bundle: Path) -> None:
    (own_bundle / "golden.npz").unlink()
    (own_bundle / "signature.json").write_text("{}")
    (own_bundle / "more").mkdir()
    (own_bundle / "more" / "weights.bin").write_text("whose?")
    assert refused(
        own_bundle,
        "3 faults",
        "golden.npz is missing",
        "signature.json has the SHA-256 ",
        "more/weights.bin is not listed",
    )


def test_models_that_nobody_knows_and_none_at_all(own_bundle: Path) -> None:
    (own_bundle / "model.pt").write_text("a pickle")
    seal_bundle(own_bundle)
    assert refused(own_bundle, "holds model.pt, which no target here knows", ".onnx")
    (own_bundle / "model.pt").unlink()
    for name in TARGETS:
        model = model_of(own_bundle, name)
        shutil.rmtree(model) if model.is_dir() else model.unlink()
        seal_bundle(own_bundle)
        assert refused(
            own_bundle, f"no file for {name}" if name != TARGETS[-1] else "", targets=[name]
        )
    assert refused(own_bundle, "holds no model file; expected one that ends in ", ".onnx")


def test_signatures_that_contradict_each_other(own_bundle: Path) -> None:
    beside = Signature.read(own_bundle / "signature.json")
    replace(beside, past=16, future=48, teacher="another").write(own_bundle / "signature.json")
    seal_bundle(own_bundle)
    assert refused(
        own_bundle,
        "model.onnx carries another",
        "past is 48 in the file and 16 beside it",
        "teacher is ",
        targets=["onnx"],
    )
    for name in TARGETS:
        assert refused(own_bundle, model_of(own_bundle, name).name, targets=[name])
    (own_bundle / "signature.json").write_text("{")
    seal_bundle(own_bundle)
    assert refused(own_bundle, "signature.json does not hold a signature")
    (own_bundle / "signature.json").unlink()
    seal_bundle(own_bundle)
    assert refused(own_bundle, "signature.json cannot be read")


def test_golden_windows_that_are_gone_or_of_another_file(own_bundle: Path) -> None:
    (own_bundle / "golden.npz").write_bytes(b"no archive")
    seal_bundle(own_bundle)
    assert refused(own_bundle, "golden.npz cannot be read as golden windows")
    signed = replace(Signature.read(own_bundle / "signature.json"), window=32, past=16, future=16)
    made = make_golden(
        nn.Sequential(nn.Conv1d(1, 3, 32), nn.Flatten()),
        signed,
        np.zeros((1, 1, 32), np.float32),
        max_abs=1.0,
    )
    (own_bundle / "golden.npz").write_bytes(made.to_bytes())
    seal_bundle(own_bundle)
    assert refused(own_bundle, "32 samples and 3 controls, expected 64 and 3")
