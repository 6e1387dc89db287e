"""The rows of the table: which student, on which speech, with which labels and settings."""

from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import yaml

FILE = Path(__file__).with_name("rows.yaml")


@dataclass(frozen=True)
class Row:
    """One line of ``rows.yaml``.

    `student` is one of base.yaml's, or a reference student (``builtin:NAME``) or the ``teacher``, which are only judged. `labels` says what it
    learns: the teacher's curves, or rule-based ones where alignments are known. `speech` are patterns of clip ids to train
    on, `without` patterns to leave out of them, and of what is left only the first `minutes` are heard, in the order of the
    clips' numbers; `settings` replace the student's training settings. `part` is the table that it stands in.
    """

    id: str
    title: str
    student: str
    guided: bool = False
    labels: Literal["teacher", "rules"] = "teacher"
    speech: tuple[str, ...] = ("*",)
    without: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (7,)
    minutes: float | None = None
    part: str = ""

    def hears(self, clip: str) -> bool:
        """Whether a clip of the training side is in this row's training speech."""
        taken = any(fnmatch(clip, pattern) for pattern in self.speech)
        return taken and not any(fnmatch(clip, pattern) for pattern in self.without)

    @property
    def trained(self) -> bool:
        return not self.student.startswith("builtin:")


def read_rows(path: Path = FILE) -> tuple[Row, ...]:
    """All rows, in the order of the table. Raises `TypeError` for a key that a row does not have."""
    tuples = ("speech", "without", "seeds")
    found = yaml.safe_load(path.read_text("utf-8"))
    return tuple(
        Row(**{key: tuple(value) if key in tuples else value for key, value in row.items()})
        for row in found
    )
