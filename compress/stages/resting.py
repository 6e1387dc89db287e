"""Stage label, its second part: the teacher's rest pose, the label of sound that is not speech."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import TeacherError
from compress.rest_pose import Rest, RestClip, rest_pose
from compress.store import atomic_write, content_key, kept, tool_versions
from compress.teachers import Teacher
from compress.teachers.loading import TeacherFile
from compress.teachers.pieces import cutting_of

if TYPE_CHECKING:
    from compress.recipe import TeacherSettings

FORMAT = 1
# Sealed under this instead of a key, a teacher without a rest pose is asked again.
NOT_KEPT = "no-rest-pose"
POSE = "pose.json"
# The value of every control, in rig units.
Pose = dict[str, float]


@dataclass(frozen=True)
class RestJob:
    """Everything that a teacher's rest pose depends on, and the clips that have it as their label.

    `mesh_key` is that of what a teacher of vertices is reduced by.
    """

    folder: Path
    teacher: TeacherFile
    settings: "TeacherSettings"
    threads: int
    mesh_key: str | None = None
    clips: tuple[RestClip, ...] = ()
    most_share: float = 0.1

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            teacher=self.teacher.hash,
            opened=self.settings.key_parts,
            mesh=self.mesh_key,
            threads=self.threads,
            versions=tool_versions("torch", "numpy", "scipy"),
        )

    @property
    def training_key(self) -> str | None:
        """Key of what it adds to a training; None where no sound is to be trained on."""
        clips = [
            [r.clip.id, r.clip.sha256, r.clip.start, r.clip.samples]
            for r in self.clips
            if r.side == "train"
        ]
        return content_key(pose=self.key, clips=clips, share=self.most_share) if clips else None


def run(job: RestJob, teacher: Callable[[], Teacher]) -> Rest | None:
    """The rest pose, found or made now; `teacher` opens what is asked on silence then.

    None for a teacher that gives nothing on silence, where no clip needs a label. Raises its
    `TeacherError` where some do.
    """

    def make() -> Pose | None:
        opened = teacher()
        try:
            pose = rest_pose(opened, cutting_of(job.settings))
        except TeacherError:
            if job.clips:
                raise
            return None
        return dict(zip(opened.controls, map(float, pose), strict=True))

    def write(folder: Path, pose: Pose | None) -> str | None:
        atomic_write(folder / POSE, json.dumps(pose, indent=1) + "\n")
        return NOT_KEPT if pose is None else None

    def read(folder: Path) -> Pose | None:
        pose: Pose | None = json.loads((folder / POSE).read_text("utf-8"))
        return pose

    pose = kept(job.folder, job.key, make, write, read)
    return None if pose is None else Rest(pose, job.clips, job.most_share)
