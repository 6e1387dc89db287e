"""Finding a teacher checkpoint, keying it, and opening it with the module that knows its format."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.assets import PREFIX, resolve
from compress.errors import MissingError, TeacherError
from compress.store import content_key, file_hash
from compress.teachers import FORMATS, Description, Format, Found, Opening
from compress.teachers.guarded import Guarded
from compress.teachers.networks.weights import TRUNCATED
from compress.teachers.placed import AUTO, CPU
from exporters.files import user_path
from exporters.reading import reading
from exporters.regular import check_regular

if TYPE_CHECKING:
    from compress.recipe.teacher import TeacherSettings


@dataclass(frozen=True)
class TeacherFile:
    """A checkpoint: what the recipe calls it, where it lies, the hash and size of its files, and
    the name of the format's module. The size is None where they do not hold its weights. `files`
    are those that the size is of.
    """

    name: str
    path: Path
    hash: str
    bytes: int | None
    format: str
    files: tuple[Path, ...] = ()


def find_teacher(checkpoint: str, base: Path, depends_on: Sequence[str] = ()) -> TeacherFile:
    """The checkpoint that a recipe names, relative to `base`, hashed but not opened.

    `depends_on` are further files that have a part in what it does. Raises `TeacherError` when
    there is nothing, a file of no known format, or one that cannot be read.
    """
    if checkpoint.startswith(PREFIX):
        resolve(checkpoint, base)  # says which there are
    _existing(checkpoint, resolve(checkpoint, base), must=False)
    for module in _formats():
        if found := _found(module, checkpoint, base):
            more = [_existing(checkpoint, user_path(name, base)) for name in depends_on]
            name = module.__name__.rpartition(".")[2]
            return _hashed(checkpoint, found, more, name)
    path = resolve(checkpoint, base)
    _existing(checkpoint, path)
    if path.is_dir() and not any(path.iterdir()):
        raise TeacherError(f"Teacher checkpoint {checkpoint}: an empty folder is at {path}. {_TRY}")
    raise TeacherError(f"Teacher checkpoint {path} is of no format that lipstill reads. {_TRY}")


_TRY = (
    "Expected a folder or a .safetensors file with a config.json beside it, a program (.onnx, .pt2, "
    "TorchScript), or MODULE:FUNCTION of Python; docs/teachers.md shows one of each."
)


def knows(checkpoint: str, base: Path) -> bool:
    """Whether some format of teachers recognises it. Raises `TeacherError` as `find_teacher` does."""
    _existing(checkpoint, resolve(checkpoint, base), must=False)
    return any(_found(module, checkpoint, base) for module in _formats())


def open_teacher(file: TeacherFile, settings: "TeacherSettings", base: Path) -> Guarded:
    """The teacher in a checkpoint, ready to animate; what it raises later is a `TeacherError` too.

    Raises `TeacherError` for a file that is damaged, that could run code and is not trusted, that
    lacks or does not want what the recipe says of its interface, or that does not open in time, and
    `MissingError` for a device that is not here.
    """
    module = _format(file.format)
    device = device_of(file, settings)
    opening = Opening(
        settings.trust, settings.download, settings.interface, base, device, settings.precision
    )
    return Guarded(
        lambda: module.open_checkpoint(file.path, opening), file.name, settings.time_limit_s
    )


def device_of(file: TeacherFile, settings: "TeacherSettings") -> str:
    """The device of this machine that a recipe's teacher runs on.

    Raises `MissingError` for one that is not here, and where nothing here has the precision.
    """
    if settings.device == CPU:
        return CPU
    here = _format(file.format).devices()
    if settings.device not in (*here, AUTO):
        raise MissingError(
            f"teacher.device is {settings.device}, but what runs {file.name} has only "
            f"{', '.join(here)} on this machine. Choose one of these, or {AUTO}; `lipstill doctor` "
            f"says what there is."
        )
    device = here[0] if settings.device == AUTO else settings.device
    if device == CPU and settings.precision == "fp16":
        raise MissingError(
            "teacher.precision is fp16, which needs a device other than the CPU, and this machine "
            "has none. Choose bf16 or fp32."
        )
    return device


def describe(file: TeacherFile) -> Description:
    """What a checkpoint is, as far as that can be said without running anything in it."""
    with reading(file.path, "a teacher", TeacherError, TRUNCATED):
        return _format(file.format).describe(file.path)


def _found(module: Format, checkpoint: str, base: Path) -> Found | None:
    """What a format finds. Raises `TeacherError` for a file that is damaged on the way to it."""
    with reading(resolve(checkpoint, base), "a teacher", TeacherError, TRUNCATED):
        return module.find(checkpoint, base)


def _formats() -> Iterator[Format]:
    """Each is light to import: what it needs to run is imported when it opens something."""
    for name in FORMATS.names():
        yield _format(name)


def _format(name: str) -> Format:
    """Raises ContractError for half of one: it may be what the checkpoint is for."""
    return FORMATS.load(name)


def _existing(checkpoint: str, path: Path, must: bool = True) -> Path:
    try:
        check_regular(path)
    except OSError as error:
        raise TeacherError(
            f"Teacher checkpoint {checkpoint}: {path} cannot be read ({error.strerror})."
        ) from error
    if must and not path.exists():
        raise TeacherError(
            f"Teacher checkpoint {checkpoint}: nothing is at {path}. {_TRY} Look at "
            f"teacher.checkpoint and teacher.depends_on in the recipe."
        )
    return path


def _hashed(checkpoint: str, found: Found, more: Sequence[Path], name: str) -> TeacherFile:
    folder = found.path if found.path.is_dir() else found.path.parent
    try:
        hashes = {
            Path(os.path.relpath(file, folder)).as_posix(): file_hash(file) for file in found.files
        }
        size = sum(file.stat().st_size for file in [*found.files, *more])
        others = [file_hash(file) for file in more]
    except OSError as error:
        raise TeacherError(
            f"Teacher checkpoint {checkpoint}: {error.filename} cannot be read ({error.strerror})."
        ) from error
    return TeacherFile(
        checkpoint,
        found.path,
        content_key(files=hashes, depends_on=others),
        size if found.weights else None,
        name,
        (*found.files, *more) if found.weights else (),
    )
