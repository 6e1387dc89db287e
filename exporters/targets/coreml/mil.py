"""A saved Core ML program, evaluated operation by operation in PyTorch, on any system.

Core ML itself runs on Apple's systems only. Its converter's own reader gives the program back that
lies in a package; what is computed here is what the documentation of its operations says, which is
not what a device does to the last bit: a device may add up in another order, or in float16.

float16: each operation takes numbers that float16 can hold, computes in float32, and its result is
rounded to float16 again. Numbers below a float's normal range are kept, or taken for 0 wherever one
is read or results (``flush_subnormals``), as some devices do.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from exporters.errors import ModelFileError
from exporters.reading import reading
from exporters.targets.coreml.mil_operations import NotKnownError, function_of
from exporters.targets.coreml.package import quiet, read_model
from exporters.targets.runtime import Floats

if TYPE_CHECKING:
    from torch import Tensor

# Windows that are evaluated at once.
BATCH = 64
# How numbers of MIL's types are held here.
_HELD_AS = {"fp32": np.float32, "fp16": np.float32, "int8": np.int8, "uint8": np.uint8}


@dataclass(frozen=True)
class Value:
    """What an operation gives: its name, and the type and shape that the file states."""

    name: str
    dtype: str
    """As MIL calls it: fp32, fp16, int8, uint8; of a constant setting also int32, bool, string."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """One operation of a program; constants are none."""

    kind: str
    inputs: Mapping[str, str]
    """The name of the value that each argument is."""
    outputs: tuple[Value, ...]
    compute: "Callable[[Mapping[str, Any]], tuple[Tensor, ...]]"
    """Values by their names -> what the operation makes of them."""


@dataclass(frozen=True)
class Program:
    """The main function of a package."""

    path: Path
    audio: Value
    """Its only input."""
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    """In an order in which they can be computed."""
    values: Mapping[str, Value]
    """Everything that has a name."""
    constants: Mapping[str, Any]
    """What needs no audio: numbers as tensors, settings as plain Python values."""
    flush_subnormals: bool

    @property
    def moving(self) -> tuple[Value, ...]:
        """What depends on the audio, in order, the audio itself left out."""
        given = (value for operation in self.operations for value in operation.outputs)
        return tuple(value for value in given if value.name not in self.constants)


def read_program(path: Path, *, flush_subnormals: bool = False) -> Program:
    """Read a package, and try it on silence.

    Raises ModelFileError if the package is damaged, or holds an operation, an argument's value or a
    type that is not known here; the message names it.
    """
    spec, weights = read_model(path)
    with quiet():
        from coremltools.converters.mil.frontend.milproto.load import load

        with reading(path, "a program of coremltools"):
            function = load(spec, spec.specificationVersion, str(weights)).functions["main"]
    with reading(path, "a program that can be evaluated"):
        try:
            return _program(path, function, flush_subnormals)
        except NotKnownError as error:
            raise ModelFileError(
                f"{path} cannot be evaluated: {error}. exporters/targets/coreml/mil_operations.py is where it "
                "would be taught."
            ) from error


def _program(path: Path, function: Any, flush_subnormals: bool) -> Program:
    inputs = [_value(variable) for variable in function.inputs.values()]
    if len(inputs) != 1:
        raise NotKnownError(f"a program of {len(inputs)} inputs is not known here")
    values = {inputs[0].name: inputs[0]}
    constants: dict[str, Any] = {}
    operations = []
    for each in function.operations:
        given = tuple(_value(variable) for variable in each.outputs)
        values |= {value.name: value for value in given}
        if each.op_type == "const":
            number = _constant(each.outputs[0].val)
            constants[given[0].name] = _rounded(number, given[0].dtype, flush_subnormals)
            continue
        operation = _operation(each, given)
        operations.append(operation)
        if constants.keys() >= set(operation.inputs.values()):
            constants |= _results(operation, constants, flush_subnormals)
    program = Program(
        path=path,
        audio=inputs[0],
        outputs=tuple(variable.name for variable in function.outputs),
        operations=tuple(operations),
        values=values,
        constants=constants,
        flush_subnormals=flush_subnormals,
    )
    evaluate_to(program, np.zeros((1, *inputs[0].shape[1:]), np.float32), program.outputs)
    return program


def _value(variable: Any) -> Value:
    from coremltools.converters.mil.mil import types

    shape = tuple(variable.shape)
    if not all(isinstance(length, int) for length in shape):
        raise NotKnownError(f"a shape that is not fixed ({variable.name}: {shape}) is not known")
    return Value(variable.name, types.builtin_to_string(variable.dtype), shape)


def _constant(content: Any) -> Any:
    """Floats and codes as a tensor, floats as float32; whole numbers, flags and texts as they are."""
    import torch

    array = np.asarray(content)
    if array.dtype in (np.float32, np.float16):
        return torch.tensor(array.astype(np.float32))
    if array.dtype in (np.int8, np.uint8):
        return torch.tensor(array)
    return array.tolist()


def _operation(each: Any, given: tuple[Value, ...]) -> Operation:
    variables = {name: variable for name, variable in each.inputs.items() if variable is not None}
    for name, variable in variables.items():
        if isinstance(variable, tuple | list):
            raise NotKnownError(f"{each.op_type} with several values as {name} is not known here")
    inputs = {name: variable.name for name, variable in variables.items()}
    function, renamed = function_of(each.op_type, inputs)

    def compute(known: Mapping[str, Any]) -> "tuple[Tensor, ...]":
        result = function(**{argument: known[name] for argument, name in renamed.items()})
        return result if isinstance(result, tuple) else (result,)

    return Operation(kind=each.op_type, inputs=inputs, outputs=given, compute=compute)


def _results(operation: Operation, known: Mapping[str, Any], flush: bool) -> "dict[str, Tensor]":
    """What an operation gives, by name, rounded to the types that the file states."""
    found = {}
    results = operation.compute(known)
    for value, result in zip(operation.outputs, results, strict=True):
        if tuple(result.shape) != value.shape:
            raise NotKnownError(
                f"{operation.kind} gives {value.name} the shape {list(result.shape)} here, where the "
                f"file says {list(value.shape)}: its arguments mean something else there"
            )
        found[value.name] = _rounded(result, value.dtype, flush)
    return found


def _rounded(number: Any, dtype: str, flush: bool) -> Any:
    """float32 or codes -> the same as ``dtype`` can hold it; settings stay as they are."""
    import torch

    if not isinstance(number, torch.Tensor):
        return number
    if dtype not in _HELD_AS or number.dtype != getattr(torch, np.dtype(_HELD_AS[dtype]).name):
        raise NotKnownError(f"{number.dtype} as the type {dtype} is not known here")
    if not number.is_floating_point():
        return number
    least = torch.finfo(torch.float16 if dtype == "fp16" else torch.float32).tiny
    if dtype == "fp16":
        number = number.half().float()
    return number.masked_fill(number.abs() < least, 0.0) if flush else number


def evaluate(program: Program, audio: Floats) -> Floats:
    """float32 [n, 1, window] -> the only output of the file for each, float32 [n, driven]."""
    (name,) = program.outputs
    return cast(Floats, evaluate_to(program, audio, [name])[name][:, 0])


def evaluate_to(
    program: Program, audio: Floats, names: Iterable[str]
) -> dict[str, NDArray[np.generic]]:
    """float32 [n, 1, window] -> what the file computes for each window, by the names asked for.

    Each is [n, *shape], where shape is the file's for one window: [n, 1, channels, steps] for a
    layer. Floats as float32, codes as they are.
    """
    import torch

    wanted = tuple(names)

    def through(window: "Tensor") -> "tuple[Tensor, ...]":
        entry = program.audio
        known = dict(program.constants)
        known[entry.name] = _rounded(window, entry.dtype, program.flush_subnormals)
        for operation in program.operations:
            if operation.outputs[0].name not in known:
                known |= _results(operation, known, program.flush_subnormals)
        return tuple(known[name] for name in wanted)

    windows = torch.from_numpy(audio)[:, None]
    with torch.no_grad():
        if not len(windows):  # which vmap refuses
            return {name: _none_of(program.values[name]) for name in wanted}
        results = torch.vmap(through, chunk_size=BATCH)(windows)
    return {name: result.numpy() for name, result in zip(wanted, results, strict=True)}


def _none_of(value: Value) -> NDArray[np.generic]:
    return np.empty((0, *value.shape), _HELD_AS[value.dtype])
