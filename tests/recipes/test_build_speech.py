"""Synthetic speech in a folder: each clip on the side of its voice, and alignments that can be read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from compress.speech.alignments import read_alignments
from compress.speech.sources.folder import scan
from compress.speech.split import prompt_id, split
from compress.speech.visemes import Segment
from recipes.build import speech
from recipes.build.dataset import LabelledClip


def spoken(side: str, minutes: dict[str, float], seed: int) -> Iterator[LabelledClip]:
    """Stands for the synthesizers, which a test machine need not have."""
    for number, group in enumerate(minutes):
        noise = np.random.default_rng(seed + number).uniform(-0.4, 0.4, 16_000)
        segments = (Segment("sil", 0.0, 0.5), Segment("PP", 0.5, 1.0))
        yield LabelledClip(group, side, "en-gb", noise.astype(np.float32), segments, "pub")


def test_a_clip_lies_on_the_side_of_its_voice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "synthetic_clips", spoken)
    speech.synthesize(tmp_path)
    clips = scan(str(tmp_path), min_clip_s=0.5).clips
    assert len(clips) == 6
    alignments = read_alignments([tmp_path])
    assert alignments.keys() == {clip.id for clip in clips}
    assert [s.viseme for s in alignments[clips[0].id].segments] == ["sil", "PP"]
    sides = [split(prompt_id(clip.id)) for clip in clips]
    assert sides.count("train") == 3
    for clip in clips:
        assert clip.id.split("/")[1] == "en"
