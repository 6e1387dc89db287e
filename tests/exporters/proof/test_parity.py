"""Parity must notice what is wrong and must not call green what did not run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from exporters.proof.parity import check_parity, probe_windows
from exporters.targets.onnx import target as onnx_target
from exporters.targets.onnx.target import OnnxRuntime


@pytest.fixture
def runtime(model_file: Path) -> OnnxRuntime:
    return onnx_target.open_runtime(model_file)


class Broken(nn.Module):
    """A source whose output is changed by ``change``."""

    def __init__(self, inner: nn.Module, change: object) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.change(self.inner(audio))  # type: ignore[operator]


class Coded(nn.Module):
    """A source whose codes are those that ``codes`` gives, and whose rig may be shifted."""

    def __init__(self, inner: nn.Module, codes: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.codes, self.shift = inner, codes, 0.0

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.inner(audio) + self.shift

    def unfolded(self) -> nn.Module:
        raise AssertionError("nobody converts this source")


def test_faithful_file_passes_on_speech_and_probes(
    runtime: OnnxRuntime, student: nn.Module, speech: np.ndarray
) -> None:
    windows = {"held-out speech": speech, **probe_windows(64, seed=3)}
    result = check_parity(runtime, student, windows, max_abs=5e-6)
    assert result.status == "passed"
    assert [item.windows for item in result.sets] == [5, 1, 3, 3, 2]
    assert all(item.max_abs is not None and item.max_abs <= 5e-6 for item in result.sets)
    assert result.max_lsb_limit is None
    assert all(item.max_lsb is None for item in result.sets)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["student"] == "tiny"


def test_one_doubled_weight_in_the_file_is_found(
    model_file: Path, student: nn.Module, speech: np.ndarray, tmp_path: Path
) -> None:
    model = onnx.load(model_file)
    (head,) = [value for value in model.graph.initializer if list(value.dims) == [3, 4, 7]]
    weights = onnx.numpy_helper.to_array(head).copy()
    strongest = np.unravel_index(np.abs(weights[1]).argmax(), weights[1].shape)
    weights[1][strongest] *= 2
    head.CopyFrom(onnx.numpy_helper.from_array(weights, head.name))
    onnx.save(model, tmp_path / "doubled.onnx")

    doubled = onnx_target.open_runtime(tmp_path / "doubled.onnx")
    result = check_parity(doubled, student, {"held-out speech": speech}, max_abs=1e-4)
    (item,) = result.sets
    assert (result.status, item.status) == ("failed", "failed")
    assert item.worst_control == "mouthClose"
    # The oracle: what the two files say, subtracted here.
    sound = onnx_target.open_runtime(model_file).run(speech)
    difference = np.abs(doubled.run(speech).astype(float) - sound)[:, 1]
    assert item.worst_window == difference.argmax()
    assert item.max_abs == pytest.approx(difference.max(), abs=1e-6)
    assert item.mse == pytest.approx((difference**2).sum() / 15, rel=1e-3)
    assert "is above 0.0001" in item.reason


def test_faithful_int8_file_passes_on_speech_and_probes(
    integer_file: Path, integer_student: nn.Module, speech: np.ndarray
) -> None:
    runtime = onnx_target.open_runtime(integer_file)
    windows = {"held-out speech": speech, **probe_windows(64, seed=3)}
    # One code off moves the rig by its scale times a weight, below 0.004 * 0.25 each.
    result = check_parity(runtime, integer_student, windows, max_abs=2e-3)
    assert (result.status, result.max_lsb_limit) == ("passed", 1)
    assert [item.windows for item in result.sets] == [5, 1, 3, 3, 2]
    assert all(item.max_lsb is not None and item.max_lsb <= 1 for item in result.sets)
    assert integer_student.training, "the caller's module is left as it was"


def test_codes_that_are_too_far_off_fail_where_the_rig_does_not(
    integer_file: Path, integer_student: nn.Module, speech: np.ndarray
) -> None:
    runtime = onnx_target.open_runtime(integer_file)
    true = integer_student.codes(torch.from_numpy(speech)).to(torch.int32)

    def off(audio: torch.Tensor) -> torch.Tensor:
        codes = true.clone()
        codes[3, 2, 5] = 127 if true[3, 2, 5] == -128 else -128
        codes[1, 0, 0] = true[1, 0, 0] + 1
        return codes.to(torch.int8)

    source = Coded(integer_student, off)
    (item,) = check_parity(runtime, source, {"speech": speech}, max_abs=1.0).sets
    # In int8 arithmetic 127 - -128 would pass for 1.
    expected = int((true[3, 2, 5] - off(torch.empty(0))[3, 2, 5]).abs())
    assert (item.status, item.max_lsb) == ("failed", expected)
    assert item.reason.startswith(f"2 of 140 codes differ: the largest difference is {expected}")
    assert item.reason.endswith("(on speech, worst in channel 2 of window 3)")
    assert item.max_abs is not None, "the rig was compared too"
    assert (
        check_parity(runtime, source, {"speech": speech}, max_abs=1.0, max_lsb=255).status
        == "passed"
    )


def test_a_code_that_is_two_steps_off_passes_where_the_rig_does(
    integer_file: Path, integer_student: nn.Module, speech: np.ndarray
) -> None:
    """A float sum on the other side of a rounding step in an early layer is no fault of the file."""
    runtime = onnx_target.open_runtime(integer_file)
    true = integer_student.codes(torch.from_numpy(speech)).to(torch.int32)

    def off(audio: torch.Tensor) -> torch.Tensor:
        codes = true.clone()
        codes[3, 2, 5] += 2 if true[3, 2, 5] < 100 else -2
        return codes.to(torch.int8)

    source = Coded(integer_student, off)
    (item,) = check_parity(runtime, source, {"speech": speech}, max_abs=2e-3).sets
    assert (item.status, item.max_lsb, item.beyond_lsb) == ("passed", 2, 1)
    source.shift = 0.1
    (item,) = check_parity(runtime, source, {"speech": speech}, max_abs=2e-3).sets
    assert item.status == "failed", "its rig is wrong"


def test_rig_and_codes_are_two_reasons(
    integer_file: Path, integer_student: nn.Module, speech: np.ndarray
) -> None:
    source = Coded(integer_student, lambda audio: torch.zeros(len(audio), 4, 7, dtype=torch.int8))
    source.shift = 1.0
    runtime = onnx_target.open_runtime(integer_file)
    (item,) = check_parity(runtime, source, {"speech": speech}, max_abs=0.5).sets
    first, second, *_ = item.reason.split("; ")
    assert "is above 0.5" in first
    assert "of 140 codes differ" in second


def test_codes_of_one_side_only_or_of_another_shape_fail(
    integer_file: Path,
    integer_weights_file: Path,
    integer_student: nn.Module,
    integer_weights_student: nn.Module,
    speech: np.ndarray,
) -> None:
    both, neither = map(onnx_target.open_runtime, (integer_file, integer_weights_file))
    narrow = Coded(integer_student, lambda audio: integer_student.codes(audio)[:, :1])
    expected = [
        (neither, integer_student, "missing in the file and int8 [5, 4, 7] in the source"),
        (both, integer_weights_student, "int8 [5, 4, 7] in the file and missing in the source"),
        (both, narrow, "int8 [5, 4, 7] in the file and int8 [5, 1, 7] in the source"),
    ]
    for runtime, source, reason in expected:
        (item,) = check_parity(runtime, source, {"speech": speech}, max_abs=1.0).sets
        assert (item.status, item.max_lsb) == ("failed", None)
        assert item.reason == f"the codes of speech are {reason}"


def test_int8_weights_alone_have_no_codes_to_compare(
    integer_weights_file: Path, integer_weights_student: nn.Module, speech: np.ndarray
) -> None:
    runtime = onnx_target.open_runtime(integer_weights_file)
    windows = {"speech": speech}
    result = check_parity(runtime, integer_weights_student, windows, max_abs=1e-6)
    assert (result.status, result.sets[0].max_lsb) == ("passed", None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_value_that_is_not_finite_fails(
    runtime: OnnxRuntime, student: nn.Module, speech: np.ndarray, value: float
) -> None:
    def spoil(rig: torch.Tensor) -> torch.Tensor:
        rig[3, 2] = value
        return rig

    result = check_parity(runtime, Broken(student, spoil), {"speech": speech}, max_abs=1e9)
    (item,) = result.sets
    assert (result.status, item.max_abs) == ("failed", None)
    assert (item.worst_control, item.worst_window) == ("mouthPucker", 3)
    assert "source" in item.reason
    json.dumps(result.to_dict(), allow_nan=False)


def test_file_and_source_that_are_nan_alike_do_not_agree(
    runtime: OnnxRuntime, student: nn.Module, speech: np.ndarray
) -> None:
    speech[2, 0, 5] = np.nan
    result = check_parity(runtime, student, {"speech": speech}, max_abs=1e9)
    assert result.status == "failed"
    assert "NaN" in result.sets[0].reason


def test_shapes_are_not_broadcast(
    runtime: OnnxRuntime, student: nn.Module, speech: np.ndarray
) -> None:
    narrow = Broken(student, lambda rig: rig[:, :1])
    result = check_parity(runtime, narrow, {"speech": speech}, max_abs=1e9)
    assert result.status == "failed"
    assert "[5, 1], expected [5, 3]" in result.sets[0].reason


def test_windows_of_another_length_fail(runtime: OnnxRuntime, student: nn.Module) -> None:
    wrong = np.zeros((2, 1, 63), np.float32)
    result = check_parity(runtime, student, {"speech": wrong}, max_abs=1.0)
    assert result.status == "failed"
    assert "[2, 1, 63]" in result.sets[0].reason


def test_what_did_not_run_is_not_green(
    runtime: OnnxRuntime, student: nn.Module, speech: np.ndarray
) -> None:
    empty = np.empty((0, 1, 64), np.float32)
    assert check_parity(runtime, student, {}, max_abs=1.0).status == "not run"
    both = check_parity(runtime, student, {"speech": speech, "other": empty}, max_abs=1.0)
    assert [item.status for item in both.sets] == ["passed", "not run"]
    assert both.status == "not run"


def test_a_failure_outweighs_what_did_not_run(
    runtime: OnnxRuntime, student: nn.Module, speech: np.ndarray
) -> None:
    windows = {"speech": speech, "other": np.empty((0, 1, 64), np.float32)}
    shifted = Broken(student, lambda rig: rig + 1)
    assert check_parity(runtime, shifted, windows, max_abs=0.5).status == "failed"


def test_result_cannot_be_called_green_afterwards(runtime: OnnxRuntime, student: nn.Module) -> None:
    result = check_parity(runtime, student, {}, max_abs=1.0)
    with pytest.raises(ValueError, match="cannot be 'passed'"):
        replace(result, status="passed")


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), -1e-3])
def test_limit_must_be_a_limit(runtime: OnnxRuntime, student: nn.Module, limit: float) -> None:
    with pytest.raises(ValueError, match="finite limit"):
        check_parity(runtime, student, {}, max_abs=limit)


def test_limit_of_codes_must_be_a_limit(runtime: OnnxRuntime, student: nn.Module) -> None:
    with pytest.raises(ValueError, match="max_lsb is -1"):
        check_parity(runtime, student, {}, max_abs=1.0, max_lsb=-1)


def test_probes_are_what_they_are_called() -> None:
    probes = probe_windows(8192, seed=1)
    assert all(
        value.dtype == np.float32 and value.shape[1:] == (1, 8192) for value in probes.values()
    )
    assert not probes["silence"].any()
    noise = probes["full-scale noise"]
    assert np.abs(noise).max() > 0.999
    assert np.abs(noise).max() <= 1
    # A sine of amplitude 5 spends 1 - 2 asin(1/5) / pi = 87 % of its time beyond 1.
    assert np.mean(np.abs(probes["clipped audio"]) == 1) == pytest.approx(0.872, abs=0.02)
    tiny = probes["denormals"]
    assert np.count_nonzero(tiny) > 0.99 * tiny.size
    assert np.abs(tiny).max() < np.finfo(np.float32).tiny
    again = probe_windows(8192, seed=1)
    assert all(np.array_equal(again[name], probes[name]) for name in probes)
