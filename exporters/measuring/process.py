"""A fresh process for each figure, so that nothing that was done before has a part in it."""

import os
import subprocess
import sys
from pathlib import Path

import exporters
from exporters.errors import MissingToolError, ModelFileError

_SHOWN = 2000


def in_fresh_process(mode: str, *files: Path, **options: int) -> str:
    """What ``python -m exporters.measuring MODE [--OPTION=NUMBER]... FILE...`` writes.

    Raises MissingToolError, and ModelFileError for everything else that ends it.
    """
    done = start(mode, *files, **options)
    if done.returncode == MissingToolError.exit_code:
        raise MissingToolError(done.stderr.strip())
    if done.returncode != 0:
        raise ModelFileError(
            f"the process that measured {files[0]} ended with code {done.returncode}: "
            f"{done.stderr.strip()[-_SHOWN:]}"
        )
    return done.stdout


def start(mode: str, *files: Path, **options: int) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, however that is."""
    command = [sys.executable, "-P", "-m", "exporters.measuring", mode]
    command += [f"--{name}={number}" for name, number in options.items()]
    command += ["--", *(str(file) for file in files)]
    # Only this package's folder is added: from a checkout nothing else says where it lies, and the
    # working folder could hold an onnx.py.
    home = str(Path(exporters.__path__[0]).resolve().parent)
    paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
