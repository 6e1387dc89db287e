"""Measuring what a model file costs: bytes here, time and memory each in a process of its own.

Everything is of the file as it lies there, in its own runtime, called from Python. ``benchmark``
has the records; ``python -m exporters.measuring`` is what runs in the processes.
"""

from collections.abc import Sequence
from pathlib import Path

from exporters import records
from exporters.errors import ModelFileError
from exporters.files import describe_file
from exporters.machine import machine_facts, usable_cpus
from exporters.measuring.arena import arena_of
from exporters.measuring.figures import Benchmark, Memory, Pace, Size
from exporters.measuring.memory import can_tell
from exporters.measuring.pace import Paced
from exporters.measuring.process import in_fresh_process
from exporters.measuring.size import download_bytes
from exporters.targets.contract import load_target, target_of


def measure(
    path: Path,
    *,
    reference: Path | None = None,
    runs: int = 200,
    warmup: int = 20,
    threads: Sequence[int] | None = None,
) -> Benchmark:
    """Measure a model file: its size, its latency with each number of ``threads``, its memory.

    Latency is that of one window a call, ``runs`` times after ``warmup`` calls, in turns with
    ``reference``, so that whatever else the machine does meets both alike. Without one the file
    takes turns with itself, opened twice: the spread of that ratio is what this machine cannot tell
    apart. ``threads`` are one and all that this process may use, where nothing else is said.

    A file that its runtime only evaluates has a size, and nothing is run; on Windows nobody is asked
    for memory. Raises ValueError for
    counts below 1 (``warmup``: 0) and for a reference that is only evaluated; ModelFileError,
    MissingToolError.
    """
    counts = all_and_one() if threads is None else tuple(dict.fromkeys(threads))
    if runs < 1 or warmup < 0 or not counts or min(counts) < 1:
        raise ValueError(
            f"runs {runs} and threads {list(counts)} must be 1 or more, warmup {warmup} 0"
        )
    other = path if reference is None else reference
    for file in (path, other):
        target_of(file)
        if not file.exists():
            raise ModelFileError(f"{file} does not exist; expected a model file to measure.")
    evaluated = load_target(target_of(path)).EVALUATED
    if load_target(target_of(other)).EVALUATED and not evaluated:
        raise ValueError(f"{other} cannot be timed: its runtime only evaluates it")
    size = size_of(path)
    paces: list[Pace] = []
    memory, machine = None, machine_facts()
    if not evaluated:
        for count in counts:
            said = in_fresh_process("pace", path, other, runs=runs, warmup=warmup, threads=count)
            paced = records.from_json(Paced, said)
            paces.append(paced.pace)
            machine |= paced.runtime
        if can_tell():
            memory = records.from_json(Memory, in_fresh_process("memory", path))
    return Benchmark(
        file=path.name,
        sha256=describe_file(path, target_of(path)).sha256,
        size=size,
        paces=tuple(paces),
        memory=memory,
        arena=arena_of(path),
        machine=machine,
    )


def size_of(path: Path) -> Size:
    """Bytes of a model file, or of all files of a package. Raises ModelFileError, MissingToolError."""
    target = target_of(path)
    return Size(
        bytes=describe_file(path, target).bytes,
        download_bytes=download_bytes(path),
        weight_bytes=load_target(target).structure(path).weight_bytes,
    )


def all_and_one() -> tuple[int, ...]:
    """The numbers of threads that are measured: one, and as many as this process may use."""
    return tuple(dict.fromkeys((1, usable_cpus())))
