"""Worker processes of this machine, each with a teacher of its own.

A worker that dies or hangs takes nothing with it: its shard goes to a new one. What it had in the
teacher is then done alone, and a clip on which a worker ends twice is given up.
"""

import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from compress.errors import LipstillError, NoAnswer, TeacherError, UsageError
from compress.labels.work import Heard, Member, Task, Work, hear, make_shard, members_of

# A clip on which so many workers ended is given up; a shard whose workers end with nothing in the
# teacher is tried as often.
DEATHS = 2
STOP_S = 5.0
# Any machine may have so many workers; one with many cores four for each.
LEAST_LIMIT = 16


def build(workers: int) -> "Local":
    """The engine with so many worker processes.

    Raises `UsageError` for more than can be of use here: each holds a teacher in memory.
    """
    if workers > (most := max(LEAST_LIMIT, 4 * (os.cpu_count() or 1))):
        raise UsageError(
            f"--workers is {workers}, expected at most {most} processes on this machine, which has "
            f"{os.cpu_count()} cores. --engine ray takes more, on several machines."
        )
    return Local(workers)


class Local:
    """The engine. `workers` processes; each opens the teacher for itself."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(
        self, work: Work, tasks: Sequence[Task], advance: Callable[[float], None]
    ) -> Iterator[tuple[Task, bytes]]:
        """As `Engine.run`, in the order in which they are done."""
        crew = Crew(work, min(self._workers, len(tasks)))
        try:
            yield from crew.run(tasks, advance)
        finally:
            crew.close()


@dataclass
class _Worker:
    """A process, our end of the pipe to it, its tasks, and the clips that are in its teacher.

    It makes the first of its tasks, and decodes the next one meanwhile.
    """

    process: BaseProcess
    pipe: Connection
    tasks: deque[Task] = field(default_factory=deque)
    clips: Sequence[str] = ()


class Crew:
    """Workers that stay between runs, started at once and replaced when they end."""

    def __init__(self, work: Work, workers: int) -> None:
        self._work = work
        self._workers = [_start(work) for _ in range(workers)]

    def close(self) -> None:
        """End them."""
        for worker in self._workers:
            _stop(worker)

    def run(
        self, tasks: Sequence[Task], advance: Callable[[float], None]
    ) -> Iterator[tuple[Task, bytes]]:
        """As `Engine.run`. Once left before its end, the crew is good for nothing but closing."""
        waiting, deaths = deque(tasks), _Deaths()
        while waiting or any(worker.tasks for worker in self._workers):
            for worker in self._workers:
                # One ahead, but at the end, when others would be idle.
                most = 2 if len(waiting) > len(self._workers) else 1
                while waiting and len(worker.tasks) < most:
                    _give(worker, waiting.popleft())
            busy = {worker.pipe: worker for worker in self._workers if worker.tasks}
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                worker = busy[pipe]
                said, what = _said(worker)
                if said == "at":
                    worker.clips, seconds = what
                    advance(seconds)
                elif said == "done":
                    worker.clips = ()
                    yield worker.tasks.popleft(), what
                elif said == "raised":
                    raise what
                else:
                    first, *others = worker.tasks
                    waiting.extendleft([*reversed(others), deaths.again(first, worker.clips, what)])
                    _stop(worker)
                    self._workers[self._workers.index(worker)] = _start(self._work)


@dataclass
class _Deaths:
    """How often a worker ended: on a clip alone, and in a shard."""

    clips: Counter[str] = field(default_factory=Counter)
    shards: Counter[str] = field(default_factory=Counter)

    def again(self, task: Task, clips: Sequence[str], how: str) -> Task:
        """What to try next with a task on which a worker ended.

        Raises `TeacherError` where workers end without any clip in the teacher.
        """
        if not clips:
            self.shards[task.shard] += 1
            if self.shards[task.shard] < DEATHS:
                return task
            raise TeacherError(
                f"A worker process of the teacher {how}, {DEATHS} times before it was given any "
                f"speech of {task.clips[0].path}. Is there memory for so many teachers? Try fewer "
                f"with --workers."
            )
        together = set(clips)
        # Two neighbours of one recording share a piece.
        if task.alone or len(together) == 1:
            self.clips.update(together)
        lost = sorted(clip for clip in together if self.clips[clip] >= DEATHS)
        said = f"the process of the teacher {how} on it, {DEATHS} times"
        return replace(task, given_up=task.given_up | dict.fromkeys(lost, said), alone=True)


def _said(worker: _Worker) -> tuple[str, Any]:
    try:
        said: tuple[str, Any] = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode
        how = f"was ended by signal {-code}" if code and code < 0 else f"ended with code {code}"
        return "ended", how
    return said


def _start(work: Work) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, task: Task) -> None:
    worker.tasks.append(task)
    with suppress(OSError):  # it has died: the next look at its pipe says so
        worker.pipe.send(task)


def _stop(worker: _Worker) -> None:
    worker.process.terminate()
    worker.process.join(STOP_S)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.pipe.close()


def _serve(pipe: Connection, work: Work) -> None:
    """A worker: one task after the other, until the other end of the pipe is closed."""
    import os
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it
    try:
        teacher = work.open()

        def prepare() -> tuple[Task, list[Member], Heard]:
            task: Task = pipe.recv()
            members = members_of(task, teacher.rate_hz, work.cutting)
            return task, members, hear(members)

        reader = ThreadPoolExecutor(1)  # never waited for: it waits for tasks
        coming = reader.submit(prepare)
        while True:
            prepared, coming = coming.result(), reader.submit(prepare)
            made = make_shard(teacher, *prepared, work, lambda *at: pipe.send(("at", at)))
            pipe.send(("done", made))
    except NoAnswer:
        pipe.send(("ended", f"gave no answer within {work.settings.time_limit_s:g} s"))
    except LipstillError as error:
        pipe.send(("raised", error))
    except (EOFError, OSError):  # whoever started it is gone
        pass
    # At once: a thread that hangs in the teacher, or waits for tasks, would keep the process.
    os._exit(0)
