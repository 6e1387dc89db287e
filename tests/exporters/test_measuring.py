"""Benchmark: figures from a fresh process, and their order."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from exporters import onnx as onnx_target
from exporters.benchmark import measure, measure_here
from exporters.errors import ModelFileError
from exporters.signature import Signature


def test_fresh_process_gives_sane_figures(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder that would break the process if it looked for modules where it runs.
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit('found me')")
    monkeypatch.chdir(tmp_path)
    result = measure(model_file, reference=model_file, runs=30, warmup=3)
    latency = result.latency
    assert result.bytes == model_file.stat().st_size
    assert result.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert latency.runs == 30
    # A thousand multiplications: above a microsecond from Python, far below a tenth of a second.
    assert 0.001 < latency.median_ms <= latency.p95_ms <= latency.p99_ms
    assert latency.median_ms < 100
    assert latency.frame_share == pytest.approx(latency.median_ms / 16)
    # A file against itself. Wide, because a busy machine is no reason to fail.
    assert result.ratio == pytest.approx(1, abs=0.5)
    assert result.machine["runtime"] == "ONNX Runtime"
    assert result.machine["threads"] == "1"
    assert result.machine["cpu"]


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
        return {"runtime": "fake"}


def test_percentiles_and_ratio_by_hand(
    model_file: Path, signature: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0]
    slow = [9_000_000_000] * 2 + [millisecond * 1_000_000 for millisecond in range(101)]
    quick = [9_000_000_000] * 2 + [25_000_000] * 101
    calls: list[FakeRuntime] = []
    first = FakeRuntime(signature, clock, slow, calls)
    second = FakeRuntime(signature, clock, quick, calls)
    waiting = [first, second]
    monkeypatch.setattr(onnx_target, "open_runtime", lambda path, threads: waiting.pop(0))
    monkeypatch.setattr("time.perf_counter_ns", lambda: clock[0])
    result = measure_here([model_file, model_file], runs=101, warmup=2, threads=1)
    # 0, 1, ... 100 ms; the two slow calls of the warm-up do not count.
    assert (result.latency.median_ms, result.latency.p95_ms, result.latency.p99_ms) == (50, 95, 99)
    assert result.reference_latency is not None
    assert result.reference_latency.median_ms == 25
    assert result.ratio == 2
    assert result.latency.frame_share == 50 / 16
    turns = {tuple(calls[at : at + 2]) for at in range(0, len(calls), 2)}
    assert turns == {(first, second), (second, first)}, "each goes first in turn"


def test_without_reference_there_is_no_ratio(model_file: Path) -> None:
    result = measure_here([model_file], runs=2, warmup=0, threads=1)
    assert (result.reference, result.reference_latency, result.ratio) == (None, None, None)


def test_failure_in_the_process_is_a_file_error(tmp_path: Path) -> None:
    path = tmp_path / "-broken.onnx"
    path.write_bytes(b"garbage")
    with pytest.raises(ModelFileError, match=r"ended with code 3: .*cannot read"):
        measure(path, runs=1)


def test_mistakes_are_found_before_a_process_starts(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: pytest.fail("it started"))
    with pytest.raises(ValueError, match="runs 0"):
        measure(model_file, runs=0)
    with pytest.raises(ModelFileError, match="does not exist"):
        measure(tmp_path / "none.onnx")
    with pytest.raises(ModelFileError, match="no model format"):
        measure(tmp_path / "model.exe")


def test_result_is_json(model_file: Path) -> None:
    from dataclasses import asdict

    result = measure_here([model_file], runs=2, warmup=0, threads=1)
    json.dumps(asdict(result), allow_nan=False)
