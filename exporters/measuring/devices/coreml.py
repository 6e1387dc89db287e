"""A Core ML package on this Mac, on each choice of compute units, and on a connected iPhone.

The iPhone is coremltools' affair: it builds a small app with Xcode, signs it for the team that
``LIPSTILL_DEVELOPMENT_TEAM`` names, and runs the package in it. That part of coremltools is
experimental.
"""

import asyncio
import os
import platform
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from exporters.errors import DeviceError, ModelFileError
from exporters.files import describe_file
from exporters.measuring.devices import DeviceBenchmark, DeviceLatency
from exporters.requirements import require
from exporters.signature import INPUT_NAME
from exporters.targets.coreml import device as coreml_device
from exporters.targets.coreml.device import COMPUTE_UNITS, CoreMLRuntime
from exporters.targets.coreml.package import quiet
from exporters.targets.runtime import Floats

SUFFIX = ".mlpackage"
TEAM = "LIPSTILL_DEVELOPMENT_TEAM"
_EXPERIMENTAL = "coremltools.models.ml_program.experimental"


def obstacle() -> str:
    """Why Core ML cannot be asked here, in words; empty if it can."""
    return coreml_device.obstacle()


def measure(
    path: Path, *, runs: int, warmup: int, threads: Sequence[int]
) -> Iterator[DeviceBenchmark]:
    """Time a package on this Mac's units, then on every iPhone that is connected.

    Threads are Core ML's affair. On the Mac a call is timed as Python sees it, on an iPhone as the
    app there sees it. Raises DeviceError where this is no Mac, ModelFileError, MissingToolError.
    """
    if reason := obstacle():
        raise DeviceError(reason)
    require("torch", "coremltools", purpose="run Core ML packages")
    from exporters.targets.coreml import target as coreml

    package = coreml.open_runtime(path)
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 1, package.signature.window))
    window = audio.astype(np.float32)
    for unit in COMPUTE_UNITS:
        yield _on_this_mac(path, unit, window, runs, warmup)
    yield from _on_phones(path, window, runs, warmup)


def _on_this_mac(path: Path, unit: str, window: Floats, runs: int, warmup: int) -> DeviceBenchmark:
    from exporters.targets.coreml import target as coreml
    from exporters.targets.coreml.mil import read_program

    latency, detail = None, "called from Python"
    try:
        runtime = CoreMLRuntime(read_program(path), coreml.open_runtime(path).signature, unit)
        latency = _timed(runtime, window, runs, warmup)
    except ModelFileError as error:
        detail = f"not run: {error}"
    system = platform.mac_ver()[0]
    return _record(path, f"this Mac, {platform.machine()}, macOS {system}", unit, latency, detail)


def _timed(runtime: CoreMLRuntime, window: Floats, runs: int, warmup: int) -> DeviceLatency:
    times = []
    for turn in range(warmup + runs):
        start = time.perf_counter_ns()
        runtime.run(window)
        if turn >= warmup:
            times.append((time.perf_counter_ns() - start) / 1e6)
    return _summary(times)


def _summary(times_ms: Sequence[float]) -> DeviceLatency:
    median, p95, p99 = (float(value) for value in np.percentile(times_ms, [50, 95, 99]))
    return DeviceLatency(
        runs=len(times_ms),
        mean_ms=float(np.mean(times_ms)),
        median_ms=median,
        p95_ms=p95,
        p99_ms=p99,
    )


def _on_phones(path: Path, window: Floats, runs: int, warmup: int) -> Iterator[DeviceBenchmark]:
    """Every connected iPhone; without coremltools' part for that, or without Xcode, one remark."""
    if find_spec(_EXPERIMENTAL) is None:
        yield _not_on_a_phone(path, "this coremltools cannot ask an iPhone; 9.0 can")
        return
    with quiet():
        remote = import_module(f"{_EXPERIMENTAL}.remote_device")
        benchmarks = import_module(f"{_EXPERIMENTAL}.perf_utils")
    try:
        phones = remote.Device.get_connected_devices(remote.DeviceType.IPHONE)
    except Exception as error:  # noqa: BLE001  devicectl's failures have no common base
        yield _not_on_a_phone(path, f"devicectl cannot be asked: {error}")
        return
    if not phones:
        yield _not_on_a_phone(path, "none is connected")
    for phone in phones:
        name = f"{phone.name}, iOS {phone.os_version}"
        if not (team := os.environ.get(TEAM)):
            reason = f"{TEAM} is not set; the app that runs the package must be signed for a team"
            yield _record(path, name, "all units", None, f"not run: {reason}")
            continue
        try:
            work = _ask_phone(remote, benchmarks, phone, team, path, window, runs, warmup)
            times = _waited(work)
        except Exception as error:  # noqa: BLE001  Xcode, signing, the cable: no common base
            yield _record(
                path, name, "all units", None, f"not run: {type(error).__name__}: {error}"
            )
            continue
        yield _record(path, name, "all units", _summary(times), "timed in an app on the iPhone")


def _waited(work: Coroutine[Any, Any, list[float]]) -> list[float]:
    """What it ends with. In a thread: who asks may have an event loop running, as notebooks do."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def _ask_phone(
    remote: Any,
    benchmarks: Any,
    phone: Any,
    team: str,
    path: Path,
    window: Floats,
    runs: int,
    warmup: int,
) -> list[float]:
    """Milliseconds of each call in the app that coremltools puts on a phone."""
    import coremltools as ct

    credentials = remote.AppSigningCredentials(development_team=team)
    ready = await phone.prepare_for_model_debugging(credentials=credentials)
    model = ct.models.MLModel(str(path), skip_model_load=True)
    benchmarker = benchmarks.MLModelBenchmarker(model, device=ready)
    inputs = {INPUT_NAME: window}
    if warmup:
        await benchmarker.benchmark_predict(inputs, iterations=warmup)
    measured = await benchmarker.benchmark_predict(inputs, iterations=runs)
    return [float(sample) for sample in measured.samples]


def _not_on_a_phone(path: Path, reason: str) -> DeviceBenchmark:
    return _record(path, "iPhone", "all units", None, f"not run: {reason}")


def _record(
    path: Path, device: str, unit: str, latency: DeviceLatency | None, detail: str
) -> DeviceBenchmark:
    with quiet():
        import coremltools
    return DeviceBenchmark(
        file=path.name,
        sha256=describe_file(path, "coreml").sha256,
        device=device,
        runtime=f"Core ML, coremltools {coremltools.__version__}",
        unit=unit.removeprefix("Core ML, "),
        latency=latency,
        memory_bytes=None,
        detail=" ".join(detail.split()),
    )
