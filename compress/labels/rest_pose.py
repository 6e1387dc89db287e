"""The rest pose: the pose that a teacher holds on silence, and the label of sound that is not speech.

A teacher that has learned from speech alone opens the mouth on noise and music too, so what it says
there is no label. What it says on digital silence is: a constant pose for each teacher, in the units
of its rig.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.errors import TeacherError
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import Clip
from compress.speech.split import Side
from compress.teachers import Teacher
from compress.teachers.pieces import Cutting, animate_long

Floats = NDArray[np.float32]

FOLDER = "rest"  # of a run
# Digital silence that the teacher hears; of its curves the middle half counts, since a teacher may
# move at a clip's edges.
SILENCE_S = 6.0


@dataclass(frozen=True)
class RestClip:
    """A clip of sound that is not speech, and the side of the split that it is on."""

    clip: Clip
    side: Side


@dataclass(frozen=True)
class Rest:
    """A teacher's rest pose, and the sounds that have it as their label.

    `pose` has the value of every control of the teacher, in rig units. Students are trained on the
    clips of the training side, which are at most `most_share` of what they hear; those held out are
    for the report. `teacher` holds what the teacher itself does on the sounds of the report, None
    where it gives nothing there.
    """

    pose: dict[str, float]
    clips: tuple[RestClip, ...] = ()
    most_share: float = 0.1
    teacher: Path | None = None

    def of(self, controls: Sequence[str]) -> Floats:
        """The pose of some controls, float32 `[controls]`."""
        return np.array([self.pose[name] for name in controls], np.float32)

    def side(self, side: Side) -> tuple[Clip, ...]:
        """The clips on one side of the split, in their order."""
        return tuple(rest.clip for rest in self.clips if rest.side == side)


def rest_pose(teacher: Teacher, cutting: Cutting) -> Floats:
    """The median pose over the middle half of `SILENCE_S` of digital silence: float32 `[controls]`.

    The median of each control by itself, in rig units. Raises `TeacherError` where the teacher gives
    no finite numbers on silence.
    """
    silence = np.zeros((1, round(SILENCE_S * SAMPLE_RATE)), np.float32)
    try:
        curves = animate_long(teacher, silence, cutting, ["digital silence"])[0]
    except TeacherError as error:
        raise type(error)(
            f"The teacher's rest pose is what it gives on digital silence. {error}"
        ) from error
    edge = len(curves) // 4
    return np.asarray(np.median(curves[edge : len(curves) - edge], axis=0), np.float32)
