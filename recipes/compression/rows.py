"""The rows: which reference student, how much of it goes, and how it becomes int8."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from compress.recipe.compression import PruningSettings, QuantizationSettings

FILE = Path(__file__).with_name("rows.yaml")


@dataclass(frozen=True)
class Row:
    """One line of ``rows.yaml``: it is judged after each of its steps.

    `student` is a reference student, ``builtin:`` left out. `pruning` and `quantization` are these sections of a recipe; without the
    first nothing is cut. `ships` is the name under which its int8 student of `ships_step` is packaged.
    """

    id: str
    student: str
    pruning: dict[str, Any] | None = None
    quantization: dict[str, Any] = field(default_factory=dict)
    ships: str | None = None
    ships_step: str = "ptq"

    @property
    def pruning_settings(self) -> PruningSettings | None:
        return None if self.pruning is None else PruningSettings.model_validate(self.pruning)

    @property
    def quantization_settings(self) -> QuantizationSettings:
        lists = {
            key: tuple(v) if isinstance(v, list) else v for key, v in self.quantization.items()
        }
        return QuantizationSettings.model_validate(lists)


def read_rows(path: Path = FILE) -> tuple[Row, ...]:
    """All rows, in the order of the table. Raises `TypeError` for a key that a row does not have."""
    return tuple(Row(**row) for row in yaml.safe_load(path.read_text("utf-8")))
