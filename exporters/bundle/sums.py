"""``SHA256SUMS`` in the format of ``sha256sum``: written, and compared with what a folder holds."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from exporters.atomic import write_atomically
from exporters.errors import ModelFileError

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^\\\r\n]+)")


def visible_files(folder: Path) -> list[str]:
    """POSIX paths of all files below a folder, sorted; without those that are hidden or in a hidden
    folder, and without ``SHA256SUMS`` itself.
    """
    names = [
        path.relative_to(folder)
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
    ]
    shown = (name for name in names if not any(part.startswith(".") for part in name.parts))
    return sorted(name.as_posix() for name in shown if name != Path(SUMS))


def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write ``SHA256SUMS`` over these files of a folder; ``sha256sum --check`` reads it."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in sorted(names)]
    write_atomically(folder / SUMS, "".join(lines).encode())


def check_sums(folder: Path, expected: Iterable[str] | None = None) -> int:
    """Compare a folder with its ``SHA256SUMS``, and count the files listed there.

    ``expected`` are the files that must be listed, and no others; without it, every visible file
    in a folder of which some file is listed. Raises ModelFileError that names every file that is
    missing, unreadable, different or not listed.
    """
    listed = _read(folder / SUMS)
    faults = []
    for name, wanted in listed.items():
        try:
            found = _sha256(folder / name)
        except FileNotFoundError:
            faults.append(f"{name} is missing")
        except OSError as error:
            faults.append(f"{name} cannot be read: {error.strerror}")
        else:
            if found != wanted:
                faults.append(f"{name} has the SHA-256 {found}, expected {wanted}")
    there = _beside(folder, listed) if expected is None else expected
    faults += [f"{name} is not listed" for name in there if name not in listed]
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ModelFileError(
            f"{folder} does not hold what its {SUMS} says, {count}:"
            + "".join(f"\n  - {fault}" for fault in faults)
            + "\nCopy it again from where it came, or make it again."
        )
    return len(listed)


def _beside(folder: Path, listed: Iterable[str]) -> Iterator[str]:
    """Every visible file in the folders at the top of which some file is listed."""
    tops = {PurePosixPath(name).parts[0] for name in listed}
    return (name for name in visible_files(folder) if PurePosixPath(name).parts[0] in tops)


def _read(path: Path) -> dict[str, str]:
    """POSIX path -> SHA-256."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{path} is missing, so nobody can tell whether the files beside it are the ones that "
            "were exported. An export or a run that ended well writes it last."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path} cannot be read: {error}.") from error
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        entry = _LINE.fullmatch(line)
        if entry is None or not inside(entry[2]) or entry[2] in listed:
            raise ModelFileError(
                f"{path} is damaged in line {number}: found {line[:100]!r}, expected a SHA-256, two "
                "spaces and a path below this folder, each path once."
            )
        listed[entry[2]] = entry[1]
    if not listed:
        raise ModelFileError(f"{path} lists no file.")
    return listed


def inside(name: str) -> bool:
    """Whether a POSIX path stays below the folder that it starts from, and is written plainly."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
