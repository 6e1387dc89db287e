"""Stage label: speech and a teacher in, pseudo-labels out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.labels import Labels, label, labels_key, read_labels
from compress.rig_file import RigFile, rig_of
from compress.stages.speech import Speech
from compress.store import stage
from compress.teachers.loading import TeacherFile, open_teacher

if TYPE_CHECKING:
    from compress.recipe import LabelSettings, TeacherSettings


@dataclass(frozen=True)
class LabelJob:
    """Everything that the labels depend on; `base` is where the recipe's paths start.

    The rig's file has no part in them, and goes with them to whoever judges curves.
    """

    folder: Path
    teacher: TeacherFile
    speech: Speech
    settings: "LabelSettings"
    teacher_settings: "TeacherSettings"
    threads: int
    base: Path
    rig: RigFile | None = None

    @property
    def key(self) -> str:
        return labels_key(
            self.teacher, self.speech.spoken, self.settings, self.teacher_settings, self.threads
        )


def run(job: LabelJob) -> Labels:
    """The labels, made now or found."""
    if stage(job.folder, job.key).hit:
        labels = read_labels(job.folder, {s.clip.id: str(s.clip.path) for s in job.speech.spoken})
        return replace(labels, rig=rig_of(job.rig, labels.controls))
    teacher = open_teacher(job.teacher, job.teacher_settings, job.base)
    rig = rig_of(job.rig, teacher.controls)  # a name that is wrong is said before the work
    cutting = job.teacher_settings.cutting
    labels = label(teacher, job.key, job.speech.spoken, job.folder, job.settings, cutting)
    return replace(labels, rig=rig)
