"""What `lipstill inspect` says of each thing that lipstill reads or writes, and of garbage."""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from compress.commands.inspection import inspect
from compress.errors import InputError
from compress.quantize.calibration import choosing
from compress.students.storing import load_student, save_student


def test_a_teacher(workshop: Path) -> None:
    for path in (workshop / "teacher", workshop / "teacher" / "model.safetensors"):
        facts = inspect(path)
        assert facts["is"] == "a teacher checkpoint"
        assert facts["curves"] == "52 controls at 30 frames a second"


def test_a_teacher_that_ships_is_named_as_recipes_name_it(cli: Callable[..., Any]) -> None:
    facts = json.loads(cli("inspect", "builtin:voice2face-demo", "--json").out)
    assert "checkpoint: builtin:voice2face-demo\n" in facts["recipe"]
    assert "name: voice2face-demo\n" in facts["recipe"]


def test_a_student(finished: Path) -> None:
    facts = inspect(finished / "students" / "small" / "distilled")
    assert facts["is"] == "a student"
    assert (facts["name"], facts["precision"]) == ("small, distilled", "fp32")
    assert facts["window"] == "512 samples (16 ms past, 16 ms future)"
    # First layer, conv1, head1, head2, rig: weights by the steps that each of them makes.
    window = 31 * 512 + 8 * 192 + 7 * 128 + 448 + 216
    dense = 16 * 512 + 4 * 192 + 4 * 128 + 448 + 216
    assert facts["multiply-adds"] == (f"{window:,} a frame in window form, {dense:,} in dense form")
    assert facts["weights"] == "6,188 bytes in fp32, 3,094 in fp16"
    assert facts["training steps"] == "6"


def test_an_int8_student(shrunk: Path, cli: Callable[..., Any]) -> None:
    """Its bytes are those of the file: codes and biases; and four for each scale, in its card."""
    folder = shrunk / "students" / "small" / "int8"
    facts = inspect(folder)
    assert facts["name"] == "small, int8"
    codes = load_student(folder)[1].quantization
    assert codes is not None
    assert facts["precision"] == "int8: first, conv1, head1, head2, rig"
    tensors = load_file(folder / "weights.safetensors").values()
    stored = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    scales = sum(map(len, codes.weights.values()))
    assert facts["weights"].startswith(f"{stored + 4 * scales:,} bytes with their scales; ")
    assert "precision" in cli("inspect", folder).out
    assert inspect(folder.with_name("pruned"))["precision"] == "fp32"


def test_a_student_with_some_layers_in_float(shrunk: Path, tmp_path: Path) -> None:
    student, card = load_student(shrunk / "students" / "small" / "int8")
    codes = card.quantization
    assert codes is not None
    chosen = codes.layers | {"first": "float", "head1": "int8_weights", "rig": "float"}
    partly = choosing(codes, student.config, chosen)
    save_student(tmp_path / "partly", student, replace(card, quantization=partly))
    facts = inspect(tmp_path / "partly")
    assert facts["precision"] == (
        "int8: conv1, head2; int8 weights, computed in float: head1; float: first, rig"
    )


def test_a_model_file(finished: Path) -> None:
    file = finished / "models" / "small-fp32" / "model.onnx"
    facts = inspect(file)
    assert facts["is"] == "a model file, onnx"
    assert facts["student"] == "small, fp32"
    assert facts["bytes"] == f"{file.stat().st_size:,}"
    assert facts["audio"] == "float32 [1, 1, 512] at 16000 Hz"
    assert facts["latency"] == "future 16 ms + hop 16 ms = 32 ms"
    assert facts["rig"] == f"float32 [1, {len(facts['driven'].split(', '))}]"


def test_the_folder_of_model_files(finished: Path) -> None:
    folder = finished / "models" / "small-fp32"
    facts = inspect(folder)
    assert facts["is"].startswith("model files of one student")
    assert facts["bytes"] == f"onnx {(folder / 'model.onnx').stat().st_size:,}"
    one = inspect(folder / "model.onnx")
    assert {k: v for k, v in facts.items() if k not in ("is", "bytes")} == {
        k: v for k, v in one.items() if k not in ("is", "bytes")
    }


def test_a_run(finished: Path, run: Path) -> None:
    facts = inspect(finished)
    assert (facts["is"], facts["students"]) == ("a run", "small")
    assert (facts["clips"], facts["report"]) == ("8 train, 3 held out", "written")
    shutil.rmtree(run / "report")
    assert inspect(run)["report"] == "not written yet"


@pytest.mark.parametrize("text", ["{", "[]", '{"recipe": {}}', '{"speech": 1}'])
def test_a_damaged_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InputError, match=r"run\.json cannot be read as a run \("):
        inspect(tmp_path)


def test_garbage(tmp_path: Path, cli: Callable[..., Any]) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    (tmp_path / "model.onnx").write_bytes(b"dear" * 100)
    assert cli("inspect", tmp_path / "letter.txt").failed(3, "letter.txt")
    assert cli("inspect", tmp_path / "model.onnx").failed(3, "model.onnx")
    assert cli("inspect", tmp_path / "gone").failed(3, "gone does not exist", "a run folder")


def test_a_folder_of_anything_is_not_read_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compress.store.file_hash", None)
    (tmp_path / "large.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="does not know"):
        inspect(tmp_path)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    class Asking:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("it was opened",)

    (tmp_path / "teacher.pt").write_bytes(pickle.dumps(Asking(), 2))
    facts = inspect(tmp_path / "teacher.pt")
    assert facts["is"] == "a pickle"
    assert "asks for" in facts["refused"]


@pytest.mark.parametrize("content", [b"\x80\x04.", b"dear" * 100, b""])
def test_a_pickle_that_cannot_be_read(
    content: bytes, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    """As for any other checkpoint: bad input, whatever its ending."""
    for name in ("teacher.pt", "teacher.pth", "teacher.bin"):
        (tmp_path / name).write_bytes(content)
        assert cli("inspect", tmp_path / name).failed(3, name, "cannot be read as weights")


def test_a_checkpoint_that_is_cut(tmp_path: Path, cli: Callable[..., Any]) -> None:
    torch.save({"weight": torch.ones(300)}, tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    for length in (3, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.pt").write_bytes(content[:length])
        assert cli("inspect", tmp_path / "cut.pt").failed(3, "cut.pt")


def test_facts_for_machines(finished: Path, cli: Callable[..., Any]) -> None:
    assert json.loads(cli("inspect", finished, "--json").out) == inspect(finished)
    assert cli("inspect", finished).out.startswith("is ")
