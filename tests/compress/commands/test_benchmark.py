"""Command benchmark: which files are beside which, what is printed, and every way to get it wrong."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import pytest

from compress.errors import InputError, UsageError
from compress.prove import benchmarking
from compress.prove.benchmark_table import Benchmarks
from compress.prove.benchmarking import Chosen, benchmark, choose
from exporters import records
from exporters.errors import DeviceError, ModelFileError
from exporters.measuring.devices import DeviceBenchmark, DeviceLatency
from exporters.measuring.figures import Arena, Benchmark, Latency, Memory, Pace, Size

Cli: TypeAlias = Callable[..., Any]

MODEL = "models/small-fp32/model.onnx"


def record(**changed: Any) -> Benchmark:
    """A file of 1234 bytes, measured with one thread and with two."""
    latency = Latency(median_ms=0.25, p95_ms=0.5, p99_ms=1.0, runs=200, frame_share=0.25 / 16)
    pace = Pace(
        threads=1,
        latency=latency,
        reference="models/a-fp32/model.tflite",
        reference_latency=latency,
        ratio=1.0,
        ratio_low=0.9,
        ratio_high=1.25,
    )
    made = Benchmark(
        file="models/a-int8/model.tflite",
        sha256="ab" * 32,
        size=Size(bytes=1234, download_bytes=600, weight_bytes=None),
        paces=(pace, replace(pace, threads=2)),
        memory=Memory(peak_bytes=2_000_000, how="a way; and more of it"),
        arena=Arena(bytes=None, detail="not run: no reason"),
        machine={"cpu": "of ours", "runtime": "LiteRT", "version": "2", "delegate": "none"},
    )
    return replace(made, **changed)


def test_a_file_in_a_table(cli: Cli, finished: Path) -> None:
    ended = cli("benchmark", finished / MODEL, "--runs", 3, "--threads", "1")
    assert ended.code == 0, ended.err
    header, row, *beneath = ended.out.splitlines()
    assert header.split() == [
        "file",
        "size",
        "download",
        "threads",
        "median",
        "ms",
        "p95",
        "p99",
        "of",
        "a",
        "frame",
        "ratio",
        "beside",
        "memory",
        "arena",
    ]
    assert row.split()[0] == str(finished / MODEL)
    assert "itself" in row
    assert any(line.startswith("ONNX Runtime ") and "python 3" in line for line in beneath)
    assert not any(line.startswith("android:") for line in beneath), "it runs no ONNX"


def test_a_run_for_machines(cli: Cli, finished: Path) -> None:
    ended = cli("benchmark", finished, "--runs", 2, "--threads", "1,2,1", "--json")
    assert ended.code == 0, ended.err
    assert ended.err == ""
    said = json.loads(ended.out)
    assert set(said) == {"files", "devices", "unasked"}
    (found,) = (records.from_json(Benchmark, json.dumps(each)) for each in said["files"])
    assert found.file == MODEL
    assert [pace.threads for pace in found.paces] == [1, 2]
    assert [pace.reference for pace in found.paces] == [MODEL] * 2
    assert found.size.bytes == (finished / MODEL).stat().st_size


def test_one_against_another(cli: Cli, finished: Path, tmp_path: Path) -> None:
    other = shutil.copy(finished / MODEL, tmp_path / "old.onnx")
    ended = cli("benchmark", finished, "--against", other, "--runs", 2, "--threads", 1, "--json")
    assert ended.code == 0, ended.err
    ((pace,),) = (each["paces"] for each in json.loads(ended.out)["files"])
    assert pace["reference"] == str(other)


def as_tier(run: Path, tier: str, student: str, precision: str) -> None:
    """The run's model once more, said to be of another student or precision."""
    folder = shutil.copytree(run / "models" / "small-fp32", run / "models" / tier)
    signature = json.loads((folder / "signature.json").read_text())
    quantization = {"layers": {"rig": "int8"}} if precision == "int8" else {}
    signature |= {"student": student, "precision": precision, "quantization": quantization}
    (folder / "signature.json").write_text(json.dumps(signature))


def test_in_a_run_less_precise_files_are_beside_the_float_one(run: Path) -> None:
    as_tier(run, "small-fp16", "small", "fp16")
    as_tier(run, "small-pruned-int8", "small-pruned", "int8")
    as_tier(run, "other-int8", "other", "int8")
    (run / "models" / ".small-fp32.tmp").mkdir()
    beside = {each.name: each.beside for each in choose([run])}
    known = (MODEL, run / MODEL)
    assert beside == {
        MODEL: None,
        "models/small-fp16/model.onnx": known,
        "models/small-pruned-int8/model.onnx": known,
        "models/other-int8/model.onnx": None,
    }
    (run / MODEL).rename(run / "gone.onnx")
    with pytest.raises(ModelFileError, match="small-fp32 holds no model file"):
        choose([run])


def test_one_that_ships_is_beside_its_own_float_file(run: Path) -> None:
    """Not beside a student of the run that has its name."""
    as_tier(run, "reference-small-fp32", "small", "fp32")
    as_tier(run, "reference-small-pruned-int8", "small", "int8")
    as_tier(run, "small-int8", "small", "int8")
    beside = {each.name: each.beside and each.beside[0] for each in choose([run])}
    assert beside["models/small-int8/model.onnx"] == MODEL
    shipped = "models/reference-small-fp32/model.onnx"
    assert beside["models/reference-small-pruned-int8/model.onnx"] == shipped


def test_files_and_folders_of_models_by_their_names(run: Path) -> None:
    folder = run / "models" / "small-fp32"
    model = folder / "model.onnx"
    assert choose([folder, model]) == [Chosen(str(model), model)] * 2
    assert choose([run], ["onnx"]) == [Chosen(MODEL, model)]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["none.onnx"], 3, "none.onnx does not exist"),
        (["."], 3, "holds no models"),
        (["model.exe"], 3, "no model format"),
        (["broken.onnx"], 3, "broken.onnx"),
        (["RUN", "--target", "abacus"], 2, "no target abacus"),
        (["RUN", "--target", "tflite"], 2, "no file for tflite"),
        (["RUN", "--threads", "1,0"], 2, "expected numbers from 1"),
        (["RUN", "--threads", "10000"], 2, "expected numbers from 1 to 256"),
        (["RUN", "--threads", "all"], 2, "expected numbers from 1"),
        (["RUN", "--against", "none.onnx"], 3, "none.onnx does not exist"),
        (["RUN", "--against", "a.mlpackage"], 2, "only evaluates it"),
        (["RUN", "--device", "abacus"], 2, "there is android, coreml"),
        (["RUN", "--device", "android"], 2, "runs files that end in .tflite"),
        (["model.tflite", "--device", "android"], 4, "adb is not on the PATH"),
    ],
)
def test_what_cannot_be_measured(
    arguments: list[str],
    code: int,
    said: str,
    cli: Cli,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("model.exe", "broken.onnx", "model.tflite", "a.mlpackage"):
        (tmp_path / name).write_bytes(b"garbage")
    given = [finished if argument == "RUN" else argument for argument in arguments]
    assert cli("benchmark", *given).failed(code, said)


def test_counts_are_asked_for_by_the_parser(cli: Cli, finished: Path) -> None:
    assert cli("benchmark", finished, "--runs", 0).code == 2
    assert cli("benchmark").code == 2


def test_a_table_is_aligned_and_says_each_thing_once() -> None:
    package = record(file="models/a-fp32/model.mlpackage", paces=(), memory=None, arena=None)
    other = record(arena=Arena(bytes=57_136, detail="recorded"), machine={"cpu": "of ours"})
    found = Benchmarks((record(), package, other), (), {"android": "adb is away"})
    table = found.lines[:6]
    assert table == [
        "file                           size  download  threads  median ms      p95      p99  of a frame                ratio  beside   memory    arena",
        "models/a-int8/model.tflite     1 kB     600 B        1       0.25      0.5        1       1.6 %  1.00 (0.90 to 1.25)  a-fp32   2.0 MB  not run",
        "                                                     2       0.25      0.5        1       1.6 %  1.00 (0.90 to 1.25)  a-fp32",
        "models/a-fp32/model.mlpackage  1 kB     600 B             not run  not run  not run     not run                               not run",
        "models/a-int8/model.tflite     1 kB     600 B        1       0.25      0.5        1       1.6 %  1.00 (0.90 to 1.25)  a-fp32   2.0 MB    57 kB",
        "                                                     2       0.25      0.5        1       1.6 %  1.00 (0.90 to 1.25)  a-fp32",
    ]
    assert found.lines[6:] == [
        "",
        found.lines[7],
        "not run: a .mlpackage is only evaluated here, which says nothing of time or memory",
        "memory: a way",
        "arena: models/a-int8/model.tflite: not run: no reason",
        "arena: models/a-int8/model.tflite: recorded",
        "cpu of ours",
        "LiteRT 2, delegate none",
        "android: not run: adb is away",
    ]


def device_record(**changed: Any) -> DeviceBenchmark:
    latency = DeviceLatency(runs=50, mean_ms=0.8, median_ms=None, p95_ms=1.5, p99_ms=None)
    made = DeviceBenchmark(
        file="model.onnx",
        sha256="ab" * 32,
        device="a phone",
        runtime="a runtime",
        unit="CPU",
        latency=latency,
        memory_bytes=None,
        detail="what it said",
    )
    return replace(made, **changed)


class FakeDevice:
    """A kind of device that runs ONNX files."""

    SUFFIX = ".onnx"

    def __init__(self, reason: str = "", gone: bool = False) -> None:
        self.reason, self.gone = reason, gone
        self.asked: list[dict[str, Any]] = []

    def obstacle(self) -> str:
        return self.reason

    def measure(self, path: Path, **asked: Any) -> Iterator[DeviceBenchmark]:
        self.asked.append(asked)
        yield device_record(file=path.name)
        if self.gone:
            raise DeviceError("it went away")


@pytest.fixture
def attach(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeDevice], None]:
    """Has one kind of device, and nothing measured on this machine."""

    def make(device: FakeDevice) -> None:
        kinds = SimpleNamespace(names=lambda: ("fake",), fault=lambda name: "")
        monkeypatch.setattr(benchmarking, "DEVICES", kinds)
        monkeypatch.setattr(benchmarking, "load_device", lambda name: device)
        monkeypatch.setattr(benchmarking, "measure", lambda path, **asked: record())

    return make


CHOSEN: Sequence[Chosen] = [
    Chosen("models/a/model.onnx", Path("model.onnx")),
    Chosen("models/a/model.tflite", Path("model.tflite")),
]


def test_what_is_attached_is_asked_for_the_files_that_it_runs(
    attach: Callable[[FakeDevice], None],
) -> None:
    device = FakeDevice()
    attach(device)
    found = benchmark(CHOSEN, runs=5, hidden=True)
    assert device.asked == [{"runs": 5, "warmup": 20, "threads": (1, 4)}]
    assert [each.file for each in found.devices] == ["models/a/model.onnx"]
    assert (len(found.files), found.unasked) == (2, {})
    assert found.lines[-3:] == [
        "file                  device  unit  mean ms   median  p95  of a frame   memory",
        "models/a/model.onnx  a phone   CPU      0.8  not run  1.5       5.0 %  not run",
        "models/a/model.onnx on CPU: what it said",
    ]
    benchmark(CHOSEN, runs=5, threads=(2,), device="fake", hidden=True)
    assert device.asked[-1]["threads"] == (2,)


@pytest.mark.parametrize(
    ("device", "said"),
    [(FakeDevice("none is there"), "none is there"), (FakeDevice(gone=True), "it went away")],
)
def test_a_device_that_cannot_be_asked_is_an_error_of_those_who_ask_for_it(
    device: FakeDevice, said: str, attach: Callable[[FakeDevice], None]
) -> None:
    attach(device)
    found = benchmark(CHOSEN, hidden=True)
    assert (len(found.files), found.devices, found.unasked) == (2, (), {"fake": said})
    with pytest.raises(DeviceError, match=said):
        benchmark(CHOSEN, device="fake", hidden=True)


def test_a_device_alone_measures_nothing_here(
    attach: Callable[[FakeDevice], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    attach(FakeDevice())
    monkeypatch.setattr(benchmarking, "measure", lambda *args, **asked: pytest.fail("it measured"))
    found = benchmark(CHOSEN, device="fake", hidden=True)
    assert (found.files, len(found.devices)) == ((), 1)
    assert found.lines[0].startswith("file ")
    assert json.loads(found.to_json())["devices"][0]["latency"]["mean_ms"] == 0.8
    with pytest.raises(UsageError, match=r"ends? in \.onnx, and none is among models/a/model\.tfl"):
        benchmark(CHOSEN[1:], device="fake", hidden=True)


def test_a_folder_without_models(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no models"):
        choose([tmp_path])
