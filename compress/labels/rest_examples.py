"""Sound that is not speech as a student learns from it: each clip with the rest pose as its curves."""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from compress.labels.examples import BUDGET_BYTES, Example
from compress.labels.on_demand import Recent
from compress.labels.rest_pose import Rest
from compress.labels.store import Labels, hops_of
from compress.rig.units import PLAIN, Units
from compress.speech.sources import Clip

Floats = NDArray[np.float32]


class RestExamples(Sequence[Example]):
    """Clips that all have one pose, float32 `[driven]`; read when asked for, as `LazyExamples` are.

    To another process only their places travel.
    """

    def __init__(
        self, clips: Sequence[Clip], pose: Floats, budget_bytes: int = BUDGET_BYTES
    ) -> None:
        self._clips, self._pose, self._budget = tuple(clips), pose, budget_bytes
        self._recent: Recent[Example] = Recent(budget_bytes)

    @property
    def hops(self) -> list[int]:
        """The length of each clip's curves; nothing is read for it."""
        return [hops_of(clip.samples) for clip in self._clips]

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, which: int) -> Example: ...
    @overload
    def __getitem__(self, which: slice) -> "RestExamples": ...
    def __getitem__(self, which: int | slice) -> "Example | RestExamples":
        """One clip, read if it is not kept, or some of them, none read. Raises `BadAudio`."""
        if isinstance(which, slice):
            return RestExamples(self._clips[which], self._pose, self._budget)
        return self._recent.get(range(len(self))[which], self._read)

    def _read(self, number: int) -> Example:
        clip = self._clips[number]
        curves = np.tile(self._pose, (hops_of(clip.samples), 1))
        return Example(np.array(clip.read()), curves)

    def __reduce__(self) -> tuple[Any, ...]:
        return RestExamples, (self._clips, self._pose, self._budget)


def rest_examples(labels: Labels, units: Units = PLAIN) -> Sequence[Example]:
    """The training side of what is not speech, in rig units or those of `units`; () without any."""
    rest: Rest | None = labels.rest
    clips = () if rest is None else rest.side("train")
    if rest is None or not clips:
        return ()
    return RestExamples(clips, units.own(rest.of(labels.driven)))
