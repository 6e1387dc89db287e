"""Files and folders that appear whole or not at all, whatever happens meanwhile.

A write goes to a temporary name beside its target, ``.NAME.RANDOM.tmp``, which is renamed when all
of it is on the disk. The temporary name is made exclusively, so a link that somebody planted there
is never followed. Its writer holds a system lock on it, which the system lets go when the writer
dies: the next write to the same target clears away what a killed one left, and nothing else.
"""

import contextlib
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp", re.DOTALL)


def write_atomically(path: Path | str, content: bytes | str) -> None:
    """Write `content` to `path`, text as UTF-8. Makes the folders above. Raises OSError."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Give a path to write a file at, which becomes `path` when the block ends well.

    Makes the folders above. When the block raises, the file goes and `path` is as before. Raises
    OSError when the system refuses.
    """
    path = Path(path)
    with _temporary(path, _new_file) as temporary:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    _sync(path.parent)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `path` when the block ends well.

    When the block raises, the folder goes and `path` is as before. A kill leaves at most a
    temporary folder or ``.NAME.old`` beside `path`, which the next call clears away. Raises OSError
    when the system refuses.
    """
    path = Path(path)
    old = path.with_name(f".{path.name}.old")
    if os.path.lexists(old) and not os.path.lexists(path):  # killed between the two renames
        os.rename(old, path)
    remove(old)
    with _temporary(path, _new_folder) as temporary:
        yield temporary
        _sync_tree(temporary)
        # No portable call swaps two folders, so the old one steps aside, and back if the new one
        # cannot come.
        if os.path.lexists(path):
            os.rename(path, old)
        try:
            os.rename(temporary, path)
        except OSError:
            if os.path.lexists(old):
                os.rename(old, path)
            raise
        _sync(path.parent)
    remove(old)


def temporary_of(name: str) -> str | None:
    """The name that a temporary file or folder of this name stands in for; None for others."""
    match = _TEMPORARY.fullmatch(name)
    return match and match["name"]


def remove(path: Path) -> None:
    """Remove a file, a link (and not what it points to) or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _temporary(path: Path, create: Callable[[Path], int | None]) -> Iterator[Path]:
    """A new temporary name beside `path`, locked while the block lasts; gone after it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear(path)
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        descriptor = create(temporary)
        # Another writer's `_clear` may have met it before it was locked.
        if _lock(descriptor) != "taken" and os.path.lexists(temporary):
            break
        _close(descriptor)
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):  # what ended the block is what there is to say
            remove(temporary)
        _close(descriptor)


def _clear(path: Path) -> None:
    """Remove what writers of `path` that were killed left beside it."""
    with os.scandir(path.parent) as entries:
        leftovers = [Path(e.path) for e in entries if temporary_of(e.name) == path.name]
    for leftover in leftovers:
        with contextlib.suppress(OSError):  # a link, or gone meanwhile
            descriptor = _opened(leftover)
            try:
                if _lock(descriptor) == "ours":
                    remove(leftover)
            finally:
                _close(descriptor)


def _close(descriptor: int | None) -> None:
    """Let go of a temporary name, and of its lock."""
    if descriptor is not None:
        os.close(descriptor)


if sys.platform == "win32":
    # What a writer has open cannot be removed or renamed there: files are protected without a lock,
    # and folders cannot be opened.

    def _new_file(path: Path) -> int | None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
        return None

    def _new_folder(path: Path) -> int | None:
        path.mkdir()
        return None

    def _opened(path: Path) -> int | None:
        return None

    def _lock(descriptor: int | None) -> Literal["ours", "taken", "no locks"]:
        return "ours"

    def _sync(path: Path) -> None:
        """Wants a writable handle, which folders do not have."""

else:
    import fcntl

    def _new_file(path: Path) -> int | None:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)

    def _new_folder(path: Path) -> int | None:
        path.mkdir()
        return _opened(path)

    def _opened(path: Path) -> int | None:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)

    def _lock(descriptor: int | None) -> Literal["ours", "taken", "no locks"]:
        assert descriptor is not None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return "taken"
        except OSError:
            return "no locks"
        return "ours"

    def _sync(path: Path) -> None:
        """Have a file's or a folder's content on the disk before anything refers to it."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for here, _, names in os.walk(folder):
        for name in names:
            _sync(Path(here, name))
        _sync(Path(here))
