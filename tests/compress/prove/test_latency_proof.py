"""A file that hears more or less than it declares is found out."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from compress.prove.latency_proof import latency_checks
from exporters.signature import Signature

PAST, FUTURE = 512, 256


class Ear:
    """Hears `past` samples before a moment and `future` after it, whatever its signature says."""

    def __init__(self, signature: Signature, past: int = PAST, future: int = FUTURE) -> None:
        self.signature, self.past, self.future = signature, past, future
        self.steps = 0.0

    def run(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        middle = self.signature.past
        heard = audio[:, 0, max(0, middle - self.past) : middle + self.future]
        # Each sample counts; sums of floats would lose some.
        level = np.abs(heard).astype(np.float64) @ np.linspace(1, 2, heard.shape[1])
        if self.steps:
            level = np.round(level / self.steps) * self.steps
        return np.stack([level, -level], 1).astype(np.float32)

    def describe(self) -> dict[str, str]:
        return {"runtime": "an ear"}


@pytest.fixture
def signature() -> Signature:
    return Signature(
        student="tiny",
        precision="fp32",
        controls=("jawOpen", "mouthClose"),
        driven=("jawOpen", "mouthClose"),
        constants={},
        sample_rate_hz=16000,
        hop=256,
        window=PAST + FUTURE,
        past=PAST,
        future=FUTURE,
        smoothing=(1.0,),
        made_from="",
        teacher="",
        tool_versions={},
        quantization={},
    )


def test_an_honest_file_passes(signature: Signature) -> None:
    future, past = latency_checks(Ear(signature), "model.onnx")
    assert (future.status, past.status) == ("passed", "passed")
    assert future.what == "declared future, an ear"
    assert future.detail == (
        "audio beyond 32 ms changed no bit of 64 frames, the last 4 ms inside it moved 8 of 8"
    )
    assert past.detail.startswith("audio beyond 48 ms")


def test_smoothing_is_part_of_what_is_declared(signature: Signature) -> None:
    smoothed = replace(signature, smoothing=(0.0, 0.5, 0.5))
    future, past = latency_checks(Ear(smoothed), "model.onnx")
    assert (future.status, past.status) == ("passed", "passed")
    assert future.detail.startswith("audio beyond 48 ms"), "one hop more than playback"
    assert past.detail.startswith("audio beyond 48 ms"), "a weight of 0 waits for nothing"


def test_hearing_less_than_declared_fails(signature: Signature) -> None:
    deaf = Ear(signature, past=PAST - 64, future=FUTURE - 64)
    for check in latency_checks(deaf, "model.onnx"):
        assert check.status == "failed"
        assert "moved 0 of 8 frames, expected 8: it declares more than it hears" in check.detail


def test_hearing_more_than_declared_fails(signature: Signature) -> None:
    """As a stateful runtime would, or one that is fed other windows than it declares."""
    shorter = replace(signature, window=PAST + FUTURE - 4, past=PAST - 2, future=FUTURE - 2)
    keen = Ear(signature)
    said = SimpleNamespace(
        signature=shorter,
        describe=keen.describe,
        run=lambda audio: keen.run(np.pad(audio, ((0, 0), (0, 0), (2, 2)))),
    )
    assert all(check.status == "passed" for check in latency_checks(said, "model.onnx"))

    remembered: list[np.float32] = []

    def with_memory(audio: NDArray[np.float32]) -> NDArray[np.float32]:
        remembered.append(audio[-1, 0, -1])
        return keen.run(np.pad(audio, ((0, 0), (0, 0), (2, 2)))) + len(remembered)

    said.run = with_memory
    for check in latency_checks(said, "model.onnx"):
        assert check.status == "failed"
        assert "it hears more than it declares" in check.detail


def test_codes_may_round_small_changes_away_but_not_all(signature: Signature) -> None:
    integers = replace(signature, precision="int8")
    coarse = Ear(integers)
    coarse.steps = 58.0
    future, _ = latency_checks(coarse, "model.onnx")
    assert future.status == "passed"
    assert "moved 8 of 8" not in future.detail
    coarse.steps = 1e6
    future, past = latency_checks(coarse, "model.onnx")
    assert (future.status, past.status) == ("failed", "failed")
    assert "moved 0 of 8 frames, expected 1" in future.detail
