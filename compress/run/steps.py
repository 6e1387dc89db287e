"""What a run says of its steps: one live display in a terminal, and lines everywhere else."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from compress.distill.many import torchrun
from compress.progress import Bar, Pace, live, task_in, watched_by

if TYPE_CHECKING:
    from rich.progress import Progress

Say = Callable[[str], None]

# In a pipe, the longest that a run says nothing.
QUIET_S = 30.0


class Steps:
    """The steps of a run, told as they begin and end.

    In a terminal a display shows the step, what it is about, its rate and the time left, and a line
    stays for each stage. In a pipe a line stays for each step that was not done before, and none is
    silent for longer than `QUIET_S`.
    """

    def __init__(self, total: int, say: Say, progress: "Progress | None") -> None:
        self._say, self._progress = say, progress
        self._total, self._begun = total, 0
        self._now = ""
        self._doing: Callable[[], str] | None = None
        self._spoke_s = self._since_s = time.monotonic()
        self._stages: dict[str, tuple[int, float]] = {}

    @contextmanager
    def step(self, stage: str, what: str, done_before: bool = False, of: int = 1) -> Iterator[None]:
        """One step, or several `of` the plan, for as long as it runs.

        What was done before is counted and not told.
        """
        self._begun += of
        self._now, self._since_s = f"{stage:<10} {what}".rstrip(), time.monotonic()
        if stage not in self._stages:
            self._tell_stages()
        with self._shown():
            yield
        took_s = time.monotonic() - self._since_s
        self._now = ""
        if done_before:
            return
        if self._progress is None:
            self.tell(f"{stage:<10} {what + '  ' if what else ''}{span(took_s)}")
        else:
            count, before_s = self._stages.get(stage, (0, 0.0))
            self._stages[stage] = count + 1, before_s + took_s

    @contextmanager
    def _shown(self) -> Iterator[None]:
        if self._progress is None:
            yield
            return
        with task_in(self._progress, self._now, None, "") as at:
            at(0, f"step {self._begun} of {self._total}")
            yield

    def tell(self, line: str) -> None:
        """A line that stays, above the display where there is one."""
        self._spoke_s = time.monotonic()
        self._say(line)

    @contextmanager
    def bar(self, title: str, total: float | None, unit: str) -> Iterator[Bar]:
        """The bar of a part of this step; `title` stands where no step has begun."""
        if self._progress is not None:
            with task_in(self._progress, f"  {title}", total, unit) as told:
                yield told
            return
        before, pace = self._doing, Pace(unit)
        last: list[tuple[float, str]] = []

        def advance(done: float, note: str = "") -> None:
            pace.per_second(done)
            last[:] = [(done, note)]

        self._doing = lambda: _in_words(total, unit, pace, *last[0]) if last else ""
        try:
            yield advance
        finally:
            self._doing = before

    def still(self) -> None:
        """Say what is going on, if nothing was said for a while and something is."""
        if time.monotonic() - self._spoke_s >= QUIET_S and self._now:
            doing = self._doing() if self._doing else ""
            since = span(time.monotonic() - self._since_s)
            self.tell(f"{self._now}: {doing or 'still at it'}, since {since}")

    def end(self) -> None:
        """The lines that are left to say."""
        self._tell_stages()

    def _tell_stages(self) -> None:
        for stage, (count, took_s) in self._stages.items():
            self.tell(f"{stage:<10} {count} {'step' if count == 1 else 'steps'}, {span(took_s)}")
        self._stages.clear()


@contextmanager
def steps(total: int, say: Say) -> Iterator[Steps]:
    """Tell of a run's steps for as long as it lasts; every bar is shown in the same place."""
    from rich.console import Console

    console = Console(stderr=True)
    shown = console.is_terminal and not torchrun.silent()
    with ExitStack() as stack:
        progress = stack.enter_context(live(console)) if shown else None
        told = Steps(total, say, progress)
        stack.enter_context(watched_by(told))
        if progress is None:
            stack.enter_context(_every(QUIET_S / 6, told.still))
        yield told
        told.end()


@contextmanager
def _every(seconds: float, do: Callable[[], None]) -> Iterator[None]:
    """Do something every so often, on a thread of its own."""
    over = threading.Event()

    def again() -> None:
        while not over.wait(seconds):
            do()

    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _in_words(total: float | None, unit: str, pace: Pace, done: float, note: str) -> str:
    """``1,200 of 2,000 steps, 9.1 steps/s, 1 min 28 s left``, as far as it is known."""
    of = "" if total is None else f" of {total:,.0f}"
    parts = [f"{done:,.0f}{of} {unit}".rstrip()]
    if rate := pace.of(done):
        parts.append(rate)
    per_second = pace.per_second(done)
    if total is not None and per_second > 0:
        parts.append(f"{span((total - done) / per_second)} left")
    return ", ".join([*parts, *([note] if note else [])])


def span(seconds: float) -> str:
    """A time as ``0.4 s``, ``28 s`` or ``12 min 5 s``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
