"""A student on disk: ``weights.safetensors`` and ``student.json``, never a pickled module.

An int8 student's quantized layers are int8 codes there; their scales are in ``student.json``.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.errors import ModelError
from compress.rig.units import Units, units_of
from compress.store import atomic_write
from compress.students import ARCHITECTURES
from compress.students.integers import Quantization, from_codes, to_codes
from compress.texts import read_text
from exporters import records
from exporters.reading import reading

if TYPE_CHECKING:
    from compress.students.contract import Student

FORMAT, VERSION = "lipstill-student", 2
# Left out where they say nothing.
RARE = ("rests", "units")


@records.strict
@dataclass(frozen=True)
class StudentCard:
    """What ``student.json`` says beside the shape: what comes out, and what it was made from."""

    name: str
    architecture: str
    step: str
    controls: tuple[str, ...]
    driven: tuple[str, ...]
    constants: dict[str, float]
    parameters: int
    labels_key: str
    training_steps: int
    # Who guided it in stage 2; None for a student of stage 1.
    guide: str | None = None
    # Of an int8 student.
    quantization: Quantization | None = None
    # Of the rig: the power of ten nearest to how far its controls move, rest values far from 0, and
    # the units of controls that have another one; see `compress.rig.units`.
    scale: float = 1.0
    rests: dict[str, float] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)

    @property
    def own_units(self) -> Units:
        """In what units the driven controls were learned."""
        return units_of(self.driven, self.scale, self.rests, self.units)


def save_student(folder: Path, student: "Student", card: StudentCard) -> None:
    """Write a student whose batch norm is folded. Equal students give equal bytes."""
    from safetensors.torch import save

    weights = {name: value.contiguous() for name, value in student.state_dict().items()}
    for name, scales in card.quantization.weights.items() if card.quantization else ():
        weights[_key(name)] = to_codes(weights[_key(name)], scales)
    atomic_write(folder / "weights.safetensors", save(weights))
    fields = {
        "format": FORMAT,
        "version": VERSION,
        **{name: value for name, value in vars(card).items() if value or name not in RARE},
        "quantization": card.quantization and card.quantization.to_json(),
        "config": student.config.to_json(),
    }
    atomic_write(folder / "student.json", json.dumps(fields, indent=1) + "\n")


def load_student(folder: Path) -> tuple["Student", StudentCard]:
    """The student in a folder, in evaluation mode; of an int8 one its float twin.

    Raises `ModelError` for files that are missing, damaged or do not fit each other.
    """
    from safetensors.torch import load_file

    advice = (
        "Expected student.json and weights.safetensors as lipstill writes them; distil it again."
    )
    with reading(folder, "a student", ModelError, advice):
        fields: dict[str, Any] = json.loads(read_text(folder / "student.json"))
        found = (fields.pop("format"), fields.pop("version"))
        if found != (FORMAT, VERSION):
            raise ModelError(
                f"{folder}/student.json: found {found}, expected {(FORMAT, VERSION)}. Train the "
                f"student again."
            )
        config = fields.pop("config")
        card = records.from_json(StudentCard, json.dumps(fields))
        if fault := ARCHITECTURES.fault(card.architecture):
            raise ModelError(f"{folder} cannot be read as a student. {fault} {advice}")
        student = ARCHITECTURES.load(card.architecture).from_config(config)
        weights = load_file(folder / "weights.safetensors")
        for name, scales in card.quantization.weights.items() if card.quantization else ():
            weights[_key(name)] = from_codes(weights[_key(name)], scales)
        student.load_state_dict(weights)
    return student.eval(), card


def _key(layer: str) -> str:
    return f"steps.{layer}.weight"
