"""Two files in turns, in this process: how long each call takes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporters import records
from exporters.measuring.figures import FRAME_MS, Latency, Pace
from exporters.targets.contract import load_target, target_of
from exporters.targets.runtime import Runtime

# Of a run, each long enough for a median, and enough of them to show what comes and goes.
_STRETCHES = 10


@records.strict
@dataclass(frozen=True, kw_only=True)
class Paced:
    """What one process found."""

    pace: Pace
    """Of the file."""
    runtime: dict[str, str]
    """Name, version and settings of its runtime; threads are the pace's."""


def pace_here(path: Path, reference: Path, *, runs: int, warmup: int, threads: int) -> Paced:
    """Time a file in turns with another, or with itself, each in a runtime of its own.

    Raises ModelFileError, MissingToolError.
    """
    runtimes = [
        load_target(target_of(file)).open_runtime(file, threads=threads)
        for file in (path, reference)
    ]
    times, others = _time_in_turns(runtimes, runs, warmup)
    low, high = _ratios(times, others)
    one, other = _summary(times), _summary(others)
    facts = runtimes[0].describe()
    facts.pop("threads", None)
    return Paced(
        pace=Pace(
            threads=threads,
            latency=one,
            reference=reference.name,
            reference_latency=other,
            ratio=one.median_ms / other.median_ms,
            ratio_low=low,
            ratio_high=high,
        ),
        runtime=facts,
    )


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


def _ratios(times: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest ratio of medians among consecutive stretches."""
    stretches = min(_STRETCHES, len(times))
    ratios = [
        float(np.median(some) / np.median(same))
        for some, same in zip(
            np.array_split(times, stretches), np.array_split(others, stretches), strict=True
        )
    ]
    return min(ratios), max(ratios)


def _summary(times_ms: Sequence[float]) -> Latency:
    median, p95, p99 = (float(value) for value in np.percentile(times_ms, [50, 95, 99]))
    return Latency(
        median_ms=median,
        p95_ms=p95,
        p99_ms=p99,
        runs=len(times_ms),
        frame_share=median / FRAME_MS,
    )
