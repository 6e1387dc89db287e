"""Model files on disk: size and hash."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """A model file that was written: where it lies, for which target, its size and hash."""

    path: Path
    target: str
    bytes: int
    sha256: str


def user_path(name: str | Path, base: Path = Path()) -> Path:
    """What a person means by a path, relative to ``base``: only ``~/`` is the home folder.

    ``~backup`` is a name like others, and never the home of another user. Where the home folder is
    not known, ``~/`` is a folder of that name.
    """
    text = str(name)
    return base / (os.path.expanduser(text) if text.startswith("~/") else text)


def describe_file(path: Path, target: str) -> ExportedFile:
    """Measure a model file, or a model that is a folder of files.

    The hash of a single file is the SHA-256 of its bytes; that of a folder covers the relative name
    and the content hash of every file in it, in the order of their names. Raises FileNotFoundError.
    """
    if not path.is_dir():
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return ExportedFile(path=path, target=target, bytes=len(content), sha256=digest)
    total, digest_of_all = 0, hashlib.sha256()
    for member in sorted(member for member in path.rglob("*") if member.is_file()):
        content = member.read_bytes()
        total += len(content)
        name = member.relative_to(path).as_posix()
        digest_of_all.update(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
    return ExportedFile(path=path, target=target, bytes=total, sha256=digest_of_all.hexdigest())


def hash_of(path: Path) -> str | None:
    """The hash that `describe_file` gives, None where there is no file."""
    return describe_file(path, "").sha256 if path.exists() else None
