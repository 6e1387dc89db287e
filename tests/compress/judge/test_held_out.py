"""Held-out speech is read as it is judged: ten hours take no more memory than one."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.judge.held_out import HeldOut, load_heldout, speech_windows
from compress.judge.quality import Judge, quality
from compress.labels.on_demand import OnDemand
from compress.labels.store import LabelledClip, Labels
from compress.rig.rig import ClosureRule, Rig
from compress.speech.alignments import Alignment
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import Clip
from compress.speech.sources.folder import FileSource
from compress.speech.visemes import segments_of
from exporters.report.records.chain import Proportion
from exporters.report.records.clip_sums import MOST_PARTS

DRIVEN = ("mouthClose", "jawOpen", "mouthPucker", "mouthLowerDownLeft", "mouthUpperUpLeft")
SECONDS, RATE = 60, 30.0
HOURS = 10
FRAMES = int(SECONDS * RATE)


def teacher(i: int) -> np.ndarray:
    times = np.arange(FRAMES)[:, None] / RATE + i
    return (0.3 + 0.2 * np.sin(times * np.arange(1, 6))).astype(np.float32)


def speech(clips: int, budget_bytes: int = 10**7) -> HeldOut:
    """So many minutes, of which each clip is made when it is asked for."""
    heard = Clip("a", FileSource(Path("a.wav"), 1), 0, 1, 1, "", "a")
    clip = LabelledClip("a", "heldout", heard, SECONDS, "", "", FRAMES, 0)

    def samples(i: int) -> np.ndarray:
        return np.full(SECONDS * SAMPLE_RATE, i, np.float32)

    return HeldOut(
        (clip,) * clips,
        OnDemand(samples, [SECONDS * SAMPLE_RATE] * clips, budget_bytes),
        OnDemand(teacher, [FRAMES] * clips, budget_bytes),
        (None,) * clips,
        DRIVEN,
        RATE,
        0.0,
    )


@pytest.mark.slow
def test_ten_hours_are_never_held() -> None:
    """2.3 GB of samples and 22 MB of curves for each model: what is kept of a clip are few numbers."""
    long = speech(HOURS * 60)
    tracemalloc.start()
    try:
        windows = speech_windows(long, 8192, 64)
        judge = Judge(long)
        for i, samples in enumerate(long.samples):
            judge.add(teacher(i) + samples[0] * np.float32(1e-5))
        judged = judge.quality()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6
    assert judged.against_teacher["mse"] == pytest.approx(
        np.mean((np.arange(600) * 1e-5) ** 2), rel=1e-3
    )
    assert windows.shape == (64, 1, 8192)
    assert judged.by_clip is not None
    assert judged.by_clip.parts == MOST_PARTS


@pytest.mark.slow
def test_ten_hours_of_aligned_speech_are_never_held() -> None:
    """Their apertures are: 4 bytes for each frame of speech, for limits that move."""
    parts = (("S", 0.0, 0.1), ("AA", 0.1, 0.3), ("P", 0.3, 0.4), ("F", 0.4, 0.5))
    phones = tuple(
        (name, start + i / 2, end + i / 2) for i in range(2 * SECONDS) for name, start, end in parts
    )
    known = Alignment("", phones, tuple(segments_of(phones)))
    long = speech(HOURS * 60)
    # A rig of its own: rule-based curves of ten hours would take minutes.
    gap = Rig("slider", closure=ClosureRule({"gap": 1.0}, 0.2))
    names = ("gap", *DRIVEN[1:])
    long = replace(long, alignments=(known,) * len(long.clips), driven=names, rig=gap)
    tracemalloc.start()
    try:
        judge = Judge(long)
        for i in range(len(long.clips)):
            judge.add(teacher(i))
        judged = judge.quality()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6
    false = judged.against_truth["closed_outside"]
    assert isinstance(false, Proportion)
    assert false.n > HOURS * 3600 * RATE / 2
    assert judged.by_kind[0].clips == HOURS * 60


def test_windows_read_only_the_clips_that_they_touch() -> None:
    read: list[int] = []

    def samples(i: int) -> np.ndarray:
        read.append(i)
        return np.full(1000, i + 1, np.float32)

    long = HeldOut((), OnDemand(samples, [1000] * 500, 0), (), (), (), 30.0, 0.0)
    windows = speech_windows(long, 100, 64)
    assert len(read) == len(set(read)) <= 2 * 64
    assert read == sorted(read), "in the order in which they lie"
    # What they are when all is one array.
    joined = np.concatenate([*long.samples, np.zeros(100, np.float32)])
    starts = np.linspace(0, len(joined) - 100, 64).astype(int)
    assert np.array_equal(windows[:, 0], [joined[start : start + 100] for start in starts])


def test_a_window_may_span_many_short_clips() -> None:
    short = tuple(np.full(3, i + 1, np.float32) for i in range(5))
    windows = speech_windows(HeldOut((), short, (), (), (), 30.0, 0.0), 8, 2)
    assert windows[0, 0].tolist() == [1, 1, 1, 2, 2, 2, 3, 3]
    assert windows[1, 0].tolist() == [0] * 8


def test_labels_are_read_again_when_they_are_not_kept(labels: Labels) -> None:
    found = load_heldout(labels, {})
    assert isinstance(found.samples, OnDemand)
    assert isinstance(found.teacher, OnDemand)
    assert [len(samples) for samples in found.samples] == list(found.samples.lengths)
    assert [len(curves) for curves in found.teacher] == list(found.teacher.lengths)
    assert found.samples[0] is found.samples[0], "a clip that was read last stays"
    forgetful = found.only(lambda clip: True)
    assert np.array_equal(forgetful.samples[1], found.samples[1])
    assert np.array_equal(found.at_gain(-20).samples[1], np.clip(found.samples[1] * 0.1, -1, 1))


def test_what_is_kept_stays_within_its_budget() -> None:
    read: list[int] = []

    def one(i: int) -> np.ndarray:
        read.append(i)
        return np.zeros(25, np.float32)

    arrays = OnDemand(one, [25] * 4, budget_bytes=200)
    assert [arrays[0] is arrays[0], arrays[1] is arrays[1]] == [True, True]
    assert read == [0, 1]
    _ = arrays[2]
    assert (arrays[1] is arrays[1], read) == (True, [0, 1, 2])
    _ = arrays[0]
    assert read == [0, 1, 2, 0], "the oldest had to go"
    with pytest.raises(IndexError):
        _ = arrays[4]


def test_sums_by_clip_are_those_of_the_figures() -> None:
    some = speech(7)
    curves = [0.9 * teacher(i) + 0.02 for i in range(7)]
    judged = quality(curves, some)
    sums, against = judged.by_clip, judged.against_teacher
    assert sums is not None
    assert sums.parts == 7
    assert sum(sums.values) == 7 * FRAMES * len(DRIVEN)
    assert sum(sums.squared_error) / sum(sums.values) == pytest.approx(against["mse"], rel=1e-5)
    r2 = 1 - sum(sums.squared_error) / sum(sums.spread)
    assert r2 == pytest.approx(against["r2"], rel=1e-5)
    jitter = sum(sums.shaking) / sum(sums.teacher_shaking)
    assert jitter == pytest.approx(against["jitter_ratio"], rel=1e-5)
    precision, recall = sum(sums.right) / sum(sums.guesses), sum(sums.recalled) / sum(sums.events)
    assert precision == pytest.approx(against["closure_precision"])
    assert recall == pytest.approx(against["closure_recall"])
    # The oracle: all clips as one array.
    p, r = (np.concatenate(each).astype(float) for each in (curves, [teacher(i) for i in range(7)]))
    assert against["mse"] == pytest.approx(((p - r) ** 2).mean(), rel=1e-12)
    spread = ((r - r.mean(0)) ** 2).sum()
    assert against["r2"] == pytest.approx(1 - ((p - r) ** 2).sum() / spread, rel=1e-12)


def test_curves_of_too_few_or_too_many_clips_are_refused() -> None:
    some = speech(2)
    with pytest.raises(ValueError, match="1 of 2 held-out clips"):
        quality([teacher(0)], some)
    with pytest.raises(ValueError, match="more than the 2"):
        quality([teacher(0), teacher(1), teacher(0)], some)
