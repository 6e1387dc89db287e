"""Engines: what carries out the labelling of many shards. One file each.

An engine is a module of this package that defines `build` as `Factory` says. A new engine is a new
module; nothing is registered. All make the same bytes.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, cast

from compress.errors import UsageError
from compress.labels.work import Task, Work
from compress.recipe_section import modules_defining

# Of a cluster; an engine of one machine takes fewer.
MOST_WORKERS = 10_000


class Engine(Protocol):
    """What makes shards, on this machine or others."""

    def run(
        self, work: Work, tasks: Sequence[Task], advance: Callable[[float], None]
    ) -> Iterator[tuple[Task, bytes]]:
        """Each task with its shard as a file, in any order, none made before it is asked for.

        A few are made ahead: no more than workers have in hand. `advance` is told the seconds of
        audio that came through the teacher. A clip that ends its worker is given up, and missing
        in its shard. Closing the iterator ends the workers. Raises `TeacherError` where no worker
        can open the teacher.
        """


class Factory(Protocol):
    """What a module of this package defines to be an engine."""

    def build(self, workers: int) -> Engine:
        """The engine with so many workers.

        Raises `UsageError` for a number that it cannot have, `MissingError` without its package.
        """


def engine_of(name: str, workers: int) -> Engine | None:
    """The engine of a name; None for one local worker, which is this process. Raises `UsageError` for one that does not exist, and as `build` does."""
    known = modules_defining(Path(__file__).parent, "build")
    if name not in known:
        raise UsageError(f"There is no engine {name!r}; --engine takes {', '.join(sorted(known))}.")
    if not 1 <= workers <= MOST_WORKERS:
        raise UsageError(f"--workers is {workers}, expected 1 to {MOST_WORKERS}.")
    if (name, workers) == ("local", 1):
        return None
    return cast(Factory, importlib.import_module(f"compress.labels.engines.{name}")).build(workers)
