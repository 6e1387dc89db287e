"""The real-time ensemble: by hand, against a known function of time, and from recipe to curves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.judge.animation import curves_by_smoothing, driven_curves, frame_times
from compress.judge.smoothing import NONE, latency_ms, smoothed_at
from compress.speech.audio import HOP, SAMPLE_RATE, read
from exporters.report.records.document import Tier, read_report
from exporters.signature import Signature
from exporters.targets.contract import load_target

Cli = Callable[..., Any]
THIRDS = (1 / 3, 1 / 3, 1 / 3)


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


class Clock:
    """A runtime whose poses are known functions of the moment, which it reads off ramped samples.

    Sample i is i + 1, so any sample that is not silence tells where in the clip its window lies.
    """

    def __init__(self, smoothing: tuple[float, ...]) -> None:
        self.asked: list[int] = []
        self.signature = Signature(
            student="clock",
            precision="fp32",
            controls=("sine", "cosine"),
            driven=("sine", "cosine"),
            constants={},
            sample_rate_hz=SAMPLE_RATE,
            hop=HOP,
            window=2048,
            past=1024,
            future=1024,
            smoothing=smoothing,
            made_from="0",
            teacher="clock",
            tool_versions={},
            quantization={},
        )

    def describe(self) -> dict[str, str]:
        return {"name": "clock"}

    def run(self, audio: np.ndarray) -> np.ndarray:
        place = (audio[:, 0] > 0).argmax(1)
        sample = audio[np.arange(len(audio)), 0, place].astype(int) - 1
        moments = sample - place + self.signature.past
        self.asked += moments.tolist()
        return poses(moments / SAMPLE_RATE).astype(np.float32)


def poses(times_s: np.ndarray) -> np.ndarray:
    """What the clock predicts, float64 [frames, 2]."""
    return np.stack([np.sin(2 * np.pi * 7 * times_s), np.cos(2 * np.pi * 3 * times_s)], -1)


SECOND = np.arange(1, SAMPLE_RATE + 1, dtype=np.float32)


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0, 62.5])
@pytest.mark.parametrize(
    "weights", [THIRDS, (0.25, 0.5, 0.25), (0.5, 0.25, 0.25), (0.1, 0.2, 0.4, 0.2, 0.1)]
)
def test_a_pose_is_the_mean_of_predictions_16_ms_apart_at_any_rate(
    fps: float, weights: tuple[float, ...]
) -> None:
    times = frame_times(len(SECOND), fps, SAMPLE_RATE)
    found = driven_curves(Clock(weights), SECOND, times)
    assert found.dtype == np.float32
    nearest = np.array([round(time * SAMPLE_RATE) / SAMPLE_RATE for time in times])
    reach = len(weights) // 2
    expected = sum(w * poses(nearest + 0.016 * (i - reach)) for i, w in enumerate(weights))
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    assert np.abs(found - poses(nearest)).max() > 0.01, "smoothing is no small thing"


def test_the_ends_of_a_clip_are_smoothed_with_what_is_predicted_outside_of_it() -> None:
    """By hand at 60 fps: frame 0 asks for −16 ms, the last one (983.3 ms) for 999.3 ms."""
    clock = Clock((0.5, 0.25, 0.25))
    found = driven_curves(clock, SECOND, frame_times(len(SECOND), 60.0, SAMPLE_RATE))
    assert (min(clock.asked), max(clock.asked)) == (-256, 15733 + 256)
    first, sine = found[0, 0], np.sin(2 * np.pi * 7 * 0.016)
    assert first == pytest.approx(-0.5 * sine + 0.25 * sine, abs=1e-6)


def test_each_moment_is_predicted_once_and_none_that_counts_for_nothing() -> None:
    def asked(weights: tuple[float, ...], fps: float) -> list[int]:
        clock = Clock(weights)
        driven_curves(clock, SECOND, frame_times(len(SECOND), fps, SAMPLE_RATE))
        assert clock.asked == sorted(set(clock.asked))
        return clock.asked

    assert len(asked(THIRDS, 62.5)) == 63 + 2, "on the hop grid neighbours share"
    assert len(asked(THIRDS, 60.0)) == 3 * 60
    assert len(asked((0.5, 0.5, 0.0), 60.0)) == 2 * 60
    assert max(asked((0.5, 0.5, 0.0), 60.0)) == 15733


def test_several_weightings_cost_one_pass() -> None:
    times = frame_times(len(SECOND), 30.0, SAMPLE_RATE)
    clock = Clock(THIRDS)
    both = curves_by_smoothing(clock, SECOND, times, [THIRDS, NONE])
    assert len(clock.asked) == 3 * len(times)
    for found, weights in zip(both, (THIRDS, NONE), strict=True):
        np.testing.assert_array_equal(found, driven_curves(Clock(weights), SECOND, times))


def test_a_face_at_rest_rests() -> None:
    rest = np.float32(0.1)
    (found,) = smoothed_at(
        lambda moments: np.full((len(moments), 2), rest), np.arange(5), [THIRDS], hop=3
    )
    assert (found == rest).all()
    assert smoothed_at(lambda _: np.zeros((0, 2), np.float32), np.zeros(0, int), [THIRDS])[
        0
    ].shape == (0, 2)


@pytest.mark.parametrize(
    ("weights", "expected_ms"),
    [
        (NONE, 0),
        (THIRDS, 16),
        ((0.5, 0.5, 0.0), 0),
        ((0.0, 0.5, 0.5), 16),
        ((0.2,) * 5, 32),
        ((0.2, 0.2, 0.3, 0.3, 0.0), 16),
        ((1.0, 0.0, 0.0), 0),
    ],
)
def test_latency_reaches_to_the_last_weight(weights: tuple[float, ...], expected_ms: float) -> None:
    assert latency_ms(weights) == expected_ms


# --------------------------------------------------------------------------------- a smoothed run


@pytest.fixture(scope="module")
def smoothed(
    workshop: Path, finished: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The finished run, gone on with after smoothing was switched on. Read, never written."""
    import shutil

    run = shutil.copytree(finished, tmp_path_factory.mktemp("smoothed") / "run")
    switched = ("--set", "students.0.smoothing=[1, 1, 1]")
    ended = cli("compress", workshop / "recipe.yaml", "--out", run, *switched)
    assert ended.code == 0, ended.err
    told = [line.split()[0] for line in ended.out.splitlines() if line]
    assert "verify" in told
    assert {"label", "distill"}.isdisjoint(told), "smoothing needs no training"
    return run


def test_weights_travel_in_the_file_and_beside_it(smoothed: Path, cli: Cli) -> None:
    import onnx

    tier = smoothed / "models" / "small-fp32"
    signature = Signature.read(tier / "signature.json")
    assert signature.smoothing == THIRDS
    assert load_target("onnx").open_runtime(tier / "model.onnx").signature == signature
    metadata = {entry.key: entry.value for entry in onnx.load(tier / "model.onnx").metadata_props}
    assert metadata["lipstill.smoothing"] == "0.333333, 0.333333, 0.333333"
    assert metadata["lipstill.latency_ms"] == "32"
    facts = json.loads(cli("inspect", tier / "model.onnx", "--json").out)
    assert facts["latency"] == "future 16 ms + smoothing 16 ms = 32 ms"


def test_the_file_itself_does_not_smooth(smoothed: Path, finished: Path) -> None:
    """A window gives the same pose: its three moments are the client's affair."""
    golden = [np.load(run / "models/small-fp32/golden.npz") for run in (smoothed, finished)]
    runtime = load_target("onnx").open_runtime(smoothed / "models/small-fp32/model.onnx")
    np.testing.assert_array_equal(golden[0]["rig"], golden[1]["rig"])
    np.testing.assert_allclose(runtime.run(golden[0]["audio"]), golden[0]["rig"], atol=1e-5)


def test_animate_smooths(
    workshop: Path, smoothed: Path, finished: Path, tmp_path: Path, cli: Cli
) -> None:
    """Against windows cut by hand, one call each, of the file that was made without smoothing."""
    clip = workshop / "speech" / "heldout" / "101.wav"
    model, out = smoothed / "models" / "small-fp32" / "model.onnx", tmp_path / "curves.json"
    assert cli("animate", model, clip, "--fps", 60, "--out", out).code == 0
    curves = json.loads(out.read_text())

    bare = load_target("onnx").open_runtime(finished / "models" / "small-fp32" / "model.onnx")
    padded = np.pad(read(clip), 1024)

    def pose(moment: int) -> np.ndarray:
        window = padded[1024 + moment - 256 : 1024 + moment + 256]
        return bare.run(np.ascontiguousarray(window[None, None]))[0]

    columns = [curves["controls"].index(name) for name in bare.signature.driven]
    found = np.array(curves["frames"])[:, columns]
    for i in (0, 1, 17, len(found) - 1):
        moment = round(i / 60 * 16_000)
        expected = (pose(moment - 256) + pose(moment) + pose(moment + 256)) / 3
        np.testing.assert_allclose(found[i], expected, atol=5e-6)


def students(run: Path) -> dict[str, Tier]:
    tiers = read_report(run / "report" / "report.json").tiers
    return {tier.name: tier for tier in tiers if tier.kind == "student"}


def test_the_report_has_a_row_with_smoothing_and_one_without(
    smoothed: Path, finished: Path
) -> None:
    name = "student small, fp32, onnx"
    plain = students(finished)[name]
    calm, bare = (students(smoothed)[f"{name}, {word} smoothing"] for word in ("with", "without"))
    assert (len(students(finished)), len(students(smoothed))) == (1, 2)
    rows = (plain, bare, calm)
    assert [row.smoothing for row in rows] == [NONE, NONE, THIRDS]
    assert [row.future_ms for row in rows] == [16, 16, 16]
    assert [row.algorithmic_latency_ms for row in rows] == [16, 16, 32]
    assert calm.sha256 == bare.sha256 != plain.sha256
    for metric in ("mse", "r2", "correlation", "jitter_ratio"):
        expected = plain.against_teacher[metric]
        assert bare.against_teacher[metric] == pytest.approx(expected, rel=1e-4), metric
        assert calm.against_teacher[metric] != pytest.approx(expected, rel=1e-4), metric
    assert set(calm.by_region) == set(plain.by_region) != set()
    assert set(calm.by_control["jawOpen"]) == {"mse", "correlation"}


def test_the_report_says_what_a_pose_waits_for(smoothed: Path) -> None:
    lines = (smoothed / "report" / "report.md").read_text().splitlines()
    waits = {
        line.split(" | ")[0].removeprefix("| small, "): line.split(" | ")[5]
        for line in lines
        if line.startswith("| small, ") and "trained in this run" in line
    }
    assert waits == {"fp32": "16 + 16 = 32", "fp32, without smoothing": "16"}


def test_gates_judge_what_animate_shows(smoothed: Path) -> None:
    """That is `quality.json`; what smoothing was spared lies beside it."""
    checks = smoothed / "checks" / "small-fp32" / "onnx-verify"
    names = sorted(path.name for path in checks.glob("*.json"))
    own = {"checks.json", "parity.json", "quality.json", "stage.json", "unsmoothed.json"}
    assert set(names) == own
    calm, bare = (json.loads((checks / f"{n}.json").read_text()) for n in ("quality", "unsmoothed"))
    assert calm["against_teacher"]["jitter_ratio"] < bare["against_teacher"]["jitter_ratio"]
