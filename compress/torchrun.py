"""Processes that torchrun started: one leads the run, the others help it to train.

The first process does all that a run is, alone. When it comes to a training it calls the others,
which have waited for that; they write nothing and say nothing.
"""

import os
from dataclasses import dataclass


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
