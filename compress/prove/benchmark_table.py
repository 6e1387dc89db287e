"""What was measured of model files, as tables for people and as JSON for machines."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters.measuring.devices import DeviceBenchmark
from exporters.measuring.figures import Benchmark, Pace
from exporters.report.wording import NOT_RUN, human_size, number, percent

_HEADER = (
    "file",
    "size",
    "download",
    "threads",
    "median ms",
    "p95",
    "p99",
    "of a frame",
    "ratio",
    "beside",
    "memory",
    "arena",
)
_DEVICE_HEADER = ("file", "device", "unit", "mean ms", "median", "p95", "of a frame", "memory")


@dataclass(frozen=True)
class Benchmarks:
    """What was measured. `unasked` says of each kind of device that was not asked why."""

    files: tuple[Benchmark, ...]
    devices: tuple[DeviceBenchmark, ...]
    unasked: dict[str, str]

    @property
    def lines(self) -> list[str]:
        """Tables for people, and beneath them what they were taken on."""
        lines = aligned(list(_rows(self.files)))
        if self.files:
            lines += ["", *_remarks(self.files), *_machine(self.files)]
        if self.devices:
            lines += [*([""] if lines else []), *aligned(list(_device_rows(self.devices)))]
            lines += [f"{each.file} on {each.unit}: {each.detail}" for each in self.devices]
        lines += [f"{name}: {NOT_RUN}: {reason}" for name, reason in self.unasked.items()]
        return lines

    def to_json(self) -> str:
        """The same for machines, each file and device as its record."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of equal length as lines: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _rows(benchmarks: Sequence[Benchmark]) -> Iterator[tuple[str, ...]]:
    """The header, and a row for every file and number of threads; a file's own cells stand once."""
    if not benchmarks:
        return
    yield _HEADER
    for benchmark in benchmarks:
        size, arena = benchmark.size, benchmark.arena
        before = (benchmark.file, human_size(size.bytes), human_size(size.download_bytes))
        memory = NOT_RUN if benchmark.memory is None else human_size(benchmark.memory.peak_bytes)
        after = (memory, "" if arena is None else human_size(arena.bytes))
        timed = [_timed(pace, benchmark.file) for pace in benchmark.paces] or [
            ("", *[NOT_RUN] * 4, "", "")
        ]
        for place, cells in enumerate(timed):
            empty = place > 0
            yield (
                *(("",) * len(before) if empty else before),
                *cells,
                *(("",) * len(after) if empty else after),
            )


def _timed(pace: Pace, file: str) -> tuple[str, ...]:
    latency, beside = pace.latency, pace.reference or ""
    if beside == file:
        beside = "itself"
    elif Path(beside).name == Path(file).name:  # files of one run are all called model
        beside = Path(beside).parent.name or beside
    ratio = ""
    if pace.ratio is not None and pace.ratio_low is not None and pace.ratio_high is not None:
        ratio = f"{pace.ratio:.2f} ({pace.ratio_low:.2f} to {pace.ratio_high:.2f})"
    return (
        str(pace.threads),
        number(latency.median_ms),
        number(latency.p95_ms),
        number(latency.p99_ms),
        percent(latency.frame_share),
        ratio,
        beside,
    )


def _device_rows(benchmarks: Sequence[DeviceBenchmark]) -> Iterator[tuple[str, ...]]:
    yield _DEVICE_HEADER
    for each in benchmarks:
        latency = each.latency
        times: tuple[str, ...] = (NOT_RUN,) * 4
        if latency is not None:
            shown = (latency.mean_ms, latency.median_ms, latency.p95_ms)
            times = (*(number(value) for value in shown), percent(latency.frame_share))
        yield each.file, each.device, each.unit, *times, human_size(each.memory_bytes)


def _remarks(benchmarks: Sequence[Benchmark]) -> Iterator[str]:
    """What the cells of a table do not say."""
    if any(benchmark.paces for benchmark in benchmarks):
        yield (
            "ratio: median by that of the file beside it, with the lowest and highest of ten "
            "stretches; a file beside itself shows what this machine cannot tell apart"
        )
    suffixes = {Path(benchmark.file).suffix for benchmark in benchmarks if not benchmark.paces}
    for suffix in sorted(suffixes):
        yield f"{NOT_RUN}: a {suffix} is only evaluated here, which says nothing of time or memory"
    hows = [benchmark.memory.how for benchmark in benchmarks if benchmark.memory is not None]
    yield from dict.fromkeys(f"memory: {how.partition(';')[0]}" for how in hows)
    for benchmark in benchmarks:
        if benchmark.arena is not None:
            yield f"arena: {benchmark.file}: {benchmark.arena.detail}"


def _machine(benchmarks: Sequence[Benchmark]) -> Iterator[str]:
    """What the figures were taken on: what all of them share, then what each runtime says."""
    facts = [benchmark.machine for benchmark in benchmarks]
    shared = {
        name: text
        for name, text in facts[0].items()
        if all(each.get(name) == text for each in facts)
    }
    yield _in_words(shared)
    own = ({name: text for name, text in each.items() if name not in shared} for each in facts)
    yield from dict.fromkeys(_in_words(each) for each in own if each)


def _in_words(facts: Mapping[str, str]) -> str:
    plain = ("runtime", "version")
    named = [f"{name} {text}" for name, text in facts.items() if name not in plain]
    runtime = " ".join(facts[name] for name in plain if name in facts)
    return ", ".join(filter(None, [runtime, *named]))
