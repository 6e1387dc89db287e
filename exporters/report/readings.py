"""How the figures of a report are read from a file's row: None where they were not measured."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from exporters.report.figure import Subject

if TYPE_CHECKING:
    from exporters.proof.parity import ParityResult
    from exporters.report.records.chain import Measurements
    from exporters.report.records.document import Tier

# Of fewer /p b m/ a share is no measure: one of them is ten points of it. Of fewer frames of other
# speech one is more than a point.
LEAST_SOUNDS, LEAST_FRAMES = 10, 100

Reader = Callable[[Subject], float | None]


def only_evaluated(row: "Tier") -> bool:
    """Whether the file's runtime on that machine computes it but cannot say what it costs."""
    return row.benchmark is not None and not row.benchmark.paces


def largest_difference(result: "ParityResult | None") -> float | None:
    """The largest difference of a file from its source over all sets, in rig units.

    None if some set did not run or nothing was compared; NaN if one failed without a number.
    """
    if result is None or not result.sets:
        return None
    if any(item.max_abs is None and item.status == "failed" for item in result.sets):
        return math.nan
    known = [item.max_abs for item in result.sets if item.max_abs is not None]
    return max(known) if len(known) == len(result.sets) else None


def number(measured: "Measurements", name: str) -> float | None:
    """A measurement, or the share that it is."""
    value = measured.get(name)
    return value if value is None or isinstance(value, float | int) else value.value


def copied(name: str) -> Reader:
    """A figure against the teacher."""
    return lambda subject: number(subject.row.against_teacher, name)


def lag(subject: Subject) -> float | None:
    """The size of the lag, whichever way."""
    found = number(subject.row.against_teacher, "lag_ms")
    return None if found is None else abs(found)


def over_ridge(subject: Subject) -> float | None:
    """R² above that of the ridge."""
    own = number(subject.row.against_teacher, "r2")
    other = None if subject.ridge is None else number(subject.ridge.against_teacher, "r2")
    return None if own is None or other is None else own - other


def truth(name: str, counted: str, least: int = LEAST_SOUNDS) -> Reader:
    """A figure against the phones, where there are enough of what is `counted`."""

    def read(subject: Subject) -> float | None:
        share = subject.row.against_truth.get(counted)
        if share is not None and not isinstance(share, float | int) and share.n < least:
            return None
        return number(subject.row.against_truth, name)

    return read


sounds_closed = truth("pbm", "pbm")
false_closures = truth("closed_outside", "closed_outside", LEAST_FRAMES)


def kept(subject: Subject) -> float | None:
    """PBM accuracy by the teacher's."""
    if subject.teacher is None or sounds_closed(subject) is None:
        return None
    from exporters.report.records.tiers import closures_kept

    return closures_kept(subject.row, subject.teacher)


def on_rest(name: str) -> Reader:
    """A figure on sound that is not speech."""

    def read(subject: Subject) -> float | None:
        found = subject.row.not_speech
        value: float | None = None if found is None else getattr(found, name)
        return value

    return read


def file_bytes(subject: Subject) -> float | None:
    """Bytes of the file, or of the package's files."""
    return None if subject.row.bytes is None else float(subject.row.bytes)


def download(subject: Subject) -> float | None:
    """Bytes as compressed for a download."""
    benchmark = subject.row.benchmark
    return None if benchmark is None else float(benchmark.size.download_bytes)


def latency_ratio(subject: Subject) -> float | None:
    """Time of a prediction by that of the fp32 file, in turns."""
    pace = None if subject.row.benchmark is None else subject.row.benchmark.single
    # Beside itself, for want of an fp32 file.
    return None if pace is None or pace.reference == subject.row.path else pace.ratio


def frame_share(subject: Subject) -> float | None:
    """Median of a prediction by a frame of 16 ms."""
    return None if subject.row.latency is None else subject.row.latency.frame_share


def median_ms(subject: Subject) -> float | None:
    """Median of a prediction."""
    return None if subject.row.latency is None else subject.row.latency.median_ms


def memory(subject: Subject) -> float | None:
    """By how much a process grows that loads and runs the file."""
    found = None if subject.row.benchmark is None else subject.row.benchmark.memory
    return None if found is None else float(found.peak_bytes)


def arena(subject: Subject) -> float | None:
    """Of TensorFlow Lite Micro."""
    found = None if subject.row.benchmark is None else subject.row.benchmark.arena
    return None if found is None or found.bytes is None else float(found.bytes)


def has_arena(subject: Subject) -> bool:
    """Whether it may need one: that it was not measured must show."""
    return subject.row.benchmark is None or subject.row.benchmark.arena is not None


def is_compressed(subject: Subject) -> bool:
    """Whether there is an fp32 file that it can be compared with."""
    return subject.row.made is None or subject.row.made.precision != "fp32"


def smaller(subject: Subject) -> float | None:
    """By how much it is smaller than the teacher."""
    if subject.row.cost is not None:
        return subject.row.cost.smaller
    # Files that are only evaluated have no cost; their size is known all the same.
    teacher = None if subject.teacher is None else subject.teacher.bytes
    return None if not teacher or not subject.row.bytes else teacher / subject.row.bytes


def faster(subject: Subject) -> float | None:
    """By how much a second of animation is faster than the teacher's."""
    return None if subject.row.cost is None else subject.row.cost.faster


def future_ms(subject: Subject) -> float | None:
    """Algorithmic latency."""
    return subject.row.algorithmic_latency_ms
