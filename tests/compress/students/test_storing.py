"""Students on disk."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from compress.errors import ModelError
from compress.recipe.recipe import StudentSettings
from compress.students.conv_fc import ConvFC, build
from compress.students.folding import fold_batch_norm
from compress.students.integers import Quantization, Range
from compress.students.storing import StudentCard, load_student, save_student

CARD = StudentCard(
    name="tiny",
    architecture="conv_fc",
    step="distilled",
    controls=("a", "b", "c"),
    driven=("c", "a"),
    constants={"b": 0.25},
    parameters=1,
    labels_key="key",
    training_steps=12,
)


@pytest.fixture
def student(student_settings: StudentSettings) -> ConvFC:
    torch.manual_seed(1)
    return fold_batch_norm(build(student_settings, 2, (0.0, 1.0)))


@pytest.fixture
def folder(student: ConvFC, tmp_path: Path) -> Path:
    save_student(tmp_path / "student", student, CARD)
    return tmp_path / "student"


def test_a_student_comes_back(student: ConvFC, folder: Path) -> None:
    again, card = load_student(folder)
    assert card == CARD
    assert again.config == student.config
    assert not again.training
    audio = torch.linspace(-1, 1, 3000)[None]
    assert torch.equal(again.animate(audio), student.animate(audio))


def test_equal_students_are_equal_bytes(student: ConvFC, folder: Path, tmp_path: Path) -> None:
    save_student(tmp_path / "again", load_student(folder)[0], CARD)
    for name in ("weights.safetensors", "student.json"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def edit(**changes: Any) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        fields = json.loads((folder / "student.json").read_text())
        config = fields["config"] | changes.pop("config", {})
        (folder / "student.json").write_text(json.dumps(fields | changes | {"config": config}))

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "student.json").unlink(), "FileNotFoundError"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "FileNotFoundError"),
        (lambda folder: (folder / "student.json").write_text("{"), "JSONDecodeError"),
        (lambda folder: (folder / "student.json").write_text("[]"), "student.json"),
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"x" * 9), "SafetensorError"),
        (edit(version=3), r"found \('lipstill-student', 3\), expected"),
        (edit(architecture="storing"), "no architecture of students 'storing'; there is conv_fc"),
        (edit(architecture="nobody"), "no architecture of students 'nobody'"),
        (edit(surprise=1), "surprise"),
        (edit(config={"past": 300}), "leaves 44 samples"),
        (edit(config={"head_channels": [16, 16]}), "size mismatch"),
    ],
)
def test_what_cannot_be_read_is_refused(
    folder: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        load_student(folder)
    assert str(folder) in str(caught.value)


def test_weights_of_another_student_are_refused(
    folder: Path, student_settings: StudentSettings, student: ConvFC
) -> None:
    other = build(student_settings, 2, None)
    assert replace(other.config, batch_norm=False, limits=(0.0, 1.0)) == student.config
    save_file(other.state_dict(), folder / "weights.safetensors")
    with pytest.raises(ModelError, match="Unexpected key"):
        load_student(folder)


def test_an_int8_student_is_stored_as_codes(student: ConvFC, tmp_path: Path) -> None:
    """Its float twin is what the codes stand for, and saving that again gives the same bytes."""
    rows = student.steps.conv1.weight.detach().abs().amax((1, 2))
    scales = tuple(float(row) / 127 for row in rows)
    integers = Quantization(
        layers={"first": "float", "conv1": "int8"},
        tensors={"first": Range(0.05, -128), "conv1": Range(0.1, 3)},
        weights={"conv1": scales},
        made_by={"method": "ptq", "seed": 0},
    )
    card = replace(CARD, step="int8", quantization=integers)
    save_student(tmp_path / "int8", student, card)
    stored = load_file(tmp_path / "int8" / "weights.safetensors")["steps.conv1.weight"]
    assert stored.dtype == torch.int8
    assert stored.abs().amax((1, 2)).tolist() == [127] * 8
    twin, again = load_student(tmp_path / "int8")
    assert again == card
    wanted = torch.tensor(scales)[:, None, None]
    difference = (twin.steps.conv1.weight - student.steps.conv1.weight).abs()
    assert (difference <= wanted / 2 * 1.0001).all()
    assert torch.equal(twin.steps.head1.weight, student.steps.head1.weight)
    save_student(tmp_path / "again", twin, again)
    for name in ("weights.safetensors", "student.json"):
        assert (tmp_path / "int8" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
