"""Processes that torchrun started: the first leads the run, the others help it to train.

The first process is the run: it labels, writes and speaks. When it comes to a training it calls the
others, which have done nothing but wait until then, by the store that torchrun holds for them all.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

# Between two looks at the store: a run waits for labels by the hour.
PAUSE_S = 0.5
# How long a helper waits for word that the first process failed too, and for that to say why: as
# soon as one process ends, torchrun ends the others.
GRACE_S = 5.0
STORE_TIMEOUT = timedelta(minutes=5)
_WELL, _BADLY = "ended", "failed"


@dataclass(frozen=True)
class Place:
    """This process's number among all `world` of them, and how many are on each machine."""

    rank: int
    world: int
    local_world: int

    @property
    def nodes(self) -> int:
        return self.world // self.local_world


def place() -> Place | None:
    """Where this process stands; None where torchrun started none, or only this one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    names = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
    return Place(*(int(os.environ[name]) for name in names))


def silent() -> bool:
    """Whether another process speaks for this one."""
    found = place()
    return found is not None and found.rank > 0


class LeaderLost(Exception):
    """The first process failed or is gone: there is nothing left to help with."""


class Calls:
    """What the first process says to the others: the key of each training, and how it all ended.

    For one process that writes, once in order, and any number that read.
    """

    def __init__(self, store: "Store") -> None:
        self._store, self._said, self._heard = store, 0, 0

    def call(self, key: str) -> None:
        """Have every other process take part in the training of this key."""
        self._say(key)

    def _say(self, word: str) -> None:
        self._store.set(str(self._said), word)
        self._said += 1

    @contextmanager
    def leading(self) -> Iterator[None]:
        """The run of the first process; however it ends, the others are told."""
        try:
            yield
        except BaseException:
            self._say(_BADLY)
            raise
        self._say(_WELL)

    def heard(self) -> Iterator[str]:
        """For another process: the key of each training, as it comes, until the run has ended.

        Raises `LeaderLost` where that ended badly.
        """
        while (word := self._word(self._heard)) != _WELL:
            if word == _BADLY:
                raise LeaderLost
            self._heard += 1
            yield word

    def failed(self) -> bool:
        """Whether the first process fails too, by now or soon: then it is for it to say why."""
        patience = time.monotonic() + GRACE_S
        try:
            while time.monotonic() < patience:
                if not self._is_there(self._heard):
                    time.sleep(PAUSE_S)
                elif self._word(self._heard) == _BADLY:
                    return True
                else:
                    self._heard += 1
        except LeaderLost:
            return True
        return False

    def _is_there(self, number: int) -> bool:
        try:
            return bool(self._store.check([str(number)]))
        except RuntimeError as error:  # whoever held the store is gone
            raise LeaderLost from error

    def _word(self, number: int) -> str:
        while not self._is_there(number):
            time.sleep(PAUSE_S)
        return str(self._store.get(str(number)).decode())


def stand_back() -> None:
    """Leave it to the first process to end them all."""
    time.sleep(GRACE_S)


@contextmanager
def calls() -> Iterator[Calls]:
    """The calls of this run, through the store that torchrun's processes share.

    In the end this process leaves the group that trainings have joined it to.
    """
    from torch import distributed
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=STORE_TIMEOUT))
    try:
        yield Calls(PrefixStore("lipstill", store))
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
