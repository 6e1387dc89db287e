"""What a command finds around it and may not fail for: no home folder, a poor page of characters, busy cores."""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Ways to treat a character that cannot be written which can end in an exception.
_FAILING = ("strict", "surrogateescape")


def replace_what_cannot_be_written() -> None:
    """Let stdout and stderr replace characters that their encoding lacks.

    A redirected stdout has an old code page on Windows, and a file's name need not be UTF-8. What a
    command did is done by then: no character is worth another exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _FAILING:
            stream.reconfigure(errors="replace")


def wait_without_spinning() -> None:
    """Let PyTorch's threads sleep while they wait for each other, unless the user has said how.

    They would spin, which keeps a core from whoever else computes on it. Where that is the thread
    that is waited for, two threads are many times slower than one (docs/benchmarks.md). OpenMP reads
    this when PyTorch is imported, and processes that are started inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def home() -> Iterator[None]:
    """Give this process and its children an empty home folder where the machine names none.

    A user without HOME and without an entry in passwd has none, as in containers. We need none, but
    packages that we import ask for it at once. It is removed at the end.
    """
    try:
        Path.home()
    except RuntimeError:
        with tempfile.TemporaryDirectory(prefix="lipstill-home-") as folder:
            # Both are asked for: POSIX and Windows.
            names = {name: os.environ.get(name) for name in ("HOME", "USERPROFILE")}
            os.environ.update(dict.fromkeys(names, folder))
            try:
                yield
            finally:
                for name, before in names.items():
                    if before is None:
                        del os.environ[name]
                    else:
                        os.environ[name] = before
    else:
        yield
