"""What the other inputs of a program get: constants of the recipe, in the shape of each input."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from compress.errors import TeacherError
from compress.recipe.teacher import FileSettings, Value
from compress.teachers import Port
from compress.teachers.programs.inputs import dtype_of, in_words
from exporters.files import user_path
from exporters.reading import reading

Array = NDArray[Any]


def read_constant(
    name: str, port: Port, value: Value | FileSettings, base: Path, batched: bool
) -> "Constant":
    """The constant for an input: a number, numbers, or a .npy file, relative to `base`.

    Raises `TeacherError` for a file that is none, and for numbers that the input's type lacks.
    """
    if isinstance(value, FileSettings):
        path = user_path(value.file, base)
        array, said = _read_array(name, port, path), f"{value.file} is"
    else:
        array = np.asarray(value, np.float64)
        said = "a number is" if array.ndim == 0 else f"a list of {array.size} numbers is"
    # What an input takes whose type is not known: as the file has it, and numbers as float32.
    known = port.dtype == dtype_of(port).name
    kept = isinstance(value, FileSettings) and not known and array.dtype != np.float64
    cast = array if kept else array.astype(dtype_of(port))
    if np.issubdtype(cast.dtype, np.integer) and not np.array_equal(cast, array):
        raise TeacherError(
            f"Teacher {name}: input {in_words(port)} takes whole numbers, and {said} given that "
            f"are not. Correct teacher.interface.inputs."
        )
    return Constant(name, port, cast, said, isinstance(value, tuple), batched)


def _read_array(name: str, port: Port, path: Path) -> Array:
    what = f"the constant for input {port.name} of teacher {name}"
    with reading(path, what, TeacherError, "Expected an array that numpy.save wrote."):
        array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise TeacherError(
            f"Teacher {name}: {path} holds no array of numbers, expected one for input "
            f"{in_words(port)}. Write it with numpy.save."
        )
    return array


@dataclass(frozen=True)
class Constant:
    """What one input gets in every call; `listed` for a list, which fills the last dimensions."""

    name: str
    port: Port
    value: Array
    said: str
    listed: bool
    batched: bool

    def filled(self, batch: int, sizes: dict[str, int]) -> Array:
        """The value in the input's shape, for a batch. Raises `TeacherError` where it does not fit.

        A dimension of no fixed size is what its name stands for, the batch where it is the first,
        and else as the value has it, or 1. Dimensions of 1 are repeated.
        """
        if self.port.shape is None:
            return self._unshaped(batch)
        # A list or file for one dimension is as long as that is: it leaves none for a batch.
        batched = self.batched and (len(self.port.shape) > 1 or not self.value.ndim)
        target = [
            size
            if isinstance(size, int)
            else sizes.get(size, batch if i == 0 and batched else None)
            for i, size in enumerate(self.port.shape)
        ]
        value = self.value.reshape(self._trailing(target)) if self.listed else self.value
        if value.ndim > len(target):
            self._misfit()
        own = (1,) * (len(target) - value.ndim) + value.shape
        shape = [mine if size is None else size for mine, size in zip(own, target, strict=True)]
        try:
            return np.ascontiguousarray(np.broadcast_to(value, shape))
        except ValueError:
            self._misfit()

    def _unshaped(self, batch: int) -> Array:
        """Where nothing says the input's shape: a list in every row, a file as it is."""
        value = self.value
        if self.batched and self.listed:
            return np.repeat(value[None], batch, 0)
        if self.batched and value.ndim > 1 and len(value) == 1:
            return np.repeat(value, batch, 0)
        return value

    def _trailing(self, target: Sequence[int | None]) -> tuple[int, ...]:
        """The last dimensions that a list fills: one, or as many as it has numbers for."""
        if not target:
            return self._misfit()
        if target[-1] is None:
            return (self.value.size,)
        # The first one is the batch where any number fits.
        shape = self.port.shape or ()
        fixed = target if len(shape) == 1 or isinstance(shape[0], int) else target[1:]
        for i in range(1, len(fixed) + 1):
            trailing = [size for size in fixed[-i:] if size is not None]
            if len(trailing) == i and math.prod(trailing) == self.value.size:
                return tuple(trailing)
        return self._misfit()

    def _misfit(self) -> NoReturn:
        raise TeacherError(
            f"Teacher {self.name}: {self.said} given for input {in_words(self.port)}, as an array "
            f"of shape {list(self.value.shape)}, which does not fit. Correct "
            f"teacher.interface.inputs.{self.port.name}: a number fits everywhere, a list fills "
            f"the last dimension."
        )
