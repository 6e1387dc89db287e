"""How a run keeps its results: content keys, atomic writes, one run at a time.

A stage works either in `atomic_folder`, all or nothing, or file by file with `atomic_write` when it
has to be resumable. It ends with `seal`, which lists what was made; the next run asks `stage`
whether that list still stands for the same key. Nothing here writes a time of day, so equal results
are equal bytes.

`exporters.atomic` does the writing. A run folder holds no links, so that a folder from somewhere
else cannot have a run write outside of it: `run_lock` sees to that.
"""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from compress.errors import InputError, LockedError, StorageError
from exporters import atomic
from exporters.errors import ModelFileError
from exporters.regular import check_regular

__all__ = [
    "Stage",
    "atomic_file",
    "atomic_folder",
    "atomic_write",
    "content_key",
    "file_hash",
    "kept",
    "run_lock",
    "seal",
    "stage",
    "storage_errors",
    "tool_versions",
]

STAGE_FILE = "stage.json"
LOCK_FILE = ".lock"
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows lacks it

Made = TypeVar("Made")
Result = TypeVar("Result")
# What readers of our own files raise for one that they did not write, or that was damaged.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, InputError, ModelFileError)

# Only a write can fail like this, whatever path the system names.
_FULL = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EFBIG: "the file would be larger than the file system or `ulimit -f` allows",
    errno.EROFS: "the file system is read-only",
}
# Reading an input can fail like this too: these count only when the path named is the one being
# written.
_DENIED = {
    errno.EACCES: "permission is denied: check the owner and mode of the folder",
    errno.EPERM: "the operation is not permitted: check the owner and mode of the folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.EISDIR: "a folder stands where a file is needed",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.ELOOP: "a link stands where a file of the run belongs: remove the link",
}


def content_key(**parts: object) -> str:
    """First 16 hexadecimal digits of the SHA-256 of `parts` as canonical JSON.

    Parts are what JSON can say: str, int, float, bool, None, lists, tuples, and dicts with string
    keys, in any order. 1 and 1.0 are different parts. Raises TypeError for anything else and
    ValueError for NaN or infinity.
    """
    return hashlib.sha256(canonical_json(parts)).hexdigest()[:16]


def canonical_json(value: object) -> bytes:
    """`value` as JSON with sorted keys and no spaces, ASCII: equal values are equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def file_hash(path: Path | str) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits. Raises OSError when it cannot be read."""
    check_regular(Path(path))
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tool_versions(*packages: str) -> dict[str, str | None]:
    """Installed version of each distribution, None where it is not installed. Imports none of
    them.
    """
    return {package: _version(package) for package in packages}


@cache  # every key asks for some
def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


@contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Raise StorageError where the system refuses to write at or below `path`.

    Every other error passes as it is.
    """
    try:
        yield
    except OSError as error:
        reason = _FULL.get(error.errno or 0)
        if reason is None and _concerns(error, Path(path)):
            reason = _DENIED.get(error.errno or 0)
        if reason is None:
            raise
        raise StorageError(
            f"Could not write {path}: {reason}, or choose another place with --out. "
            f"The system said: {error.strerror}. What was finished before is kept, and the same "
            f"command goes on from there."
        ) from error


def _concerns(error: OSError, path: Path) -> bool:
    """Whether the error names `path`, a stand-in of it, something in these, or a folder above."""
    if not isinstance(error.filename, str | bytes):
        return False
    named = Path(os.fsdecode(error.filename)).absolute()
    path = path.absolute()
    if path.is_relative_to(named):
        return True
    if not named.is_relative_to(path.parent):
        return False
    first = named.relative_to(path.parent).parts[0]
    return first in (path.name, f".{path.name}.old") or atomic.temporary_of(first) == path.name


def atomic_write(path: Path | str, data: bytes | str) -> None:
    """Write `data` to `path`, text as UTF-8: whatever happens, all of it or the old file is there.

    Makes the folders above. Raises StorageError when the system refuses.
    """
    with storage_errors(path):
        atomic.write_atomically(path, data)


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """`exporters.atomic.atomic_file`, but raises StorageError when the system refuses."""
    with storage_errors(path), atomic.atomic_file(path) as temporary:
        yield temporary


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """`exporters.atomic.atomic_folder`, but raises StorageError when the system refuses."""
    with storage_errors(path), atomic.atomic_folder(path) as temporary:
        yield temporary


@contextmanager
def run_lock(folder: Path | str) -> Iterator[None]:
    """Hold `folder` for this process, by a system lock on `folder/.lock`; the system lets go when
    it dies.

    The lock file stays, with the process id of its last holder: removing it would let two runs hold
    two different files of that name. Makes the folder, and clears away the temporary files that a
    killed run left anywhere in it. Raises LockedError at once when another run holds it, and
    StorageError when the folder cannot be written, holds a link, or its file system has no locks.
    """
    folder = Path(folder)
    with storage_errors(folder / LOCK_FILE):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o644)
    try:
        if not _try_lock(descriptor, folder):
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            raise LockedError(
                f"Another run (process {holder or 'unknown'}) is at work in {folder}. Wait until "
                f"it ends, stop it, or choose another folder with --out."
            )
        with storage_errors(folder / LOCK_FILE):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        with storage_errors(folder):
            _tidy(folder)
        yield
    finally:
        os.close(descriptor)  # which also unlocks


def _tidy(folder: Path) -> None:
    """Remove what killed writers left in `folder`. Raises StorageError for a link in it."""
    for here, folders, files in os.walk(folder):
        if links := [name for name in (*folders, *files) if Path(here, name).is_symlink()]:
            link = Path(here, min(links))
            raise StorageError(
                f"{link} is a link to {os.readlink(link)}. Expected a run folder without links: what "
                f"a run writes through one would replace files elsewhere. Remove the link, put what "
                f"it points to in its place, or choose another folder with --out."
            )
        for name in (*folders, *files):
            if atomic.temporary_of(name) is not None:
                atomic.remove(Path(here, name))
        folders[:] = [name for name in folders if atomic.temporary_of(name) is None]


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int, folder: Path) -> bool:
        # Windows forbids others to read locked bytes, so the byte locked lies far behind the
        # process id.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _try_lock(descriptor: int, folder: Path) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
            raise StorageError(
                f"The file system of {folder} has no locks ({error.strerror}), so two runs could "
                f"write over each other. Choose a folder on a local disk with --out."
            ) from error
        return True


@dataclass(frozen=True)
class Stage:
    """What a stage's folder holds. `files`: relative posix path → SHA-256; empty unless `hit`.

    `reason` says in a few words why it is not a hit; it is empty for a hit.
    """

    folder: Path
    key: str
    hit: bool
    files: Mapping[str, str]
    reason: str = ""


def stage(folder: Path | str, key: str, *, verify: bool = False) -> Stage:
    """Whether `folder` holds the finished result of `key`: same key, and every file there with its
    size.

    `verify` also hashes every file, which takes as long as reading them. Never raises for a bad
    folder: a damaged result is a miss with its `reason`, and is made again.
    """
    folder = Path(folder)

    def miss(reason: str) -> Stage:
        return Stage(folder, key, False, MappingProxyType({}), reason)

    try:
        record = json.loads((folder / STAGE_FILE).read_text("utf-8"))
        if record["key"] != key:
            return miss(f"made with other inputs or settings (key {record['key']})")
        for name, expected in record["files"].items():
            path = folder / name
            if not path.is_file():
                return miss(f"{name} is gone")
            if path.stat().st_size != expected["bytes"]:
                return miss(f"{name} has {path.stat().st_size} bytes, {expected['bytes']} recorded")
            if verify and file_hash(path) != expected["sha256"]:
                return miss(f"{name} is not the file that was recorded")
        files = {name: expected["sha256"] for name, expected in record["files"].items()}
    except (FileNotFoundError, NotADirectoryError):
        return miss("not made yet")
    except OSError as error:
        return miss(f"cannot be read: {error.strerror}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return miss(f"{STAGE_FILE} is damaged")
    return Stage(folder, key, True, MappingProxyType(files))


def seal(folder: Path | str, key: str) -> Stage:
    """Declare the result of `key` in `folder` complete: list every file in `stage.json`, written
    last.

    Temporary files and the lock are not results and are left out. Returns the hit that `stage` will
    find. Raises StorageError when the list cannot be written.
    """
    folder = Path(folder)
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and name != Path(STAGE_FILE):
            files[name.as_posix()] = {"bytes": path.stat().st_size, "sha256": file_hash(path)}
    record = {"key": key, "files": files}
    atomic_write(folder / STAGE_FILE, json.dumps(record, indent=1, sort_keys=True) + "\n")
    return stage(folder, key)


def kept(
    folder: Path,
    key: str,
    make: Callable[[], Made],
    write: Callable[[Path, Made], str | None],
    read: Callable[[Path], Result],
) -> Result:
    """What `read` gives of the result of `key` in `folder`: found there, or made now.

    `write` puts what `make` gives into an empty folder, which takes its place whole. It returns what
    to seal the result under where that is not `key`, so that the next run makes it again. A result
    that is there and cannot be read, because another version of lipstill wrote it or because it was
    damaged, is made again too.
    """
    if stage(folder, key).hit:
        try:
            return read(folder)
        except UNREADABLE:
            pass
    made = make()
    with atomic_folder(folder) as filled:
        seal(filled, write(filled, made) or key)
    return read(folder)
