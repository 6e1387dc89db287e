"""Trained students that a recipe names: found and keyed, not yet loaded."""

import json
from dataclasses import dataclass
from pathlib import Path

from compress.assets import resolve
from compress.errors import ModelError
from compress.store import content_key, file_hash
from compress.texts import read_text
from exporters.reading import reading


@dataclass(frozen=True)
class KnownStudent:
    """A trained student that another one needs: its folder, and the key or hash of what lies there.

    `step` is what it says of itself: distilled, pruned or int8.
    """

    folder: Path
    key: str
    step: str = "distilled"


def find_student(role: str, name: str, base: Path) -> KnownStudent:
    """A student from outside of the run: ``builtin:NAME`` or a folder, relative to `base`.

    `role` says in the message what it is wanted for. Raises `ModelError` when no student lies there.
    """
    folder = resolve(name, base)
    files = [folder / "student.json", folder / "weights.safetensors"]
    if missing := [path.name for path in files if not path.is_file()]:
        raise ModelError(
            f"{role} is {name}, but {folder} has no {' and no '.join(missing)}. "
            f"Expected the folder of a distilled student, such as RUN/students/small/distilled."
        )
    with reading(files[0], "a student", ModelError, f"{role} is {name}: distil it again."):
        step = str(json.loads(read_text(files[0]))["step"])
    return KnownStudent(folder, content_key(**{path.name: file_hash(path) for path in files}), step)
