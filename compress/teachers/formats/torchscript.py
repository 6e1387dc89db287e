"""TorchScript programs as teachers: what ``torch.jit.save`` writes.

What a program takes is read from the text of its code. To load it could run what it carries: that
asks for trust.
"""

import ast
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.assets import resolve
from compress.errors import TeacherError
from compress.teachers import Description, Found, Opening, Port, Teacher
from compress.teachers.placed import Place, torch_devices
from exporters.reading import reading

# The type of an input for which None may be given.
_OPTIONAL = "Optional["


@dataclass(frozen=True)
class _Argument:
    """An argument of ``forward``; ``default`` is its text in the code, None where it has none."""

    port: Port
    default: str | None

    @property
    def required(self) -> bool:
        return self.default is None and not self.port.dtype.startswith(_OPTIONAL)

    @property
    def in_words(self) -> str:
        return f"{self.port.name}: {self.port.dtype} = {self.default or 'None'}"


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
    from compress.teachers.programs.torch_program import check_trust, parameters_of, running

    reason = "TorchScript: torch.jit.load could run any code that the file carries"
    check_trust(opening.trust, path, reason)
    import torch

    from compress.teachers.programs.program import Program, ProgramTeacher

    arguments = _arguments(path)
    interface = opening.interface
    named = {interface.audio, *interface.inputs} if interface else {None}
    inputs = tuple(
        argument.port
        for i, argument in enumerate(arguments)
        if argument.required or argument.port.name in named or (i == 0 and None in named)
    )
    place = Place(opening.device, opening.precision)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit as a whole
        module = torch.jit.load(path, place.device)  # type: ignore[no-untyped-call]
    if hasattr(module, "training"):  # a frozen one was settled before
        module.eval()

    def call(tensors: Mapping[str, Any]) -> Any:
        nothing = dict.fromkeys(a.port.name for a in arguments if a.default is None)
        return module(**{**nothing, **tensors})

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
    arguments = _arguments(path)
    further = [argument.in_words for argument in arguments[1:] if not argument.required]
    return Description(
        kind="a TorchScript program",
        parameters=None,
        trust=True,
        interface=True,
        inputs=tuple(a.port for i, a in enumerate(arguments) if i == 0 or a.required),
        facts={"may be left out": ", ".join(further)} if further else {},
    )


def _arguments(path: Path) -> tuple[_Argument, ...]:
    """Those of ``forward``, one at least, from the text of its code.

    Raises `TeacherError` where there is no such function.
    """
    advice = "Expected what torch.jit.save writes; it may be truncated: copy it again."
    with reading(path, "TorchScript", TeacherError, advice), zipfile.ZipFile(path) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        module, kind = _root_class(archive.read(f"{folder}/data.pkl"))
        code = archive.read(f"{folder}/code/{module.replace('.', '/')}.py").decode("utf-8")
        body = re.search(
            rf"^class {re.escape(kind)}\(.*?(?=^class |\Z)", code, re.DOTALL | re.MULTILINE
        )
        # Such code is written as Python is, each argument on a line of its own.
        found = re.search(
            r"^  (def forward\(.*?\) -> [^\n]*:)$",
            body[0] if body else "",
            re.DOTALL | re.MULTILINE,
        )
        arguments = () if found is None else tuple(_of_function(found[1]))
    if not arguments:
        raise TeacherError(
            f"{path} is TorchScript without a forward that takes audio: expected a whole module."
        )
    return arguments


def _of_function(head: str) -> Iterator[_Argument]:
    """The arguments of a function but the first, which is its module."""
    from compress.teachers.programs.torch_program import NUMBERS, TENSOR

    (function,) = ast.parse(f"{head} pass").body
    assert isinstance(function, ast.FunctionDef)
    asked = function.args.args
    without = len(asked) - len(function.args.defaults)
    defaults = [None] * without + [ast.unparse(each) for each in function.args.defaults]
    for argument, default in [*zip(asked, defaults, strict=True)][1:]:
        kind = "" if argument.annotation is None else ast.unparse(argument.annotation)
        dtype, shape = (TENSOR if kind == "Tensor" else kind), (() if kind in NUMBERS else None)
        yield _Argument(Port(argument.arg, dtype, shape), default)


def _root_class(data: bytes) -> tuple[str, str]:
    """Module and name of the program's own class, the first that its pickle names; nothing is built."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL" and isinstance(argument, str):
            module, _, name = argument.partition(" ")
            return module, name
    raise ValueError("found no class in data.pkl")
