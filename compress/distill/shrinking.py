"""What the stages prune and quantize share: a trained student in, a smaller one out."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from compress.distill.stage import guide_of, material
from compress.errors import AudioError
from compress.labels.store import Labels
from compress.speech.alignments import Alignment
from compress.store import atomic_write, content_key, kept, tool_versions
from compress.students.finding import KnownStudent
from compress.students.storing import StudentCard, load_student, save_student

if TYPE_CHECKING:
    from compress.prune.rounds import Lesson
    from compress.recipe.recipe import StudentSettings
    from compress.students.contract import Student

    Made = tuple[Student, StudentCard, dict[str, Any]]

FORMAT = 4
Step = Literal["pruned", "int8"]
TOOLS = ("torch", "numpy", "scipy", "lightning-fabric", "torch-pruning", "torchao")


@dataclass(frozen=True)
class ShrinkJob:
    """Everything that a pruned or an int8 student depends on; keys stand for labels and for what choices go by.

    `source` is the student that it is made of, `rest_key` as in `DistillJob`.
    """

    step: Step
    folder: Path
    work: Path
    events: Path
    source: KnownStudent
    labels_key: str
    alignments: Mapping[str, Alignment]
    criteria_key: str
    settings: "StudentSettings"
    seed: int
    threads: int
    guide: KnownStudent | None = None
    rest_key: str | None = None

    @property
    def key(self) -> str:
        own = self.settings.pruning if self.step == "pruned" else self.settings.quantization
        assert own is not None
        return content_key(
            **({} if self.rest_key is None else {"rest": self.rest_key}),
            format=FORMAT,
            step=self.step,
            source=self.source.key,
            labels=self.labels_key,
            criteria=self.criteria_key,
            settings=own.model_dump(mode="json"),
            training=self.settings.training.model_dump(mode="json"),
            seed=self.seed,
            threads=self.threads,
            guide=self.guide.key if self.guide else None,
            versions=tool_versions(*TOOLS),
        )

    @property
    def checkpoints(self) -> Path:
        """Where the state of unfinished work is kept; of use to this key only."""
        return self.work / self.key

    @property
    def record(self) -> Path:
        """How it was made, for the report."""
        return self.folder / f"{self.step}.json"


@dataclass(frozen=True)
class Shrunk:
    """A smaller student's folder and what ``pruned.json`` or ``int8.json`` in it says."""

    folder: Path
    key: str
    parameters: int
    record: dict[str, Any]


def lesson_of(job: ShrinkJob, labels: Labels) -> "Lesson":
    """What the student goes on learning from: what it was distilled from, guide and all.

    Choices are made on the clips that training sets aside, or on those that it hears where none
    are: held-out speech has no part in them.
    """
    from compress.distill.watching import choose, set_aside, within
    from compress.labels.examples import examples
    from compress.prune.rounds import Lesson

    train = labels.side("train")
    aside = set_aside(train)[1] or within(train)
    if not aside:
        raise AudioError(
            f"There is no speech to train on, and so none to make {job.settings.name} smaller by. "
            f"Add folders to speech.train."
        )
    taught = material(labels)
    heard = examples(labels, aside, labels.own_units)
    return Lesson(
        material=taught,
        watched=choose(aside, heard, job.alignments, labels.driven, taught.rig),
        training=job.settings.training,
        seed=job.seed,
        guide=guide_of(job.settings.name, job.guide, labels),
    )


def shrunk(job: ShrinkJob, make: "Callable[[], Made]") -> Shrunk:
    """The smaller student, made now or found; what was kept to go on from is cleared away."""

    def write(folder: Path, made: "Made") -> None:
        student, card, record = made
        save_student(folder, student, card)
        atomic_write(folder / job.record.name, json.dumps(record, indent=1) + "\n")

    def read(folder: Path) -> Shrunk:
        record = json.loads((folder / job.record.name).read_text("utf-8"))
        return Shrunk(folder, job.key, load_student(folder)[1].parameters, record)

    result = kept(job.folder, job.key, make, write, read)
    if job.checkpoints.exists():
        shutil.rmtree(job.checkpoints)
        for folder in (job.work, job.work.parent):
            if not any(folder.iterdir()):
                folder.rmdir()
    return result
