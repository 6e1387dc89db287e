"""Playback and smoothing: by hand, against a known function of time, and from recipe to curves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.judge.animation import curves_by_smoothing, driven_curves, frame_times
from compress.judge.playback import NONE, latency_ms, played
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


def shown(times_s: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """What playback must show of the clock, float64 [frames, 2]."""
    hops = times_s / 0.016
    first = np.floor(hops + 1e-9)
    reach = len(weights) // 2

    def pose(hop: np.ndarray) -> np.ndarray:
        parts = (w * poses(0.016 * (hop + i - reach)) for i, w in enumerate(weights))
        return np.sum(list(parts), axis=0)

    one, other = pose(first), pose(first + 1)
    return one + (hops - first)[:, None] * (other - one)


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0, 62.5])
@pytest.mark.parametrize(
    "weights", [NONE, THIRDS, (0.25, 0.5, 0.25), (0.5, 0.25, 0.25), (0.1, 0.2, 0.4, 0.2, 0.1)]
)
def test_a_face_shows_what_lies_between_two_poses_at_any_rate(
    fps: float, weights: tuple[float, ...]
) -> None:
    times = frame_times(len(SECOND), fps, SAMPLE_RATE)
    found = driven_curves(Clock(weights), SECOND, times)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, shown(times, weights), atol=1e-6, rtol=0)
    if weights != NONE:
        assert np.abs(found - poses(times)).max() > 0.01, "smoothing is no small thing"


def test_the_ends_of_a_clip_are_smoothed_with_what_is_predicted_outside_of_it() -> None:
    """By hand at 60 fps: frame 0 asks for −16 ms, the last one (983.3 ms) for 1008 ms."""
    clock = Clock((0.5, 0.25, 0.25))
    found = driven_curves(clock, SECOND, frame_times(len(SECOND), 60.0, SAMPLE_RATE))
    assert (min(clock.asked), max(clock.asked)) == (-256, 63 * 256)
    first, sine = found[0, 0], np.sin(2 * np.pi * 7 * 0.016)
    assert first == pytest.approx(-0.5 * sine + 0.25 * sine, abs=1e-6)


def test_each_hop_is_predicted_once_and_none_that_counts_for_nothing() -> None:
    def asked(weights: tuple[float, ...], fps: float) -> list[int]:
        clock = Clock(weights)
        driven_curves(clock, SECOND, frame_times(len(SECOND), fps, SAMPLE_RATE))
        assert clock.asked == sorted(set(clock.asked))
        assert all(moment % HOP == 0 for moment in clock.asked)
        return clock.asked

    assert len(asked(NONE, 62.5)) == 63, "a pose on the grid needs no other"
    assert len(asked(THIRDS, 62.5)) == 63 + 2
    assert len(asked(NONE, 60.0)) == 63
    assert len(asked(NONE, 10.0)) == 17, (
        "two for each of ten poses, but one where it is on the grid"
    )
    assert max(asked((0.5, 0.5, 0.0), 60.0)) == 62 * 256


def test_several_weightings_cost_one_pass() -> None:
    times = frame_times(len(SECOND), 30.0, SAMPLE_RATE)
    clock = Clock(THIRDS)
    both = curves_by_smoothing(clock, SECOND, times, [THIRDS, NONE])
    assert len(clock.asked) == len(set(clock.asked))
    for found, weights in zip(both, (THIRDS, NONE), strict=True):
        np.testing.assert_array_equal(found, driven_curves(Clock(weights), SECOND, times))


def test_a_face_at_rest_rests() -> None:
    rest = np.float32(0.1)
    (found,) = played(lambda hops: np.full((len(hops), 2), rest), np.arange(5) + 0.37, [THIRDS])
    assert (found == rest).all()
    (none,) = played(lambda _: np.zeros((0, 2), np.float32), np.zeros(0), [THIRDS])
    assert none.shape == (0, 2)


@pytest.mark.parametrize(
    ("weights", "expected_ms"),
    [
        (NONE, 16),
        (THIRDS, 32),
        ((0.5, 0.5, 0.0), 16),
        ((0.0, 0.5, 0.5), 32),
        ((0.2,) * 5, 48),
        ((0.2, 0.2, 0.3, 0.3, 0.0), 32),
        ((1.0, 0.0, 0.0), 16),
    ],
)
def test_a_pose_waits_for_one_hop_and_the_last_weight(
    weights: tuple[float, ...], expected_ms: float
) -> None:
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
    assert metadata["lipstill.latency_ms"] == "48"
    facts = json.loads(cli("inspect", tier / "model.onnx", "--json").out)
    assert facts["latency"] == "future 16 ms + hop 16 ms + smoothing 16 ms = 48 ms"


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
        first, share = divmod(i / 60 / 0.016, 1)
        grid = [pose((int(first) + offset) * 256) for offset in (-1, 0, 1, 2)]
        one, other = sum(grid[:3]) / 3, sum(grid[1:]) / 3
        np.testing.assert_allclose(found[i], one + share * (other - one), atol=5e-6)


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
    assert [row.algorithmic_latency_ms for row in rows] == [32, 32, 48]
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
    assert waits == {"fp32": "16 + 32 = 48", "fp32, without smoothing": "16 + 16 = 32"}


def test_gates_judge_what_animate_shows(smoothed: Path) -> None:
    """That is `quality.json`; what smoothing was spared lies beside it."""
    checks = smoothed / "checks" / "small-fp32" / "onnx-verify"
    names = sorted(path.name for path in checks.glob("*.json"))
    own = {"checks.json", "parity.json", "quality.json", "stage.json", "unsmoothed.json"}
    assert set(names) == own
    calm, bare = (json.loads((checks / f"{n}.json").read_text()) for n in ("quality", "unsmoothed"))
    assert calm["against_teacher"]["jitter_ratio"] < bare["against_teacher"]["jitter_ratio"]
