"""Pickles with no architecture beside them: what `torch.save` and old checkpoints are.

Only tensors are ever read out of one: whatever else it asks for could run any code.
"""

import zipfile
from pathlib import Path, PurePosixPath

from compress.assets import resolve
from compress.errors import TeacherError
from compress.teachers import Description, Found, Opening, Teacher
from compress.teachers.formats import reference
from compress.teachers.networks.weights import DamagedPickle, first_few, read_pickle
from compress.teachers.placed import CPU

_ENDINGS = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}
# Entries of archives of programs, TorchScript and .pt2.
_PROGRAMS = {"code", "archive_format", "archive_version", "models"}


def find(name: str, base: Path) -> Found | None:
    """A pickle, or a folder that has one, unless a config says what its weights are of."""
    if reference.find(name, base):
        return None
    path = resolve(name, base)
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    pickles = [file for file in files if file.is_file() and _is_pickle(file)]
    return Found(pickles[0], tuple(files)) if pickles else None


def open_checkpoint(path: Path, opening: Opening) -> Teacher:
    """Never a teacher: weights alone say nothing of what they are weights of."""
    state = read_pickle(path)
    raise TeacherError(
        f"{path} is a pickle with {len(state)} weights ({first_few([*state], 3)}) and no word on "
        f"their architecture. Expected a config.json beside a model{path.suffix} for the reference "
        f"teacher, as docs/teachers.md shows it, or a Python teacher that builds the network and "
        f"loads these: MODULE:FUNCTION."
    )


def devices() -> tuple[str, ...]:
    """It runs nowhere."""
    return (CPU,)


def describe(path: Path) -> Description:
    """What is in it by weights-only rules, or why these refuse it.

    Raises `TeacherError` for one that cannot be read at all.
    """
    facts, parameters = {}, None
    try:
        state = read_pickle(path)
        parameters = sum(value.numel() for value in state.values())
        facts["holds"] = f"{len(state)} tensors, {first_few([*state], 3)}"
    except DamagedPickle:
        raise
    except TeacherError as error:
        facts["refused"] = str(error)
    return Description(
        "a pickle", parameters, trust=False, interface=False, facts=facts, complete=False
    )


def _is_pickle(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            return path.suffix.lower() in _ENDINGS or stream.read(1) == b"\x80"
    # What torch.save writes. TorchScript has pickles too, with code, and .pt2 has others deeper.
    with zipfile.ZipFile(path) as archive:
        entries = [PurePosixPath(name).parts for name in archive.namelist()]
    second = {parts[1] for parts in entries if len(parts) > 1}
    return ("data.pkl",) in {parts[1:] for parts in entries} and not second & _PROGRAMS
