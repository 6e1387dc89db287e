"""Command benchmark: what model files cost on this machine, and on devices that are attached."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compress.errors import InputError, UsageError
from compress.progress import bar
from compress.reference_students import float_twin
from exporters.benchmark import Benchmark, Pace
from exporters.bundle.folder import SIGNATURE, model_files
from exporters.devices import DeviceBenchmark, available_devices, load_device
from exporters.errors import DeviceError
from exporters.measuring import measure
from exporters.report.wording import NOT_RUN, human_size, number, percent
from exporters.signature import Signature
from exporters.targets import available_targets, load_target, target_of

MODELS = "models"
WARM_UP = 20
# Of a phone, which has more cores than a face should take.
DEVICE_THREADS = (1, 4)


@dataclass(frozen=True)
class Chosen:
    """A file to measure and what takes turns with it, each with its name in the table.

    Without a `beside` the file takes turns with itself.
    """

    name: str
    path: Path
    beside: tuple[str, Path] | None = None


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


def choose(
    names: Sequence[Path], targets: Sequence[str] = (), against: Path | None = None
) -> list[Chosen]:
    """The model files of runs, of folders of models and by themselves; of all targets or of some.

    In a run, files of less precision are beside the float file of the same student and target.
    Raises `UsageError`, `InputError` and ModelFileError.
    """
    if unknown := sorted(set(targets) - set(available_targets())):
        raise UsageError(
            f"There is no target {', '.join(unknown)}; --target takes {', '.join(available_targets())}."
        )
    if against is not None:
        _existing(against)
        if load_target(target_of(against)).EVALUATED:
            raise UsageError(
                f"--against {against} cannot be timed: its runtime on this machine only evaluates "
                f"it. Expected a file of another target."
            )
    found = [chosen for name in names for chosen in _of(name)]
    found = [each for each in found if not targets or target_of(each.path) in targets]
    if not found:
        raise UsageError(
            f"There is no file for {', '.join(targets)} among {', '.join(map(str, names))}."
        )
    if against is not None:
        found = [replace(each, beside=(str(against), against)) for each in found]
    return found


def _of(name: Path) -> list[Chosen]:
    """What is meant by one name: a run, a folder of models, or a model file."""
    _existing(name)
    suffixes = {load_target(target).SUFFIX for target in available_targets()}
    if name.suffix in suffixes or not name.is_dir():
        target_of(name)
        return [Chosen(str(name), name)]
    if (name / SIGNATURE).is_file():
        return [Chosen(str(path), path) for path in model_files(name)]
    folders = sorted(folder.parent for folder in (name / MODELS).glob(f"[!.]*/{SIGNATURE}"))
    if not folders:
        raise InputError(
            f"{name} holds no models. Expected a model file, a folder of models (it has "
            f"{SIGNATURE}), or a run with such folders in {MODELS}/."
        )
    signatures = {folder: Signature.read(folder / SIGNATURE) for folder in folders}
    floats = {found.student: at for at, found in signatures.items() if found.precision == "fp32"}
    chosen = []
    for folder, signature in signatures.items():
        student = signature.student
        twin = floats.get(student, floats.get(float_twin(student), folder))
        for path in model_files(folder):
            shown = None
            if twin != folder and (twin / path.name).exists():
                shown = ((twin / path.name).relative_to(name).as_posix(), twin / path.name)
            chosen.append(Chosen(path.relative_to(name).as_posix(), path, shown))
    return chosen


def _existing(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path} does not exist. Expected a model file, or a run.")


def benchmark(
    chosen: Sequence[Chosen],
    *,
    runs: int = 200,
    threads: Sequence[int] | None = None,
    device: str | None = None,
    hidden: bool = False,
) -> Benchmarks:
    """Measure files here, and on each device that can be asked; `hidden` shows no progress.

    With a `device` that one only, and not here. Raises `UsageError` where it runs none of the files,
    DeviceError where it cannot be asked, ModelFileError and MissingToolError.
    """
    if device is not None:
        return Benchmarks((), tuple(_on_device(device, chosen, runs, threads, hidden)), {})
    files = []
    with bar("benchmark", len(chosen), hidden) as progress:
        for done, each in enumerate(chosen):
            progress(done, each.name)
            beside = None if each.beside is None else each.beside[1]
            found = measure(each.path, reference=beside, runs=runs, threads=threads)
            shown = each.name if each.beside is None else each.beside[0]
            paces = tuple(replace(pace, reference=shown) for pace in found.paces)
            files.append(replace(found, file=each.name, paces=paces))
    devices: list[DeviceBenchmark] = []
    unasked = {}
    for name in available_devices():
        if not _runs_on(name, chosen):
            continue
        if reason := load_device(name).obstacle():
            unasked[name] = reason
            continue
        try:
            devices += _on_device(name, chosen, runs, threads, hidden)
        except DeviceError as error:  # it went away, and the figures of this machine stand
            unasked[name] = str(error)
    return Benchmarks(tuple(files), tuple(devices), unasked)


def _runs_on(device: str, chosen: Sequence[Chosen]) -> list[Chosen]:
    suffix = load_device(device).SUFFIX
    return [each for each in chosen if each.path.suffix == suffix]


def _on_device(
    name: str, chosen: Sequence[Chosen], runs: int, threads: Sequence[int] | None, hidden: bool
) -> list[DeviceBenchmark]:
    device, found = load_device(name), []
    if not (fitting := _runs_on(name, chosen)):
        raise UsageError(
            f"--device {name} runs files that end in {device.SUFFIX}, and none is among "
            f"{', '.join(each.name for each in chosen)}."
        )
    if reason := device.obstacle():
        raise DeviceError(f"--device {name}: {reason}.")
    with bar(name, len(fitting), hidden) as progress:
        for done, each in enumerate(fitting):
            progress(done, each.name)
            measured = device.measure(
                each.path, runs=runs, warmup=WARM_UP, threads=threads or DEVICE_THREADS
            )
            found += [replace(benchmark, file=each.name) for benchmark in measured]
    return found


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
