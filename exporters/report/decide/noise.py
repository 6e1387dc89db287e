"""What a comparison takes for the same: each figure's noise, and the reason for it."""

import math
import re
from dataclasses import dataclass, replace
from typing import Literal

from exporters.report.decide.sampling_noise import sampling_noise
from exporters.report.figures import FIGURES
from exporters.report.gate_words import plain
from exporters.report.records.document import Tier

Context = Literal["speech", "teacher"]


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
        parts = [plain(self.absolute)] if self.absolute or not self.relative else []
        parts += [f"{100 * self.relative:g} %"] if self.relative else []
        return " or ".join(parts)


@dataclass(frozen=True)
class Metric:
    """A figure that is compared. `depends` is what must be the same in both reports for that.

    `noise` is the least difference that counts. Where the reports say how far the choice of clips
    moves a figure, and that is more, it is that. Of a figure that is `counted`, case by case, it is
    that alone: 2 points are much of 10,000 sounds, and little of 20.
    """

    noise: Allowance
    why: str
    depends: tuple[Context, ...] = ()
    counted: bool = False


_COPY: tuple[Context, ...] = ("speech", "teacher")

METRICS: dict[str, Metric] = {
    "bytes": Metric(
        Allowance(relative=0.005), "hashes and versions inside a file change with every recipe"
    ),
    "download_bytes": Metric(
        Allowance(relative=0.005), "as bytes, and other weights compress otherwise"
    ),
    "parity": Metric(
        Allowance(absolute=1e-6, relative=1.0),
        "the largest of some thousand differences of rounding; twice as much of them says little",
    ),
    "r2": Metric(Allowance(absolute=0.005), "more than rounding to int8 costs (README.md)", _COPY),
    "mse": Metric(Allowance(relative=0.02), "about what 0.005 of R² is at R² 0.7", _COPY),
    "pbm": Metric(
        Allowance(absolute=0.02),
        "never needed: every share has its interval",
        ("speech",),
        counted=True,
    ),
    "pbm_at_1pct": Metric(
        Allowance(absolute=0.02), "never needed: as pbm", ("speech",), counted=True
    ),
    "false_closures": Metric(
        Allowance(absolute=0.002), "never needed: as pbm", ("speech",), counted=True
    ),
    "phone_f1": Metric(
        Allowance(absolute=0.02),
        "of a report without sums by clip: as closure_f1",
        ("speech",),
        counted=True,
    ),
    "closure_f1": Metric(
        Allowance(absolute=0.02),
        "of a report without sums by clip: counts closures, as PBM counts sounds",
        _COPY,
        counted=True,
    ),
    "jitter_ratio": Metric(
        Allowance(relative=0.05),
        "a third difference magnifies what rounding leaves; int8 costs up to 2 %",
        _COPY,
    ),
    "lag_ms": Metric(
        Allowance(absolute=1.0), "read between frames, 16.7 ms apart at 60 a second", _COPY
    ),
    "future_ms": Metric(Allowance(), "declared, not measured: any change is meant"),
    "times_faster": Metric(
        Allowance(relative=0.2),
        "in turns with the teacher, yet processors favour one or the other",
        ("teacher",),
    ),
    "latency_ratio": Metric(
        Allowance(relative=0.2), "in turns with the fp32 file; as times_faster"
    ),
    "memory_bytes": Metric(
        Allowance(absolute=131_072, relative=0.1),
        "allocators take memory in pieces, of 128 kB and more, and runtimes change with versions",
    ),
    "arena_bytes": Metric(
        Allowance(relative=0.01), "counted by its allocator, a version's alignment apart"
    ),
}
"""By the names of `FIGURES`. Milliseconds are not among them: those of two machines are no comparison."""


def noise_between(
    metric: str, one: Tier, other: Tier, *, same_clips: bool, only_paired: bool = False
) -> tuple[Allowance, str]:
    """What two rows may differ by in a metric for being the same, and where that is from.

    `same_clips` says that both were judged on the same held-out speech. `only_paired` leaves the
    intervals of rows that cannot be paired alone: of the same clips they are far too wide.
    """
    known = METRICS[metric]
    found = sampling_noise(metric, one, other, same_clips=same_clips, only_paired=only_paired)
    if found is None:
        return known.noise, "fixed"
    if known.counted:
        return Allowance(absolute=found.difference), found.how
    return replace(known.noise, absolute=max(known.noise.absolute, found.difference)), found.how


_GIVEN = re.compile(r"(?P<name>\w+)=(?P<value>[^%\s]+)\s*(?P<percent>%?)")


def read_allowance(text: str) -> tuple[str, Allowance]:
    """``bytes=1%`` (of the value) or ``r2=0.01`` (in the figure's unit). Raises ValueError that says why not."""
    found = _GIVEN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not METRIC=VALUE or METRIC=VALUE%")
    name = found["name"]
    if name not in METRICS:
        raise ValueError(f"{text!r} names no metric; there is {', '.join(METRICS)}")
    try:
        value = float(found["value"])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(
            f"{text!r} has the value {found['value']}, expected a number of at least 0"
        )
    if not found["percent"]:
        return name, Allowance(absolute=value)
    if FIGURES[name].unit == "share":
        # A per cent of a share, or a point of it? Nobody can know.
        raise ValueError(
            f"{text!r}: {name} is a share of 0 to 1; give points as 0.02, not in per cent"
        )
    return name, Allowance(relative=value / 100)
