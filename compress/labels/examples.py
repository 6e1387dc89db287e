"""Clips with the teacher's curves: read when they are asked for, and kept as far as memory allows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from compress.labels.on_demand import Recent
from compress.labels.store import LabelledClip, Labels, audio_of, curves_of
from compress.rig.units import PLAIN, Units

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
        self._recent: Recent[Example] = Recent(budget_bytes)

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
        return self._recent.get(range(len(self.clips))[which], self._read)

    def _read(self, number: int) -> Example:
        clip = self.clips[number]
        (curves,) = curves_of(self._labels, [clip], "hops")
        # A copy, since a part of a long recording would keep the whole of it in memory.
        return Example(np.array(audio_of(self._labels, clip)), self._units.own(curves))

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyExamples, (self._labels, self.clips, self._budget, self._units)


def examples(labels: Labels, clips: Sequence[LabelledClip], units: Units = PLAIN) -> LazyExamples:
    """Some clips of the labels with their curves, in their order, read when they are asked for.

    Curves are in rig units, or in those of `units`.
    """
    return LazyExamples(labels, clips, units=units)


def hops_of(clips: Sequence[Example]) -> list[int]:
    """The length of each clip's curves; of clips that are not read yet, nothing is."""
    known: list[int] | None = getattr(clips, "hops", None)
    return [len(clip.curves) for clip in clips] if known is None else known
