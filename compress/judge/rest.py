"""What a face does on sound that is not speech: how much it moves, and how far it is from rest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.judge.animation import curves_by_smoothing, frame_times
from compress.judge.rest_curves import read_curves
from compress.judge.rest_sounds import Heard, sounds_of
from compress.labels.rest_pose import RestClip
from compress.labels.store import Labels
from compress.rig.rig import ClosureRule
from compress.speech.audio import SAMPLE_RATE
from exporters.report.records.not_speech import Moved, NotSpeech, OnSound

if TYPE_CHECKING:
    from exporters.targets.runtime import Predictor

Floats = NDArray[np.float32]


@dataclass
class Liveliness:
    """The sums behind `Moved`: curves of clips are added one by one, and none is kept.

    `pose` is the rest pose, `[driven]`, in the units of the curves.
    """

    pose: NDArray[np.floating]
    _moves: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _apart: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def add(self, curves: NDArray[np.floating]) -> None:
        """One more clip, `[frames, driven]`."""
        curves = np.asarray(curves, np.float64)
        for sums, values in (
            (self._moves, np.diff(curves, axis=0)),
            (self._apart, curves - self.pose),
        ):
            sums[0] += float(np.abs(values).sum())
            sums[1] += values.size

    def moved(self, rate_hz: float) -> Moved | None:
        """None of nothing, and of curves that are no numbers."""
        if not (self._moves[1] and self._apart[1]):
            return None
        movement = self._moves[0] / self._moves[1] * rate_hz
        distance = self._apart[0] / self._apart[1]
        if not (math.isfinite(movement) and math.isfinite(distance)):
            return None
        return Moved(movement=movement, distance=distance)


@dataclass(frozen=True)
class AtRest:
    """What curves on sounds are judged by: rest pose `[driven]`, names, rate, and closed lips.

    `evening`, float64 `[driven]`, is what values of a rig that mixes units are multiplied by.
    `clips` are the recipe's own sounds; `teacher` holds the teacher's curves on all sounds, None
    where it gives none.
    """

    pose: Floats
    driven: tuple[str, ...]
    rate_hz: float
    rule: ClosureRule | None = None
    evening: NDArray[np.float64] | None = None
    clips: tuple[RestClip, ...] = ()
    teacher: Path | None = None
    columns: tuple[int, ...] = ()

    def evened(self, curves: NDArray[np.floating]) -> NDArray[np.floating]:
        """Values `[..., driven]` with all controls in one unit."""
        return curves if self.evening is None else curves * self.evening

    def liveliness(self) -> Liveliness:
        """Sums of nothing yet."""
        return Liveliness(np.asarray(self.evened(self.pose), np.float64))

    def of_teacher(self, in_speech: Moved | None) -> NotSpeech:
        """What the teacher does on all sounds; `in_speech` is how lively it is there."""
        if self.teacher is None:
            return NotSpeech(sounds=(), in_speech=in_speech, of_teacher=())
        curves = [each[:, list(self.columns)] for each in read_curves(self.teacher)]
        found = self.judged(sounds_of(self.clips), curves)
        return NotSpeech(sounds=found, in_speech=in_speech, of_teacher=found)

    def of_file(
        self, predictor: "Predictor", weightings: Sequence[Sequence[float]], in_speech: Moved | None
    ) -> list[NotSpeech]:
        """What a file does on all sounds, through the code of ``lipstill animate``; one a weighting."""
        sounds, teacher = sounds_of(self.clips), self.of_teacher(in_speech)
        heard = [
            curves_by_smoothing(
                predictor,
                sound.samples,
                frame_times(len(sound.samples), self.rate_hz, SAMPLE_RATE),
                weightings,
            )
            for sound in sounds
        ]
        judged = [
            self.judged(sounds, [curves[i] for curves in heard]) for i in range(len(weightings))
        ]
        return [replace(teacher, sounds=each) for each in judged]

    def judged(self, sounds: Sequence[Heard], curves: Sequence[Floats]) -> tuple[OnSound, ...]:
        """What a model does on each kind of sound, from its curves `[frames, driven]` on each sound."""
        pairs = list(zip(sounds, curves, strict=True))
        return tuple(
            self._on(kind, list(members))
            for kind, members in groupby(pairs, key=lambda pair: pair[0].kind)
        )

    def _on(self, kind: str, pairs: list[tuple[Heard, Floats]]) -> OnSound:
        lively = self.liveliness()
        for _, curves in pairs:
            lively.add(self.evened(curves))
        together = np.concatenate([curves for _, curves in pairs])
        moved, changed = lively.moved(self.rate_hz), None
        farthest = float(np.abs(self.evened(together) - self.evened(self.pose)).max(initial=0.0))
        if self.rule is not None and moved is not None:
            closed, at_rest = (
                self.rule.aperture(values, self.driven) < self.rule.closed_below
                for values in (together, self.pose)
            )
            changed = float((closed != at_rest).mean())
        return OnSound(
            sound=kind,
            seconds=sum(len(heard.samples) for heard, _ in pairs) / SAMPLE_RATE,
            moved=moved,
            farthest=None if moved is None else farthest,
            lips_changed=changed,
        )


def at_rest(labels: Labels) -> AtRest | None:
    """What sounds are judged by, for the teacher of some labels; None where it has no rest pose."""
    rest = labels.rest
    if rest is None:
        return None
    return AtRest(
        rest.of(labels.driven),
        labels.driven,
        labels.rate_hz,
        labels.rig.closure_of(labels.driven),
        labels.own_units.evening,
        rest.clips,
        rest.teacher,
        tuple(list(rest.pose).index(name) for name in labels.driven),
    )
