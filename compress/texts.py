"""Text files that people write, whichever editor they use."""

from pathlib import Path

from exporters.regular import check_regular

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 where a byte order mark says so, without the mark.

    Editors on Windows write the mark, and so does PowerShell's `>`. Raises `OSError`, also for a
    pipe or a device, and `UnicodeDecodeError` (a `ValueError`) for bytes that are no text.
    """
    check_regular(path)
    return decoded(path.read_bytes())


def decoded(content: bytes) -> str:
    """The same of bytes that came from elsewhere; lines end in one character."""
    marked = content.startswith(_UTF16_MARKS)
    text = content.decode("utf-16" if marked else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")
