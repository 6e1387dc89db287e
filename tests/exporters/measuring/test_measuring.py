"""Measuring: figures from fresh processes, sizes beside an archive's, ratios by a clock of our own."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from exporters.errors import MissingToolError, ModelFileError
from exporters.files import describe_file
from exporters.machine import usable_cpus
from exporters.measuring import all_and_one, measure, process, size_of
from exporters.measuring.pace import pace_here
from exporters.measuring.size import download_bytes
from exporters.signature import Signature
from exporters.targets.onnx import target as onnx_target
from tests.exporters.conftest import TinyStudent

# Of TinyStudent: 4 · 16 + 4 weights and biases of one layer, 3 · 4 · 7 + 3 of the other.
WEIGHTS, BIASES = 64 + 84, 4 + 3


def test_fresh_processes_give_sane_figures(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder that would break a process if it looked for modules where it runs.
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit('found me')")
    monkeypatch.chdir(tmp_path)
    result = measure(model_file, runs=30, warmup=3, threads=(1, 2, 1))
    assert result.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert [pace.threads for pace in result.paces] == [1, 2]
    for pace in result.paces:
        latency = pace.latency
        assert latency.runs == 30
        # A thousand multiplications: above a microsecond from Python, far below a second.
        assert 0.001 < latency.median_ms <= latency.p95_ms <= latency.p99_ms
        assert latency.median_ms < 1000
        assert latency.frame_share == pytest.approx(latency.median_ms / 16)
        # Against itself, as nothing else was named.
        assert pace.reference == model_file.name
        assert pace.ratio_low is not None
        assert pace.ratio_high is not None
        assert 0 < pace.ratio_low <= pace.ratio_high
    assert result.single == result.paces[0]
    assert result.memory is not None
    # How much it is, test_memory asks of a file that cannot be missed: this one has a dozen pages,
    # which the kernel may count later.
    assert "peak" in result.memory.how or "VmHWM" in result.memory.how
    assert result.arena is None
    assert result.machine["runtime"] == "ONNX Runtime"
    assert result.machine["cpu"]
    assert "threads" not in result.machine, "they are each pace's own"
    json.dumps(asdict(result), allow_nan=False)


def test_what_is_only_evaluated_has_a_size_and_starts_nothing(
    packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: pytest.fail("it started"))
    result = measure(packages["fp32"])
    assert (result.paces, result.memory, result.arena) == ((), None, None)
    assert result.single is None
    assert result.sha256 == describe_file(packages["fp32"], "coreml").sha256
    assert result.size.bytes == sum(
        os.stat(Path(folder, name)).st_size
        for folder, _, names in os.walk(packages["fp32"])
        for name in names
    )


@pytest.mark.parametrize("kind", ["a file", "a package"])
def test_download_is_what_an_archive_needs(
    kind: str, model_file: Path, packages: dict[str, Path], tmp_path: Path
) -> None:
    path = model_file if kind == "a file" else packages["int8"]
    members = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for member in members:
            made.write(member, member.relative_to(path.parent))
    with zipfile.ZipFile(tmp_path / "all.zip") as made:
        expected = sum(member.compress_size for member in made.infolist())
    assert download_bytes(path) == expected


def test_download_of_what_cannot_be_compressed_and_of_zeros(tmp_path: Path) -> None:
    noise, nothing = tmp_path / "noise", tmp_path / "nothing"
    noise.write_bytes(np.random.default_rng(0).bytes(3_000_000))
    nothing.write_bytes(bytes(3_000_000))
    assert 3_000_000 <= download_bytes(noise) < 3_010_000
    assert download_bytes(nothing) < 10_000


# Beside weights and biases of TinyStudent: int8 files have a scale and a zero point for every
# channel and tensor; ONNX and Core ML keep zeros in a byte, TFLite scales in no constant.
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("onnx fp32", 4 * (WEIGHTS + BIASES), 4 * (WEIGHTS + BIASES)),
        ("onnx int8", WEIGHTS + 4 * BIASES, WEIGHTS + 4 * BIASES + 100),
        ("tflite fp32", 4 * (WEIGHTS + BIASES), 4 * (WEIGHTS + BIASES) + 100),
        ("tflite fp16", 2 * WEIGHTS + 4 * BIASES, 2 * WEIGHTS + 4 * BIASES + 100),
        ("tflite int8", WEIGHTS + 4 * BIASES, WEIGHTS + 4 * BIASES + 100),
        ("coreml fp32", 4 * (WEIGHTS + BIASES), 4 * (WEIGHTS + BIASES)),
        ("coreml fp16", 2 * (WEIGHTS + BIASES), 2 * (WEIGHTS + BIASES)),
        ("coreml int8", WEIGHTS + 4 * BIASES, WEIGHTS + 4 * BIASES + 100),
    ],
)
def test_weight_bytes_are_those_of_the_parameters(
    name: str, least: int, most: int, request: pytest.FixtureRequest
) -> None:
    target, precision = name.split()
    assert sum(values.numel() for values in TinyStudent().parameters()) == WEIGHTS + BIASES
    if target == "coreml":
        path = request.getfixturevalue("packages")[precision]
    else:
        fixtures = {"onnx fp32": "model_file", "onnx int8": "integer_file"}
        path = request.getfixturevalue(fixtures.get(name, name.replace(" ", "_")))
    size = size_of(path)
    assert size.weight_bytes is not None
    assert least <= size.weight_bytes <= most
    assert size.weight_bytes < size.bytes


class FakeRuntime:
    """Each call moves a fake clock on by a set number of nanoseconds."""

    def __init__(
        self, signature: Signature, clock: list[int], costs: list[int], calls: list["FakeRuntime"]
    ) -> None:
        self.signature, self.clock, self.costs, self.calls = signature, clock, costs, calls

    def run(self, audio: np.ndarray) -> np.ndarray:
        assert audio.shape == (1, 1, 64)
        self.clock[0] += self.costs.pop(0)
        self.calls.append(self)
        return np.zeros((1, 3), np.float32)

    def describe(self) -> dict[str, str]:
        return {"runtime": "fake", "threads": "7"}


@pytest.fixture
def on_a_clock(
    signature: Signature, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[int], list[int]], list[FakeRuntime]]:
    """Have two runtimes opened, whose calls take these nanoseconds; gives the list of calls."""

    def prepare(costs: list[int], others: list[int]) -> list[FakeRuntime]:
        clock, calls = [0], []
        waiting = [FakeRuntime(signature, clock, list(each), calls) for each in (costs, others)]
        monkeypatch.setattr(onnx_target, "open_runtime", lambda path, *, threads=1: waiting.pop(0))
        monkeypatch.setattr("time.perf_counter_ns", lambda: clock[0])
        return calls

    return prepare


OnAClock = Callable[[list[int], list[int]], list[FakeRuntime]]


def test_percentiles_and_ratio_by_hand(model_file: Path, on_a_clock: OnAClock) -> None:
    warm = [9_000_000_000] * 2
    slow = warm + [millisecond * 1_000_000 for millisecond in range(101)]
    calls = on_a_clock(slow, warm + [25_000_000] * 101)
    paced = pace_here(model_file, Path("other.onnx"), runs=101, warmup=2, threads=3)
    pace = paced.pace
    # 0, 1, ... 100 ms; the two slow calls of the warm-up do not count.
    assert (pace.latency.median_ms, pace.latency.p95_ms, pace.latency.p99_ms) == (50, 95, 99)
    assert pace.reference_latency is not None
    assert pace.reference_latency.median_ms == 25
    assert (pace.threads, pace.reference, pace.ratio) == (3, "other.onnx", 2)
    assert pace.latency.frame_share == 50 / 16
    # The first of ten stretches is 0 to 10 ms, the last 91 to 100.
    assert (pace.ratio_low, pace.ratio_high) == (5 / 25, 95.5 / 25)
    assert paced.runtime == {"runtime": "fake"}
    first, second = calls[0], calls[1]
    turns = {tuple(calls[at : at + 2]) for at in range(0, len(calls), 2)}
    assert turns == {(first, second), (second, first)}, "each goes first in turn"


def test_a_slow_spell_meets_both_and_leaves_the_ratio(
    model_file: Path, on_a_clock: OnAClock
) -> None:
    spell = [1_000_000] * 50 + [7_000_000] * 50
    on_a_clock([3 * cost for cost in spell], spell)
    pace = pace_here(model_file, model_file, runs=100, warmup=0, threads=1).pace
    assert pace.latency.p99_ms == 21
    assert (pace.ratio, pace.ratio_low, pace.ratio_high) == (3, 3, 3)


def test_fewer_runs_than_stretches(model_file: Path, on_a_clock: OnAClock) -> None:
    on_a_clock([2_000_000, 4_000_000], [2_000_000, 1_000_000])
    pace = pace_here(model_file, model_file, runs=2, warmup=0, threads=1).pace
    assert (pace.ratio_low, pace.ratio_high) == (1, 4)


def test_failure_in_the_process_is_a_file_error(tmp_path: Path) -> None:
    path = tmp_path / "-broken.onnx"
    path.write_bytes(b"garbage")
    with pytest.raises(ModelFileError, match=r"ended with code 3: .*cannot read"):
        process.in_fresh_process("memory", path)
    with pytest.raises(ModelFileError, match="cannot be read as an ONNX model"):
        measure(path, runs=1)


def test_what_the_process_lacks_is_missing_here(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # -P keeps the working folder out, not what the user put on the path.
    (tmp_path / "onnxruntime.py").write_text(
        "from exporters.errors import MissingToolError\n"
        "raise MissingToolError('Install with: pip install onnxruntime')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="pip install onnxruntime"):
        process.in_fresh_process("memory", model_file)


def test_mistakes_are_found_before_a_process_starts(
    model_file: Path, packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: pytest.fail("it started"))
    with pytest.raises(ValueError, match="runs 0"):
        measure(model_file, runs=0)
    with pytest.raises(ValueError, match=r"threads \[\]"):
        measure(model_file, threads=())
    with pytest.raises(ValueError, match="only evaluates it"):
        measure(model_file, reference=packages["fp32"])
    with pytest.raises(ModelFileError, match="does not exist"):
        measure(tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match="does not exist"):
        measure(model_file, reference=tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match="no model format"):
        measure(tmp_path / "model.exe")


def test_threads_are_one_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert (usable_cpus(), all_and_one()) == (3, (1, 3))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3})
    assert all_and_one() == (1,)
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert all_and_one() == (1,)
