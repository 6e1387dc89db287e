"""The process that measures a model file: ``python -m exporters.measuring FILE`` writes a ``Benchmark``."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import exporters
from exporters import records
from exporters.errors import ExporterError, MissingToolError, ModelFileError
from exporters.files import describe_file
from exporters.machine import machine_facts
from exporters.runtime import Runtime
from exporters.targets import load_target, target_of

def measure(
    path: Path,
    *,
    reference: Path | None = None,
    runs: int = 200,
    warmup: int = 20,
    threads: int = 1,
) -> Benchmark:
    """Time ``path`` in a fresh process, one window a call, ``runs`` times after ``warmup`` calls.

    With a ``reference`` the two files take turns in that process, so that whatever else the machine
    does meets both alike; judge by the ratio then, since each finds the other's data in the cache.

    Raises ValueError for counts below 1 (``warmup``: 0), ModelFileError, MissingToolError.
    """
    if runs < 1 or warmup < 0 or threads < 1:
        raise ValueError(f"runs {runs} and threads {threads} must be 1 or more, warmup {warmup} 0")
    files = [path] if reference is None else [path, reference]
    for file in files:
        target_of(file)
        if not file.exists():
            raise ModelFileError(f"{file} does not exist; expected a model file to time.")
    command = [sys.executable, "-P", "-m", "exporters.benchmark"]
    command += [f"--runs={runs}", f"--warmup={warmup}", f"--threads={threads}", "--"]
    command += [str(file) for file in files]
    # Only this package's folder is added: from a checkout nothing else says where it lies, and the
    # working folder could hold an onnx.py.
    home = str(Path(exporters.__path__[0]).resolve().parent)
    paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode == MissingToolError.exit_code:
        raise MissingToolError(done.stderr.strip())
    if done.returncode != 0:
        raise ModelFileError(
            f"the process that timed {path} ended with code {done.returncode}: "
            f"{done.stderr.strip()[-2000:]}"
        )
    return records.from_json(Benchmark, done.stdout)


def measure_here(files: Sequence[Path], *, runs: int, warmup: int, threads: int) -> Benchmark:
    """Time one file, or two in turns, in this process; ``measure`` calls this in a fresh one.

    Nothing is timed if a runtime only evaluates its file: that says nothing of any device.
    """
    targets = [load_target(target_of(path)) for path in files]
    runtimes = [
        target.open_runtime(path, threads=threads)
        for target, path in zip(targets, files, strict=True)
    ]
    times: list[Latency | None] = [None] * len(files)
    if not any(target.EVALUATED for target in targets):
        times = [_summary(series) for series in _time_in_turns(runtimes, runs, warmup)]
    described = describe_file(files[0], target_of(files[0]))
    compared = len(files) == 2
    return Benchmark(
        file=files[0].name,
        bytes=described.bytes,
        sha256=described.sha256,
        latency=times[0],
        reference=files[1].name if compared else None,
        reference_latency=times[1] if compared else None,
        ratio=_ratio(times) if compared else None,
        machine={**machine_facts(), **runtimes[0].describe(), "threads": str(threads)},
    )


def _ratio(times: "Sequence[Latency | None]") -> float | None:
    one, other = times
    return one.median_ms / other.median_ms if one and other else None


def _time_in_turns(runtimes: Sequence[Runtime], runs: int, warmup: int) -> list[list[float]]:
    """Milliseconds of each call, one list a runtime."""
    # Noise, because silence would let sparse and denormal arithmetic take other paths than speech.
    draw = np.random.default_rng(0)
    windows = [
        draw.uniform(-0.5, 0.5, size=(1, 1, runtime.signature.window)).astype(np.float32)
        for runtime in runtimes
    ]
    times: list[list[float]] = [[] for _ in runtimes]
    order = list(range(len(runtimes)))
    for turn in range(warmup + runs):
        # Who begins changes each time, so that neither always runs after the other.
        order.reverse()
        for index in order:
            start = time.perf_counter_ns()
            runtimes[index].run(windows[index])
            elapsed = time.perf_counter_ns() - start
            if turn >= warmup:
                times[index].append(elapsed / 1e6)
    return times


def _summary(times_ms: Sequence[float]) -> Latency:
    median, p95, p99 = (float(value) for value in np.percentile(times_ms, [50, 95, 99]))
    return Latency(
        median_ms=median,
        p95_ms=p95,
        p99_ms=p99,
        runs=len(times_ms),
        frame_share=median / FRAME_MS,
    )


def _main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m exporters.benchmark", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("reference", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    files = [given.file] if given.reference is None else [given.file, given.reference]
    try:
        result = measure_here(files, runs=given.runs, warmup=given.warmup, threads=given.threads)
    except ExporterError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(records.to_json(result))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
