"""A teacher of which nobody knows what it will do: it may raise, and it may never come back."""

import queue
import threading
import weakref
from collections.abc import Callable
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, TypeVar, cast

from compress.errors import LipstillError, NoAnswer, StorageError, TeacherError
from compress.teachers import Teacher
from compress.teachers.programs.wrapped import Wrapped
from exporters.errors import ExporterError
from exporters.reading import FULL

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")
# What came of a call: its result, or what it raised.
Outcome = tuple[Any, BaseException | None]
Call = tuple[Callable[[], Any], "queue.SimpleQueue[Outcome]"]

# Threads that run something of a teacher at this moment.
_busy: set[int] = set()


def at_work() -> bool:
    """Whether a teacher is still at work, such as one that was left behind."""
    return bool(_busy)


class Guarded(Wrapped):
    """A teacher whose errors are `TeacherError`, and whose calls end within a time limit.

    Everything of it runs in one thread of its own, which is left behind when the time is up: a
    thread cannot be stopped from outside, so a process should not live long after that.
    """

    def __init__(self, open_teacher: Callable[[], Teacher], name: str, limit_s: float) -> None:
        self._name, self._limit_s = name, limit_s
        self._asked: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        # A daemon: the interpreter does not wait for it at its end.
        threading.Thread(target=_serve, args=(self._asked,), daemon=True).start()
        weakref.finalize(self, self._asked.put, None)  # the thread ends with its teacher
        self.teacher = self._call("could not be opened", open_teacher)

    def animate(self, audio: "Tensor") -> "Tensor":
        """As the teacher's. Raises `TeacherError` for whatever it raises, and when time is up."""
        shape = f"audio of shape {list(audio.shape)}"
        return self._call(f"failed on {shape}", lambda: self.teacher.animate(audio))

    def _call(self, failed: str, action: Callable[[], Result]) -> Result:
        answers: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._asked.put((action, answers))
        try:
            result, error = answers.get(timeout=self._limit_s)
        except queue.Empty:
            raise NoAnswer(
                f"Teacher {self._name} gave no answer within {self._limit_s:g} s. If it only needs "
                f"longer, raise teacher.time_limit_s, or give it less at once: lower "
                f"labels.batch_s or teacher.max_chunk_s."
            ) from None
        if isinstance(error, LipstillError | ExporterError):
            raise error
        if isinstance(error, OSError) and error.errno in FULL:
            raise StorageError(
                f"Teacher {self._name} {failed}: {error.strerror}. It may need temporary files: free "
                f"some room in {gettempdir()}, or set TMPDIR to a folder that has more."
            ) from error
        if error is not None:
            said = " ".join(str(error).split())[:400] or "without a message"
            raise TeacherError(
                f"Teacher {self._name} {failed}: it raised {type(error).__name__}: {said}. Try it "
                f"alone with lipstill teacher check; --debug shows where it raised."
            ) from error
        return cast(Result, result)


def _serve(asked: "queue.SimpleQueue[Call | None]") -> None:
    while (call := asked.get()) is not None:
        action, answers = call
        _busy.add(threading.get_ident())
        try:
            outcome: Outcome = action(), None
        except BaseException as error:  # noqa: BLE001  an exit would end this thread alone
            outcome = None, error
        _busy.discard(threading.get_ident())
        answers.put(outcome)
        # Else they live until the next call: curves, and all that an error's traceback holds.
        del call, action, answers, outcome
