"""Clips with the teacher's curves: read when they are asked for, and kept as far as memory allows."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from compress.labels.store import LabelledClip, Labels, audio_of, curves_of
from compress.units import PLAIN, Units

Floats = NDArray[np.float32]

# Some nine hours of speech: what is more is decoded again when it is next heard.
BUDGET_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Example:
    """A clip: samples `[samples]`, driven curves on the hop grid `[hops, driven]`, float32."""

    samples: Floats
    curves: Floats

    @property
    def nbytes(self) -> int:
        return self.samples.nbytes + self.curves.nbytes


class LazyExamples(Sequence[Example]):
    """Some clips of the labels, in their order; threads may ask for them at once.

    Those asked for last are kept, up to `budget_bytes`. To another process only the names travel.
    Curves are in rig units, or in those of `units`.
    """

    def __init__(
        self,
        labels: Labels,
        clips: Sequence[LabelledClip],
        budget_bytes: int = BUDGET_BYTES,
        units: Units = PLAIN,
    ) -> None:
        self.clips = tuple(clips)
        self._units = units
        self._labels = replace(labels, clips=self.clips)
        self._budget = budget_bytes
        self._kept: OrderedDict[int, Example] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    @property
    def hops(self) -> list[int]:
        """The length of each clip's curves; nothing is read for it."""
        return [clip.hops for clip in self.clips]

    def __len__(self) -> int:
        return len(self.clips)

    @overload
    def __getitem__(self, which: int) -> Example: ...
    @overload
    def __getitem__(self, which: slice) -> "LazyExamples": ...
    def __getitem__(self, which: int | slice) -> "Example | LazyExamples":
        """One clip, read if it is not kept, or some of them, none read. Raises `BadAudio`."""
        if isinstance(which, slice):
            return LazyExamples(self._labels, self.clips[which], self._budget, self._units)
        number = range(len(self.clips))[which]
        with self._lock:
            if (kept := self._kept.get(number)) is not None:
                self._kept.move_to_end(number)
                return kept
        return self._keep(number, self._read(self.clips[number]))

    def _read(self, clip: LabelledClip) -> Example:
        (curves,) = curves_of(self._labels, [clip], "hops")
        # A copy, since a part of a long recording would keep the whole of it in memory.
        return Example(np.array(audio_of(self._labels, clip)), self._units.own(curves))

    def _keep(self, number: int, example: Example) -> Example:
        with self._lock:
            if number not in self._kept:
                self._kept[number] = example
                self._bytes += example.nbytes
            while self._bytes > self._budget:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return example

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyExamples, (self._labels, self.clips, self._budget, self._units)


def examples(labels: Labels, clips: Sequence[LabelledClip], units: Units = PLAIN) -> LazyExamples:
    """Some clips of the labels with their curves, in their order, read when they are asked for.

    Curves are in rig units, or in those of `units`.
    """
    return LazyExamples(labels, clips, units=units)


def hops_of(clips: Sequence[Example]) -> list[int]:
    """The length of each clip's curves; of clips that are not read yet, nothing is."""
    return clips.hops if isinstance(clips, LazyExamples) else [len(c.curves) for c in clips]
