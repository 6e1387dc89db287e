"""TorchScript programs as teachers: what ``torch.jit.save`` writes.

What a program takes is read from the text of its code. To load it could run what it carries: that
asks for trust.
"""

import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.assets import resolve
from compress.errors import TeacherError
from compress.teachers import Description, Found, Opening, Port, Teacher
from compress.teachers.placed import Place, torch_devices
from exporters.reading import reading

# An input that may be left out.
_OPTIONAL = "Optional["


def find(name: str, base: Path) -> Found | None:
    """A zip archive with TorchScript's code, whatever its ending."""
    path = resolve(name, base)
    if not path.is_file() or not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        parts = {name.partition("/")[2] for name in archive.namelist()}
    script = "constants.pkl" in parts and any(part.startswith("code/") for part in parts)
    return Found(path, (path,)) if script else None


def open_checkpoint(path: Path, opening: Opening) -> Teacher:
    """The program with the recipe's interface.

    Raises `TeacherError` where it is not trusted, is damaged, or does not fit the interface.
    """
    from compress.teachers.torch_program import check_trust, parameters_of, running

    reason = "TorchScript: torch.jit.load could run any code that the file carries"
    check_trust(opening.trust, path, reason)
    import torch

    from compress.teachers.program import Program, ProgramTeacher

    arguments = _inputs(path)
    given = opening.interface.inputs if opening.interface else {}
    inputs = tuple(a for a in arguments if not a.dtype.startswith(_OPTIONAL) or a.name in given)
    place = Place(opening.device, opening.precision)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit as a whole
        module = torch.jit.load(path, place.device)  # type: ignore[no-untyped-call]
    if hasattr(module, "training"):  # a frozen one was settled before
        module.eval()

    def call(tensors: Mapping[str, Any]) -> Any:
        return module(*(tensors.get(port.name) for port in arguments))

    program = Program(
        str(path),
        f"{path.name}, a TorchScript program{place.words}",
        parameters_of(module),
        inputs,
        (),
        running(call, inputs, str(path), place),
    )
    return ProgramTeacher(program, opening)


def devices() -> tuple[str, ...]:
    """Those of PyTorch."""
    return torch_devices()


def describe(path: Path) -> Description:
    """What the text of its code says: the inputs, without shapes."""
    return Description(
        kind="a TorchScript program",
        parameters=None,
        trust=True,
        interface=True,
        inputs=_inputs(path),
    )


def _inputs(path: Path) -> tuple[Port, ...]:
    """From the signature of ``forward``, as text. Raises `TeacherError` for one that is not there."""
    from compress.teachers.torch_program import NUMBERS, TENSOR

    advice = "Expected what torch.jit.save writes; it may be truncated: copy it again."
    with reading(path, "TorchScript", TeacherError, advice), zipfile.ZipFile(path) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        module, kind = _root_class(archive.read(f"{folder}/data.pkl"))
        code = archive.read(f"{folder}/code/{module.replace('.', '/')}.py").decode("utf-8")
    body = re.search(
        rf"^class {re.escape(kind)}\(.*?(?=^class |\Z)", code, re.DOTALL | re.MULTILINE
    )
    found = re.search(
        r"^  def forward\((.*?)\) -> ", body[0] if body else "", re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise TeacherError(f"{path} is TorchScript without a forward: expected a whole module.")
    arguments = re.findall(r"(\w+): ([^,\[]+(?:\[[^\]]*\])?)", found[1])[1:]
    return tuple(
        Port(name, TENSOR if kind == "Tensor" else kind, () if kind in NUMBERS else None)
        for name, kind in arguments
    )


def _root_class(data: bytes) -> tuple[str, str]:
    """Module and name of the program's own class, the first that its pickle names; nothing is built."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL" and isinstance(argument, str):
            module, _, name = argument.partition(" ")
            return module, name
    raise ValueError("found no class in data.pkl")
