"""Converters that talk: to sys.stdout, to logging, to warnings, and from C++ to the descriptors."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Let nothing reach the process's standard output and error, by whatever way it comes.

    Warnings are ignored. The root logger has no handler meanwhile, and no other afterwards: a
    package that logs before anybody has set logging up makes it get one that would stay. What is
    raised inside goes on. Descriptors are the whole process's: other threads are silent meanwhile.
    """
    root, mute = logging.getLogger(), _Mute()
    handlers, level = list(root.handlers), root.level
    root.handlers[:] = [logging.NullHandler()]
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(mute),
        contextlib.redirect_stderr(mute),
        _silent_descriptors(),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            mute.silent = False
            root.handlers[:] = handlers
            root.setLevel(level)


class _Mute(io.TextIOBase):
    """Takes what is written and drops it; afterwards it is a way to sys.stderr.

    A package imported meanwhile may keep it as the stream that it logs to.
    """

    silent = True

    def write(self, text: str) -> int:
        return len(text) if self.silent else sys.stderr.write(text)


@contextlib.contextmanager
def _silent_descriptors() -> Iterator[None]:
    _flush()
    kept = {}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for standard in (1, 2):
        with contextlib.suppress(OSError):  # closed: nobody hears it anyhow
            kept[standard] = os.dup(standard)
            os.dup2(nowhere, standard)
    os.close(nowhere)
    try:
        yield
    finally:
        _flush()
        for standard, copy in kept.items():
            os.dup2(copy, standard)
            os.close(copy)


def _flush() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed:  # a program without a console has none
            stream.flush()
