"""Progress on the terminal, and silence everywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from compress.distill.many import torchrun


class Bar(Protocol):
    """What a long stage tells about itself."""

    def __call__(self, done: float, note: str = "") -> None:
        """`done` of the total that was announced, and a few words such as the loss."""


@contextmanager
def bar(title: str, total: float | None, hidden: bool = False) -> Iterator[Bar]:
    """A progress bar on stderr with the time left; none when stderr is no terminal, or `hidden`.

    A total of None is one that is not known. Of torchrun's processes only the first has bars.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    off = hidden or torchrun.silent() or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=off) as progress:
        task = progress.add_task(title, total=total, note="")

        def advance(done: float, note: str = "") -> None:
            progress.update(task, completed=done, note=note)

        yield advance
