"""What files weigh, take and need: every target of every tier."""

from collections.abc import Iterable, Iterator, Sequence

from exporters.measuring.figures import Pace
from exporters.report.records.document import ReportDocument, Tier
from exporters.report.records.tiers import TierView
from exporters.report.sections.tables import Cell, Code, Section, Table, count_of
from exporters.report.wording import NOT_RUN, human_count, human_size, number, percent, ratio_text

NONE = "–"
WAIT_OR_TAKE = (
    "What a pose waits for is another thing than what it takes to compute: the first is audio "
    "after its moment, the same on every machine, the second depends on this one ({})."
)
PAPER = (
    "File + arena stands beside the paper's 3.4 MB; the paper's definition is not at hand, "
    "so it is not the same measure."
)


def files_section(document: ReportDocument, views: Sequence[TierView]) -> Section:
    """Sizes, computing, and the cost beside the teacher of each file."""
    count = sum(len(view.files) for view in views)
    return Section(
        anchor="files",
        title="Files: size, speed, memory",
        summary=count_of(count, "file"),
        tables=tuple(_tables(views)),
        paragraphs=(WAIT_OR_TAKE.format(document.machine.get("cpu", "CPU not named")),),
    )


def _tables(views: Sequence[TierView]) -> Iterator[Table]:
    files = [(view, row) for view in views for row in view.files]
    yield Table(
        caption="Size and memory",
        headers=(
            *("Tier", "Target", "Parameters", "File", "As a download", "Of that file, weights"),
            *("Memory when it runs", "Arena (TFLite Micro)", "File + arena"),
        ),
        rows=tuple(_size(view, row) for view, row in files),
        words=2,
        note=(
            "Download: compressed as a .zip is. Memory: what a fresh process grows by when it "
            "loads the file and runs it. Arena: of int8 TFLite files only"
            f"{_no_arena(row for _, row in files)}. {PAPER}"
        ),
    )
    yield Table(
        caption="Computing one prediction, in milliseconds",
        headers=(
            *("Tier", "Target", "Took turns with", "Threads", "Median", "95 in 100 below"),
            *("99 in 100 below", "Share of a 16 ms frame", "Median, × the other's"),
            "Waits for audio (ms)",
        ),
        rows=tuple(line for view, row in files for line in _speed(view, row)),
        words=3,
        note=(
            "× the other's: below 1 it is faster than the file that took turns with it; in brackets "
            "the range among ten stretches of the run. What took turns with itself shows what this "
            "machine cannot tell apart. Not run: its runtime only evaluates the file here, which "
            "says nothing of a device."
        ),
    )
    yield Table(
        caption="Beside the teacher",
        headers=(
            *("Tier", "Target", "Computing for 1 s of animation (ms)", "× faster", "Range"),
            "× smaller",
        ),
        rows=tuple(_beside(view, row) for view, row in files),
        words=2,
        note="Teacher and file took turns in one process with one thread.",
    )


def _name(view: TierView, row: Tier) -> tuple[str, str]:
    return view.title, row.made.target if row.made else NONE


def _size(view: TierView, row: Tier) -> tuple[Cell, ...]:
    taken = row.benchmark
    arena = taken.arena if taken else None
    both = None
    if arena is None:
        shown = NONE
    else:
        shown = human_size(arena.bytes)
        both = None if arena.bytes is None or row.bytes is None else arena.bytes + row.bytes
    return (
        *_name(view, row),
        NOT_RUN if row.parameters is None else human_count(row.parameters),
        human_size(row.bytes),
        human_size(taken.size.download_bytes if taken else None),
        human_size(taken.size.weight_bytes if taken else None),
        human_size(taken.memory.peak_bytes if taken and taken.memory else None),
        shown,
        NONE if arena is None else human_size(both),
    )


def _no_arena(rows: Iterable[Tier]) -> str:
    """Why some have none, each reason once."""
    arenas = [row.benchmark.arena for row in rows if row.benchmark and row.benchmark.arena]
    reasons = dict.fromkeys(arena.detail for arena in arenas if arena.bytes is None)
    return "".join(f"; {reason}" for reason in reasons)


def _speed(view: TierView, row: Tier) -> Iterator[tuple[Cell, ...]]:
    wait = number(row.algorithmic_latency_ms)
    paces = row.benchmark.paces if row.benchmark else ()
    for pace in paces:
        latency = pace.latency
        yield (
            *_name(view, row),
            _other(pace, row),
            str(pace.threads),
            number(latency.median_ms),
            number(latency.p95_ms),
            number(latency.p99_ms),
            percent(latency.frame_share),
            _ratio(pace),
            wait,
        )
    if not paces:
        yield (*_name(view, row), *(NOT_RUN,) * 7, wait)


def _ratio(pace: Pace) -> str:
    if pace.ratio is None:
        return NONE
    if pace.ratio_low is None or pace.ratio_high is None:
        return ratio_text(pace.ratio)
    low, high = ratio_text(pace.ratio_low), ratio_text(pace.ratio_high)
    return f"{ratio_text(pace.ratio)} ({low}\N{EN DASH}{high})"


def _other(pace: Pace, row: Tier) -> Cell:
    if pace.reference is None:
        return NONE
    return "itself" if pace.reference == row.path else Code(pace.reference)


def _beside(view: TierView, row: Tier) -> tuple[Cell, ...]:
    cost = row.cost
    if cost is None:
        return (*_name(view, row), *(NOT_RUN,) * 4)
    return (
        *_name(view, row),
        number(cost.ms_per_second),
        number(cost.faster),
        f"{number(cost.faster_low)}\N{EN DASH}{number(cost.faster_high)}",
        NONE if cost.smaller is None else number(cost.smaller),
    )
