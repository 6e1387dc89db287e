"""The system's folder for temporary files, which converters and runtimes fill beside our own."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporters.errors import ScratchError
from exporters.reading import FULL

# How C++ says it, which raises errors without a number: std::filesystem with the files' names.
_SAID = tuple(os.strerror(number) for number in FULL)
_FILESYSTEM = re.compile(r"filesystem error: ([^\[\n]+?) *\[([^\]]+)\]")
_NOWHERE = "No usable temporary directory"


@contextmanager
def scratch() -> Iterator[None]:
    """Raise ScratchError where temporary files are what could not be written inside.

    A converter's failure for that reason is no fault of the module. What is written elsewhere,
    such as the result, does not belong inside.
    """
    try:
        yield
    except Exception as error:
        said = next(filter(None, map(_refused, _chain(error))), None)
        if said is None or isinstance(error, ScratchError):
            raise
        raise ScratchError(
            f"Temporary files could not be written to {_folder()}: {said}. Free some room there, or "
            f"set TMPDIR to a folder that has more."
        ) from error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__  # type: ignore[assignment]


def _refused(error: BaseException) -> str | None:
    """What the system said where it refused a temporary file; None for any other error."""
    text = str(error)
    if isinstance(error, OSError):
        if error.errno in FULL or _NOWHERE in text or _is_temporary(error.filename):
            return error.strerror or text
        return None
    if (found := _FILESYSTEM.search(text)) and _is_temporary(found[2]):
        return found[1]
    return next((words for words in _SAID if words in text), None)


def _is_temporary(name: object) -> bool:
    if not isinstance(name, str | bytes):
        return False
    return Path(os.fsdecode(name)).absolute().is_relative_to(Path(_folder()).absolute())


def _folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # there is none at all
        return os.environ.get("TMPDIR", "any of the usual folders")
