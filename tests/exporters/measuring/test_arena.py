"""The arena: at least what the graph's tensors need, more for more of them; and what goes wrong."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from exporters.errors import ModelFileError
from exporters.measuring import arena, measure
from exporters.measuring.arena import arena_of
from exporters.signature import Signature
from exporters.targets.tflite import target as tflite
from exporters.targets.tflite.file import read
from exporters.targets.tflite.interpreter import opened
from tests.exporters.conftest import quantized

pytestmark = pytest.mark.skipif(
    not arena.find_spec("tflite_micro"), reason="tflite-micro has no build for this system"
)

Ran = Callable[..., "subprocess.CompletedProcess[str]"]


class Wide(nn.Module):
    """TinyStudent's shape with so many channels between: [batch, 1, 64] -> [batch, 3]."""

    def __init__(self, channels: int, limited: bool = False) -> None:
        super().__init__()
        self.features = nn.Conv1d(1, channels, kernel_size=16, stride=8)
        self.head = nn.Conv1d(channels, 3, kernel_size=7)
        self.limited = limited

    def forward(self, audio):  # type: ignore[no-untyped-def]
        rig = self.head(self.features(audio).relu()).squeeze(-1)
        return rig.clamp(0, 1) if self.limited else rig


def largest_pair(path: Path) -> int:
    """Bytes that some operator reads and writes at once, constants left out, by LiteRT's tables."""
    content, _ = read(path)
    interpreter = opened(content, plain=True)
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    made = {interpreter.get_input_details()[0]["index"]}
    largest = 0
    for operator in interpreter._get_ops_details():
        made.update(operator["outputs"])
        beside = made.intersection([*operator["inputs"], *operator["outputs"]])
        sizes = (
            tensors[i]["shape"].prod() * np.dtype(tensors[i]["dtype"]).itemsize for i in beside
        )
        largest = max(largest, int(sum(sizes)))
    return largest


def test_it_has_room_for_the_graph_s_tensors_and_grows_with_them(
    integer_signature: Signature, tmp_path: Path
) -> None:
    found = {}
    for channels in (4, 256):
        module = quantized(Wide(channels), activations=True)
        path = tflite.export(module, integer_signature, tmp_path / f"{channels}.tflite").path
        recorded = arena_of(path)
        assert recorded is not None
        assert recorded.bytes is not None, recorded.detail
        assert recorded.detail.startswith("recorded by tflite-micro 0.")
        assert "something else" not in recorded.detail
        # Beside tensors its tables lie there: some hundred bytes an operator.
        assert largest_pair(path) <= recorded.bytes <= largest_pair(path) + 10_000
        found[channels] = recorded.bytes
    # [1, 256, 7] int8 for [1, 4, 7].
    assert found[256] - found[4] >= (256 - 4) * 7


def test_only_int8_files_have_one(
    model_file: Path, tflite_fp32: Path, integer_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: pytest.fail("it started"))
    assert [arena_of(path) for path in (model_file, tflite_fp32, integer_file)] == [None] * 3


def test_it_stands_in_the_benchmark(tflite_int8: Path) -> None:
    result = measure(tflite_int8, runs=2, warmup=0, threads=(1,))
    assert result.arena == arena_of(tflite_int8)
    assert result.arena is not None


def test_an_operation_that_it_lacks_is_named(integer_signature: Signature, tmp_path: Path) -> None:
    # Float values within 0 and 1 become RELU_0_TO_1, which LiteRT alone knows.
    module = quantized(Wide(4, limited=True), activations=False)
    path = tflite.export(module, integer_signature, tmp_path / "limited.tflite").path
    found = arena_of(path)
    assert found is not None
    assert found.bytes is None
    assert found.detail.startswith("not run: tflite-micro ")
    assert found.detail.endswith("has no operation RELU_0_TO_1")


def test_without_the_package_it_says_how_to_get_it(
    tflite_int8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena, "find_spec", lambda name: None)
    found = arena_of(tflite_int8)
    assert found is not None
    assert found.bytes is None
    assert found.detail.startswith("not run: ")
    assert found.detail.endswith("pip install tflite-micro")


@pytest.mark.parametrize(
    ("code", "out", "err", "said"),
    [
        (-11, "", "", "not run: tflite-micro .* was ended by signal 11"),
        (1, "", "RuntimeError: no room", "not run: tflite-micro .* code 1: RuntimeError: no room"),
        (0, "off by 0.0", "nothing of an arena", "not run: .* code 0: off by 0.0 nothing of an"),
        (0, "", "Arena allocation total 5 bytes", "not run: .* code 0"),
        (
            0,
            "off by 0.01\n",
            "[R] Arena allocation total 5 bytes",
            "recorded by tflite-micro [^,]*",
        ),
        (
            0,
            "off by 0.5\n",
            "[R] Arena allocation total 5 bytes",
            "recorded .* than LiteRT: 50% .*",
        ),
        (
            0,
            "off by nan\n",
            "[R] Arena allocation total 5 bytes",
            "recorded .* than LiteRT: nan% .*",
        ),
    ],
)
def test_however_the_process_ends(
    code: int, out: str, err: str, said: str, tflite_int8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], code, out, err)
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: done)
    found = arena_of(tflite_int8)
    assert found is not None
    assert found.bytes == (5 if said.startswith("recorded") else None)
    assert re.match(said, found.detail), found.detail


def test_a_runtime_that_crashes_or_hangs_ends_nothing_here(
    tflite_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tflite_micro"
    package.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (package / "__init__.py").write_text("import os\nos.abort()\n")
    found = arena_of(tflite_int8)
    assert found is not None
    assert "was ended by signal 6" in found.detail
    (package / "__init__.py").write_text("import time\ntime.sleep(1000)\n")
    monkeypatch.setattr(arena, "_LIMIT_S", 3.0)
    found = arena_of(tflite_int8)
    assert found is not None
    assert found.detail == "not run: tflite-micro gave no answer in 3 s"


def test_a_damaged_file_is_an_error_of_the_file(tflite_int8: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite_int8.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match=os.fspath(path)):
        arena_of(path)
