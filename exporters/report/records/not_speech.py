"""How a face moves on sound that is not speech, where it should rest."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from exporters import records

SILENCE = "silence"
HELD_OUT = "rest material held out"


@records.strict
@dataclass(frozen=True, kw_only=True)
class Moved:
    """How lively a face is. Means over all driven controls and all frames."""

    movement: float
    """Mean absolute velocity, in rig units a second."""
    distance: float
    """Mean distance of a control from the teacher's rest pose, in rig units."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class OnSound:
    """What a model does on one kind of sound. Null stands for what came out as no number."""

    sound: str
    """Which: `silence`, `noise`, `hum`, `typing`, `music`, or `rest material held out`."""
    seconds: float
    """How much of it was heard."""
    moved: Moved | None
    """How lively the face is."""
    farthest: float | None
    """The largest distance of any control from the rest pose, in rig units."""
    lips_changed: float | None
    """Share of frames, 0 to 1, in which lips are open that the rest pose has closed, or the other way
    round; null too where it is not known when lips are closed."""


def compared(sounds: Iterable[OnSound]) -> tuple[OnSound, ...]:
    """Those that figures are of: the same in every report, without silence, on which every face rests.

    A recipe's own sounds have a row of their own, or figures of two recipes were of other sounds.
    """
    return tuple(one for one in sounds if one.sound not in (SILENCE, HELD_OUT))


@records.strict
@dataclass(frozen=True, kw_only=True)
class NotSpeech:
    """What a model does on sound that is not speech, and what its teacher does.

    The rest pose is what the teacher gives on digital silence.
    """

    sounds: tuple[OnSound, ...]
    """The same few seconds in every report, and those of the recipe's own sounds that are held out."""
    in_speech: Moved | None
    """How lively the teacher is on held-out speech; null where none was judged."""
    of_teacher: tuple[OnSound, ...]
    """The teacher itself on the same sounds; empty where it was not asked."""

    @property
    def movement(self) -> float | None:
        """Mean velocity on `compared` sounds, relative to the teacher's in speech."""
        return self._relative(self.sounds, lambda moved: moved.movement)

    @property
    def distance(self) -> float | None:
        """Mean distance from the rest pose on the same, relative to the teacher's in speech."""
        return self._relative(self.sounds, lambda moved: moved.distance)

    @property
    def teacher_movement(self) -> float | None:
        """`movement` of the teacher itself."""
        return self._relative(self.of_teacher, lambda moved: moved.movement)

    @property
    def teacher_distance(self) -> float | None:
        """`distance` of the teacher itself."""
        return self._relative(self.of_teacher, lambda moved: moved.distance)

    def movement_on(self, sound: str) -> float | None:
        """Mean velocity on one kind of sound, relative to the teacher's in speech."""
        members = [one for one in self.sounds if one.sound == sound]
        return self._share(members, lambda moved: moved.movement)

    def _relative(
        self, sounds: tuple[OnSound, ...], read: Callable[[Moved], float]
    ) -> float | None:
        return self._share(compared(sounds), read)

    def _share(self, sounds: Sequence[OnSound], read: Callable[[Moved], float]) -> float | None:
        """A mean by seconds, relative to the teacher's in speech; None where one of them is not known."""
        known = [(one.seconds, read(one.moved)) for one in sounds if one.moved is not None]
        if not sounds or len(known) < len(sounds) or self.in_speech is None:
            return None
        in_speech, seconds = read(self.in_speech), sum(length for length, _ in known)
        if not in_speech > 0:
            return None
        share = sum(length * value for length, value in known) / seconds / in_speech
        return share if math.isfinite(share) else None
