"""Stage label: speech and a teacher in, pseudo-labels out."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.labels import Labels, label, labels_key, read_labels
from compress.stages.speech import Speech
from compress.store import stage
from compress.teachers.loading import TeacherFile, open_teacher

if TYPE_CHECKING:
    from compress.recipe import LabelSettings, TeacherSettings


@dataclass(frozen=True)
class LabelJob:
    """Everything that the labels depend on; `base` is where the recipe's paths start."""

    folder: Path
    teacher: TeacherFile
    speech: Speech
    settings: "LabelSettings"
    teacher_settings: "TeacherSettings"
    threads: int
    base: Path

    @property
    def key(self) -> str:
        return labels_key(
            self.teacher, self.speech.spoken, self.settings, self.teacher_settings, self.threads
        )


def run(job: LabelJob) -> Labels:
    """The labels, made now or found."""
    if stage(job.folder, job.key).hit:
        return read_labels(job.folder, {s.clip.id: str(s.clip.path) for s in job.speech.spoken})
    teacher = open_teacher(job.teacher, job.teacher_settings, job.base)
    cutting = job.teacher_settings.cutting
    return label(teacher, job.key, job.speech.spoken, job.folder, job.settings, cutting)
