"""Weights out of files that cannot run code: safetensors, and pickles by weights-only rules."""

import pickle
import pickletools
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from compress.errors import TeacherError
from exporters.reading import reading

if TYPE_CHECKING:
    from torch import Tensor, nn

TRUNCATED = "It may be truncated: copy it again."
# What torch.load raises for bytes that are no checkpoint, or not all of one.
_UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, OSError, struct.error),
    *(ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError),
    *(MemoryError, zipfile.BadZipFile, zlib.error),
)


class DamagedPickle(TeacherError):
    """A pickle that ends too early, or was never one."""


def read_weights(path: Path) -> "dict[str, Tensor]":
    """Tensors of a file by name: safetensors by its ending, otherwise a pickle of them.

    Raises `TeacherError` for a file that is damaged, and as `read_pickle` does.
    """
    return _read_safetensors(path) if path.suffix.lower() == ".safetensors" else read_pickle(path)


def read_pickle(path: Path) -> "dict[str, Tensor]":
    """Tensors of what `torch.save` wrote, now or before its zip files.

    Raises `DamagedPickle` for a file that is damaged, and `TeacherError` for one that holds other
    things, or that would have to run code.
    """
    import torch

    try:
        # Opened here: by a path's ending torch would take it for something else than a pickle.
        with path.open("rb") as stream, warnings.catch_warnings():
            # Of pickle protocols that its rules may not cover: where they do not, it raises.
            warnings.simplefilter("ignore", UserWarning)
            found = torch.load(stream, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        said = str(error)
        if wanted := _refused_globals(path, said):
            raise TeacherError(
                f"{path} is a pickle that asks for {wanted} when it is loaded. Weights need no "
                f"such thing, and it could run any code, so that it was not opened, whatever "
                f"teacher.trust says. Save the weights alone, as safetensors or with "
                f"torch.save(model.state_dict(), PATH), or name a Python teacher, MODULE:FUNCTION."
            ) from error
        raise DamagedPickle(
            f"{path} is a pickle that cannot be read as weights ({type(error).__name__}: "
            f"{_cause(said) or 'it ends too early'}). It may be truncated: copy it again, or save "
            f"the weights as safetensors."
        ) from error
    return _only_tensors(path, found)


def _cause(said: str) -> str:
    """What torch says of the bytes, without its advice before and after."""
    cause = said.rpartition("WeightsUnpickler error:")[2].partition("Check the documentation")[0]
    return " ".join(cause.split())[:120]


def fit_weights(module: "nn.Module", state: "Mapping[str, Tensor]", source: object) -> None:
    """Gives a module its weights, of any float type. Raises `TeacherError` unless names and shapes
    are just those that it has.
    """
    expected = module.state_dict()
    further = [name for name in state if name not in expected]
    wrong = [f"{name} is missing" for name in expected if name not in state]
    wrong += [f"{name} is not expected" for name in further]
    wrong += [
        f"{name} is {list(state[name].shape)}, expected {list(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    if wrong and len(further) == len(wrong):
        raise TeacherError(
            f"{source} has all the weights that its config.json asks for, and {len(further)} more: "
            f"{first_few(further)}. If these are a head for another task, remove them from the file "
            f"and save it again."
        )
    if wrong:
        raise TeacherError(
            f"{source} does not fit its config.json: {first_few(wrong)}. Are both from one training?"
        )
    module.load_state_dict(dict(state))


def first_few(words: Sequence[str], most: int = 4) -> str:
    """The first of many findings, and how many more there are."""
    more = f", and {len(words) - most} more" if len(words) > most else ""
    return "; ".join(words[:most]) + more


def _read_safetensors(path: Path) -> "dict[str, Tensor]":
    from safetensors.torch import load_file

    with reading(path, "safetensors", TeacherError, TRUNCATED):
        return load_file(path)


def _only_tensors(path: Path, found: object) -> "dict[str, Tensor]":
    """The weights in a checkpoint: all of it, or the one value in it that is nothing but tensors."""
    if _is_state(found):
        return found
    states = [v for v in found.values() if _is_state(v)] if isinstance(found, dict) else []
    if len(states) == 1:
        return states[0]
    has = (
        f"with {', '.join(map(str, [*found][:6])) or 'nothing in it'}"
        if isinstance(found, dict)
        else f"of type {type(found).__name__}"
    )
    raise TeacherError(
        f"{path} holds {len(states) or 'no'} sets of weights: it is a pickle {has}. Expected a "
        f"dictionary of tensors by name, or one such dictionary within it: save it again with "
        f"torch.save(model.state_dict(), PATH)."
    )


def _is_state(value: object) -> "TypeGuard[dict[str, Tensor]]":
    import torch

    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in value.items())
    )


def _refused_globals(path: Path, said: str) -> str:
    """What a refused pickle asks for: as torch says, or else all that is in it."""
    if named := re.search(r"\bGLOBAL ([\w.]+)", said):
        return named[1]
    if not re.search(r"Unsupported operand", said):
        return ""
    # Newer pickle protocols stop it before it comes to the name.
    return ", ".join(list(dict.fromkeys(_globals(path)))[:4])


def _globals(path: Path) -> Iterator[str]:
    """Names that a pickle imports, module.name, read without running it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
            data = b"" if name is None else archive.read(name)
    else:
        data = path.read_bytes()
    strings: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(data):
            if operation.name == "GLOBAL":
                yield str(argument).replace(" ", ".")
            elif operation.name == "STACK_GLOBAL" and len(strings) > 1:
                yield f"{strings[-2]}.{strings[-1]}"
            elif isinstance(argument, str):
                strings.append(argument)
    except ValueError:
        return  # no pickle from here on
