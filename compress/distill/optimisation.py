"""The training loop: what the optimiser moves, and how it is averaged, watched and kept on disk."""

import copy
import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.distill.guidance import Guidance
from compress.distill.losses import Criterion
from compress.distill.many.synchronised import synchronise
from compress.distill.stretches import Stretches
from compress.errors import DivergedError
from compress.judge import metrics
from compress.labels.examples import Example
from compress.progress import Bar
from compress.store import atomic_write
from compress.students.contract import Trainable

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from compress.recipe.recipe import TrainingSettings

# The learning rate ends at this share of its peak, along a cosine.
FINAL_RATE = 0.02
LOG_EVERY = 50
# A mean loss this many times the lowest one so far is no training any more.
EXPLODED = 20.0
# Where each step's loss is looked at before the step is taken; elsewhere that would be waited for.
LOOKED_AT = ("cpu",)


class _Trainee(nn.Module):
    """All that the optimiser moves, from audio and labels to the terms of the loss."""

    def __init__(self, student: Trainable, criterion: Criterion, guidance: Guidance | None) -> None:
        super().__init__()
        self.student, self.criterion, self.guidance = student, criterion, guidance

    def forward(
        self, heard: Tensor, label: Tensor, past: int, future: int, spoken: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`heard` begins `past` samples before the first frame, `future` after the last it ends.

        `spoken`, bool `[batch]`, says what is speech, None for all: on the rest of it the guide's
        features are no target.
        """
        config, guidance = self.student.config, self.guidance
        if guidance is None:
            return self.criterion(self.student.tapped(heard)[0], label)  # type: ignore[no-any-return]
        guide = guidance.features(_within(heard, past, future, guidance.past, guidance.future))
        own = _within(heard, past, future, config.past, config.future)
        predicted, features = self.student.tapped(own, [pair.student for pair in guidance.pairs])
        terms: dict[str, Tensor] = self.criterion(predicted, label)
        return terms | {"feature": guidance(features, guide, spoken)}


def _within(heard: Tensor, past: int, future: int, own_past: int, own_future: int) -> Tensor:
    """What one of two students hears of the audio that serves both."""
    return heard[:, :, past - own_past : heard.shape[2] - (future - own_future)]


class Optimisation:
    """Trainee, optimiser, averaged and best weights, and how they are kept on disk."""

    def __init__(
        self,
        fabric: "Fabric",
        student: Trainable,
        criterion: Criterion,
        guidance: Guidance | None,
        settings: "TrainingSettings",
    ) -> None:
        self.settings, self.fabric, self.criterion = settings, fabric, criterion
        self.weights = criterion.weights | {"feature": settings.feature_weight}
        config = student.config
        self.past = max(config.past, guidance.past if guidance else 0)
        self.future = max(config.future, guidance.future if guidance else 0)
        self.averaged = copy.deepcopy(student).eval()
        if fabric.world_size > 1:
            synchronise(student)
        trainee = _Trainee(student, criterion, guidance)
        optimizer = torch.optim.AdamW(
            trainee.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.trainee, self.optimizer = fabric.setup(trainee, optimizer)
        self.averaged = self.averaged.to(fabric.device)
        self.criterion = criterion.to(fabric.device)
        self.step, self.lowest = 0, math.inf
        self._terms: tuple[str, ...] = ()
        self.best: dict[str, Tensor] | None = None
        self.best_loss, self.waited = math.inf, 0

    @property
    def exhausted(self) -> bool:
        """Whether validation has not improved for as long as the recipe waits."""
        return 0 < self.settings.patience <= self.waited

    def result(self) -> Trainable:
        """The student with its best averaged weights, on the CPU."""
        if self.best is not None:
            self.averaged.load_state_dict(self.best)
        return self.averaged.cpu()

    def run(
        self, stretches: Stretches, start_s: float, progress: Bar
    ) -> Iterator[dict[str, float]]:
        """Train to the last step, giving a row of means every so often."""
        settings = self.settings
        recent: list[Tensor] = []
        first_step = self.step
        began = time.monotonic()
        if self.step >= settings.steps or self.exhausted:
            return
        for heard, label in stretches.batches(self.step + 1, self.past, self.future):
            self.step += 1
            moved = self.fabric.to_device((heard, label, stretches.spoken(self.step)))
            recent.append(self._advance(*moved))
            self._average()
            due = (LOG_EVERY, settings.validate_every, settings.checkpoint_every)
            if any(self.step % every == 0 for every in due) or self.step == settings.steps:
                means = self._means(recent)
                recent.clear()
                self._check_explosion(means["loss"])
                now = time.monotonic()
                steps_s = (self.step - first_step) / max(now - began, 1e-9)
                frames_s = steps_s * settings.batch * settings.frames
                progress(self.step, f"loss {means['loss']:.2e}, {frames_s:,.0f} frames/s")
                yield {"step": self.step, "seconds": round(now - start_s, 2), **means}
                if self.step >= settings.steps or self.exhausted:
                    return

    def _advance(self, heard: Tensor, label: Tensor, spoken: Tensor | None) -> Tensor:
        """One step: loss, gradient's norm and each term, `[2 + terms]`, where they were computed."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, settings)
        terms = self.trainee(heard, label, self.past, self.future, spoken)
        weights = self.weights | {"feature": feature_weight(self.step, settings)}
        loss = sum((weights[name] * term for name, term in terms.items()), torch.zeros(()))
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.trainee, self.optimizer, max_norm=settings.grad_clip, error_if_nonfinite=False
        )
        self._terms = tuple(terms)
        found = torch.stack([loss, loss if norm is None else norm, *terms.values()]).detach()
        if self.fabric.device.type in LOOKED_AT:
            self._check_finite(self.step, found)  # before the step: the weights stay what they were
        self.optimizer.step()
        return found

    def _means(self, recent: Sequence[Tensor]) -> dict[str, float]:
        """The mean of each column over the last steps, over all processes.

        An accelerator is waited for here and not at each step: what it found to be no number has
        moved weights by now, but none that are kept.
        """
        rows = torch.stack(list(recent)).cpu()
        for step, row in enumerate(rows, self.step + 1 - len(rows)):
            self._check_finite(step, row)
        means = rows.double().mean(0)
        if self.fabric.world_size > 1:
            shared: Any = self.fabric.all_reduce(means.float())
            means = shared.double().cpu()
        loss, _, *terms = means.tolist()
        return {"loss": loss, **dict(zip(self._terms, terms, strict=True))}

    def _check_finite(self, step: int, row: Tensor) -> None:
        for what, value in zip(("loss", "gradient's norm"), row[:2], strict=True):
            if not torch.isfinite(value):
                raise self._diverged(f"the {what} is {value.item()}", step)

    def _check_explosion(self, loss: float) -> None:
        self.lowest = min(self.lowest, loss)
        if loss > EXPLODED * self.lowest:
            said = f"the loss is {loss:.3g} after it was {self.lowest:.3g}"
            raise self._diverged(said, self.step)

    def _diverged(self, what: str, step: int) -> DivergedError:
        return DivergedError(
            f"Training stopped at step {step}: {what}. The last checkpoint is kept, with the "
            f"best weights so far. Lower training.learning_rate (now "
            f"{self.settings.learning_rate:g}) or training.grad_clip (now "
            f"{self.settings.grad_clip:g})."
        )

    @torch.no_grad()
    def _average(self) -> None:
        """Moving average of weights and batch-norm statistics; a young average follows faster."""
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        for mean, value in zip(
            self.averaged.state_dict().values(),
            self.trainee.module.student.state_dict().values(),
            strict=True,
        ):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    @torch.inference_mode()
    def validate(self, clips: Sequence[Example]) -> dict[str, float]:
        """The averaged student on clips set aside; its weights are kept when they are the best.

        Never asked of held-out speech: what is chosen on cannot judge.
        """
        if not clips:
            return {}
        # One process listens, and all of them stop together.
        found = self._judged(clips) if self.fabric.is_global_zero else {}
        found = self.fabric.broadcast(found)
        loss = found["validation"]
        if loss < self.best_loss:
            self.best_loss, self.waited = loss, 0
            self.best = {name: v.clone() for name, v in self.averaged.state_dict().items()}
        else:
            self.waited += 1
        return found

    def _judged(self, clips: Sequence[Example]) -> dict[str, float]:
        device = self.fabric.device
        predicted, wanted, loss, hops = [], [], 0.0, 0
        for clip in clips:
            curves = self.averaged.animate(torch.from_numpy(clip.samples)[None].to(device))
            label = torch.from_numpy(clip.curves).T[None].to(device)
            terms = self.criterion(curves.transpose(1, 2), label)
            loss += len(clip.curves) * sum(
                self.weights[name] * term.item() for name, term in terms.items()
            )
            hops += len(clip.curves)
            predicted.append(curves[0].cpu().numpy())
            wanted.append(clip.curves)
        score = metrics.r2(predicted, wanted)
        return {"validation": loss / hops} | (
            {"validation_r2": score} if math.isfinite(score) else {}
        )

    def save(self, work: Path, rows: list[dict[str, float]]) -> None:
        state: dict[str, Any] = {
            "step": self.step,
            "rows": json.dumps(rows),
            "trainee": self.trainee.module.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "watch": (self.best_loss, self.waited, self.lowest),
        }
        if not self.fabric.is_global_zero:
            return
        buffer = io.BytesIO()
        torch.save(state, buffer)
        atomic_write(work / "checkpoint.pt", buffer.getvalue())

    def restore(self, work: Path) -> list[dict[str, float]]:
        """Go on from the checkpoint in `work`, if there is one; returns the rows logged so far."""
        path = work / "checkpoint.pt"
        if not path.exists():
            return []
        state = torch.load(path, weights_only=True, map_location=self.fabric.device)
        self.trainee.module.load_state_dict(state["trainee"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        self.best_loss, self.waited, self.lowest = state["watch"]
        rows: list[dict[str, float]] = json.loads(state["rows"])
        return rows


def feature_weight(step: int, settings: "TrainingSettings") -> float:
    """In a straight line from the first step's whole weight to the share that is left at the last."""
    fallen = (1 - settings.feature_falls_to) * (step - 1) / max(1, settings.steps - 1)
    return settings.feature_weight * (1 - fallen)


def learning_rate(step: int, settings: "TrainingSettings") -> float:
    """Linear warm-up, then a cosine down to `FINAL_RATE` of the peak at the last step."""
    warm = min(1.0, step / max(1, settings.warmup_steps))
    cosine = 0.5 * (1 + np.cos(np.pi * step / settings.steps))
    return float(settings.learning_rate * warm * (FINAL_RATE + (1 - FINAL_RATE) * cosine))
