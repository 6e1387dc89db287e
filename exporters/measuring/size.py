"""How large a model is as a download."""

import zlib
from pathlib import Path

_CHUNK = 1 << 20
_NO_HEADER = -15  # as in a .zip, where the archive has headers of its own


def download_bytes(path: Path) -> int:
    """A file, or all files of a package, each compressed with DEFLATE at its highest level.

    Names and checksums that an archive adds are left out: some hundred bytes a file.
    """
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return sum(deflated_bytes(file) for file in files if file.is_file())


def deflated_bytes(path: Path) -> int:
    """One file, compressed."""
    squeezing = zlib.compressobj(9, zlib.DEFLATED, _NO_HEADER)
    total = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total += len(squeezing.compress(chunk))
    return total + len(squeezing.flush())
