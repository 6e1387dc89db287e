"""Files from strangers, each damaged in one small place: exit 3 and one paragraph, everywhere."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.bundle.sums import visible_files, write_sums
from exporters.targets.onnx.target import SUFFIX

Cli = Callable[..., Any]


@pytest.fixture
def bundle(finished: Path, tmp_path: Path) -> Path:
    """The model files of one student, to damage."""
    return shutil.copytree(finished / "models" / "small-fp32", tmp_path / "bundle")


@pytest.fixture
def wav(workshop: Path) -> Path:
    """A short clip of speech."""
    return next((workshop / "speech" / "train").glob("*.wav"))


def spoil(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes that are there, at their first place."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def reseal(bundle: Path) -> None:
    """As a stranger would who makes such a file: with right sums."""
    write_sums(bundle, [name for name in visible_files(bundle) if name != "stage.json"])


def name_of_a_weight(bundle: Path) -> bytes:
    """The name of the largest initializer."""
    graph = onnx.load(bundle / "model.onnx").graph
    return max(graph.initializer, key=lambda tensor: len(tensor.raw_data)).name.encode()


def all_refused(cli: Cli, bundle: Path, wav: Path, file: str) -> None:
    """Every command that reads a model file refuses it."""
    reseal(bundle)
    model = bundle / file
    out = bundle.parent / "curves.csv"
    assert cli("inspect", model).failed(3, file)
    assert cli("animate", model, wav, "--out", out).failed(3, file)
    assert cli("verify", bundle).failed(3, file)
    assert not out.exists()


def test_one_byte_in_the_name_of_a_weight(cli: Cli, bundle: Path, wav: Path) -> None:
    """ONNX Runtime quotes the name in its refusal, which then is no text."""
    name = name_of_a_weight(bundle)
    spoil(bundle / "model.onnx", name, b"\xff" + name[1:])
    all_refused(cli, bundle, wav, "model.onnx")


@pytest.mark.parametrize("key", [b"lipstill.student", b"lipstill.signature"])
def test_metadata_that_is_no_text(cli: Cli, bundle: Path, wav: Path, key: bytes) -> None:
    spoil(bundle / "model.onnx", key, b"\xff" + key[1:])
    all_refused(cli, bundle, wav, "model.onnx")


def test_the_name_of_an_input_that_is_no_text(cli: Cli, bundle: Path, wav: Path) -> None:
    path = bundle / "model.onnx"
    path.write_bytes(path.read_bytes().replace(b"\x05audio", b"\x05\xffudio"))
    all_refused(cli, bundle, wav, "model.onnx")


def test_a_manifest_of_brackets(cli: Cli, bundle: Path, wav: Path) -> None:
    package = bundle / "model.mlpackage"
    package.mkdir()
    (package / "Manifest.json").write_text("[" * 100_000)
    (bundle / f"model{SUFFIX}").unlink()
    all_refused(cli, bundle, wav, "model.mlpackage")


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", '{"itemInfoEntries": 7, "rootModelIdentifier": []}', '{"itemInfoEntries": {}}'],
)
def test_a_manifest_of_other_things(cli: Cli, bundle: Path, wav: Path, text: str) -> None:
    (bundle / "model.mlpackage").mkdir()
    (bundle / "model.mlpackage" / "Manifest.json").write_text(text)
    (bundle / f"model{SUFFIX}").unlink()
    all_refused(cli, bundle, wav, "model.mlpackage")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("parameters", "many"),
        ("training_steps", None),
        ("controls", 7),
        ("architecture", ["conv_fc"]),
        ("architecture", "facts"),
        ("architecture", "../conv_fc"),
        ("config", []),
        ("quantization", {"layers": 1}),
        ("step", {}),
        ("scale", "1"),
    ],
)
def test_a_student_of_other_types(
    cli: Cli, finished: Path, tmp_path: Path, key: str, value: object
) -> None:
    folder = shutil.copytree(finished / "students" / "small" / "distilled", tmp_path / "student")
    fields = json.loads((folder / "student.json").read_text())
    assert key in fields
    (folder / "student.json").write_text(json.dumps(fields | {key: value}))
    assert cli("inspect", folder).failed(3, "student")


@pytest.mark.parametrize("text", ["[" * 100_000, "\udcff", "7", '{"step": []}'])
def test_a_student_that_is_no_student(
    cli: Cli, finished: Path, tmp_path: Path, own: Path, text: str
) -> None:
    folder = shutil.copytree(finished / "students" / "small" / "distilled", tmp_path / "student")
    (folder / "student.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert cli("inspect", folder).failed(3, "student")
    start = f"students=[{{name: small, start: {folder}}}]"
    assert cli("recipe", "check", own / "recipe.yaml", "--set", start).failed(3, "student")


@pytest.mark.parametrize("text", ["[" * 100_000, "\udcff", "7"])
def test_a_run_that_is_no_run(cli: Cli, tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert cli("inspect", tmp_path).failed(3, "run.json")


@pytest.mark.parametrize("text", ["[" * 100_000, "\udcff", "7"])
def test_a_teacher_whose_config_is_none(cli: Cli, own: Path, text: str) -> None:
    config = own / "teacher" / "config.json"
    config.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert cli("inspect", own / "teacher").failed(3, "teacher")


def foreign_onnx(path: Path) -> None:
    """A network of somebody else's."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["audio", "weight"], ["rig"])],
        "graph",
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("rig", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.ones((64, 3), np.float32), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


@pytest.mark.parametrize("name", [b"audio", b"MatMul"])
def test_a_foreign_network_whose_names_are_no_text(cli: Cli, tmp_path: Path, name: bytes) -> None:
    foreign_onnx(tmp_path / "foreign.onnx")
    assert cli("inspect", tmp_path / "foreign.onnx").code == 0
    content = (tmp_path / "foreign.onnx").read_bytes()
    (tmp_path / "foreign.onnx").write_bytes(content.replace(name, b"\xff" + name[1:]))
    assert cli("inspect", tmp_path / "foreign.onnx").failed(3, "foreign.onnx")


@pytest.mark.parametrize("ending", ["pt2", "pt", "ts"])
@pytest.mark.parametrize("damage", ["method", "crc", "encrypted", "directory"])
def test_archives_that_are_damaged(cli: Cli, tmp_path: Path, ending: str, damage: str) -> None:
    path = tmp_path / f"teacher.{ending}"
    inner = {
        "pt2": ("p/archive_format", "p/models/model.json"),
        "pt": ("p/data.pkl", "p/version"),
        "ts": ("p/data.pkl", "p/constants.pkl", "p/code/__torch__.py"),
    }[ending]
    with zipfile.ZipFile(path, "w") as archive:
        for name in inner:
            archive.writestr(name, b"something of a few bytes")
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02")
    while central >= 0:
        local = int.from_bytes(content[central + 42 : central + 46], "little")
        if damage == "method":
            content[central + 10] = content[local + 8] = 99
        elif damage == "crc":
            content[central + 16] ^= 0xFF
        elif damage == "encrypted":
            content[central + 8] |= 1
            content[local + 6] |= 1
        else:
            content[central + 46] = 0xFF
        central = content.find(b"PK\x01\x02", central + 1)
    path.write_bytes(content)
    assert cli("inspect", path).failed(3, path.name)


@pytest.mark.parametrize(("what", "ir", "opset"), [("IR version 99", 99, 17), ("opset 99", 8, 99)])
def test_a_network_that_is_too_new(cli: Cli, own: Path, what: str, ir: int, opset: int) -> None:
    """Both versions, and what to do: whole, wherever such a file is named."""
    foreign_onnx(own / "new.onnx")
    model = onnx.load(own / "new.onnx")
    model.ir_version = ir
    model.opset_import[0].version = opset
    onnx.save(model, own / "new.onnx")
    interface = "{rate_hz: 30, window: {samples: 64, moment: 32}}"
    text = (own / "recipe.yaml").read_text()
    (own / "recipe.yaml").write_text(
        text.replace("{checkpoint: teacher}", f"{{checkpoint: new.onnx, interface: {interface}}}")
    )
    kind = what.rpartition(" ")[0]
    said = (
        f"new.onnx has ONNX {what}, and ONNX Runtime {onnxruntime.__version__} reads {kind} ",
        "and older. Update onnxruntime, or export the file again for ",
        "or an older one.",
    )
    assert cli("inspect", own / "new.onnx").failed(3, *said)
    assert cli("teacher", "check", own / "recipe.yaml").failed(3, *said)
    assert "SHA256SUMS" not in cli("inspect", own / "new.onnx").err


def test_answers_are_given_where_what_goes_beside_them_cannot_be_written(
    cli: Cli, bundle: Path, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    place = tmp_path / "file" / "beside"
    ended = cli("verify", bundle, "--junit", place)
    assert ended.failed(4, f"Could not write {place}: ", "with --junit.")
    assert "golden windows" in ended.out
    report = finished / "report" / "report.json"
    ended = cli("compare", report, report, "--out", place)
    assert ended.failed(4, f"Could not write {place}: ", "with --out.")
    assert ended.out.strip()
