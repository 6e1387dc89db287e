"""Devices: what they are asked and how their answers are read.

No device can be attached here. ``adb`` is a stand-in that keeps files and prints what the real one
prints; Core ML and coremltools' part for iPhones are stand-ins too. So these tests show what is
asked, in which order, and that failures are told; not that a real device answers so.
"""

import json
import re
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from exporters import records
from exporters.errors import ContractError, DeviceError, ModelFileError
from exporters.measuring.devices import (
    DeviceBenchmark,
    DeviceLatency,
    android,
    available_devices,
    coreml,
    load_device,
)
from exporters.measuring.devices.android import read_memory, read_timings
from exporters.targets.coreml import device as coreml_device
from exporters.targets.coreml.package import quiet

# As a benchmark_model of 2024 prints it, with numbers of our own.
PRINTED = """\
INFO: STARTING!
INFO: Num threads: [{threads}]
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: Initialized session in 6.395ms.
INFO: count=1000 first=9000 curr=700 min=600 max=9000 avg=800.5 std=99 p5=610 median=690 p95=950

INFO: count={runs} first=650 curr=640 min=600 max=1700 avg=655.25 std=9 p5=610 median=640 p95=800

INFO: Inference timings in us: Init: 6395, First inference: 9000, Warmup (avg): 800.5, Inference (avg): 655.25
INFO: Memory footprint delta from the start of the tool (MB): init=1.25 overall=2.5
"""

ADB = """\
import json, pathlib, sys

here = pathlib.Path(__file__).parent
said = json.loads((here / "says.json").read_text())
arguments = sys.argv[1:]
with open(here / "asked.txt", "a") as log:
    log.write(json.dumps(arguments) + "\\n")
if arguments == ["devices"]:
    print("* daemon not running; starting now at tcp:5037")
    print("List of devices attached")
    for serial, state in said["devices"]:
        print(f"{serial}\\t{state}")
    print()
    sys.exit()
_, serial, verb, *rest = arguments
asked = " ".join(rest)
if said["gone_at"] and said["gone_at"] in asked:
    said["gone"] = True
    (here / "says.json").write_text(json.dumps(said))
if said.get("gone"):
    sys.exit(f"adb: device '{serial}' not found")
if verb == "shell" and asked.startswith("getprop "):
    print(said["properties"].get(asked.split()[1], ""))
elif verb == "shell" and "benchmark_model --graph" in asked:
    words = dict(word[2:].split("=") for word in asked.split() if word.startswith("--"))
    text = said["printed"].replace("{threads}", words["num_threads"])
    print(text.replace("{runs}", words["num_runs"]).replace("{warmup}", words["warmup_runs"]))
    sys.exit(said["code"])
"""


class Adb:
    """A stand-in for adb that is told what to say, and keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.says: dict[str, Any] = {
            "devices": [["R5CT", "device"]],
            "properties": {
                "ro.product.manufacturer": "Maker",
                "ro.product.model": "Phone 8",
                "ro.soc.model": "SoC 3",
                "ro.build.version.release": "14",
            },
            "printed": PRINTED,
            "code": 0,
            "gone_at": "",
        }
        program = folder / "adb"
        program.write_text(f"#!{sys.executable}\n{ADB}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.say()

    def say(self, **changed: Any) -> None:
        self.says |= changed
        (self.folder / "says.json").write_text(json.dumps(self.says))

    @property
    def asked(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "asked.txt").read_text().splitlines()]


needs_scripts = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script")


@pytest.fixture
def adb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adb:
    """A stand-in on the PATH, and a program to send."""
    folder = tmp_path / "tools"
    folder.mkdir()
    program = tmp_path / "benchmark_model"
    program.write_bytes(b"a program for another machine")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv(android.PROGRAM, str(program))
    monkeypatch.delenv(android.SERIAL, raising=False)
    return Adb(folder)


def on_android(path: Path) -> list[DeviceBenchmark]:
    return list(android.measure(path, runs=50, warmup=7, threads=(1, 4)))


def test_each_module_is_a_kind_of_device() -> None:
    assert available_devices() == ("android", "coreml")
    for name in available_devices():
        device = load_device(name)
        for promised in ("SUFFIX", "obstacle", "measure"):
            assert hasattr(device, promised)
    with pytest.raises(ContractError, match="there is android, coreml"):
        load_device("abacus")


@needs_scripts
def test_an_android_device_is_sent_both_files_asked_and_tidied(
    adb: Adb, tflite_fp32: Path, tmp_path: Path
) -> None:
    assert android.obstacle() == ""
    one, four = on_android(tflite_fp32)
    assert one.device == "Maker Phone 8, SoC 3, Android 14"
    assert (one.unit, four.unit) == ("CPU, 1 thread, XNNPACK", "CPU, 4 threads, XNNPACK")
    assert one.runtime.startswith("benchmark_model of SHA-256 ")
    # Microseconds, and of the timed runs: not of the warm-up's thousand.
    assert one.latency == DeviceLatency(
        runs=50, mean_ms=0.65525, median_ms=0.64, p95_ms=0.8, p99_ms=None
    )
    assert one.latency.frame_share == 0.64 / 16
    assert one.memory_bytes == 2.5 * 1024 * 1024
    assert one.detail.endswith("; not p99")
    assert records.from_json(DeviceBenchmark, records.to_json(one)) == one
    sent = [asked for asked in adb.asked if "push" in asked]
    assert [Path(asked[3]) for asked in sent] == [tmp_path / "benchmark_model", tflite_fp32]
    folder = str(Path(sent[0][4]).parent)
    assert folder.startswith("/data/local/tmp/lipstill-")
    ran = [asked[-1] for asked in adb.asked if "--graph" in asked[-1]]
    assert [word for word in ran[1].split() if word.startswith("--")] == [
        f"--graph={folder}/model.tflite",
        "--num_threads=4",
        "--warmup_runs=7",
        "--num_runs=50",
    ]
    assert adb.asked[-1] == ["-s", "R5CT", "shell", f"rm -rf {folder}"]
    assert all(asked[:2] == ["-s", "R5CT"] for asked in adb.asked if asked != ["devices"])


@needs_scripts
@pytest.mark.parametrize(
    ("attached", "said"),
    [
        ([], "adb sees no device; connect one"),
        ([["R5CT", "unauthorized"]], "R5CT is unauthorized; allow debugging on its screen"),
        ([["R5CT", "offline"]], "R5CT is offline; unplug it"),
        ([["A", "device"], ["B", "device"]], r"2 devices \(A, B\); say which by ANDROID_SERIAL"),
    ],
)
def test_why_no_android_device_can_be_asked(
    attached: list[list[str]], said: str, adb: Adb, tflite_fp32: Path
) -> None:
    adb.say(devices=attached)
    assert re.search(said, android.obstacle())
    with pytest.raises(DeviceError, match=said):
        on_android(tflite_fp32)
    assert all(asked == ["devices"] for asked in adb.asked), "nothing was sent"


@needs_scripts
def test_of_several_one_can_be_named(
    adb: Adb, tflite_fp32: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adb.say(devices=[["A", "unauthorized"], ["B", "device"], ["C", "device"]])
    monkeypatch.setenv(android.SERIAL, "C")
    assert len(on_android(tflite_fp32)) == 2
    assert {asked[1] for asked in adb.asked if asked != ["devices"]} == {"C"}
    monkeypatch.setenv(android.SERIAL, "A")
    assert "A is unauthorized" in android.obstacle()
    monkeypatch.setenv(android.SERIAL, "D")
    assert android.obstacle() == "adb sees no device D, which ANDROID_SERIAL names"


@needs_scripts
@pytest.mark.parametrize("when", ["getprop ro.soc.model", "model.tflite", "--num_threads=4"])
def test_a_device_that_is_unplugged_midway(when: str, adb: Adb, tflite_fp32: Path) -> None:
    adb.say(gone_at=when)
    with pytest.raises(DeviceError, match=r"device 'R5CT' not found\. Is the device still"):
        on_android(tflite_fp32)


@needs_scripts
def test_a_device_that_never_answers(
    adb: Adb, tflite_fp32: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = adb.folder / "adb"
    program.write_text(f"#!{sys.executable}\nimport time; time.sleep(1000)\n")
    monkeypatch.setattr(android, "_ANSWER_S", 0.5)
    assert android.obstacle() == "`adb devices` gave no answer in 0.5 s"


@needs_scripts
def test_a_program_that_cannot_run_there(adb: Adb, tflite_fp32: Path) -> None:
    adb.say(code=126, printed="benchmark_model: not executable: 64-bit ELF file")
    with pytest.raises(DeviceError, match=r"code 126: .*not executable: 64-bit ELF file"):
        on_android(tflite_fp32)
    assert adb.asked[-1][-1].startswith("rm -rf /data/local/tmp/lipstill-")


@needs_scripts
def test_a_file_that_is_none_of_ours_is_sent_nowhere(adb: Adb, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"garbage" * 10)
    with pytest.raises(ModelFileError):
        on_android(path)
    assert all(asked == ["devices"] for asked in adb.asked)


def test_without_adb_or_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert android.obstacle().startswith("adb is not on the PATH")
    if sys.platform != "win32":
        request.getfixturevalue("adb")
        monkeypatch.setenv(android.PROGRAM, str(tmp_path / "none"))
        assert android.obstacle().endswith("none, which is no file")
        monkeypatch.delenv(android.PROGRAM)
        assert android.obstacle().startswith(f"{android.PROGRAM} is not set")


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        # Of 2020: no percentiles. Large numbers are in powers of ten.
        (
            (
                "count=2 first=9 curr=8 min=8 max=9 avg=8.5 std=1\n\n"
                "count=50 first=120000 curr=130000 min=120000 max=130000 avg=1.25e+05 std=99"
            ),
            (50, 125.0, None, None),
        ),
        ("INFO: count=1 curr=70500", (1, 70.5, 70.5, 70.5)),
        ("count=60 curr=25(all same)", (60, 0.025, 0.025, 0.025)),
        # With a logger's prefix, and percentiles of one value.
        (
            "01-02 03:04:05.678 I/tflite ( 901): count=1 curr=2000 p5=2000 median=2000 p95=2000",
            (1, 2.0, 2.0, 2.0),
        ),
        ("count=7 first=3 min=2 median=4000 later=5", (7, None, 4.0, None)),
    ],
)
def test_what_benchmark_model_prints_in_its_versions(
    printed: str, expected: tuple[int, float | None, float | None, float | None]
) -> None:
    latency, detail = read_timings(printed)
    assert latency is not None, detail
    assert (latency.runs, latency.mean_ms, latency.median_ms, latency.p95_ms) == expected


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("ERROR: Model is not loaded", "printed no line .* ERROR: Model is not loaded"),
        ("count=0", "timed nothing: count=0"),
        ("count=5 first=1", "timed nothing"),
    ],
)
def test_what_cannot_be_read_is_said(printed: str, said: str) -> None:
    latency, detail = read_timings(printed)
    assert latency is None
    assert re.search(f"^not run: .*{said}", detail)


def test_memory_is_what_the_tool_says() -> None:
    assert read_memory(PRINTED) == 2_621_440
    assert read_memory("nothing of it") is None


def test_a_share_of_the_frame_of_the_mean_where_there_is_no_median() -> None:
    latency = DeviceLatency(runs=1, mean_ms=8.0, median_ms=None, p95_ms=None, p99_ms=None)
    assert latency.frame_share == 0.5


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is here")
def test_elsewhere_core_ml_is_a_reason(packages: dict[str, Path]) -> None:
    assert coreml.obstacle().startswith("Core ML runs on macOS only")
    with pytest.raises(DeviceError, match="macOS only"):
        next(coreml.measure(packages["fp32"], runs=1, warmup=0, threads=()))


class Framework:
    """Core ML's part: what MLModel gives where there is one."""

    def __init__(self, path: str, compute_units: Any = None, skip_model_load: bool = False) -> None:
        refused = compute_units is not None and compute_units.name == "CPU_AND_GPU"
        self.__proxy__ = None if refused else object()

    def predict(self, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert data["audio"].shape == (1, 1, 64)
        return {"rig": np.zeros((1, 3), np.float32)}


class Phones:
    """What coremltools has for iPhones, as its version 9.0 calls it."""

    def __init__(self) -> None:
        self.connected: list[Any] = []
        self.asked: list[Any] = []
        self.AppSigningCredentials = SimpleNamespace
        self.DeviceType = SimpleNamespace(IPHONE="iphone")
        self.Device = SimpleNamespace(get_connected_devices=lambda kind: self.connected)

    def connect(self, name: str, fails: str = "") -> None:
        async def prepare(credentials: Any) -> str:
            if fails:
                raise RuntimeError(fails)
            return f"{name}, signed for {credentials.development_team}"

        self.connected.append(
            SimpleNamespace(name=name, os_version="18.1", prepare_for_model_debugging=prepare)
        )

    def MLModelBenchmarker(self, model: Framework, device: str) -> Any:  # noqa: N802
        async def benchmark_predict(inputs: dict[str, np.ndarray], iterations: int) -> Any:
            self.asked.append((device, inputs["audio"].shape, iterations))
            return SimpleNamespace(samples=[float(i) for i in range(iterations)])

        return SimpleNamespace(benchmark_predict=benchmark_predict)


@pytest.fixture
def phones(monkeypatch: pytest.MonkeyPatch) -> Phones:
    """A Mac whose Core ML refuses the GPU, with coremltools' part for iPhones."""
    with quiet():
        import coremltools
    machine = SimpleNamespace(
        system=lambda: "Darwin",
        mac_ver=lambda: ("14.5", ("", "", ""), "arm64"),
        machine=lambda: "arm64",
    )
    monkeypatch.setattr(coreml_device, "platform", machine)
    monkeypatch.setattr(coreml, "platform", machine)
    monkeypatch.setattr(coremltools.models, "MLModel", Framework)
    found = Phones()
    monkeypatch.setattr(coreml, "import_module", lambda name: found)
    monkeypatch.setenv(coreml.TEAM, "TEAM123")
    return found


def on_apple(path: Path) -> dict[tuple[str, str], DeviceBenchmark]:
    found = coreml.measure(path, runs=101, warmup=2, threads=(1,))
    return {(each.device, each.unit): each for each in found}


def test_a_mac_times_every_unit_and_says_which_refuse(
    phones: Phones, packages: dict[str, Path]
) -> None:
    assert coreml.obstacle() == ""
    found = on_apple(packages["fp32"])
    mac = "this Mac, arm64, macOS 14.5"
    units = ["CPU only", "CPU and GPU", "CPU and Neural Engine", "all units"]
    assert list(found) == [*((mac, unit) for unit in units), ("iPhone", "all units")]
    assert found[mac, "CPU and GPU"].latency is None
    assert found[mac, "CPU and GPU"].detail.startswith("not run: Core ML cannot load")
    latency = found[mac, "all units"].latency
    assert latency is not None
    assert latency.runs == 101
    assert latency.median_ms is not None
    assert latency.median_ms > 0
    assert found["iPhone", "all units"].detail == "not run: none is connected"


def test_every_iphone_is_asked_and_one_that_fails_stops_no_other(
    phones: Phones, packages: dict[str, Path]
) -> None:
    phones.connect("One", fails="no profile\nfor the team")
    phones.connect("Two")
    found = on_apple(packages["fp16"])
    failed, timed = found["One, iOS 18.1", "all units"], found["Two, iOS 18.1", "all units"]
    assert failed.latency is None
    assert failed.detail == "not run: RuntimeError: no profile for the team"
    assert timed.latency == DeviceLatency(
        runs=101, mean_ms=50.0, median_ms=50.0, p95_ms=95.0, p99_ms=99.0
    )
    signed = "Two, signed for TEAM123"
    assert phones.asked == [(signed, (1, 1, 64), 2), (signed, (1, 1, 64), 101)]


def test_an_iphone_is_asked_from_within_an_event_loop(
    phones: Phones, packages: dict[str, Path]
) -> None:
    """As a notebook has one."""
    import asyncio

    phones.connect("One")

    async def notebook() -> Any:
        return on_apple(packages["fp16"])

    assert asyncio.run(notebook())["One, iOS 18.1", "all units"].latency is not None


def test_what_an_iphone_lacks_is_said(
    phones: Phones, packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(kind: str) -> list[Any]:
        raise ValueError("The 'devicectl' command is required.")

    def detail() -> str:
        return list(on_apple(packages["fp32"]).values())[-1].detail

    phones.connect("One")
    monkeypatch.delenv(coreml.TEAM)
    assert coreml.TEAM in detail()
    monkeypatch.setattr(phones.Device, "get_connected_devices", absent)
    assert detail().startswith("not run: devicectl cannot be asked: The 'devicectl'")
    monkeypatch.setattr(coreml, "find_spec", lambda name: None)
    assert detail() == "not run: this coremltools cannot ask an iPhone; 9.0 can"


def test_coremltools_still_has_what_an_iphone_needs() -> None:
    import inspect

    with quiet():
        from coremltools.models.ml_program.experimental import perf_utils, remote_device
    predict = inspect.signature(perf_utils.MLModelBenchmarker.benchmark_predict).parameters
    assert {"inputs", "iterations"} <= set(predict)
    assert "device" in inspect.signature(perf_utils.MLModelBenchmarker).parameters
    assert "development_team" in inspect.signature(remote_device.AppSigningCredentials).parameters
    prepare = remote_device.Device.prepare_for_model_debugging
    assert "credentials" in inspect.signature(prepare).parameters
    assert remote_device.DeviceType.IPHONE
    assert {"name", "os_version"} <= set(remote_device.Device.__dataclass_fields__)
