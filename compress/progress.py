"""Progress of what takes long: a bar on the terminal, lines for who watches a whole run."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

from compress.distill.many import torchrun

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class Bar(Protocol):
    """What a long stage tells about itself."""

    def __call__(self, done: float, note: str = "") -> None:
        """`done` of the total that was announced, and a few words such as the loss."""


class Watcher(Protocol):
    """Who shows the bars of all stages in one place."""

    def bar(self, title: str, total: float | None, unit: str) -> AbstractContextManager[Bar]: ...


_watcher: Watcher | None = None


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Every bar of this process is the watcher's."""
    global _watcher
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before


@contextmanager
def bar(title: str, total: float | None, hidden: bool = False, unit: str = "") -> Iterator[Bar]:
    """A bar with the time left: the watcher's, or else one on stderr where that is a terminal.

    A total of None is one that is not known. With a `unit`, such as ``steps``, it tells how many
    are done a second. `hidden` shows nothing. Of torchrun's processes only the first has bars.
    """
    if _watcher is not None and not hidden:
        with _watcher.bar(title, total, unit) as told:
            yield told
        return
    from rich.console import Console

    console = Console(stderr=True)
    off = hidden or torchrun.silent() or not console.is_terminal
    with live(console, off) as progress, task_in(progress, title, total, unit) as told:
        yield told


def live(console: "Console", off: bool = False) -> "Progress":
    """rich's display of bars, gone when it ends."""
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    # What is printed stands above the bars; not in their place, where stdout is a pipe.
    both = sys.stdout.isatty()
    return Progress(*columns, console=console, transient=True, disable=off, redirect_stdout=both)


@contextmanager
def task_in(progress: "Progress", title: str, total: float | None, unit: str) -> Iterator[Bar]:
    """One bar of a display, for as long as it has something to tell."""
    task = progress.add_task(title, total=total, note="", rate="")
    pace = Pace(unit)

    def advance(done: float, note: str = "") -> None:
        progress.update(task, completed=done, note=note, rate=pace.of(done))

    try:
        yield advance
    finally:
        progress.refresh()  # what is shorter than a frame is seen too
        progress.remove_task(task)


class Pace:
    """How many units are done a second since the first word, which may come with some done."""

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._first: tuple[float, float] | None = None

    def per_second(self, done: float) -> float:
        """0 until two words have come."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        began, before = self._first
        return (done - before) / (now - began) if now > began else 0.0

    def of(self, done: float) -> str:
        """``9.1 steps/s``; nothing without a unit, or before two words have come."""
        rate = self.per_second(done)
        return f"{rate:.3g} {self.unit}/s" if self.unit and rate > 0 else ""
