"""Clips of the report: the worst moment by hand, and what a finished run shows."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from compress.report.clips import farthest
from exporters.report.records.clips import read_clips

DRIVEN = ("jawOpen", "mouthClose")


def test_the_worst_moment_is_where_a_tenth_of_a_second_is_worst() -> None:
    teacher = np.zeros((100, 2), np.float32)
    predicted = teacher.copy()
    predicted[20, 0] = 0.5  # one frame far off: a tenth of its square in a window of ten
    predicted[60:70, 1] = 0.3  # ten frames less far off
    moment = farthest(predicted, teacher, DRIVEN, rate_hz=100.0)
    assert moment.control == "mouthClose"
    assert moment.time_s == pytest.approx(0.645)  # the middle of frames 60 to 69
    assert moment.error == pytest.approx(np.sqrt(0.3**2 / 2), abs=1e-4)


def test_a_moment_is_on_the_clock_of_the_audio() -> None:
    predicted = np.zeros((50, 2), np.float32)
    predicted[10] = 1.0
    late = farthest(predicted, np.zeros_like(predicted), DRIVEN, rate_hz=10.0, offset_s=0.05)
    assert late.time_s == pytest.approx(1.05)


def test_a_clip_shorter_than_a_moment_has_one() -> None:
    moment = farthest(np.ones((2, 2), np.float32), np.zeros((2, 2), np.float32), DRIVEN, 60.0)
    assert (moment.time_s, moment.error) == (pytest.approx(0.5 / 60, abs=1e-4), 1.0)


def test_a_run_shows_every_tier_on_its_clip_with_its_audio(finished: Path) -> None:
    folder = finished / "report"
    (clip,) = read_clips(folder / "clips.json").clips
    document = json.loads((folder / "report.json").read_text())
    (shown,) = document["clips"]
    assert (shown["clip"], shown["audio"], shown["image"]) == (clip.clip, clip.audio, clip.image)
    assert [tier.tier for tier in clip.tiers] == ["small-fp32"]
    assert len(clip.teacher) == document["teacher"]["driven"]
    samples, rate = soundfile.read(io.BytesIO((folder / clip.audio).read_bytes()))
    assert rate == 16_000
    seconds = len(samples) / rate
    assert clip.times_s[-1] == pytest.approx(seconds, abs=2 / clip.rate_hz)
    worst = clip.tiers[0].worst
    assert 0 <= worst.time_s <= seconds
    assert worst.control in clip.teacher
