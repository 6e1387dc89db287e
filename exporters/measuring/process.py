"""A fresh process for each figure, so that nothing that was done before has a part in it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import exporters
from exporters.errors import MissingToolError, ModelFileError

_SHOWN = 2000


def in_fresh_process(mode: str, *files: Path, **options: int) -> str:
    """What ``python -m exporters.measuring MODE [--OPTION=NUMBER]... FILE...`` writes.

    Raises MissingToolError, and ModelFileError for everything else that ends it.
    """
    given = [f"--{name}={number}" for name, number in options.items()]
    done = run_module("exporters.measuring", [mode, *given, "--", *(str(file) for file in files)])
    if done.returncode == MissingToolError.exit_code:
        raise MissingToolError(done.stderr.strip())
    if done.returncode != 0:
        raise ModelFileError(
            f"the process that measured {files[0]} ended with code {done.returncode}: "
            f"{done.stderr.strip()[-_SHOWN:]}"
        )
    return done.stdout


def run_module(
    module: str,
    arguments: Sequence[str],
    *,
    given: str = "",
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m MODULE`` to its end, ``given`` on its standard input.

    Raises subprocess.TimeoutExpired when it took longer than ``limit_s`` and was killed.
    """
    # Only this package's folder is added: from a checkout nothing else says where it lies, and the
    # working folder could hold an onnx.py.
    home = str(Path(exporters.__path__[0]).resolve().parent)
    paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-P", "-m", module, *arguments],
        # What it writes is read as UTF-8, whatever this machine's own encoding is.
        env={
            **os.environ,
            **(environment or {}),
            "PYTHONPATH": paths,
            "PYTHONIOENCODING": "utf-8",
        },
        input=given,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=limit_s,
        check=False,
    )
