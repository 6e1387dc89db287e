"""Stage distill: pseudo-labels in, a trained student with its batch norm folded out."""

import importlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress import rig
from compress.errors import UsageError
from compress.labels import Labels
from compress.store import atomic_folder, atomic_write, content_key, seal, stage, tool_versions
from compress.students.storing import StudentCard, load_student, save_student

if TYPE_CHECKING:
    from compress.recipe import StudentSettings
    from compress.students.conv_fc import ConvFC

FORMAT = 1
LOG = "distilled.jsonl"


@dataclass(frozen=True)
class DistillJob:
    """Everything that a distilled student depends on; `labels_key` stands for the labels."""

    folder: Path
    logs: Path
    work: Path
    labels_key: str
    settings: "StudentSettings"
    seed: int
    threads: int

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            labels=self.labels_key,
            student=self.settings.model_dump(mode="json"),
            seed=self.seed,
            threads=self.threads,
            versions=tool_versions("torch", "numpy", "lightning-fabric"),
        )

    @property
    def checkpoints(self) -> Path:
        """Where the training's state is kept while it lasts; of use to this key only."""
        return self.work / self.key


@dataclass(frozen=True)
class Distilled:
    """A student's folder, and its training log: one dict a row, see `distillation.TrainingLog`.

    The log is empty when that of this very training is lost, which is no reason to train again.
    """

    folder: Path
    key: str
    parameters: int
    log: tuple[dict[str, float], ...]


def run(job: DistillJob, labels: Labels) -> Distilled:
    """The distilled student, trained now or found."""
    if not stage(job.folder, job.key).hit:
        _train(job, labels)
    if job.checkpoints.exists():
        shutil.rmtree(job.checkpoints)
        for folder in (job.work, job.work.parent):
            if not any(folder.iterdir()):
                folder.rmdir()
    lines = (job.logs / LOG).read_text().splitlines() if stage(job.logs, job.key).hit else []
    rows = tuple(json.loads(line) for line in lines)
    return Distilled(job.folder, job.key, load_student(job.folder)[1].parameters, rows)


def _train(job: DistillJob, labels: Labels) -> None:
    from compress.distillation import distill
    from compress.students.conv_fc import fold_batch_norm

    settings = job.settings
    check_students([settings], len(labels.driven))

    def build() -> "ConvFC":
        return _build(settings, len(labels.driven), labels.limits)

    student, log = distill(build, labels, settings.training, job.seed, job.checkpoints)
    folded = fold_batch_norm(student)
    card = StudentCard(
        name=settings.name,
        architecture=settings.architecture,
        step="distilled",
        controls=labels.controls,
        driven=labels.driven,
        constants=labels.constants,
        parameters=folded.parameters_count,
        labels_key=labels.key,
        training_steps=settings.training.steps,
    )
    # Seconds are no result, so the log lies outside of the student's folder.
    with atomic_folder(job.logs) as folder:
        atomic_write(folder / LOG, "".join(json.dumps(row) + "\n" for row in log.rows))
        seal(folder, job.key)
    with atomic_folder(job.folder) as folder:
        save_student(folder, folded, card)
        seal(folder, job.key)


def check_students(
    students: Sequence["StudentSettings"], outputs: int = len(rig.ARKIT)
) -> dict[str, int]:
    """Parameters of each student, built without memory for its weights.

    Raises `UsageError` with every plan that cannot work.
    """
    import torch

    sizes, mistakes = {}, []
    for settings in students:
        try:
            with torch.device("meta"):
                sizes[settings.name] = _build(settings, outputs, None).parameters_count
        except ValueError as error:
            mistakes.append(f"Student {settings.name} cannot be built: {error}.")
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return sizes


def _build(
    settings: "StudentSettings", outputs: int, limits: tuple[float, float] | None
) -> "ConvFC":
    module = importlib.import_module(f"compress.students.{settings.architecture}")
    student: ConvFC = module.build(settings, outputs, limits)
    return student
