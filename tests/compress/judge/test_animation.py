"""Running a file on speech: a fake runtime that repeats what it heard shows where it was asked."""

import csv
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from compress.judge.animation import (
    ROTATIONS,
    driven_curves,
    frame_times,
    timecode,
    to_csv,
    to_json,
    whole_rig,
)
from compress.rig.rig import ARKIT
from exporters.signature import Signature

RATE = 16_000


def signature(
    past: int = 100, future: int = 60, smoothing: tuple[float, ...] = (1.0,), **changes: Any
) -> Signature:
    facts: dict[str, Any] = {
        "student": "fake",
        "precision": "fp32",
        "controls": ("open", "still", "wide"),
        "driven": ("wide", "open"),
        "constants": {"still": 0.5},
        "sample_rate_hz": RATE,
        "hop": 256,
        "window": past + future,
        "past": past,
        "future": future,
        "smoothing": smoothing,
        "made_from": "0" * 64,
        "teacher": "fake",
        "tool_versions": {},
        "quantization": {},
    }
    return Signature(**(facts | changes))


class Echo:
    """Predicts two samples of its window, by their places in it."""

    def __init__(self, signature: Signature, places: Sequence[int]) -> None:
        self.signature, self.places = signature, list(places)
        self.batches: list[int] = []

    def run(self, audio: np.ndarray) -> np.ndarray:
        assert audio.dtype == np.float32
        assert audio.shape[1:] == (1, self.signature.window)
        assert audio.flags.c_contiguous
        self.batches.append(len(audio))
        return audio[:, 0, self.places].astype(np.float32)

    def describe(self) -> dict[str, str]:
        return {"name": "echo"}


def ramp(samples: int) -> np.ndarray:
    """Samples that say which they are; the first is 1, so that silence is told apart."""
    return np.arange(1, samples + 1, dtype=np.float32)


def heard(samples: np.ndarray, length: int) -> np.ndarray:
    """What a ramp of so many samples says at some places; nothing outside of it."""
    return np.where((samples >= 0) & (samples < length), samples + 1, 0).astype(np.float64)


def between(place: int, times: np.ndarray, length: int) -> np.ndarray:
    """What playback shows of the sample at a place of the window, by hand."""
    hops = times * RATE / 256
    first = np.floor(hops + 1e-9)
    one, other = (heard((first + i) * 256 - 100 + place, length) for i in (0, 1))
    return one + (hops - first) * (other - one)


@pytest.mark.parametrize("rate_hz", [24.0, 29.97, 30.0, 60.0, 62.5])
def test_poses_lie_on_the_hop_grid_and_are_interpolated_between(rate_hz: float) -> None:
    """The sample at index `past` is that of the hop; the window's ends are around it."""
    samples = ramp(5000)
    times = frame_times(len(samples), rate_hz, RATE)
    now = driven_curves(Echo(signature(), (100, 0)), samples, times)
    np.testing.assert_allclose(now[:, 0], between(100, times, 5000), rtol=1e-6)
    np.testing.assert_allclose(now[:, 1], between(0, times, 5000), rtol=1e-6)
    end = driven_curves(Echo(signature(), (159, 159)), samples, times)
    np.testing.assert_allclose(end[:, 0], between(159, times, 5000), rtol=1e-6)


def test_moments_outside_of_the_clip_hear_silence() -> None:
    runtime = Echo(signature(), (100, 0))
    times = np.array([-0.032, -0.016, 0.0, 0.008, 0.016, 0.1])
    curves = driven_curves(runtime, ramp(160), times)
    np.testing.assert_array_equal(curves[:, 0], [0, 0, 1, 0.5, 0, 0])
    np.testing.assert_array_equal(curves[:, 1], [0, 0, 0, 157 / 2, 157, 0])


def test_smoothing_is_the_weighted_mean_of_three_hops() -> None:
    runtime = Echo(signature(smoothing=(0.5, 0.3, 0.2)), (100, 100))
    times = np.array([0.0, 0.05, 0.1])
    curves = driven_curves(runtime, ramp(1700), times)
    expected = sum(
        weight * between(100, times + offset * 0.016, 1700)
        for offset, weight in ((-1, 0.5), (0, 0.3), (1, 0.2))
    )
    np.testing.assert_allclose(curves[:, 0], expected, rtol=1e-6)


def test_many_hops_go_in_blocks_and_none_in_no_call() -> None:
    runtime = Echo(signature(), (100, 100))
    times = np.arange(600) * 0.016
    curves = driven_curves(runtime, ramp(600 * 256), times)
    assert runtime.batches == [256, 256, 88]
    np.testing.assert_array_equal(curves[:, 0], np.arange(600) * 256 + 1)
    assert driven_curves(runtime, ramp(10), np.zeros(0)).shape == (0, 2)


class Whole(Echo):
    """The same, for all hops of a stretch in one call."""

    def stretch(self, samples: np.ndarray) -> np.ndarray:
        assert (len(samples) - self.signature.window) % 256 == 0
        starts = np.arange(0, len(samples) - self.signature.window + 1, 256)
        return samples[starts[:, None] + np.array(self.places)].astype(np.float32)


@pytest.mark.parametrize("smoothing", [(1.0,), (0.5, 0.3, 0.2)])
def test_a_stretch_at_once_is_the_same(smoothing: tuple[float, ...]) -> None:
    times = np.arange(-2, 40) / 24
    found = [
        driven_curves(kind(signature(smoothing=smoothing), (100, 7)), ramp(20_000), times)
        for kind in (Echo, Whole)
    ]
    np.testing.assert_array_equal(*found)


def test_frames_start_inside_of_the_clip() -> None:
    np.testing.assert_allclose(frame_times(16_000, 30.0, RATE), np.arange(30) / 30)
    assert len(frame_times(16_001, 30.0, RATE)) == 31
    assert len(frame_times(1, 24.0, RATE)) == 1


def test_the_whole_rig_has_constants_beside_predictions() -> None:
    driven = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    curves = whole_rig(signature(), driven)
    assert curves.dtype == np.float32
    np.testing.assert_array_equal(curves, np.array([[0.2, 0.5, 0.1], [0.4, 0.5, 0.3]], np.float32))


@pytest.mark.parametrize(
    ("frame", "rate_hz", "expected"),
    [
        (0, 24, "00:00:00:00.000"),
        (23, 24, "00:00:00:23.000"),
        (24, 24, "00:00:01:00.000"),
        (29, 30, "00:00:00:29.000"),
        (30 * 61, 30, "00:01:01:00.000"),
        (60 * 3600 + 59, 60, "01:00:00:59.000"),
        # One second is 29.97 frames: frame 30 lies 0.03 frames after it, and so on until 100 s.
        (29, 29.97, "00:00:00:29.000"),
        (30, 29.97, "00:00:01:00.030"),
        (2997, 29.97, "00:01:40:00.000"),
    ],
)
def test_timecodes(frame: int, rate_hz: float, expected: str) -> None:
    assert timecode(frame, rate_hz) == expected


@pytest.mark.parametrize("rate_hz", [24, 25, 30, 60])
def test_timecodes_of_whole_rates_count_frames(rate_hz: int) -> None:
    for frame in range(0, rate_hz * 200, 7):
        _, minutes, seconds, within = timecode(frame, rate_hz).split(":")
        total = (int(minutes) * 60 + int(seconds)) * rate_hz + int(within.split(".")[0])
        assert (total, within.split(".")[1]) == (frame, "000")


def test_live_link_csv() -> None:
    """As Live Link Face writes it: 61 values, named in capitals, the right jaw before the left."""
    controls = tuple(reversed(ARKIT))
    curves = np.zeros((2, 52), np.float32)
    curves[1, controls.index("jawLeft")] = 0.25
    curves[1, controls.index("tongueOut")] = 1.0
    rows = list(csv.reader(to_csv(curves, controls, 30.0).splitlines()))
    header = rows[0]
    assert header[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    at = header.index("JawForward")
    assert header[at : at + 4] == ["JawForward", "JawRight", "JawLeft", "JawOpen"]
    assert header[-10:] == ["TongueOut", *ROTATIONS]
    assert ROTATIONS[0] == "HeadYaw"
    assert {name.lower() for name in header[2:-9]} == {name.lower() for name in ARKIT}
    assert [len(row) for row in rows] == [63, 63, 63]
    assert [row[:2] for row in rows[1:]] == [["00:00:00:00.000", "61"], ["00:00:00:01.000", "61"]]
    second = dict(zip(header, rows[2], strict=True))
    moved = {name for name in header[2:] if float(second[name])}
    assert moved == {"JawLeft", "TongueOut"}
    assert second["JawLeft"] == "0.250000"


def test_csv_of_another_rig() -> None:
    curves = np.array([[0.5, -1.0], [0.25, 2.0]], np.float32)
    assert to_csv(curves, ("a", "b, c"), 50.0) == (
        'time_s,a,"b, c"\n0.000000,0.500000,-1.000000\n0.020000,0.250000,2.000000\n'
    )


def test_json() -> None:
    curves = np.array([[0.5, -1.0]], np.float32)
    assert json.loads(to_json(curves, ("a", "b"), 24.0)) == {
        "rate_hz": 24.0,
        "controls": ["a", "b"],
        "frames": [[0.5, -1.0]],
    }
    with pytest.raises(ValueError, match="JSON"):
        to_json(np.array([[np.nan]], np.float32), ("a",), 24.0)
