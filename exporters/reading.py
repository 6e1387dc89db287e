"""The edge where a file from elsewhere is read.

What a parser raises for damaged bytes has no common base: text that is not UTF-8, a message of
protocol buffers that is cut, an index that is too large, a list in the place of a number. All of it
means that the file cannot be read, and becomes one error there. What is not the file's fault stays
as it is: a package that is not installed, a full disk, and errors that are in words already.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporters.errors import ModelFileError
from exporters.regular import check_regular

FULL = frozenset((errno.ENOSPC, errno.EDQUOT))
"""What the system says when there is no room: error numbers of OSError."""
SUMS_HELP = (
    "If it was copied or downloaded, compare its SHA-256 with the one in SHA256SUMS; else make it "
    "again."
)
_LONGEST = 300


@contextmanager
def reading(
    path: Path, what: str, refusal: type[Exception] = ModelFileError, advice: str = SUMS_HELP
) -> Iterator[None]:
    """Raise ``refusal`` for whatever a parser raises inside, such as "PATH cannot be read as WHAT".

    A pipe is refused at once: to open it would be to wait.
    """
    try:
        check_regular(path)
        yield
    except Exception as error:
        in_words = hasattr(error, "exit_code")
        no_room = isinstance(error, OSError) and error.errno in FULL
        if in_words or no_room or isinstance(error, ImportError):
            raise
        raise refusal(f"{path} cannot be read as {what} ({reason(error)}). {advice}") from error


def reason(error: BaseException) -> str:
    """The type of an error and what it says, on one line of a length that can be read."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    said = " ".join(words.split()) or "it ends too early"
    if len(said) > _LONGEST:
        said = f"{said[: _LONGEST // 2]} … {said[-_LONGEST // 2 :]}"
    return f"{type(error).__name__}: {said}"
