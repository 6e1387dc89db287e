"""Memory: a process grows by what it holds, and by a file's weights at least."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporters.measuring import measure, memory
from exporters.measuring.figures import Memory
from exporters.measuring.memory import grown_by
from exporters.measuring.process import in_fresh_process
from exporters.records import from_json
from exporters.signature import Signature
from exporters.targets.onnx import target as onnx_target
from tests.exporters.conftest import WINDOW

MB = 1 << 20
WIDTH = 2048

on_linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak cannot be set back here"
)


@pytest.fixture(scope="module")
def heavy(signature: Signature, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 2048 · 2048 weights and some more, 17 MB."""
    module = nn.Sequential(
        nn.Conv1d(1, WIDTH, WINDOW),
        nn.Conv1d(WIDTH, WIDTH, 1),
        nn.Conv1d(WIDTH, 3, 1),
        nn.Flatten(),
    )
    with torch.no_grad():
        for weights in module.parameters():
            weights.copy_(torch.arange(weights.numel()).reshape(weights.shape) % 7 / WIDTH)
    path = tmp_path_factory.mktemp("heavy") / "model.onnx"
    return onnx_target.export(module, replace(signature, student="heavy"), path).path


@on_linux
def test_a_file_takes_its_weights_at_least(heavy: Path, model_file: Path) -> None:
    weights = 4 * WIDTH * WIDTH
    grown = from_json(Memory, in_fresh_process("memory", heavy))
    light = from_json(Memory, in_fresh_process("memory", model_file))
    assert weights <= grown.peak_bytes < 6 * weights
    assert 0 <= light.peak_bytes < weights / 8
    assert "VmHWM" in grown.how


def grown(use: str, least: int = 0) -> Memory:
    """What a process grows by that does nothing else; `use` is Python that defines `use`."""
    code = f"""
import numpy as np
from exporters import records
from exporters.measuring.memory import grown_by
MB = 1 << 20
{use}
print(records.to_json(grown_by(use, least={least})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return from_json(Memory, done.stdout)


@on_linux
def test_a_peak_counts_though_it_is_gone_at_the_end() -> None:
    found = grown("""
def use():
    np.ones(40 * MB, np.uint8)
    return np.ones(10 * MB, np.uint8).size
""")
    # The kernel counts pages in batches.
    assert 39 * MB <= found.peak_bytes <= 60 * MB


@on_linux
def test_what_was_held_before_counts_for_nothing() -> None:
    found = grown("""
held = np.ones(60 * MB, np.uint8)
use = held.sum
""")
    assert found.peak_bytes < 10 * MB


@on_linux
def test_what_stays_from_the_first_time_is_not_missed() -> None:
    keeping = """
def keeping():
    kept = np.ones(30 * MB, np.uint8)
    while True:
        yield kept
use = keeping().__next__
"""
    assert grown(keeping).peak_bytes < 10 * MB, "touched once, by libraries"
    found = grown(keeping, least=30 * MB)
    assert 29 * MB <= found.peak_bytes <= 50 * MB
    assert "second" not in found.how


def test_where_a_peak_cannot_be_set_back_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = [3_000_000, 5_000_000]
    monkeypatch.setattr(memory, "_RESET", Path("/nowhere/clear_refs"))
    monkeypatch.setattr(memory, "_peak_of_process", lambda: peaks.pop(0))
    called = []
    grown = grown_by(lambda: called.append(1))
    assert grown.peak_bytes == 2_000_000
    assert "from its start" in grown.how
    assert called == [1], "it would not see a second time"


@on_linux
def test_the_peak_of_another_process_hides_no_growth() -> None:
    """A new process begins with the peak of its parent, by `getrusage`."""
    held = np.ones(200 * MB, np.uint8)
    found = grown("""
from pathlib import Path
from exporters.measuring import memory
memory._RESET = Path("/nowhere/clear_refs")
def use():
    np.ones(40 * MB, np.uint8)
""")
    assert held.all()
    assert 39 * MB <= found.peak_bytes <= 60 * MB


def test_where_nothing_tells_it_is_null(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.can_tell()
    monkeypatch.setattr(memory, "_RESET", Path("/nowhere/clear_refs"))
    assert memory.can_tell()
    monkeypatch.setattr(memory, "find_spec", lambda name: None)
    assert measure(model_file, runs=1, warmup=0, threads=(1,)).memory is None


def test_the_unit_of_the_peak_is_the_system_s(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        ru_maxrss = 7

    monkeypatch.setattr("resource.getrusage", lambda who: Usage)
    for system, expected in {"darwin": 7, "freebsd14": 7 * 1024}.items():
        monkeypatch.setattr("sys.platform", system)
        assert memory._peak_of_process() == expected
