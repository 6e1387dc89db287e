"""Builds the demo teacher: a frozen public speech encoder under a Voice2Face head trained on rule-based curves.

    python -m recipes.build.teacher

Needs the extra ``lipstill[build]`` and the Debian packages that docs/data.md names. Seeded, on CPU, under an hour on one core.
Writes compress/assets/voice2face-demo/: model.safetensors, config.json and training-log.json.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from compress.rig import ARKIT
from compress.teachers.moonshine import MIN_SAMPLES
from compress.teachers.voice2face import HeadConfig, Voice2Face, Voice2FaceConfig, frame_positions
from compress.visemes import INDEX, Segment, curves
from recipes.build.dataset import LabelledClip, real_clips, synthetic_clips, varied
from recipes.build.evaluation import evaluate
from recipes.build.moonshine_weights import load_encoder

RATE_HZ = 60.0
SEED = 20
STEPS, BATCH, CROP_FRAMES = 3200, 24, 150
LEARNING_RATE, WARMUP_STEPS, WEIGHT_DECAY, CLIP_NORM = 1.5e-3, 80, 1e-2, 1.0
# At 60 Hz a frame-to-frame difference is half of one at 30 Hz, so the velocity term needs the larger weight.
VELOCITY_WEIGHT = 8.0
EXTRA_WEIGHT = {"PP": 2.0, "FF": 1.0}
TRAIN_MINUTES = {"espeak": 120.0, "flite": 24.0, "festival": 24.0}
HELD_OUT_MINUTES = {"espeak": 9.0, "flite": 4.0, "festival": 4.0}
REAL_COPIES = 3  # each real clip as recorded and twice varied
ASSET = Path(__file__).parents[2] / "compress" / "assets" / "voice2face-demo"


class Example:
    """A clip made ready for the head: encoder features (float16), rule-based curves and each frame's viseme."""

    def __init__(self, clip: LabelledClip, teacher: Voice2Face, driven: list[int]) -> None:
        self.clip = clip
        frames = int(clip.seconds * RATE_HZ)
        self.curves = torch.from_numpy(curves(list(clip.segments), clip.seconds, RATE_HZ, clip.audio)[:frames, driven])
        viseme = torch.zeros(frames, dtype=torch.long)
        time_s = torch.arange(frames) / RATE_HZ
        for segment in clip.segments:
            viseme[(time_s >= segment.start) & (time_s < segment.end)] = INDEX[segment.viseme]
        self.viseme = viseme
        audio = torch.from_numpy(clip.audio)[None]
        audio = torch.nn.functional.pad(audio, (0, max(0, MIN_SAMPLES - audio.shape[1])))
        with torch.inference_mode():
            self.features = teacher.encode(audio)[0].half()
        self.positions = frame_positions(frames, RATE_HZ)


def untrained_teacher() -> Voice2Face:
    """The teacher with the public encoder and a fresh head, its driven controls those that the rules ever move."""
    every_viseme = [(name, i * 0.2, (i + 1) * 0.2) for i, name in enumerate(INDEX)]
    demo = curves([Segment(*s) for s in every_viseme], len(INDEX) * 0.2, RATE_HZ, np.zeros(0, np.float32))
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


def loss_of(predicted: torch.Tensor, target: torch.Tensor, viseme: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstruction (frames of lip closure weigh more) + velocity; all `[batch, frames, …]`."""
    weight = torch.ones(viseme.shape)
    for name, extra in EXTRA_WEIGHT.items():
        weight += extra * (viseme == INDEX[name])
    reconstruction = ((predicted - target) ** 2 * weight[..., None]).mean()
    velocity = ((predicted.diff(dim=1) - target.diff(dim=1)) ** 2).mean()
    return reconstruction + VELOCITY_WEIGHT * velocity, reconstruction


def batch_of(examples: list[Example], rng: np.random.Generator, weights: np.ndarray) -> tuple[torch.Tensor, ...]:
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
        piece = torch.nn.functional.pad(piece, (0, 0, 0, context - piece.shape[1]), mode="replicate")
        rows.append((piece, example.positions[index] - first, example.curves[index], example.viseme[index]))
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def train(teacher: Voice2Face, examples: list[Example], heldout: list[Example]) -> list[dict[str, float]]:
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
            group["lr"] = LEARNING_RATE * min(1, step / WARMUP_STEPS) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * share)))
        features, positions, target, viseme = batch_of(examples, rng, weights)
        loss, reconstruction = loss_of(head(features, positions), target, viseme)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), CLIP_NORM)
        optimizer.step()
        recent.append(reconstruction.item())
        if step % 100 == 0:
            row: dict[str, float] = {"step": step, "seconds": round(time.time() - start), "reconstruction": float(np.mean(recent[-100:]))}
            if step % 500 == 0 or step == STEPS:
                head.eval()
                row |= {"heldout_r2": judged(teacher, heldout)["r2"]}
                head.train()
            curve.append(row)
            print(json.dumps(row), flush=True)
    head.eval()
    return curve


@torch.inference_mode()
def predictions(teacher: Voice2Face, examples: list[Example]) -> list[np.ndarray]:
    """Driven curves of whole clips, float32 `[frames, driven]` each."""
    return [
        teacher.head(e.features.float()[None], e.positions[None])[0].clamp(0, 1).numpy().astype(np.float32) for e in examples
    ]


def judged(teacher: Voice2Face, examples: list[Example]) -> dict[str, Any]:
    """Metrics of the teacher as it stands on some examples."""
    truth, segments = [e.curves.numpy() for e in examples], [e.clip.segments for e in examples]
    return evaluate(predictions(teacher, examples), truth, segments, teacher.config.driven, RATE_HZ)


def save(teacher: Voice2Face, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.half().contiguous() for name, value in teacher.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(teacher.config.to_json(), indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="part of what makes the bytes repeat")
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(arguments.threads)

    teacher = untrained_teacher()
    driven = [ARKIT.index(name) for name in teacher.config.driven]
    began = time.time()

    def examples(clips: list[LabelledClip], name: str) -> list[Example]:
        made = [Example(clip, teacher, driven) for clip in clips if clip.seconds > 0.5]
        minutes = sum(e.clip.seconds for e in made) / 60
        print(f"{name}: {len(made)} clips, {minutes:.1f} min, at {time.time() - began:.0f} s", flush=True)
        return made

    heldout_clips = list(real_clips("en", "heldout"))
    heldout = examples(heldout_clips, "held-out real English")
    training = examples(training_clips(np.random.default_rng(SEED)), "training")
    curve = train(teacher, training, heldout)
    save(teacher, ASSET)
    print(f"trained {sum(p.numel() for p in teacher.head.parameters())} weights in {time.time() - began:.0f} s", flush=True)

    saved = load_file(ASSET / "model.safetensors")  # what ships is judged, not what was trained
    teacher.load_state_dict({name: value.float() for name, value in saved.items()})
    groups = {
        "real English, sentences held out": heldout,
        "real Spanish, sentences held out, language never trained on": examples(list(real_clips("es", "heldout")), "es"),
        "real Italian, speaker and language never trained on": examples(list(real_clips("it", "heldout")), "it"),
    }
    synthetic = examples(list(synthetic_clips("heldout", HELD_OUT_MINUTES, SEED + 1)), "held-out synthetic")
    for group in HELD_OUT_MINUTES:
        members = [e for e in synthetic if e.clip.group == group]
        groups[f"{group}, voices never trained on"] = members
    for language in sorted({e.clip.language[:2] for e in synthetic}):
        groups[f"synthetic {language}, voices never trained on"] = [e for e in synthetic if e.clip.language[:2] == language]
    results = {name: judged(teacher, members) for name, members in groups.items()}
    heard = sorted({e.clip.voice for e in training})
    log = {"training_curve": curve, "evaluation": results, "voices_heard": heard, "seconds": round(time.time() - began)}
    (ASSET / "training-log.json").write_text(json.dumps(log, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
