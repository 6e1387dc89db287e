"""Files that stay open for whoever goes on where another stopped, in whatever thread."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Closes(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Closes)


class KeptOpen(Generic[T]):
    """At most `most` open things, each in the hands of one user at a time; the oldest are closed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: list[T] = []
        self._lock = threading.Lock()

    def take(self, fits: Callable[[T], bool]) -> T | None:
        """One that fits, the last that was put back: it is the caller's until it is put back again."""
        with self._lock:
            for i in reversed(range(len(self._idle))):
                if fits(self._idle[i]):
                    return self._idle.pop(i)
        return None

    def put(self, thing: T) -> None:
        """Keep it for whoever goes on with it."""
        with self._lock:
            self._idle.append(thing)
            oldest = self._idle.pop(0) if len(self._idle) > self._most else None
        if oldest is not None:
            oldest.close()

    def close(self) -> None:
        """Close all that nobody has in hand."""
        with self._lock:
            idle, self._idle = self._idle, []
        for thing in idle:
            thing.close()
