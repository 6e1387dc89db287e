"""Pruning to a budget: cut, train on under the same losses, and again until the budget is met."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compress.distill.distilling import Material, distill
from compress.distill.losses import Criterion
from compress.distill.watching import Watched, judge
from compress.progress import bar
from compress.prune.allocation import allocate, comparable, loss_rises, measure, require_reachable
from compress.prune.channels import mean_activations, pruned, scores
from compress.store import atomic_write
from compress.students.contract import Plan, Student
from compress.students.folding import fold_batch_norm, unfold_batch_norm
from compress.students.storing import StudentCard, load_student, save_student
from exporters import records

if TYPE_CHECKING:
    from compress.recipe.compression import PruningSettings
    from compress.recipe.recipe import TrainingSettings

QUANTITIES = ("parameters", "multiply_adds", "bytes", "channels")
Pairs = Sequence[tuple[Tensor, Tensor]]


@records.strict
@dataclass(frozen=True)
class Figures:
    """A student on the clips set aside: the loss of its training, R², PBM and F, None if not known."""

    loss: float
    r2: float | None
    pbm: float | None
    false_closures: float | None


@records.strict
@dataclass(frozen=True)
class Round:
    """One cut and the training after it; `after` has each quantity of `allocation.measure`."""

    after: dict[str, int]
    before_cut: Figures
    after_cut: Figures
    after_recovery: Figures
    recovery_steps: int


@records.strict
@dataclass(frozen=True)
class Pruned:
    """What pruning did: channels of each layer and quantities before and after, and its rounds."""

    before: dict[str, int]
    layers_before: dict[str, int]
    layers_after: dict[str, int]
    rounds: tuple[Round, ...]

    @property
    def after(self) -> dict[str, int]:
        return self.rounds[-1].after

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Lesson:
    """What a student is taught by, whenever it is trained on: the same as when it was distilled."""

    material: Material
    watched: Watched
    training: "TrainingSettings"
    seed: int
    guide: Student | None = None

    def batches(self, config: Plan, count: int, seed: int) -> Pairs:
        """Audio and labels of training speech to calibrate on, as training hears them."""
        stretches = self.material.stretches(self.training, seed)
        return [stretches.batch(i, config.past, config.future) for i in range(1, count + 1)]

    def schedule(self, steps: int, learning_rate: float, **changes: Any) -> "TrainingSettings":
        """The student's own training, shorter and calmer."""
        often = max(1, min(self.training.validate_every, steps // 3))
        return self.training.model_copy(
            update={
                "steps": steps,
                "learning_rate": learning_rate,
                "warmup_steps": min(self.training.warmup_steps, steps // 10),
                "validate_every": often,
                "checkpoint_every": often,
                "patience": 0,
                **changes,
            }
        )


def prune_in_rounds(
    student: Student,
    card: StudentCard,
    lesson: Lesson,
    settings: "PruningSettings",
    work: Path,
    events: Path | None = None,
) -> tuple[Student, Pruned]:
    """A student within the budget, batch norm folded, and how it came there.

    Each round leaves the same share of what the one before left. Finished rounds are kept in `work`, so that a run that was
    killed goes on. Raises `UsageError` for a budget that cannot be reached, before anything is
    trained.
    """
    whole = student
    require_reachable(
        student.config, settings.of, settings.remove, settings.allocation, settings.multiple
    )
    left = 1 - Fraction(str(settings.remove))
    before = {name: measure(student.config, name) for name in QUANTITIES}  # type: ignore[arg-type]
    rounds: list[Round] = []
    for number in range(1, settings.rounds + 1):
        place = work / f"round-{number}"
        if (place / "round.json").exists():
            student = load_student(place / "student")[0]
            rounds.append(records.from_json(Round, (place / "round.json").read_text("utf-8")))
            continue
        share = left if number == settings.rounds else float(left) ** (number / settings.rounds)
        budget = math.floor(share * before[settings.of])
        # Half a unit above it, so that no rounding of the quotient takes one away.
        remove = 1 - (budget + 0.5) / measure(student.config, settings.of)
        judged = [figures(student, lesson)]
        student = cut(student, lesson, settings, remove)
        judged.append(figures(student, lesson))
        student = recovered(student, lesson, settings, number, place, events)
        judged.append(figures(student, lesson))
        after = {name: measure(student.config, name) for name in QUANTITIES}  # type: ignore[arg-type]
        made = Round(after, judged[0], judged[1], judged[2], settings.recovery_steps)
        save_student(place / "student", student, card)
        atomic_write(place / "round.json", records.to_json(made))
        rounds.append(made)
    return student, Pruned(
        before, whole.config.prunable(), student.config.prunable(), tuple(rounds)
    )


def cut(student: Student, lesson: Lesson, settings: "PruningSettings", remove: float) -> Student:
    """The student without the channels that its settings let go, not trained again."""
    batches = lesson.batches(student.config, settings.calibration_batches, lesson.seed)
    found = scores(student, settings.criterion, batches, _loss_of(lesson))
    means = mean_activations(student, batches)
    rise = None
    if settings.allocation == "sensitivity":
        with bar("prune", None) as progress:
            rise = loss_rises(
                student,
                found,
                means,
                settings.multiple,
                lambda trial: _loss(trial, lesson),
            )
            progress(1)
    keep = allocate(
        student.config,
        comparable(found, settings.criterion) if settings.allocation == "global" else found,
        settings.of,
        remove,
        settings.allocation,
        settings.multiple,
        rise,
    )
    return pruned(student, keep, means)


def recovered(
    student: Student,
    lesson: Lesson,
    settings: "PruningSettings",
    number: int,
    work: Path,
    events: Path | None,
) -> Student:
    """The student after its training, batch norm put in for it and folded again."""
    batches = lesson.batches(student.config, settings.calibration_batches, lesson.seed)
    # In training mode, as `build` gives a new one: its norms go by each batch.
    start = unfold_batch_norm(student, [audio for audio, _ in batches]).train()
    trained, _ = distill(
        partial(copy.deepcopy, start),
        lesson.material,
        lesson.schedule(settings.recovery_steps, settings.learning_rate),
        lesson.seed + number,  # other speech in each round
        work,
        guide=lesson.guide,
        events=None if events is None else events.with_name(f"{events.name}-round-{number}"),
    )
    return fold_batch_norm(trained)


def _loss_of(lesson: Lesson) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss on labels of the lesson's training, all terms weighted; the guide has no say here."""
    criterion = Criterion(lesson.training, lesson.material.driven, lesson.material.rig)

    def loss(predicted: Tensor, label: Tensor) -> Tensor:
        terms = criterion(predicted, label)
        return torch.stack([criterion.weights[name] * term for name, term in terms.items()]).sum()

    return loss


def figures(student: Student, lesson: Lesson) -> Figures:
    """What a student makes of the clips set aside."""
    found = judge(student.animate, lesson.watched, quiet=False)
    return Figures(_loss(student, lesson), found.r2, found.pbm, found.false_closures)


@torch.inference_mode()
def _loss(student: Student, lesson: Lesson) -> float:
    """The loss of `_loss_of` on the clips set aside, each hop counting the same."""
    loss, total, hops = _loss_of(lesson), 0.0, 0
    for clip in lesson.watched.clips:
        curves = student.animate(torch.from_numpy(clip.samples)[None]).transpose(1, 2)
        label = torch.from_numpy(clip.curves).T[None]
        total += len(clip.curves) * loss(curves, label).item()
        hops += len(clip.curves)
    return total / hops
