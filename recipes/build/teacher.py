"""Builds the demo teacher: a frozen public speech encoder under a Voice2Face head trained on rule-based curves.

    python -m recipes.build.teacher

Needs the extra ``lipstill[build]`` and the Debian packages that docs/data.md names. Seeded, on CPU, under an hour on one core.
Writes model.safetensors, config.json and training-log.json into compress/assets/voice2face-demo/; then
``python -m recipes.build.evaluation`` judges what was written.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from compress.rig import ARKIT
from compress.teachers.voice2face import HeadConfig, Voice2Face, Voice2FaceConfig, save_checkpoint
from compress.visemes import INDEX, Segment, curves
from recipes.build.dataset import LabelledClip, real_clips, synthetic_clips, varied
from recipes.build.examples import RATE_HZ, Example, judged, made_ready
from recipes.build.moonshine_weights import load_encoder

SEED = 20
STEPS, BATCH, CROP_FRAMES = 3200, 24, 150
LEARNING_RATE, WARMUP_STEPS, WEIGHT_DECAY, CLIP_NORM = 1.5e-3, 80, 1e-2, 1.0
# At 60 Hz a frame-to-frame difference is half of one at 30 Hz, so the velocity term needs the larger weight.
VELOCITY_WEIGHT = 8.0
EXTRA_WEIGHT = {"PP": 2.0, "FF": 1.0}
TRAIN_MINUTES = {"espeak": 120.0, "flite": 24.0, "festival": 24.0}
REAL_COPIES = 3  # each real clip as recorded and twice varied
ASSET = Path(__file__).parents[2] / "compress" / "assets" / "voice2face-demo"


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


def training_clips(rng: np.random.Generator) -> list[LabelledClip]:
    """Synthetic voices, half of them varied, and the real English prompts, as recorded and varied."""
    real = list(real_clips("en", "train"))
    synthetic = list(synthetic_clips("train", TRAIN_MINUTES, SEED))
    clips = real + [varied(c, rng) for c in real for _ in range(REAL_COPIES - 1)]
    clips += [varied(c, rng) if rng.random() < 0.6 else c for c in synthetic]
    return [replace(c, audio=c.audio.astype(np.float32)) for c in clips]


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


def train(
    teacher: Voice2Face, examples: list[Example], heldout: list[Example]
) -> list[dict[str, float]]:
    """Trains the head in place; returns the curve."""
    rng, head = np.random.default_rng(SEED), teacher.head
    optimizer = torch.optim.AdamW(head.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    seconds = np.array([e.clip.seconds for e in examples])
    weights = seconds / seconds.sum()
    curve: list[dict[str, float]] = []
    start, recent = time.time(), list[float]()
    head.train()
    for step in range(1, STEPS + 1):
        share = step / STEPS
        for group in optimizer.param_groups:
            group["lr"] = (
                LEARNING_RATE
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
            if step % 500 == 0 or step == STEPS:
                head.eval()
                row |= {"heldout_r2": judged(teacher, heldout)["r2"]}
                head.train()
            curve.append(row)
            print(json.dumps(row), flush=True)
    head.eval()
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="part of what makes the bytes repeat"
    )
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)
    began = time.time()
    teacher = untrained_teacher()
    heldout = made_ready(list(real_clips("en", "heldout")), teacher)
    training = made_ready(training_clips(np.random.default_rng(SEED)), teacher)
    minutes = sum(e.clip.seconds for e in training) / 60
    print(f"{len(training)} clips, {minutes:.1f} min, at {time.time() - began:.0f} s", flush=True)
    curve = train(teacher, training, heldout)
    save_checkpoint(teacher, ASSET, torch.float16)
    log = {
        "clips": len(training),
        "minutes": round(minutes, 1),
        "weights_trained": sum(p.numel() for p in teacher.head.parameters()),
        "seconds": round(time.time() - began),
        "curve": curve,
    }
    (ASSET / "training-log.json").write_text(json.dumps(log, indent=1) + "\n")


if __name__ == "__main__":
    main()
