"""What a row of the table of figures says: how a figure is read, judged, gated, chosen and compared.

All that shows or asks a figure derives from its row in `exporters.report.figures`. A command line
reads that table before anything else, so that nothing heavy is imported for it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from exporters.proof.parity import ParityResult
    from exporters.report.records.document import Comparison, Tier

    Array = NDArray[np.float64]
Unit = Literal["", "bytes", "ms", "rig", "share", "times"]
Context = Literal["speech", "teacher"]
COPY: tuple[Context, ...] = ("speech", "teacher")


@dataclass(frozen=True)
class Subject:
    """A file's row as it ships, and what it is measured by."""

    row: "Tier"
    teacher: "Tier | None"
    parity: "ParityResult | None" = None
    ridge: "Tier | None" = None


@dataclass(frozen=True)
class Bounds:
    """What a limit may be: `least` and `most` included, `above` not."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    whole: bool = False


SHARE, POSITIVE, NOT_NEGATIVE = Bounds(0, 1), Bounds(above=0), Bounds(0)
AT_MOST_1, ANY, BYTES = Bounds(most=1), Bounds(), Bounds(1, 10**15, whole=True)


@dataclass(frozen=True)
class Gate:
    """The limit of a recipe: what it says of itself, and of which files it is asked if not of all."""

    help: str
    bounds: Bounds
    precisions: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Option:
    """The limit of ``lipstill choose``: its name, what it says, and the figure's unit in its own."""

    name: str
    help: str
    bounds: Bounds = NOT_NEGATIVE
    factor: float = 1.0


@dataclass(frozen=True)
class Allowance:
    """A difference of no account: `absolute`, in the figure's unit, or `relative`, what is more.

    Relative is of the smaller of two values, so that a change there and back counts alike.
    """

    absolute: float = 0.0
    relative: float = 0.0

    def of(self, one: float, other: float) -> float:
        """The difference that two values may have."""
        return max(self.absolute, self.relative * min(abs(one), abs(other)))

    def __str__(self) -> str:
        from exporters.report.gate_words import plain

        parts = [plain(self.absolute)] if self.absolute or not self.relative else []
        parts += [f"{100 * self.relative:g} %"] if self.relative else []
        return " or ".join(parts)


@dataclass(frozen=True)
class Noise:
    """What a comparison takes for the same. `depends` is what must be the same in both reports.

    `least` is the least difference that counts. Where the reports say how far the choice of clips
    moves a figure, and that is more, it is that. Of a figure that is `counted`, case by case, it is
    that alone: 2 points are much of 10,000 sounds, and little of 20.
    """

    least: Allowance
    why: str
    depends: tuple[Context, ...] = ()
    counted: bool = False


@dataclass(frozen=True)
class Sums:
    """A figure of sums over clips (`ClipSums`); rows are paired where `given` is the same in both."""

    columns: tuple[str, ...]
    given: str
    figure: "Callable[[Mapping[str, Array]], Array]"

    @property
    def less_than_1(self) -> "Sums":
        """1 less the figure."""
        return Sums(self.columns, self.given, lambda sums: 1 - self.figure(sums))


def ratio(above: str, below: str) -> Sums:
    """Σ above / Σ below."""
    return Sums((above, below), below, lambda sums: sums[above] / sums[below])


def f1(of: str = "") -> Sums:
    """The F1 of what is right of the guesses, and recalled of the events."""
    names = tuple(f"{of}{name}" for name in ("right", "guesses", "recalled", "events"))

    def figure(sums: "Mapping[str, Array]") -> "Array":
        import numpy as np

        right, guesses, recalled, events = (sums[name] for name in names)
        precision, recall = right / guesses, recalled / events
        total = precision + recall
        return np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)

    return Sums(names, f"{of}events", figure)


@dataclass(frozen=True)
class Figure:
    """One question, how its answer is read, and who asks it."""

    name: str
    """For people, with its unit."""
    better: Literal["less", "more"]
    """Which way is good."""
    unit: Unit
    """Of the value; a share is 0 to 1, times are a ratio, rig is in units of the rig or their square."""
    read: Callable[[Subject], float | None]
    """None where it was not measured."""
    runs: bool = False
    """Whether only a runtime that runs the file can tell, and not one that evaluates it."""
    gate: Gate | None = None
    """What a recipe may ask; None for no gate."""
    option: Option | None = None
    """What ``lipstill choose`` may ask; None for no option."""
    noise: Noise | None = None
    """What ``lipstill compare`` takes for the same; None is not compared."""
    sums: Sums | None = None
    """What it is summed of, where the choice of clips is a part of its noise."""
    share: str = ""
    """Where it stands against the truth as a share that has an interval of its own; empty for none."""
    asked_of: Callable[[Subject], bool] = lambda subject: True
    """Whether the question makes sense for a file."""
    headline: bool = False
    """Whether ``choose`` gives it of every file."""
    of_teacher: bool = False
    """Whether ``compare`` asks it of the teacher too."""

    @property
    def limit(self) -> "Comparison":
        """How a value must stand to a limit."""
        return "<=" if self.better == "less" else ">="

    def known(self, subject: Subject) -> float | None:
        """The value where it is a number, else None."""
        value = self.read(subject)
        return value if value is not None and math.isfinite(value) else None
