"""Stage 1 of the method, heterogeneous distillation: a student learns from pseudo-labels alone.

Trained dense: one stretch of audio in, all its frames out. Each step's batch is drawn from (seed,
step) alone, so a run that was killed goes on from its last checkpoint and ends in the weights of an
undisturbed one.
"""

import io
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress import audio, losses, metrics
from compress.audio import HOP
from compress.errors import AudioError, DivergedError
from compress.labels import Labels, curves_of
from compress.progress import Bar, bar
from compress.split import Side
from compress.store import atomic_write
from compress.students.conv_fc import ConvFC

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from compress.recipe import TrainingSettings

Floats = NDArray[np.float32]

# The learning rate ends at this share of its peak, along a cosine.
FINAL_RATE = 0.02
LOG_EVERY = 50


@dataclass(frozen=True)
class Example:
    """A clip: samples `[samples]`, driven curves on the hop grid `[hops, driven]`, float32."""

    samples: Floats
    curves: Floats


@dataclass(frozen=True)
class TrainingLog:
    """One row every so many steps: step, seconds, and the mean losses since the row before.

    A row of a validation has ``heldout_r2`` too, if the held-out clips allow it.
    """

    rows: tuple[dict[str, float], ...]

    @property
    def seconds(self) -> float:
        return self.rows[-1]["seconds"] if self.rows else 0.0


def examples(labels: Labels, side: Side) -> list[Example]:
    """The clips of one side with their curves, in the order of the index."""
    clips = labels.side(side)
    return [
        Example(audio.read(clip.path), curves)
        for clip, curves in zip(clips, curves_of(labels, clips, "hops"), strict=True)
    ]


def distill(
    build: Callable[[], ConvFC], labels: Labels, settings: "TrainingSettings", seed: int, work: Path
) -> tuple[ConvFC, TrainingLog]:
    """Train a student on the labels; returns it with averaged weights, batch norm not yet folded.

    `work` holds the checkpoint while the run lasts. Raises `AudioError` when no training clip is as
    long as a stretch, and `DivergedError` when the loss or the gradient is no number.
    """
    from lightning_fabric import Fabric

    stretches = Stretches(examples(labels, "train"), settings, seed)
    heldout = examples(labels, "heldout")
    fabric = Fabric(accelerator="cpu", devices=1)
    torch.manual_seed(seed)
    student = build()
    training = _Training(fabric, student, settings)
    rows = training.restore(work)
    start_s = time.monotonic() - (rows[-1]["seconds"] if rows else 0)
    with bar("distill", settings.steps) as progress:
        for row in training.run(stretches, start_s, progress):
            if row["step"] % settings.validate_every == 0 or row["step"] == settings.steps:
                row |= _validate(training.averaged, heldout)
            rows.append(row)
            if row["step"] % settings.checkpoint_every == 0:
                training.save(work, rows)
    return training.averaged, TrainingLog(tuple(rows))


class Stretches:
    """Draws stretches of speech with their labels, clips in proportion to their length."""

    def __init__(self, clips: list[Example], settings: "TrainingSettings", seed: int) -> None:
        self._clips = [clip for clip in clips if len(clip.curves) >= settings.frames]
        if not self._clips:
            longest = max((len(clip.samples) for clip in clips), default=0) / audio.SAMPLE_RATE
            needed = settings.frames * HOP / audio.SAMPLE_RATE
            raise AudioError(
                f"No training clip is as long as one stretch: training.frames = {settings.frames} "
                f"needs {needed:.2f} s, the longest clip has {longest:.2f} s. Add speech or lower "
                f"training.frames."
            )
        hops = np.array([len(clip.curves) for clip in self._clips], float)
        self._share = hops / hops.sum()
        self._settings, self._seed = settings, seed

    def batch(self, step: int, past: int, future: int) -> tuple[Tensor, Tensor]:
        """The batch of a step, augmented, for a student that sees `past` and `future` samples.

        float32 audio `[batch, 1, samples]` and labels `[batch, driven, frames]`. A stretch begins at
        any sample, its labels interpolated between hops: a file is called at any moment, and a
        student that only ever saw whole hops trembles between them.
        """
        settings, rng = self._settings, np.random.default_rng((self._seed, step))
        samples = np.zeros(
            (settings.batch, past + future + (settings.frames - 1) * HOP), np.float32
        )
        curves = []
        for row, i in enumerate(rng.choice(len(self._clips), settings.batch, p=self._share)):
            clip = self._clips[i]
            first = int(rng.integers(0, (len(clip.curves) - settings.frames) * HOP + 1))
            start = first - past
            piece = clip.samples[max(0, start) : start + samples.shape[1]]
            samples[row, max(0, -start) : max(0, -start) + len(piece)] = piece
            curves.append(_between_hops(clip.curves, first, settings.frames).T)
        samples *= _from_db(rng.uniform(*settings.gain_db, (settings.batch, 1)))
        noise = rng.standard_normal(samples.shape, dtype=np.float32)
        samples += noise * _from_db(rng.uniform(*settings.noise_db, (settings.batch, 1)))
        return torch.from_numpy(samples)[:, None], torch.from_numpy(np.stack(curves))


class _Training:
    """Student, optimiser and averaged weights, and how they are kept on disk."""

    def __init__(self, fabric: "Fabric", student: ConvFC, settings: "TrainingSettings") -> None:
        self.settings, self.fabric = settings, fabric
        self.averaged = type(student)(student.config).eval()
        self.averaged.load_state_dict(student.state_dict())
        optimizer = torch.optim.AdamW(
            student.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.student, self.optimizer = fabric.setup(student, optimizer)
        self.step = 0

    def run(
        self, stretches: Stretches, start_s: float, progress: Bar
    ) -> Iterator[dict[str, float]]:
        """Train to the last step, giving a row of means every so often."""
        settings, config = self.settings, self.averaged.config
        recent: list[tuple[float, float]] = []
        while self.step < settings.steps:
            self.step += 1
            samples, label = stretches.batch(self.step, config.past, config.future)
            reconstruction, velocity = self._advance(samples, label)
            recent.append((reconstruction, velocity))
            self._average()
            due = (LOG_EVERY, settings.validate_every, settings.checkpoint_every)
            if any(self.step % every == 0 for every in due) or self.step == settings.steps:
                means = np.mean(recent, axis=0)
                recent.clear()
                seconds = time.monotonic() - start_s
                frames_s = self.step * settings.batch * settings.frames / max(seconds, 1e-9)
                progress(self.step, f"loss {means[0]:.2e}, {frames_s:,.0f} frames/s")
                yield {
                    "step": self.step,
                    "seconds": round(seconds, 2),
                    "reconstruction": float(means[0]),
                    "velocity": float(means[1]),
                }

    def _advance(self, samples: Tensor, label: Tensor) -> tuple[float, float]:
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, settings)
        predicted = self.student(samples)
        reconstruction, velocity = (
            losses.reconstruction(predicted, label),
            losses.velocity(predicted, label),
        )
        loss = reconstruction + settings.velocity_weight * velocity
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.student, self.optimizer, max_norm=settings.grad_clip, error_if_nonfinite=False
        )
        # Before the step, so that the weights stay what they were.
        for what, value in (("loss", loss), ("gradient's norm", norm)):
            if value is not None and not torch.isfinite(value):
                raise DivergedError(
                    f"Training stopped at step {self.step}: the {what} is {value.item()}. The last "
                    f"checkpoint is kept. Lower training.learning_rate (now "
                    f"{settings.learning_rate:g}) or training.grad_clip (now "
                    f"{settings.grad_clip:g})."
                )
        self.optimizer.step()
        return reconstruction.item(), velocity.item()

    @torch.no_grad()
    def _average(self) -> None:
        """Moving average of weights and batch-norm statistics; a young average follows faster."""
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for mean, value in zip(
            self.averaged.state_dict().values(),
            self.student.module.state_dict().values(),
            strict=True,
        ):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def save(self, work: Path, rows: list[dict[str, float]]) -> None:
        state: dict[str, Any] = {
            "step": self.step,
            "rows": json.dumps(rows),
            "student": self.student.module.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        atomic_write(work / "checkpoint.pt", buffer.getvalue())

    def restore(self, work: Path) -> list[dict[str, float]]:
        """Go on from the checkpoint in `work`, if there is one; returns the rows logged so far."""
        path = work / "checkpoint.pt"
        if not path.exists():
            return []
        state = torch.load(path, weights_only=True)
        self.student.module.load_state_dict(state["student"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        rows: list[dict[str, float]] = json.loads(state["rows"])
        return rows


def learning_rate(step: int, settings: "TrainingSettings") -> float:
    """Linear warm-up, then a cosine down to `FINAL_RATE` of the peak at the last step."""
    warm = min(1.0, step / max(1, settings.warmup_steps))
    cosine = 0.5 * (1 + np.cos(np.pi * step / settings.steps))
    return float(settings.learning_rate * warm * (FINAL_RATE + (1 - FINAL_RATE) * cosine))


def _validate(student: ConvFC, clips: list[Example]) -> dict[str, float]:
    """R² on held-out clips, on the hop grid. Watched, never trained or chosen on."""
    if not clips:
        return {}
    predicted = [student.animate(torch.from_numpy(clip.samples)[None])[0].numpy() for clip in clips]
    score = metrics.r2(predicted, [clip.curves for clip in clips])
    return {"heldout_r2": score} if math.isfinite(score) else {}


def _between_hops(curves: Floats, sample: int, frames: int) -> Floats:
    """Curves `[hops, driven]` at one frame a hop from any sample on: `[frames, driven]`."""
    hop, rest = divmod(sample, HOP)
    if rest == 0:
        return curves[hop : hop + frames]
    share = np.float32(rest / HOP)
    return curves[hop : hop + frames] * (1 - share) + curves[hop + 1 : hop + frames + 1] * share


def _from_db(level: NDArray[np.float64]) -> Floats:
    return np.asarray(10 ** (level / 20), np.float32)
