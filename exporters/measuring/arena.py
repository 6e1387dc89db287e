"""The arena of TensorFlow Lite Micro: all the memory that an int8 file needs beside itself.

Its allocator tells what it gave out when the file was prepared and had run once. It runs in a
process of its own, where what it writes to the descriptors can be caught and a crash ends nothing.
"""

import importlib
import re
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from exporters.measuring.figures import Arena
from exporters.signature import Signature
from exporters.targets.metadata import SIGNATURE_KEY
from exporters.targets.tflite.file import read
from exporters.targets.tflite.target import SUFFIX

_PACKAGE, _TOOL = "tflite_micro", "tflite-micro"
# What it may use: more than any student needs, and no memory before it is touched.
_ROOM = 1 << 28
_LIMIT_S = 120.0
_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
_OFF = re.compile(r"^off by (\S+)$", re.MULTILINE)
_LACKING = re.compile(r"Didn't find op for builtin opcode '(\w+)'")
# Of the largest value of LiteRT: codes that round otherwise stay far below.
_EQUAL = 0.1


def arena_of(path: Path) -> Arena | None:
    """What its allocator records for an int8 .tflite file; None for any other file.

    Where it cannot run the file, or is not installed, the record says why. Raises ModelFileError.
    """
    from exporters.measuring.process import run_module

    if path.suffix.lower() != SUFFIX:
        return None
    _, facts = read(path)
    if Signature.from_json(facts[SIGNATURE_KEY], source=str(path)).precision != "int8":
        return None
    if find_spec(_PACKAGE) is None:
        return _not_run(f"{_TOOL} is not installed here. Install with: pip install {_TOOL}")
    try:
        done = run_module("exporters.measuring", ["arena", "--", str(path)], limit_s=_LIMIT_S)
    except subprocess.TimeoutExpired:
        return _not_run(f"{_TOOL} gave no answer in {_LIMIT_S:g} s")
    return _read(done)


def _read(done: "subprocess.CompletedProcess[str]") -> Arena:
    """What a process said, however it ended."""
    tool = f"{_TOOL} {version(_TOOL)}"
    said = f"{done.stdout}\n{done.stderr}"
    if lacking := _LACKING.search(said):
        return _not_run(f"{tool} has no operation {lacking[1]}")
    if done.returncode < 0:
        return _not_run(f"{tool} was ended by signal {-done.returncode}")
    total, off = _TOTAL.search(said), _OFF.search(done.stdout)
    if done.returncode != 0 or total is None or off is None:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return _not_run(f"{tool} ended with code {done.returncode}: {' '.join(lines)[-500:]}")
    detail = f"recorded by {tool}"
    if not float(off[1]) <= _EQUAL:
        detail += (
            f", which computes something else than LiteRT: {float(off[1]):.0%} of its largest value "
            "lie between them"
        )
    return Arena(bytes=int(total[1]), detail=detail)


def _not_run(reason: str) -> Arena:
    return Arena(bytes=None, detail=f"not run: {reason}")


def record_here(path: Path) -> None:
    """Run a file in TensorFlow Lite Micro, which then writes to the descriptors what it gave out.

    Before it stands how far its output is from LiteRT's, by LiteRT's largest value.
    """
    import numpy as np

    from exporters.targets.tflite.target import open_runtime

    runtime = importlib.import_module(_PACKAGE).runtime

    content, _ = read(path)
    reference = open_runtime(path)
    window = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 1, reference.signature.window))
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ROOM)
    interpreter.set_input(window.astype(np.float32), 0)
    interpreter.invoke()
    found, expected = interpreter.get_output(0), reference.run(window.astype(np.float32))
    sys.stdout.write(f"off by {np.abs(found - expected).max() / np.abs(expected).max()}\n")
    sys.stdout.flush()
    interpreter.print_allocations()
