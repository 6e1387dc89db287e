"""Stage label: speech and a teacher in, pseudo-labels out."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import InputError
from compress.labels import rest_stage as resting
from compress.labels.engines import Engine
from compress.labels.engines.in_process import InProcess
from compress.labels.making import keeps_audio, label, labels_key
from compress.labels.rest_pose import Rest
from compress.labels.rest_stage import RestJob
from compress.labels.store import DESCRIBED, Labels, read_index, read_labels
from compress.labels.work import Work
from compress.rig.rig import Rig
from compress.rig.rig_file import RigFile, rig_of
from compress.speech.gathering import Speech
from compress.store import atomic_write, content_key, stage
from compress.teachers import Teacher
from compress.teachers.loading import TeacherFile, open_teacher
from compress.teachers.mesh.teacher import MeshTeacher, find_mesh, mesh_rig, read_lips
from compress.teachers.pieces import cutting_of
from exporters.errors import ModelFileError
from exporters.mesh import MESH, Mesh, read_mesh

if TYPE_CHECKING:
    from compress.recipe.recipe import LabelSettings, TeacherSettings
    from compress.recipe.teacher import MeshSettings


@dataclass(frozen=True)
class LabelJob:
    """Everything that the labels depend on; `base` is where the recipe's paths start.

    The rig's file has no part in them, and goes with them to whoever judges curves. Neither has
    `rest`, by which the teacher's rest pose is found, in a folder of its own.
    """

    folder: Path
    teacher: TeacherFile
    speech: Speech
    settings: "LabelSettings"
    teacher_settings: "TeacherSettings"
    threads: int
    base: Path
    rig: RigFile | None = None
    rest: RestJob | None = None

    @property
    def key(self) -> str:
        """Raises `TeacherError` where the file on a mesh's lips cannot be read."""
        if self.teacher_settings.mesh is None:
            return self._speech_key
        return content_key(labels=self._speech_key, mesh=self.mesh_key)

    @cached_property  # asked for by all that depends on labels, and long to make of many clips
    def _speech_key(self) -> str:
        return labels_key(
            self.teacher, self.speech.spoken, self.settings, self.teacher_settings, self.threads
        )

    @property
    def mesh_key(self) -> str:
        """Key of what a teacher of vertices is reduced by, which is kept before there are labels."""
        from compress.teachers.mesh.fitting import mesh_key

        return mesh_key(
            self.teacher, self.speech.spoken, self.teacher_settings, self.lips, self.threads
        )

    @property
    def to_do(self) -> str:
        """Why there is something to label, in a few words; empty where all is there."""
        if reason := stage(self.folder, self.key).reason:
            return reason
        try:
            index = read_index(self.folder)
        except InputError:
            return "its index is damaged"
        if index.described != DESCRIBED:
            return "its index is of another version of lipstill"
        # Made when more might be missing, they are no result of this recipe: tried again.
        if len(index.missing) > self.settings.max_missing_share * len(self.speech.spoken):
            return f"{len(index.missing)} clips have no labels, more than labels.max_missing_share allows"
        return ""

    @property
    def lips(self) -> tuple[int, ...]:
        """What the recipe says of a mesh's lips."""
        mesh = self.teacher_settings.mesh
        return read_lips(None if mesh is None else mesh.lips, self.base)


def run(
    job: LabelJob,
    engine: Engine | None = None,
    check: Callable[[Sequence[str], Rig], None] | None = None,
) -> Labels:
    """The labels, made now, by this process where no engine is given, or found.

    Before they are made, `check` may refuse the controls that the teacher has, and their rig.
    """
    if not job.to_do:
        # A damaged index or mesh is made again below; whole shards are kept.
        with contextlib.suppress(InputError, ModelFileError):
            labels = read_labels(job.folder, {s.clip.id: s.clip for s in job.speech.spoken})
            mesh = None if labels.mesh_file is None else read_mesh(labels.mesh_file)
            return replace(
                labels,
                rig=_rig(job, labels.controls, mesh),
                rest=_rest(job, lambda: _open(job, mesh)),
            )
    teacher: Teacher = open_teacher(job.teacher, job.teacher_settings, job.base)
    mesh = None
    if job.teacher_settings.mesh is None:
        (job.folder / MESH).unlink(missing_ok=True)  # of what stood here before
    else:
        mesh = _fitted(teacher, job, job.teacher_settings.mesh)
        teacher = MeshTeacher(teacher, mesh)
    rig = _rig(job, teacher.controls, mesh)  # what is wrong with it is said before the work
    if check is not None:
        check(teacher.controls, rig)
    work = Work(
        job.teacher,
        job.teacher_settings,
        job.base,
        job.settings.batch_s,
        keeps_audio(job.settings, job.speech.spoken),
        job.threads,
        mesh,
    )
    labels = label(
        job.key, job.speech.spoken, job.folder, job.settings, work, engine or InProcess(teacher)
    )
    return replace(labels, rig=rig, rest=_rest(job, lambda: teacher))


def _open(job: LabelJob, mesh: Mesh | None) -> Teacher:
    teacher: Teacher = open_teacher(job.teacher, job.teacher_settings, job.base)
    return teacher if mesh is None else MeshTeacher(teacher, mesh)


def _rest(job: LabelJob, teacher: Callable[[], Teacher]) -> Rest | None:
    return None if job.rest is None else resting.run(job.rest, teacher)


def _rig(job: LabelJob, controls: Sequence[str], mesh: Mesh | None) -> Rig:
    closed = job.teacher_settings.lips_closed
    return rig_of(job.rig, controls) if mesh is None or closed is None else mesh_rig(mesh, closed)


def _fitted(teacher: Teacher, job: LabelJob, settings: "MeshSettings") -> Mesh:
    """What vertices are reduced by, fitted now or by a run that was killed since."""
    from threadpoolctl import threadpool_limits

    from compress.teachers.mesh.fitting import fit

    path, key = job.folder / MESH, job.mesh_key
    mesh = find_mesh(path, key)
    if mesh is None:
        cutting = cutting_of(job.teacher_settings)
        # PyTorch's limit is not that of NumPy's and SciPy's linear algebra.
        with threadpool_limits(job.threads, user_api="blas"):
            mesh = fit(teacher, key, job.speech.spoken, settings, cutting, job.lips)
        atomic_write(path, mesh.to_bytes())
    return mesh
