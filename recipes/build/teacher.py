"""Builds the demo teacher: a frozen public speech encoder under a Voice2Face head trained on rule-based curves.

    python -m recipes.build.teacher --natural FOLDER --rest FOLDER [--start CHECKPOINT] [--out FOLDER]

The head takes two courses: formant voices and real English first, then these together with natural voices and sound that is
not speech (``recipes.build.natural``, ``recipes.build.not_speech``). ``--start`` takes the head of a checkpoint as that of the
first course. Needs the extra ``lipstill[build]`` and the Debian packages that docs/data.md names. Seeded, on CPU. Writes model.safetensors, config.json and training-log.json into compress/assets/voice2face-demo/; then
``python -m recipes.build.evaluation`` judges what was written.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from compress.rig.rig import ARKIT
from compress.speech.visemes import INDEX, Segment, curves
from compress.store import atomic_write
from compress.teachers.networks.voice2face import (
    HeadConfig,
    Voice2Face,
    Voice2FaceConfig,
    save_checkpoint,
)
from recipes.build.dataset import (
    LabelledClip,
    natural_clips,
    real_clips,
    rest_clips,
    synthetic_clips,
    varied,
)
from recipes.build.examples import RATE_HZ, Example, judged, made_ready
from recipes.build.moonshine_weights import load_encoder

SEED = 20
BATCH, CROP_FRAMES = 24, 150
WARMUP_STEPS, WEIGHT_DECAY, CLIP_NORM = 80, 1e-2, 1.0
# At 60 Hz a frame-to-frame difference is half of one at 30 Hz, so the velocity term needs the larger weight.
VELOCITY_WEIGHT = 8.0
EXTRA_WEIGHT = {"PP": 2.0, "FF": 1.0}
REAL_COPIES = 3  # each real clip as recorded and twice varied
# Of the clips as they were made: the others are varied.
VARIED_SHARE = 0.6
ASSET = Path(__file__).parents[2] / "compress" / "assets" / "voice2face-demo"


@dataclass(frozen=True)
class Course:
    """A training of the head: its length, its peak learning rate, what it hears, and how often.

    `minutes` of each formant synthesizer; `shares` of the crops by kind of material, where not by length.
    """

    steps: int
    learning_rate: float
    minutes: dict[str, float]
    seed: int
    shares: dict[str, float] | None = None


FIRST = Course(3200, 1.5e-3, {"espeak": 120.0, "flite": 24.0, "festival": 24.0}, SEED)
SECOND = Course(
    2400,
    8e-4,
    {"espeak": 50.0, "flite": 10.0, "festival": 10.0},
    SEED + 2,
    {"natural": 0.55, "formant": 0.2, "real": 0.2, "rest": 0.05},
)


def untrained_teacher() -> Voice2Face:
    """The teacher with the public encoder and a fresh head, its driven controls those that the rules ever move."""
    every_viseme = [(name, i * 0.2, (i + 1) * 0.2) for i, name in enumerate(INDEX)]
    demo = curves(
        [Segment(*s) for s in every_viseme], len(INDEX) * 0.2, RATE_HZ, np.zeros(0, np.float32)
    )
    driven = tuple(name for name, moved in zip(ARKIT, demo.max(0) > 1e-3, strict=True) if moved)
    constants = {name: 0.0 for name in ARKIT if name not in driven}
    teacher = Voice2Face(Voice2FaceConfig(ARKIT, driven, constants, RATE_HZ, HeadConfig()))
    teacher.encoder.load_state_dict(load_encoder().state_dict())
    return teacher.eval()


def training_clips(
    course: Course, rng: np.random.Generator, natural: Path | None, rest: Path | None
) -> dict[str, list[LabelledClip]]:
    """Clips by kind: formant and natural voices, most of them varied, and the real English prompts, as recorded and varied."""
    real = list(real_clips("en", "train"))
    made = {
        "real": real + [varied(c, rng) for c in real for _ in range(REAL_COPIES - 1)],
        "formant": _some_varied(synthetic_clips("train", course.minutes, course.seed), rng),
    }
    if natural is not None:
        heard = (c for c in natural_clips(natural, "train") if not c.watched)
        made["natural"] = _some_varied(heard, rng)
    if rest is not None:
        made["rest"] = list(rest_clips(rest, "train"))
    return made


def _some_varied(clips: Iterable[LabelledClip], rng: np.random.Generator) -> list[LabelledClip]:
    return [varied(clip, rng) if rng.random() < VARIED_SHARE else clip for clip in clips]


def loss_of(
    predicted: torch.Tensor, target: torch.Tensor, viseme: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstruction (frames of lip closure weigh more) + velocity; all `[batch, frames, …]`."""
    weight = torch.ones(viseme.shape)
    for name, extra in EXTRA_WEIGHT.items():
        weight += extra * (viseme == INDEX[name])
    reconstruction = ((predicted - target) ** 2 * weight[..., None]).mean()
    velocity = ((predicted.diff(dim=1) - target.diff(dim=1)) ** 2).mean()
    return reconstruction + VELOCITY_WEIGHT * velocity, reconstruction


def batch_of(
    examples: list[Example], rng: np.random.Generator, weights: np.ndarray
) -> tuple[torch.Tensor, ...]:
    """Crops of equal length: features, positions, curves, visemes. A short clip is held at its last frame."""
    context = int(CROP_FRAMES / RATE_HZ * 16_000 / 384) + 6
    rows: list[tuple[torch.Tensor, ...]] = []
    for i in rng.choice(len(examples), BATCH, p=weights):
        example = examples[i]
        frames = len(example.curves)
        start = int(rng.integers(0, max(1, frames - CROP_FRAMES + 1)))
        index = torch.arange(start, start + CROP_FRAMES).clamp(max=frames - 1)
        first = max(0, int(example.positions[start]) - 2)
        piece = example.features[:, first : first + context].float()
        piece = torch.nn.functional.pad(
            piece, (0, 0, 0, context - piece.shape[1]), mode="replicate"
        )
        rows.append(
            (piece, example.positions[index] - first, example.curves[index], example.viseme[index])
        )
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def weights_of(examples: dict[str, list[Example]], course: Course) -> np.ndarray:
    """How often each example is drawn, in the order of the kinds: by its length among its kind."""
    seconds = [np.array([e.clip.seconds for e in some]) for some in examples.values()]
    total = sum(float(some.sum()) for some in seconds)
    shares = course.shares or {
        kind: float(some.sum()) / total for kind, some in zip(examples, seconds, strict=True)
    }
    weights = np.concatenate(
        [shares[kind] * some / some.sum() for kind, some in zip(examples, seconds, strict=True)]
    )
    return np.asarray(weights / weights.sum())


def train(
    teacher: Voice2Face,
    course: Course,
    by_kind: dict[str, list[Example]],
    aside: list[Example],
) -> list[dict[str, float]]:
    """Trains the head in place; returns the curve, watched by clips set aside from training."""
    rng, head = np.random.default_rng(course.seed), teacher.head
    optimizer = torch.optim.AdamW(
        head.parameters(), course.learning_rate, weight_decay=WEIGHT_DECAY
    )
    weights = weights_of(by_kind, course)
    examples = [example for some in by_kind.values() for example in some]
    curve: list[dict[str, float]] = []
    start, recent = time.time(), list[float]()
    head.train()
    for step in range(1, course.steps + 1):
        share = step / course.steps
        for group in optimizer.param_groups:
            group["lr"] = (
                course.learning_rate
                * min(1, step / WARMUP_STEPS)
                * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * share)))
            )
        features, positions, target, viseme = batch_of(examples, rng, weights)
        loss, reconstruction = loss_of(head(features, positions), target, viseme)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), CLIP_NORM)
        optimizer.step()
        recent.append(reconstruction.item())
        if step % 100 == 0:
            row: dict[str, float] = {
                "step": step,
                "seconds": round(time.time() - start),
                "reconstruction": float(np.mean(recent[-100:])),
            }
            if aside and (step % 400 == 0 or step == course.steps):
                head.eval()
                row |= watched_figures(judged(teacher, aside))
                head.train()
            curve.append(row)
            print(json.dumps(row), flush=True)
    head.eval()
    return curve


def watched_figures(found: dict[str, Any]) -> dict[str, float]:
    """Of what `judged` gives, the figures of the training log."""
    figures = {name: found[name] for name in ("r2", "correlation")}
    return figures | {
        name: found[name]["value"] for name in ("pbm_at_1pct", "pbm", "closed_outside")
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--natural", type=Path, required=True)
    parser.add_argument("--rest", type=Path, required=True)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--out", type=Path, default=ASSET)
    parser.add_argument(
        "--threads", type=int, default=1, help="part of what makes the bytes repeat"
    )
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    began = time.time()
    teacher = untrained_teacher()
    log: dict[str, Any] = {"weights_trained": sum(p.numel() for p in teacher.head.parameters())}
    courses = {"first": FIRST, "second": SECOND}
    if arguments.start:
        state = load_file(arguments.start / "model.safetensors")
        teacher.load_state_dict({name: value.float() for name, value in state.items()})
        del courses["first"]
    for name, course in courses.items():
        folders = (arguments.natural, arguments.rest) if name == "second" else (None, None)
        clips = training_clips(course, np.random.default_rng(course.seed), *folders)
        ready = {kind: made_ready(some, teacher) for kind, some in clips.items()}
        aside = [c for c in natural_clips(arguments.natural, "train") if c.watched]
        minutes = {
            kind: round(sum(e.clip.seconds for e in some) / 60, 1) for kind, some in ready.items()
        }
        print(f"{name} course: {minutes} min, at {time.time() - began:.0f} s", flush=True)
        log[name] = {
            "minutes": minutes,
            "curve": train(teacher, course, ready, made_ready(aside, teacher)),
        }
    log["seconds"] = round(time.time() - began)
    save_checkpoint(teacher, arguments.out, torch.float16)
    atomic_write(arguments.out / "training-log.json", json.dumps(log, indent=1) + "\n")


if __name__ == "__main__":
    main()
