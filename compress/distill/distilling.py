"""Training a student on pseudo-labels: stage 1 of the method, and stage 2 where a guide is given.

Trained dense: one stretch of audio in, all its frames out. Each step's batch is drawn from (seed,
step) alone, so a run that was killed goes on from its last checkpoint and ends in the weights of an
undisturbed one.
"""

import io
import logging
import pickle
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from compress.distill.accelerators import training_precision
from compress.distill.guidance import Guidance
from compress.distill.losses import Criterion
from compress.distill.many import torchrun
from compress.distill.optimisation import Optimisation
from compress.distill.stretches import Stretches
from compress.errors import LipstillError, MissingError
from compress.labels.examples import Example
from compress.progress import bar
from compress.rig.rig import ARKIT_RIG, Rig
from compress.store import atomic_write
from compress.students.contract import Student, Trainable

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from compress.recipe.recipe import TrainingSettings


Built = TypeVar("Built", bound=Trainable)
# The student's weights as `torch.save` writes them, and the log's rows.
Outcome = tuple[bytes, list[dict[str, float]]]

# They tell that processes meet and are ended. Said here, so that it holds in those processes too.
for _name in ("distributed", "rank_zero"):
    logging.getLogger(f"lightning_fabric.utilities.{_name}").setLevel(logging.WARNING)
logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)

# Where processes leave what they made, and why they failed, among what is kept of a training.
NOTES, MADE = "notes", "made"


@dataclass(frozen=True)
class TrainingLog:
    """One row every so many steps: step, seconds, and the mean losses since the row before.

    A row of a validation has ``validation`` too, the loss on clips set aside, and
    ``validation_r2``, if those clips allow it.
    """

    rows: tuple[dict[str, float], ...]

    @property
    def seconds(self) -> float:
        return self.rows[-1]["seconds"] if self.rows else 0.0


@dataclass(frozen=True)
class Material:
    """What a student learns from: clips to train on, clips set aside to watch it, control names.

    Curves, and what is known of the rig, are in the units of training. `rest` is sound that is not
    speech with the rest pose as its curves, at most the share `most_rest` of what is heard.
    """

    train: Sequence[Example]
    validation: Sequence[Example]
    driven: tuple[str, ...]
    rig: Rig = ARKIT_RIG
    rest: Sequence[Example] = ()
    most_rest: float = 1.0

    def stretches(
        self, settings: "TrainingSettings", seed: int, rank: int = 0, world: int = 1
    ) -> Stretches:
        """What is heard in training, drawn step by step: see `Stretches`."""
        return Stretches(self.train, settings, seed, rank, world, self.rest, self.most_rest)


def distill(
    build: Callable[[], Built],
    material: Material,
    settings: "TrainingSettings",
    seed: int,
    work: Path,
    *,
    guide: Student | None = None,
    events: Path | None = None,
) -> tuple[Built, TrainingLog]:
    """Train what `build` gives, from where that stands; returns it with averaged weights.

    On several devices each process takes a share of every batch: those that torchrun started, where
    it did, or processes that are started for it, to which `build` must be able to travel.

    The weights are those of the best validation, or the last ones where no clips are set aside.
    `work` holds the checkpoint while the run lasts, `events` TensorBoard's files. Raises
    `AudioError` when no training clip is as long as a stretch, `UsageError` for losses that this
    rig or guide cannot have, and `DivergedError` when a loss explodes or is no number.
    """
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # says its precision
    loggers = _loggers(events)
    together = settings.devices > 1
    team = torchrun.place() if together else None
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=team.local_world if team else settings.devices,
        num_nodes=team.nodes if team else 1,
        strategy="auto" if not together else "ddp" if team else "ddp_spawn",
        precision="bf16-mixed" if training_precision(settings) == "bf16" else "32-true",
        loggers=loggers,
    )
    # Bound here, since what is given to `launch` beside the function must be no frozen dataclass.
    part = partial(
        _distill,
        build=build,
        material=material,
        settings=settings,
        seed=seed,
        work=work,
        guide=guide,
        events=events,
        loggers=loggers,
        threads=torch.get_num_threads(),
    )
    if together:
        weights, rows = _spawned(fabric, part, work) if team is None else _joined(fabric, part)
    else:
        weights, rows = fabric.launch(part)
    student = build().eval()
    student.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    return student, TrainingLog(tuple(rows))


def _distill(
    fabric: "Fabric",
    build: Callable[[], Trainable],
    material: Material,
    settings: "TrainingSettings",
    seed: int,
    work: Path,
    guide: Student | None,
    events: Path | None,
    loggers: Sequence[Any],
    threads: int,
) -> Outcome:
    """One process's part: the student's weights as `torch.save` writes them, and the log's rows.

    Bytes, since the memory of a process's tensors does not outlive it.
    """
    if fabric.world_size > 1:
        torch.set_num_threads(threads)  # of each process: sums depend on it
    try:
        stretches = material.stretches(settings, seed, fabric.global_rank, fabric.world_size)
        criterion = Criterion(settings, material.driven, material.rig)
        torch.manual_seed(seed)
        student = build()
        guidance = None
        if guide is not None and settings.feature_weight:
            by_channel = settings.feature_scale == "channel"
            guidance = Guidance(student.config, guide, settings.feature_layers, by_channel)
        training = Optimisation(fabric, student, criterion, guidance, settings)
        rows = training.restore(work)
        if events is not None and events.exists() and not rows and fabric.is_global_zero:
            shutil.rmtree(events)  # of another training
        start_s = time.monotonic() - (rows[-1]["seconds"] if rows else 0)
        with bar("distill", settings.steps, not fabric.is_global_zero, "steps") as progress:
            for row in training.run(stretches, start_s, progress):
                if row["step"] % settings.validate_every == 0 or row["step"] == settings.steps:
                    row |= training.validate(material.validation)
                rows.append(row)
                fabric.log_dict(row, step=int(row["step"]))
                if row["step"] % settings.checkpoint_every == 0:
                    training.save(work, rows)
                    for logger in loggers:
                        logger.save()
                if training.exhausted:
                    break
        weights = io.BytesIO()
        torch.save(training.result().state_dict(), weights)
        return weights.getvalue(), rows
    finally:
        for logger in loggers:  # what is logged lies in memory until then
            logger.finalize("ended")


def _spawned(fabric: "Fabric", part: Callable[["Fabric"], Outcome], work: Path) -> Outcome:
    """The part of each process that is started for it, and what the first one made.

    When one fails, the others are ended, and our own errors are raised as what they are.
    """
    from torch.multiprocessing.spawn import ProcessRaisedException

    notes = work / NOTES
    shutil.rmtree(notes, ignore_errors=True)
    try:
        fabric.launch(partial(_noting, part=part, notes=notes))
        outcome: Outcome = pickle.loads((notes / MADE).read_bytes())
    except ProcessRaisedException:
        # The others failed for want of the one that did, and say so in words of their own.
        for path in sorted(notes.glob("failure-*")):
            error: LipstillError = pickle.loads(path.read_bytes())
            raise error from None
        raise
    finally:
        shutil.rmtree(notes, ignore_errors=True)
    return outcome


def _joined(fabric: "Fabric", part: Callable[["Fabric"], Outcome]) -> Outcome:
    """The part of this process among those that torchrun started, and what it made."""
    try:
        outcome: Outcome = fabric.launch(part)
    except RuntimeError as error:
        # Neither backend has a class of errors for it.
        if not any(word in str(error) for word in ("gloo", "NCCL")):
            raise
        raise MissingError(
            f"Another process of torchrun ended while process {fabric.global_rank} trained with it: "
            f"that one says why. The last checkpoint is kept; the same command goes on from there."
        ) from error
    return outcome


def _noting(fabric: "Fabric", part: Callable[["Fabric"], Outcome], notes: Path) -> None:
    """A part whose outcome is left as a file.

    Neither type nor words of what a process raises come back by themselves. And what it returns
    goes through a pipe that is read when the process has ended, which it does not before all is in
    the pipe: anything larger than that, such as a student, would wait for ever.
    """
    try:
        outcome = part(fabric)
    except LipstillError as error:
        atomic_write(notes / f"failure-{fabric.global_rank}", pickle.dumps(error))
        raise
    if fabric.is_global_zero:
        atomic_write(notes / MADE, pickle.dumps(outcome))


def _loggers(events: Path | None) -> list[Any]:
    if events is None:
        return []
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    return [TensorBoardLogger(events.parent, name=events.name, version="")]
