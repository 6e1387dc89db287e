"""Stage distill: pseudo-labels in, a trained student with its batch norm folded out."""

import importlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from compress import rig, split
from compress.assets import resolve
from compress.errors import ModelError, UsageError
from compress.labels import Labels
from compress.store import (
    atomic_folder,
    atomic_write,
    content_key,
    file_hash,
    seal,
    stage,
    tool_versions,
)
from compress.students.storing import StudentCard, load_student, save_student

if TYPE_CHECKING:
    from compress.distillation import Material
    from compress.recipe import StudentSettings
    from compress.students.conv_fc import ConvFC

FORMAT = 1
LOG = "distilled.jsonl"


@dataclass(frozen=True)
class Guide:
    """A student that guides another one: its folder, and the key or hash of what lies there."""

    folder: Path
    key: str


def find_guide(student: str, name: str, base: Path) -> Guide:
    """A guide from outside of the run: ``builtin:NAME`` or a folder, relative to `base`.

    Raises `ModelError` when no student lies there.
    """
    folder = resolve(name, base)
    files = [folder / "student.json", folder / "weights.safetensors"]
    if missing := [path.name for path in files if not path.is_file()]:
        raise ModelError(
            f"The guide of {student} is {name}, but {folder} has no {' and no '.join(missing)}. "
            f"Expected the folder of a distilled student, such as RUN/students/small/distilled."
        )
    return Guide(folder, content_key(**{path.name: file_hash(path) for path in files}))


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
    events: Path | None = None
    guide: Guide | None = None

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            labels=self.labels_key,
            student=self.settings.model_dump(mode="json", exclude={"smoothing"}),
            seed=self.seed,
            threads=self.threads,
            guide=self.guide.key if self.guide else None,
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
    from compress.students.folding import fold_batch_norm

    guide = None if job.guide is None else _guide(job, labels)

    settings = job.settings
    check_students([settings], len(labels.driven))

    # A partial, not a function in a function: processes of a distributed run must be able to load it.
    build = partial(_build, settings, len(labels.driven), labels.limits)
    student, log = distill(
        build,
        material(labels),
        settings.training,
        job.seed,
        job.checkpoints,
        guide=guide,
        events=job.events,
    )
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
        training_steps=int(log.rows[-1]["step"]),
        guide=settings.guide,
    )
    # Seconds are no result, so the log lies outside of the student's folder.
    with atomic_folder(job.logs) as folder:
        atomic_write(folder / LOG, "".join(json.dumps(row) + "\n" for row in log.rows))
        seal(folder, job.key)
    with atomic_folder(job.folder) as folder:
        save_student(folder, folded, card)
        seal(folder, job.key)


def material(labels: Labels) -> "Material":
    """What a student learns from: the training side, some clips of it set aside to watch."""
    from compress.distillation import Material
    from compress.stretches import examples

    train = labels.side("train")
    watched = [clip for clip in train if split.watched(split.prompt_id(clip.id))]
    learned = [clip for clip in train if not split.watched(split.prompt_id(clip.id))]
    return Material(examples(labels, learned), examples(labels, watched), labels.driven)


def _guide(job: DistillJob, labels: Labels) -> "ConvFC":
    """The guide, which must have learned the same rig. Raises `ModelError` for another one."""
    assert job.guide is not None
    student, card = load_student(job.guide.folder)
    if card.driven != labels.driven:
        raise ModelError(
            f"The guide of {job.settings.name} in {job.guide.folder} moves {len(card.driven)} "
            f"controls, {', '.join(card.driven[:3])} …; the teacher of this run moves "
            f"{len(labels.driven)}, {', '.join(labels.driven[:3])} …. A guide must have learned "
            f"from the same rig."
        )
    return student


def check_students(
    students: Sequence["StudentSettings"], outputs: int = len(rig.ARKIT)
) -> dict[str, int]:
    """Parameters of each student, built without memory for its weights.

    Raises `UsageError` with every plan that cannot work, and with every layer of which a guide
    among these students has no counterpart.
    """
    import torch

    from compress.guidance import align

    built: dict[str, ConvFC] = {}
    mistakes = []
    for settings in students:
        try:
            with torch.device("meta"):
                student = built[settings.name] = _build(settings, outputs, None)
            training = settings.training
            if settings.guide in built and training.feature_weight:
                for layers in training.feature_layers.items():
                    align(student.config, built[settings.guide].config, *layers)
        except ValueError as error:
            mistakes.append(f"Student {settings.name} cannot be built: {error}.")
        except UsageError as error:
            mistakes.append(f"Student {settings.name} cannot be guided: {error}")
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return {name: student.parameters_count for name, student in built.items()}


def _build(
    settings: "StudentSettings", outputs: int, limits: tuple[float, float] | None
) -> "ConvFC":
    module = importlib.import_module(f"compress.students.{settings.architecture}")
    student: ConvFC = module.build(settings, outputs, limits)
    return student
