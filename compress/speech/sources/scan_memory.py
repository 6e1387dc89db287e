"""What scans found out about files of audio, kept so that a file is read for that only once.

One SQLite file in the user's cache folder, which any number of processes share. It is nothing but a
shortcut: without it, or where it cannot be read or written, scans take longer and find the same. It
can be removed at any time.
"""

import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from compress.store import tool_versions
from exporters.files import user_path

FILE = "scans-1.sqlite3"  # another number for other columns
RULES = 2  # raise when the same file gives other samples, or is unusable for another reason
# Within one tick of a file system's clock, two seconds on FAT, a file can change unseen.
SETTLED_NS = 2 * 10**9
PATIENCE_S = 2.0  # for another process that writes


@dataclass(frozen=True)
class Stamp:
    """By what a file is known again. On Windows `changed_ns` is when it was created."""

    path: str
    bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """Raises OSError for a file that is not there."""
        found = path.stat()
        return cls(os.path.abspath(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True)
class Known:
    """What a file holds: `samples` at 16 kHz, or the `reason` why it is unusable; and its SHA-256.

    The hash is empty where the file could not even be read, which may pass.
    """

    samples: int
    sha256: str
    reason: str = ""


def cache_folder() -> Path:
    """``LIPSTILL_CACHE``, or where this system keeps what can be made again."""
    if chosen := os.environ.get("LIPSTILL_CACHE"):
        return user_path(chosen)
    home = Path("~").expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local", "lipstill")
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "lipstill"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache", "lipstill")


class ScanMemory:
    """The memory, or none where it cannot be opened: then nothing is known and nothing is kept."""

    def __init__(self, database: sqlite3.Connection | None) -> None:
        self._database = database
        self._rules = _rules()

    def recall(self, stamps: Iterable[Stamp]) -> dict[Stamp, Known]:
        """What is known of those of these files that are as they were."""
        found: dict[Stamp, Known] = {}
        if self._database is None:
            return found
        with suppress(sqlite3.Error):
            for stamp in stamps:
                row = self._database.execute(
                    "SELECT samples, sha256, reason FROM files WHERE path = ? AND bytes = ?"
                    " AND modified_ns = ? AND changed_ns = ? AND rules = ?",
                    (*_fields(stamp), self._rules),
                ).fetchone()
                if row is not None:
                    found[stamp] = Known(*row)
        return found

    def remember(self, found: Mapping[Stamp, Known], read_at_ns: int) -> None:
        """Keep what was found. `read_at_ns`: when the first of these was begun to be read."""
        settled = [
            (*_fields(stamp), self._rules, known.samples, known.sha256, known.reason)
            for stamp, known in found.items()
            if max(stamp.modified_ns, stamp.changed_ns) + SETTLED_NS <= read_at_ns
        ]
        if self._database is not None and settled:
            with suppress(sqlite3.Error), self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", settled
                )


@contextmanager
def open_memory() -> Iterator[ScanMemory]:
    """The memory of this user. For the thread that opens it."""
    database = None
    with suppress(sqlite3.Error, OSError, RuntimeError):  # RuntimeError: a user without a home
        database = _connected(cache_folder() / FILE)
    if database is None:
        yield ScanMemory(None)
        return
    with closing(database):
        yield ScanMemory(database)


def _connected(path: Path) -> sqlite3.Connection | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for again in (True, False):
        database = sqlite3.connect(path, timeout=PATIENCE_S)
        try:
            with database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, bytes INTEGER,"
                    " modified_ns INTEGER, changed_ns INTEGER, rules TEXT, samples INTEGER,"
                    " sha256 TEXT, reason TEXT) WITHOUT ROWID"
                )
                database.execute("SELECT rules FROM files LIMIT 1")
        except sqlite3.DatabaseError as error:
            database.close()
            damaged = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
            if not again or getattr(error, "sqlite_errorcode", None) not in damaged:
                return None
            for name in (path.name, f"{path.name}-journal"):
                path.with_name(name).unlink(missing_ok=True)
        else:
            return database
    return None


def _fields(stamp: Stamp) -> tuple[str, int, int, int]:
    # A name that is not valid UTF-8 is not text to SQLite.
    path = stamp.path.encode("utf-8", "backslashreplace").decode()
    return path, stamp.bytes, stamp.modified_ns, stamp.changed_ns


def _rules() -> str:
    return f"{RULES} soundfile {tool_versions('soundfile')['soundfile']}"
