"""Which clips a step is made of: epochs that visit all of them, divided among lanes.

A batch has slots, and a lane feeds some of them all through an epoch. A clip belongs to one lane of
an epoch, so processes that share the lanes share the clips too: none reads what another one reads,
and all of them together make the batches of one process.
"""

import heapq
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from compress.errors import AudioError, UsageError
from compress.recipe.mistakes import words

Ints = NDArray[np.int64]

# Clips of a lane that are heard in turns: these stay in memory together.
BLOCK = 16
# Streams of random numbers of one seed: the order of an epoch, and a slot's own.
_ORDER, _SLOT = 0, 1


class Sampler:
    """The clips of each step, from clips of so many hops, for a batch of stretches of `frames`.

    A clip has max(1, round(hops / frames)) visits in an epoch. A lane that is done early begins
    again; one that is too long loses fewer visits than its shortest clip has, so that every clip is
    visited in every epoch. Nothing is remembered from one step to the next. Raises `ValueError`
    without clips.
    """

    def __init__(self, hops: Sequence[int], frames: int, batch: int, seed: int) -> None:
        if not len(hops):
            raise ValueError("there is no clip to sample")
        self.batch, self._seed = batch, seed
        self.visits: Ints = np.maximum(1, np.rint(np.asarray(hops) / frames)).astype(np.int64)
        total, longest = int(self.visits.sum()), int(self.visits.max())
        self.lanes = max(n for n in divisors(batch) if n <= min(len(hops), total // longest))
        self.steps = -(-total // batch)
        # Two, since batches are made ahead, across the end of an epoch.
        self._epoch = lru_cache(2)(self._order)

    def clips(self, step: int) -> Ints:
        """The clip in each slot of a step, `[batch]`; the first step is 1."""
        epoch, index = divmod(step - 1, self.steps)
        found: Ints = self._epoch(epoch)[index]
        return found

    def slots(self, rank: int, world: int) -> range:
        """The slots of one of `world` processes.

        Raises `UsageError` where the batch, and `AudioError` where the lanes of this speech cannot
        be divided equally.
        """
        if self.batch % world:
            raise UsageError(
                f"training.batch = {self.batch} stretches cannot be shared equally by {world} "
                f"processes (training.devices). Expected one of {words(divisors(self.batch))} "
                f"processes, or a batch that is a multiple of {world}."
            )
        if self.lanes % world:
            clips = f"{len(self.visits)} clip{'s' * (len(self.visits) > 1)}"
            raise AudioError(
                f"The {clips} to train on, the longest of them "
                f"{self.visits.max() / self.visits.sum():.0%} of what is heard, make {self.lanes} "
                f"equal part{'s' * (self.lanes > 1)} of a batch of {self.batch}, which {world} "
                f"processes (training.devices) cannot share. Train with "
                f"{words(divisors(self.lanes))} of them, or add speech."
            )
        each = self.batch // world
        return range(rank * each, (rank + 1) * each)

    def rng(self, step: int, slot: int) -> np.random.Generator:
        """The random numbers of a slot of a step, from (seed, step, slot) alone."""
        return self._generator(_SLOT, step, slot)

    def _generator(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=stream))

    def _order(self, epoch: int) -> Ints:
        """The clips of an epoch, `[steps, batch]`."""
        rng = self._generator(_ORDER, epoch)
        shuffled = rng.permutation(len(self.visits))
        lane = divided(self.visits[shuffled], self.lanes)
        each = self.batch // self.lanes
        columns = []
        for number in range(self.lanes):
            own = shuffled[lane == number]
            visits = np.repeat(own, self.visits[own])
            block = np.repeat(np.arange(len(own)) // BLOCK, self.visits[own])
            order = np.lexsort((rng.random(len(visits)), block))
            columns.append(np.resize(visits[order], (self.steps, each)))
        return np.concatenate(columns, axis=1)


def divided(visits: Ints, lanes: int) -> Ints:
    """The lane of each clip, `[clips]`: longest first, each to the lane that has least so far.

    Clips of equal length go in the order in which they are given.
    """
    loads = [(0, lane) for lane in range(lanes)]
    found = np.empty(len(visits), np.int64)
    order = np.argsort(-visits, kind="stable")
    for clip, more in zip(order.tolist(), visits[order].tolist(), strict=True):
        load, lane = loads[0]
        heapq.heapreplace(loads, (load + more, lane))
        found[clip] = lane
    return found


def divisors(number: int) -> list[int]:
    """All of them, ascending."""
    return [n for n in range(1, number + 1) if number % n == 0]
