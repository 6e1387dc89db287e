"""Held-out clips as the teacher and every tier animate them: ``clips.json`` beside ``report.json``.

Apart, because they are what a player shows and a picture is drawn of, and no figure: a machine that
reads reports need not read them.
"""

from dataclasses import dataclass
from pathlib import Path

from exporters import records
from exporters.errors import ModelFileError

Curves = dict[str, tuple[float, ...]]


@records.strict
@dataclass(frozen=True, kw_only=True)
class Span:
    """A labelled piece of time."""

    label: str
    """A phone, for example b."""
    start_s: float
    """Start in seconds."""
    end_s: float
    """End in seconds."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Moment:
    """Where a tier is farthest from the teacher in a clip."""

    time_s: float
    """Middle of the tenth of a second in which it is."""
    error: float
    """How far off it is there: root mean square over all driven controls and that tenth, in rig units."""
    control: str
    """The control that is farthest off there."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class TierCurves:
    """A clip as one tier animates it."""

    tier: str
    """Which tier: student and precision."""
    values: Curves
    """Driven control to one value a frame."""
    worst: Moment
    """Where it is farthest from the teacher."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Clip:
    """One held-out clip: its audio, its words, and the face that teacher and tiers give it."""

    clip: str
    """Name of the clip."""
    text: str
    """What is said, or the clip's name where that is not known."""
    audio: str
    """FLAC, relative to the report's folder."""
    image: str
    """PNG made of the curves, relative to the report's folder."""
    rate_hz: float
    """Frames in one second."""
    offset_s: float
    """Time of frame 0 in seconds."""
    teacher: Curves
    """Driven control to one value a frame."""
    tiers: tuple[TierCurves, ...]
    """The same controls as each tier predicts them."""
    shown: tuple[str, ...]
    """The controls that tell most, for a picture."""
    sealed: tuple[Span, ...]
    """Where the lips should be closed (/p b m/); empty if not known."""
    phones: tuple[Span, ...]
    """All phones; empty if not known."""

    def __post_init__(self) -> None:
        frames = len(next(iter(self.teacher.values()), ()))
        if frames < 2:
            raise ValueError(f"clip {self.clip!r} has {frames} frames; a curve needs 2")
        for who, curves in [
            ("the teacher", self.teacher),
            *((t.tier, t.values) for t in self.tiers),
        ]:
            if set(curves) != set(self.teacher):
                raise ValueError(
                    f"clip {self.clip!r}: {who} has the controls {sorted(curves)}, expected "
                    f"{sorted(self.teacher)}"
                )
            for control, series in curves.items():
                if len(series) != frames:
                    raise ValueError(
                        f"clip {self.clip!r}: {control} of {who} has {len(series)} values, expected "
                        f"{frames}"
                    )
        if missing := sorted(set(self.shown) - set(self.teacher)):
            raise ValueError(f"clip {self.clip!r}: there are no curves of {missing} to show")

    @property
    def times_s(self) -> tuple[float, ...]:
        """Time of each frame."""
        frames = len(next(iter(self.teacher.values())))
        return tuple(self.offset_s + frame / self.rate_hz for frame in range(frames))


@records.strict
@dataclass(frozen=True, kw_only=True)
class Clips:
    """All of ``clips.json``."""

    clips: tuple[Clip, ...]
    """In the order in which they are shown."""


def read_clips(path: Path) -> Clips:
    """Read a ``clips.json``. Raises ModelFileError that lists every mistake in it."""
    try:
        return records.from_json(Clips, path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read as a report's clips: {error}.") from error
    except ValueError as error:
        raise ModelFileError(f"{path} is not what this version reads as clips:\n{error}") from error
