"""Engines: what carries out the labelling of many shards. One file each.

An engine is a module of this package that defines `build` as `Factory` says. A new engine is a new
module; nothing is registered. All make the same bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from compress.errors import UsageError
from compress.labels.work import Task, Work
from exporters.contracts import Kind

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


ENGINES: Kind[Factory] = Kind("engine", __name__, Factory)


def engine_of(name: str, workers: int) -> Engine | None:
    """The engine of a name; None for one local worker, which is this process.

    Raises `UsageError` for one that does not exist or lacks part of its contract, and as `build`
    does.
    """
    if fault := ENGINES.fault(name):
        raise UsageError(f"--engine: {fault}")
    if not 1 <= workers <= MOST_WORKERS:
        raise UsageError(f"--workers is {workers}, expected 1 to {MOST_WORKERS}.")
    if (name, workers) == ("local", 1):
        return None
    return ENGINES.load(name).build(workers)
