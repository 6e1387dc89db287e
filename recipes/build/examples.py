"""Clips made ready for the demo teacher's head, and the head's predictions judged on them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from compress import metrics
from compress.rig import ARKIT
from compress.teachers.voice2face import Voice2Face, frame_positions
from compress.visemes import INDEX, bilabials, clear_vowels, curves
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
    """Metrics of the teacher as it stands against the rule-based curves of some examples."""
    predicted, truth = predictions(teacher, examples), [e.curves.numpy() for e in examples]
    driven = teacher.config.driven
    closures = [bilabials(e.clip.segments) for e in examples]
    vowels = [clear_vowels(e.clip.segments) for e in examples]
    return {
        "clips": len(examples),
        "minutes": round(sum(e.clip.seconds for e in examples) / 60, 2),
        "mse": metrics.mse(predicted, truth),
        "r2": metrics.r2(predicted, truth),
        "correlation": metrics.correlation(predicted, truth),
        "jitter_ratio": metrics.jitter_ratio(predicted, truth),
        "pbm": asdict(metrics.pbm_accuracy(predicted, closures, driven, RATE_HZ)),
        "pbm_of_truth": metrics.pbm_accuracy(truth, closures, driven, RATE_HZ).value,
        "false_closures": asdict(metrics.false_closures(predicted, vowels, driven, RATE_HZ)),
    }
