"""The teacher in this very process: the next shard's audio is decoded while it works."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from compress.labels.work import Heard, Member, Task, Work, hear, make_shard, members_of
from compress.teachers import Teacher


class InProcess:
    """An engine around a teacher that is open already.

    A teacher that gives no answer in time ends the run with `NoAnswer`, since a thread cannot be
    stopped: engines with workers go on without the clip.
    """

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    def run(
        self, work: Work, tasks: Sequence[Task], advance: Callable[[float], None]
    ) -> Iterator[tuple[Task, bytes]]:
        """As `Engine.run`, in the tasks' order."""

        def prepare(task: Task) -> tuple[list[Member], Heard]:
            members = members_of(task, self._teacher.rate_hz, work.cutting)
            return members, hear(members)

        with ThreadPoolExecutor(1) as reader:  # outside of Python's lock, beside the teacher
            coming = [reader.submit(prepare, task) for task in tasks[:1]]
            for i, task in enumerate(tasks):
                coming += [reader.submit(prepare, ahead) for ahead in tasks[i + 1 : i + 2]]
                members, heard = coming.pop(0).result()
                yield (
                    task,
                    make_shard(self._teacher, task, members, heard, work, lambda _, s: advance(s)),
                )
