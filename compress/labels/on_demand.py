"""Arrays that are read when they are asked for, and kept only as far as memory allows."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


T = TypeVar("T", bound=Sized)


class Recent(Generic[T]):
    """What was asked for last, up to `budget_bytes`, by number; threads may ask at once."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget, self._bytes = budget_bytes, 0
        self._kept: OrderedDict[int, T] = OrderedDict()
        self._lock = Lock()

    def get(self, number: int, read: Callable[[int], T]) -> T:
        """The thing of this number, read if it is not kept."""
        with self._lock:
            if (kept := self._kept.get(number)) is not None:
                self._kept.move_to_end(number)
                return kept
        thing = read(number)
        with self._lock:
            if number not in self._kept:
                self._kept[number] = thing
                self._bytes += thing.nbytes
            while self._bytes > self._budget:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return thing


class OnDemand(Sequence[Floats]):
    """One array for each clip, read by `read` when it is asked for.

    `lengths` are those of the arrays along their first axis: nothing is read for them.
    """

    def __init__(
        self, read: Callable[[int], Floats], lengths: Sequence[int], budget_bytes: int
    ) -> None:
        self.lengths = tuple(lengths)
        self._read, self._budget = read, budget_bytes
        self._recent: Recent[Floats] = Recent(budget_bytes)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, which: int) -> Floats: ...
    @overload
    def __getitem__(self, which: slice) -> "OnDemand": ...
    def __getitem__(self, which: int | slice) -> "Floats | OnDemand":
        if isinstance(which, slice):
            return self.only(range(len(self))[which])
        return self._recent.get(range(len(self))[which], self._read)

    def only(self, numbers: Sequence[int]) -> "OnDemand":
        """Some of them, none read."""
        return OnDemand(
            lambda i: self[numbers[i]], [self.lengths[i] for i in numbers], budget_bytes=0
        )


def lengths_of(arrays: Sequence[Floats]) -> Sequence[int]:
    """The length of each; of arrays that are not read yet, nothing is read."""
    return arrays.lengths if isinstance(arrays, OnDemand) else [len(each) for each in arrays]


def chosen(arrays: Sequence[Floats], numbers: Sequence[int]) -> Sequence[Floats]:
    """Some of them by number, in that order; none is read for it."""
    if isinstance(arrays, OnDemand):
        return arrays.only(numbers)
    return tuple(arrays[i] for i in numbers)
