"""The clips that choices are made on, and how a student is judged by them."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.distill import watching
from compress.distill.watching import Watched, choose, judge, set_aside, within
from compress.judge import closures, metrics
from compress.labels.examples import Example
from compress.labels.store import LabelledClip
from compress.speech.alignments import Alignment
from compress.speech.audio import HOP
from compress.speech.sources import Clip
from compress.speech.sources.folder import FileSource
from compress.speech.visemes import segments_of

DRIVEN = ("jawOpen", "mouthClose")
BILABIAL = (("B", 0.16, 0.24), ("AA", 0.24, 0.5))


def alignment() -> Alignment:
    return Alignment("ba", BILABIAL, tuple(segments_of(BILABIAL)))


def clip(name: str) -> LabelledClip:
    return LabelledClip(
        name,
        "train",
        Clip(name, FileSource(Path(f"{name}.wav"), 16_000), 0, 16_000, 16_000, "0", name),
        1.0,
        "0",
        "shard-0",
        1,
        1,
    )


def example(seed: int, hops: int = 40) -> Example:
    generator = np.random.default_rng(seed)
    samples = generator.uniform(-0.5, 0.5, hops * HOP).astype(np.float32)
    return Example(samples, generator.uniform(0, 1, (hops, 2)).astype(np.float32))


def animate(audio: Tensor) -> Tensor:
    """A student of which all is known: the loudest sample of each hop, and a fifth of it."""
    loud = audio.unfold(1, HOP, HOP).abs().amax(-1)
    return torch.stack([loud, loud / 5], -1)


def by_hand(samples: np.ndarray) -> np.ndarray:
    loud = abs(samples.reshape(-1, HOP)).max(1)
    return np.stack([loud, loud / np.float32(5)], 1)


@pytest.fixture
def watched() -> Watched:
    return Watched((example(1), example(2, 50)), (((0.16, 0.24), (0.4, 0.5)), ()), DRIVEN)


def test_a_judgement_is_what_the_metrics_say(watched: Watched) -> None:
    found = judge(animate, watched)
    curves = [by_hand(c.samples) for c in watched.clips]
    labels = [c.curves for c in watched.clips]
    assert found.mse == pytest.approx(metrics.mse(curves, labels), rel=1e-6)
    assert found.r2 == pytest.approx(metrics.r2(curves, labels), rel=1e-5)
    assert found.jitter == pytest.approx(metrics.jitter_ratio(curves, labels), rel=1e-5)
    share = closures.pbm_accuracy(curves, watched.bilabials, DRIVEN, 62.5)
    assert share.n == 2
    assert found.pbm == share.value


def test_f_stands_beside_pbm(watched: Watched) -> None:
    """Lips are open by 0.8 × the loudest sample, so that quiet audio seals them on anything."""
    segments = (segments_of((("B", 0.16, 0.24), ("F", 0.24, 0.44), ("AA", 0.44, 0.6))), ())
    aligned = replace(watched, segments=segments)
    assert judge(animate, watched).false_closures is None, "no visemes are known"
    assert judge(animate, aligned).false_closures == 0
    clips = tuple(replace(c, samples=c.samples.copy()) for c in watched.clips)
    clips[0].samples[20 * HOP : 24 * HOP] = 0  # four hops in /f/, from 0.32 s
    # 62.5 hops a second: those from 0.26 s, 20 ms after /b/, to 0.6 s are 17 to 37.
    found = judge(animate, replace(aligned, clips=clips))
    assert found.false_closures == pytest.approx(4 / 21)


def test_quiet_is_30_db_less(watched: Watched) -> None:
    """A factor of 10^(−30/20); the labels stay what they are."""
    curves = [by_hand(c.samples) * 0.0316227766 for c in watched.clips]
    expected = metrics.mse(curves, [c.curves for c in watched.clips])
    found = judge(animate, watched)
    assert found.quiet_mse == pytest.approx(expected, rel=1e-5)
    assert found.quiet_mse != pytest.approx(found.mse, rel=0.1)


def test_without_quiet_every_clip_is_heard_once(watched: Watched) -> None:
    heard: list[float] = []

    def listening(audio: Tensor) -> Tensor:
        heard.append(audio.abs().max().item())
        return animate(audio)

    found = judge(listening, watched, quiet=False)
    assert math.isnan(found.quiet_mse)
    assert len(heard) == 2
    assert min(heard) > 0.4
    assert replace(found, quiet_mse=0) == replace(judge(animate, watched), quiet_mse=0)


def test_lips_that_close_count(watched: Watched) -> None:
    """Open but for the frames of the first of two /p b m/: one half."""

    def once(audio: Tensor) -> Tensor:
        curves = torch.ones(1, audio.shape[1] // HOP, 2) * torch.tensor([0.9, 0.1])
        curves[:, 11:14, 0] = 0.0  # 0.176 to 0.208 s
        return curves

    assert judge(once, watched).pbm == 0.5


def test_none_where_the_clips_allow_nothing(watched: Watched) -> None:
    assert judge(animate, replace(watched, bilabials=((), ()))).pbm is None
    assert judge(animate, replace(watched, driven=("a", "b"))).pbm is None
    still = tuple(replace(c, curves=np.zeros_like(c.curves)) for c in watched.clips)
    found = judge(animate, replace(watched, clips=still))
    assert (found.r2, found.jitter) == (None, None)
    assert found.mse > 0


def test_clips_with_alignments_come_first() -> None:
    clips = [clip(name) for name in "abcd"]
    examples = [example(i) for i in range(4)]
    found = choose(clips, examples, {"c": alignment(), "elsewhere": alignment()}, DRIVEN)
    assert found.clips == (examples[2], examples[0], examples[1], examples[3])
    assert found.bilabials == ([(0.16, 0.24)], (), (), ())
    assert found.segments == (alignment().segments, (), (), ())
    assert found.driven == DRIVEN


@pytest.mark.parametrize(
    ("aligned", "expected"),
    [
        ("", [0, 2, 4, 6, 8]),  # ⌊9 · 0.64 / 2⌋ = 2: every second one
        ("78", [7, 8, 0, 6]),  # both, and 0.72 s are left to the others: ⌊7 · 0.64 / 0.72⌋ = 6
        ("012345678", [0, 2, 4, 6, 8]),
        ("01238", [0, 1, 2, 3, 8]),  # ⌊5 · 0.64 / 2⌋ = 1: all of them, and no room left
    ],
)
def test_more_clips_than_needed_are_thinned(
    monkeypatch: pytest.MonkeyPatch, aligned: str, expected: list[int]
) -> None:
    """Nine of 0.64 s where 2 s are enough."""
    monkeypatch.setattr(watching, "SECONDS", 2.0)
    examples = [example(i) for i in range(9)]
    alignments = {name: alignment() for name in aligned}
    found = choose([clip(str(i)) for i in range(9)], examples, alignments, DRIVEN)
    kept = [next(i for i, one in enumerate(examples) if one is c) for c in found.clips]
    assert kept == expected
    assert len(found.bilabials) == len(kept)


def test_few_clips_all_stay() -> None:
    clips, examples = [clip("a"), clip("b")], [example(1), example(2)]
    assert choose(clips, examples, {}, DRIVEN).clips == tuple(examples)


def test_no_clip_is_an_error() -> None:
    with pytest.raises(ValueError, match="no clip set aside"):
        choose([], [], {}, DRIVEN)


def test_clips_are_set_aside_by_prompt_and_no_more_than_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 40 prompts in two languages, every fourth is to be watched: 20 clips of 100 s."""
    prompts = [f"p{i}" for i in range(40)]
    monkeypatch.setattr("compress.speech.split.watched", lambda prompt: prompt in prompts[::4])
    clips = [
        LabelledClip(f"{language}/{prompt}", "train", None, 100.0, "", "", 1, 1)
        for language in ("en", "it")
        for prompt in prompts
    ]
    learned, aside = set_aside(clips, 10_000.0)
    assert [clip.id for clip in aside] == [c.id for c in clips if c.id[3:] in prompts[::4]]
    assert sorted(c.id for c in [*learned, *aside]) == sorted(c.id for c in clips)
    learned, aside = set_aside(clips, 650.0)
    first = sorted(prompts[::4], key=lambda name: hashlib.sha256(name.encode()).digest())[:3]
    assert {clip.id[3:] for clip in aside} == set(first), "whole prompts, by their hash"
    assert len(aside) == 6
    assert [c for c in clips if c in learned or c in aside] == clips
    assert not {c.id[3:] for c in learned} & {c.id[3:] for c in aside}
    assert len(set_aside(clips, 1.0)[1]) == 2, "one prompt at least"
    assert set_aside([]) == ([], [])
    assert sum(clip.seconds for clip in set_aside(clips)[1]) == 1200.0
    assert len(within(clips[:3], 250.0)) == 2
