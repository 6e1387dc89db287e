"""What can be asked of a model file in a report: one table for gates, comparisons and choices.

A figure is read from a file's row, or is None where it was not measured; NaN stands for what was
measured and gave no number, which is a failure.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from exporters.proof.parity import ParityResult
from exporters.report.records.chain import Measurements, Proportion
from exporters.report.records.document import Comparison, Made, ReportDocument, Tier
from exporters.report.records.tiers import closures_kept
from exporters.report.wording import percent

# Of fewer /p b m/ a share is no measure: one of them is ten points of it. Of fewer frames of other
# speech one is more than a point.
LEAST_SOUNDS, LEAST_FRAMES = 10, 100

Unit = Literal["", "bytes", "ms", "rig", "share", "times"]


@dataclass(frozen=True)
class Subject:
    """A file's row as it ships, and what it is measured by."""

    row: Tier
    teacher: Tier | None
    parity: ParityResult | None = None
    ridge: Tier | None = None


def _everywhere(subject: Subject) -> bool:
    return True


@dataclass(frozen=True)
class Figure:
    """One question, and how its answer is read."""

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
    asked_of: Callable[[Subject], bool] = _everywhere
    """Whether the question makes sense for a file."""

    @property
    def limit(self) -> Comparison:
        """How a value must stand to a limit."""
        return "<=" if self.better == "less" else ">="

    def known(self, subject: Subject) -> float | None:
        """The value where it is a number, else None."""
        value = self.read(subject)
        return value if value is not None and math.isfinite(value) else None


def only_evaluated(row: Tier) -> bool:
    """Whether the file's runtime on that machine computes it but cannot say what it costs."""
    return row.benchmark is not None and not row.benchmark.paces


def gate_name(made: Made, figure: Figure) -> str:
    """What the gate on a figure of a file is called in the report."""
    return f"{made.tier} {made.target}: {figure.name}"


def excused(report: ReportDocument) -> frozenset[str]:
    """Names of gates that can never run on the report's machine.

    These are the gates on time and memory of files that are only evaluated there, as Core ML
    packages are elsewhere than on macOS.
    """
    return frozenset(
        gate_name(row.made, figure)
        for row in report.tiers
        if row.made is not None and only_evaluated(row)
        for figure in FIGURES.values()
        if figure.runs
    )


def largest_difference(result: ParityResult | None) -> float | None:
    """The largest difference of a file from its source over all sets, in rig units.

    None if some set did not run or nothing was compared; NaN if one failed without a number.
    """
    if result is None or not result.sets:
        return None
    if any(item.max_abs is None and item.status == "failed" for item in result.sets):
        return math.nan
    known = [item.max_abs for item in result.sets if item.max_abs is not None]
    return max(known) if len(known) == len(result.sets) else None


def _number(measured: Measurements, name: str) -> float | None:
    value = measured.get(name)
    return value.value if isinstance(value, Proportion) else value


def _copy(name: str) -> Callable[[Subject], float | None]:
    return lambda subject: _number(subject.row.against_teacher, name)


def _lag(subject: Subject) -> float | None:
    lag = _number(subject.row.against_teacher, "lag_ms")
    return None if lag is None else abs(lag)


def _over_ridge(subject: Subject) -> float | None:
    own = _number(subject.row.against_teacher, "r2")
    other = None if subject.ridge is None else _number(subject.ridge.against_teacher, "r2")
    return None if own is None or other is None else own - other


def _truth(name: str, counted: str, least: int = LEAST_SOUNDS) -> Callable[[Subject], float | None]:
    """A figure against the phones, where there are enough of what is `counted`."""

    def read(subject: Subject) -> float | None:
        share = subject.row.against_truth.get(counted)
        if isinstance(share, Proportion) and share.n < least:
            return None
        return _number(subject.row.against_truth, name)

    return read


_sounds_closed = _truth("pbm", "pbm")
_false = _truth("closed_outside", "closed_outside", LEAST_FRAMES)


def beside(name: str, subject: Subject) -> str:
    """What must be read with a figure: ``with F 2.7 %`` with PBM accuracy, where it is measured.

    Empty with all others.
    """
    if name not in ("pbm", "pbm_of_teacher") or FIGURES[name].known(subject) is None:
        return ""
    return f"with F {percent(_false(subject))}"


def _kept(subject: Subject) -> float | None:
    if subject.teacher is None or _sounds_closed(subject) is None:
        return None
    return closures_kept(subject.row, subject.teacher)


def _on_rest(name: str) -> Callable[[Subject], float | None]:
    def read(subject: Subject) -> float | None:
        found = subject.row.not_speech
        value: float | None = None if found is None else getattr(found, name)
        return value

    return read


def _bytes(subject: Subject) -> float | None:
    return None if subject.row.bytes is None else float(subject.row.bytes)


def _download(subject: Subject) -> float | None:
    benchmark = subject.row.benchmark
    return None if benchmark is None else float(benchmark.size.download_bytes)


def _latency_ratio(subject: Subject) -> float | None:
    pace = None if subject.row.benchmark is None else subject.row.benchmark.single
    if (
        pace is None or pace.reference == subject.row.path
    ):  # beside itself, for want of an fp32 file
        return None
    return pace.ratio


def _frame_share(subject: Subject) -> float | None:
    return None if subject.row.latency is None else subject.row.latency.frame_share


def _median(subject: Subject) -> float | None:
    return None if subject.row.latency is None else subject.row.latency.median_ms


def _memory(subject: Subject) -> float | None:
    memory = None if subject.row.benchmark is None else subject.row.benchmark.memory
    return None if memory is None else float(memory.peak_bytes)


def _arena(subject: Subject) -> float | None:
    arena = None if subject.row.benchmark is None else subject.row.benchmark.arena
    return None if arena is None or arena.bytes is None else float(arena.bytes)


def _has_arena(subject: Subject) -> bool:
    # A file without any benchmark may well need one: that it was not measured must show.
    return subject.row.benchmark is None or subject.row.benchmark.arena is not None


def _is_compressed(subject: Subject) -> bool:
    return subject.row.made is None or subject.row.made.precision != "fp32"


def _smaller(subject: Subject) -> float | None:
    if subject.row.cost is not None:
        return subject.row.cost.smaller
    # Files that are only evaluated have no cost; their size is known all the same.
    teacher = None if subject.teacher is None else subject.teacher.bytes
    return None if not teacher or not subject.row.bytes else teacher / subject.row.bytes


FIGURES: dict[str, Figure] = {
    "parity": Figure(
        "largest difference from PyTorch",
        "less",
        "rig",
        lambda subject: largest_difference(subject.parity),
    ),
    "bytes": Figure("bytes", "less", "bytes", _bytes),
    "download_bytes": Figure("download bytes", "less", "bytes", _download),
    "latency_ratio": Figure(
        *("latency by the fp32 file's", "less", "times", _latency_ratio),
        runs=True,
        asked_of=_is_compressed,
    ),
    "frame_share": Figure("share of a 16 ms frame", "less", "share", _frame_share, runs=True),
    "ms": Figure("median of one prediction (ms)", "less", "ms", _median, runs=True),
    "memory_bytes": Figure("memory (bytes)", "less", "bytes", _memory, runs=True),
    "arena_bytes": Figure("arena (bytes)", "less", "bytes", _arena, asked_of=_has_arena),
    "r2": Figure("R² against the teacher", "more", "", _copy("r2")),
    "r2_over_ridge": Figure("R² above the ridge", "more", "", _over_ridge),
    "mse": Figure("MSE against the teacher", "less", "rig", _copy("mse")),
    "pbm": Figure("PBM accuracy", "more", "share", _sounds_closed),
    "pbm_of_teacher": Figure("PBM accuracy by the teacher's", "more", "times", _kept),
    "pbm_at_1pct": Figure(
        "PBM accuracy at F = 1 %", "more", "share", _truth("pbm_at_1pct", "pbm_at_1pct")
    ),
    # F, of all phones. In rows `false_closures` are of vowels alone, as they were in older reports.
    "false_closures": Figure("false closures (F)", "less", "share", _false),
    "phone_f1": Figure("closure F1 against the phones", "more", "", _truth("phone_f1", "pbm")),
    "closure_f1": Figure("closure F1", "more", "", _copy("closure_f1")),
    "jitter_ratio": Figure("jitter by the teacher's", "less", "times", _copy("jitter_ratio")),
    "rest_movement": Figure(
        *("movement on noise and music, of the teacher's in speech", "less", "share"),
        _on_rest("movement"),
    ),
    "rest_distance": Figure(
        *("distance from rest on noise and music, of the teacher's in speech", "less", "share"),
        _on_rest("distance"),
    ),
    "lag_ms": Figure("lag, late or early (ms)", "less", "ms", _lag),
    "future_ms": Figure(
        *("algorithmic latency (ms)", "less", "ms"),
        lambda subject: subject.row.algorithmic_latency_ms,
    ),
    "times_smaller": Figure("times smaller than the teacher", "more", "times", _smaller),
    "times_faster": Figure(
        *("times faster than the teacher", "more", "times"),
        lambda subject: None if subject.row.cost is None else subject.row.cost.faster,
        runs=True,
    ),
}
"""By the words that recipes and options have for them: ``max_bytes`` and ``--max-...`` ask ``bytes``."""
