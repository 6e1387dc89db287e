"""A .tflite file on an Android device: ``adb`` and LiteRT's own ``benchmark_model``.

``LIPSTILL_BENCHMARK_MODEL`` names that program, built for the device; docs/benchmarks.md says where
to get it. What is sent lies in a folder of its own on the device and is removed afterwards.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters.errors import DeviceError
from exporters.files import describe_file, user_path
from exporters.measuring.devices import DeviceBenchmark, DeviceLatency
from exporters.targets.tflite.file import read

SUFFIX = ".tflite"
PROGRAM = "LIPSTILL_BENCHMARK_MODEL"
# As adb itself understands it.
SERIAL = "ANDROID_SERIAL"

# What any user of the device may write, and run programs from.
_HOME = "/data/local/tmp"
_ANSWER_S, _RUN_S = 30.0, 600.0
_COUNTS = re.compile(r"\bcount=(\d+)([^\n]*)")
_FIELD = re.compile(r"\b(\w+)=(-?[\d.]+(?:e[+-]?\d+)?)")
_GROWN = re.compile(r"footprint delta from the start of the tool \(MB\):.*?overall=([\d.]+)")
_HOW_TO_CHOOSE = f"say which by {SERIAL}"
# benchmark_model's own names for what it times, in microseconds.
_NAMES = {"avg": "mean", "median": "median", "p95": "p95", "p99": "p99"}


@dataclass(frozen=True)
class Attached:
    """A line of ``adb devices``."""

    serial: str
    state: str


def obstacle() -> str:
    """Why no Android device can be asked now, in words; empty if one can."""
    if shutil.which("adb") is None:
        return "adb is not on the PATH; it is a part of the Android SDK's platform-tools"
    try:
        _chosen()
        _program()
    except DeviceError as error:
        return str(error)
    return ""


def measure(
    path: Path, *, runs: int, warmup: int, threads: Sequence[int]
) -> Iterator[DeviceBenchmark]:
    """Time a file with each number of threads on the device that is attached, in a new process each.

    Raises DeviceError when there is none, or it goes away meanwhile, and ModelFileError.
    """
    if reason := obstacle():
        raise DeviceError(reason)
    read(path)  # a file that is none of ours is told apart here, not on the device
    serial, program = _chosen(), _program()
    described = describe_file(path, "tflite")
    digest = describe_file(program, "").sha256
    device = _described(serial)
    folder = f"{_HOME}/lipstill-{os.getpid()}"
    try:
        _shell(serial, f"mkdir -p {folder}")
        for file, name in ((program, "benchmark_model"), (path, "model.tflite")):
            _adb("-s", serial, "push", str(file), f"{folder}/{name}", limit_s=_RUN_S)
        _shell(serial, f"chmod 755 {folder}/benchmark_model")
        for count in threads:
            said = _shell(
                serial,
                f"{folder}/benchmark_model --graph={folder}/model.tflite --num_threads={count} "
                f"--warmup_runs={warmup} --num_runs={runs} 2>&1",
                limit_s=_RUN_S,
            )
            latency, detail = read_timings(said)
            delegate = "XNNPACK" if "XNNPACK delegate" in said else "no delegate named"
            yield DeviceBenchmark(
                file=path.name,
                sha256=described.sha256,
                device=device,
                runtime=f"benchmark_model of SHA-256 {digest[:12]}",
                unit=f"CPU, {count} thread{'s' if count > 1 else ''}, {delegate}",
                latency=latency,
                memory_bytes=read_memory(said),
                detail=detail,
            )
    finally:
        with contextlib.suppress(DeviceError):  # it may be gone
            _shell(serial, f"rm -rf {folder}")


def read_timings(said: str) -> tuple[DeviceLatency | None, str]:
    """What ``benchmark_model`` printed of its timed runs, and in words which fields were there.

    Its last line of counts; those before are of the warm-up. Where all runs took the same number of
    microseconds it prints that number alone.
    """
    lines = list(_COUNTS.finditer(said))
    if not lines:
        end = " ".join(said.split())[-300:]
        return None, f"not run: benchmark_model printed no line that begins with count=: {end}"
    runs, rest = int(lines[-1][1]), lines[-1][2]
    found = {name: float(value) for name, value in _FIELD.findall(rest)}
    if "avg" not in found and "curr" in found and (runs == 1 or "all same" in rest):
        found |= dict.fromkeys(_NAMES, found["curr"])
    known = {name: found[name] / 1000 for name in _NAMES if name in found}
    if not runs or not known:
        return None, f"not run: benchmark_model timed nothing: {lines[-1][0].strip()}"
    missing = [name for name in _NAMES if name not in known]
    detail = f"benchmark_model printed {', '.join(name for name, _ in _FIELD.findall(rest))}"
    if missing:
        detail += f"; not {', '.join(missing)}"
    return (
        DeviceLatency(
            runs=runs, **{f"{ours}_ms": known.get(theirs) for theirs, ours in _NAMES.items()}
        ),
        detail,
    )


def read_memory(said: str) -> int | None:
    """Bytes that the process grew by, as it says itself approximately; None where it does not."""
    grown = _GROWN.search(said)
    return None if grown is None else round(float(grown[1]) * 1024 * 1024)


def attached() -> list[Attached]:
    """Every device that adb sees, in whatever state. Raises DeviceError."""
    found = []
    for line in _adb("devices").splitlines():
        serial, tab, state = line.partition("\t")
        if tab:  # the first line and remarks on adb's server have none
            found.append(Attached(serial.strip(), state.strip()))
    return found


def _chosen() -> str:
    """The serial number of the device to ask. Raises DeviceError."""
    devices = attached()
    wanted = os.environ.get(SERIAL)
    if wanted:
        devices = [device for device in devices if device.serial == wanted]
        if not devices:
            raise DeviceError(f"adb sees no device {wanted}, which {SERIAL} names")
    if not devices:
        raise DeviceError(
            "adb sees no device; connect one, with USB debugging allowed in its developer options"
        )
    ready = [device for device in devices if device.state == "device"]
    if not ready:
        states = ", ".join(f"{device.serial} is {device.state}" for device in devices)
        advice = (
            "allow debugging on its screen"
            if any(device.state == "unauthorized" for device in devices)
            else "unplug it and plug it in again"
        )
        raise DeviceError(f"adb can use no device: {states}; {advice}")
    if len(ready) > 1:
        names = ", ".join(device.serial for device in ready)
        raise DeviceError(f"adb sees {len(ready)} devices ({names}); {_HOW_TO_CHOOSE}")
    return ready[0].serial


def _program() -> Path:
    """The program to send. Raises DeviceError."""
    name = os.environ.get(PROGRAM)
    if not name:
        raise DeviceError(
            f"{PROGRAM} is not set; expected the path of a benchmark_model built for the device "
            f"(docs/benchmarks.md)"
        )
    path = user_path(name)
    if not path.is_file():
        raise DeviceError(f"{PROGRAM} is {name}, which is no file")
    return path


def _described(serial: str) -> str:
    """Model, chip and system of a device."""
    names = (
        "ro.product.manufacturer",
        "ro.product.model",
        "ro.soc.model",
        "ro.build.version.release",
    )
    maker, model, chip, release = (_shell(serial, f"getprop {name}").strip() for name in names)
    known = f"{maker} {model}".strip() or serial
    return ", ".join(filter(None, [known, chip, release and f"Android {release}"]))


def _shell(serial: str, command: str, *, limit_s: float | None = None) -> str:
    return _adb("-s", serial, "shell", command, limit_s=limit_s)


def _adb(*arguments: str, limit_s: float | None = None) -> str:
    """What adb writes. Raises DeviceError when it fails or gives no answer."""
    command, limit_s = shlex.join(["adb", *arguments]), limit_s or _ANSWER_S
    try:
        done = subprocess.run(
            ["adb", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"`{command}` gave no answer in {limit_s:g} s") from error
    except OSError as error:
        raise DeviceError(f"`{command}` cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = " ".join(f"{done.stdout} {done.stderr}".split())[-300:]
        raise DeviceError(
            f"`{command}` ended with code {done.returncode}: {said or 'it said nothing'}. Is the "
            f"device still connected?"
        )
    return done.stdout
