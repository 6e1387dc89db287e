"""Finding a teacher checkpoint, keying it, and opening it with the module that knows its format."""

import importlib
import pkgutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from compress import teachers
from compress.assets import resolve
from compress.errors import TeacherError
from compress.store import content_key, file_hash
from compress.teachers import Teacher

_PICKLE_ENDINGS = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}


@dataclass(frozen=True)
class TeacherFile:
    """A checkpoint: what the recipe calls it, where it lies, and the hash and size of its files."""

    name: str
    path: Path
    hash: str
    bytes: int


def find_teacher(checkpoint: str, base: Path) -> TeacherFile:
    """The checkpoint that a recipe names, relative to `base`, hashed but not opened.

    Raises `TeacherError` when there is nothing, an empty folder, or a file that cannot be read.
    """
    path = resolve(checkpoint, base)
    files = _weights_and_config(path) or _files(path)
    if not files:
        found = "an empty folder is" if path.is_dir() else "nothing is"
        raise TeacherError(
            f"Teacher checkpoint {checkpoint}: {found} at {path}. Expected a checkpoint file, or a "
            f"folder with model.safetensors and config.json; look at teacher.checkpoint in the "
            f"recipe."
        )
    folder = path if path.is_dir() else path.parent
    try:
        hashes = {file.relative_to(folder).as_posix(): file_hash(file) for file in files}
        size = sum(file.stat().st_size for file in files)
    except OSError as error:
        raise TeacherError(
            f"Teacher checkpoint {checkpoint}: {error.filename} cannot be read ({error.strerror})."
        ) from error
    return TeacherFile(checkpoint, path, content_key(files=hashes), size)


def open_teacher(file: TeacherFile, *, trust: bool) -> Teacher:
    """The teacher in a checkpoint, ready to animate.

    `trust` allows formats that can run code. Raises `TeacherError` for a file that no format knows,
    that is damaged, or that could run code and is not trusted.
    """
    for found in pkgutil.iter_modules(teachers.__path__):
        module = importlib.import_module(f"compress.teachers.{found.name}")
        opener = getattr(module, "open_checkpoint", None)
        if opener is not None:
            teacher: Teacher | None = opener(file.path, trust)
            if teacher is not None:
                return teacher
    pickles = [path for path in _files(file.path) if _is_pickle(path)]
    if pickles:
        raise TeacherError(
            f"Teacher checkpoint {pickles[0]} is a pickle: loading it could run any code that it "
            f"carries, so it was not opened. Save the weights as safetensors "
            f"(safetensors.torch.save_file) with a config.json beside them."
        )
    raise TeacherError(
        f"Teacher checkpoint {file.path} is of no format that lipstill reads. Expected a folder or "
        f"a .safetensors file with a config.json beside it (docs/teachers.md shows one)."
    )


def _weights_and_config(path: Path) -> list[Path]:
    """The two files of the usual checkpoint; none where either is missing. What lies beside them, a
    card or a log, is not the teacher, and editing it must not cost a relabelling.
    """
    weights = path / "model.safetensors" if path.is_dir() else path
    found = [weights, weights.with_name("config.json")]
    return found if all(file.is_file() for file in found) else []


def _files(path: Path) -> list[Path]:
    """All files of a checkpoint: itself, or all below a folder; none where nothing is."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []


def _is_pickle(path: Path) -> bool:
    if zipfile.is_zipfile(path):  # what torch.save writes
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    with path.open("rb") as stream:
        return path.suffix in _PICKLE_ENDINGS or stream.read(1) == b"\x80"
