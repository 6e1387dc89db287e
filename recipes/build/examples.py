"""Clips made ready for the demo teacher's head, and the head's predictions judged on them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from compress.judge import metrics, sealing
from compress.judge.voice_kinds import numbered
from compress.rig.rig import ARKIT, ARKIT_CLOSURE
from compress.speech.visemes import INDEX, curves
from compress.teachers.networks.voice2face import Voice2Face, frame_positions
from exporters.report.records.chain import Proportion
from recipes.build.dataset import LabelledClip

RATE_HZ = 60.0
MIN_CLIP_S = 0.5


class Example:
    """A clip made ready for the head: encoder features (float16), rule-based curves and each frame's viseme."""

    def __init__(self, clip: LabelledClip, teacher: Voice2Face) -> None:
        self.clip = clip
        driven = [ARKIT.index(name) for name in teacher.config.driven]
        frames = int(clip.seconds * RATE_HZ)
        self.curves = torch.from_numpy(
            curves(list(clip.segments), clip.seconds, RATE_HZ, clip.audio)[:frames, driven]
        )
        viseme = torch.zeros(frames, dtype=torch.long)
        time_s = torch.arange(frames) / RATE_HZ
        for segment in clip.segments:
            viseme[(time_s >= segment.start) & (time_s < segment.end)] = INDEX[segment.viseme]
        self.viseme = viseme
        encoder = teacher.config.encoder_config
        audio = torch.from_numpy(clip.audio)[None]
        audio = torch.nn.functional.pad(audio, (0, max(0, encoder.least_samples - audio.shape[1])))
        with torch.inference_mode():
            self.features = teacher.encode(audio)[0].half()
        self.positions = frame_positions(frames, RATE_HZ, encoder)


def made_ready(clips: Sequence[LabelledClip], teacher: Voice2Face) -> list[Example]:
    """The clips that are long enough, with the frozen encoder's features."""
    return [Example(clip, teacher) for clip in clips if clip.seconds > MIN_CLIP_S]


@torch.inference_mode()
def predictions(teacher: Voice2Face, examples: list[Example]) -> list[np.ndarray]:
    """Driven curves of whole clips, float32 `[frames, driven]` each."""
    return [
        teacher.head(e.features.float()[None], e.positions[None])[0]
        .clamp(0, 1)
        .numpy()
        .astype(np.float32)
        for e in examples
    ]


def judged(teacher: Voice2Face, examples: list[Example]) -> dict[str, Any]:
    """Metrics of the teacher as it stands against the rule-based curves of some examples.

    Intervals are drawn over voices, and then over clips.
    """
    predicted, truth = predictions(teacher, examples), [e.curves.numpy() for e in examples]
    voices = numbered([e.clip.voice for e in examples])
    lips = _lips(teacher, examples, predicted)
    found = {
        name: asdict(value) if isinstance(value, Proportion) else value
        for name, value in sealing.measures(lips, voices).items()
    }
    of_truth = sealing.measures(_lips(teacher, examples, truth))["pbm"]
    assert isinstance(of_truth, Proportion)
    return {
        "clips": len(examples),
        "voices": len(set(voices)),
        "minutes": round(sum(e.clip.seconds for e in examples) / 60, 2),
        "mse": metrics.mse(predicted, truth),
        "r2": metrics.r2(predicted, truth),
        "correlation": metrics.correlation(predicted, truth),
        "jitter_ratio": metrics.jitter_ratio(predicted, truth),
        **found,
        "pbm_of_truth": of_truth.value,
    }


def _lips(
    teacher: Voice2Face, examples: list[Example], curves: Sequence[np.ndarray]
) -> list[sealing.Sealing]:
    """Lips beside the phones, of each example's curves `[frames, driven]`."""
    facts = teacher.config.driven, RATE_HZ, teacher.offset_s, ARKIT_CLOSURE
    return [
        sealing.sealing(clip, example.clip.segments, *facts)
        for clip, example in zip(curves, examples, strict=True)
    ]
