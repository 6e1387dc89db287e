"""Stage label, its second part: the teacher's rest pose, the label of sound that is not speech.

And what the teacher itself does on the sounds of the report, while it is open.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.errors import LipstillError
from compress.judge import rest_sounds
from compress.judge.rest_curves import write_curves
from compress.labels.rest_pose import Rest, RestClip, rest_pose
from compress.store import atomic_write, content_key, kept, tool_versions
from compress.teachers import Teacher
from compress.teachers.loading import TeacherFile
from compress.teachers.pieces import Cutting, animate_long, cutting_of

if TYPE_CHECKING:
    from compress.recipe.recipe import TeacherSettings

Floats = NDArray[np.float32]

FORMAT = 1
# Sealed under this instead of a key, a teacher without a rest pose is asked again.
NOT_KEPT = "no-rest-pose"
POSE, CURVES = "pose.json", "teacher.safetensors"
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
        """Of the pose, and of the teacher's curves on the sounds of the report."""
        heldout = [
            [clip.id, clip.sha256, clip.start, samples]
            for clip, samples in rest_sounds.chosen_heldout(self.clips)
        ]
        return content_key(pose=self.pose_key, sounds=rest_sounds.FORMAT, heldout=heldout)

    @property
    def pose_key(self) -> str:
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
        return (
            content_key(pose=self.pose_key, clips=clips, share=self.most_share) if clips else None
        )


def run(job: RestJob, teacher: Callable[[], Teacher]) -> Rest | None:
    """The rest pose, found or made now; `teacher` opens what is asked on silence then.

    None for a teacher that gives nothing on silence or cannot be opened here, where no clip needs a
    label. Raises why not where some do.
    """

    def make() -> tuple[Pose | None, list[Floats]]:
        cutting = cutting_of(job.settings)
        try:
            opened = teacher()
            pose = rest_pose(opened, cutting)
        except LipstillError:
            # Labels may come from another machine, the only one on which the teacher runs.
            if job.clips:
                raise
            return None, []
        named = dict(zip(opened.controls, map(float, pose), strict=True))
        return named, _on_sounds(opened, cutting, job.clips)

    def write(folder: Path, made: tuple[Pose | None, list[Floats]]) -> str | None:
        pose, curves = made
        atomic_write(folder / POSE, json.dumps(pose, indent=1) + "\n")
        if curves:
            write_curves(folder / CURVES, curves)
        return NOT_KEPT if pose is None else None

    def read(folder: Path) -> Pose | None:
        pose: Pose | None = json.loads((folder / POSE).read_text("utf-8"))
        return pose

    pose = kept(job.folder, job.key, make, write, read)
    if pose is None:
        return None
    curves = job.folder / CURVES
    return Rest(pose, job.clips, job.most_share, curves if curves.exists() else None)


def _on_sounds(teacher: Teacher, cutting: Cutting, clips: tuple[RestClip, ...]) -> list[Floats]:
    """The teacher's curves on each sound of the report; none at all where it fails on one.

    It has labelled speech: what it cannot do elsewhere is no reason to stop, and is shown as not run.
    """
    try:
        return [
            animate_long(teacher, sound.samples[None], cutting, [f"{sound.kind} (not speech)"])[0]
            for sound in rest_sounds.sounds_of(clips)
        ]
    except LipstillError:
        return []
