"""Command benchmark: what model files cost on this machine, and on devices that are attached."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from compress.errors import InputError, UsageError
from compress.progress import bar
from compress.prove.benchmark_table import Benchmarks
from compress.students.reference import float_twin
from exporters.bundle.folder import SIGNATURE, model_files
from exporters.errors import DeviceError
from exporters.measuring import measure
from exporters.measuring.devices import DEVICES, DeviceBenchmark, load_device
from exporters.signature import Signature
from exporters.targets.contract import available_targets, load_target, target_of

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
    if name.suffix.lower() in suffixes or not name.is_dir():
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
    # By their folders: a student of the run and one that ships may have the same name.
    precisions = {folder: Signature.read(folder / SIGNATURE).precision for folder in folders}
    students = {at: at.name.removesuffix(f"-{precision}") for at, precision in precisions.items()}
    floats = {students[at]: at for at, precision in precisions.items() if precision == "fp32"}
    chosen = []
    for folder, student in students.items():
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
    for name in DEVICES.names():
        if fault := DEVICES.fault(name):
            unasked[name] = fault
            continue
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
    return [each for each in chosen if each.path.suffix.lower() == suffix]


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
