"""Tiers as an artist reads them: a name, what it costs, what it gives, and for whom it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporters.report.decide.advice import advise
from exporters.report.records.document import ReportDocument, Tier
from exporters.report.records.kinds import KindFigures, worst
from exporters.report.records.tiers import (
    TierView,
    against_teacher,
    against_truth,
    closures_kept,
    pareto,
    teacher_of,
)
from exporters.report.sections.not_speech import share_text
from exporters.report.wording import NOT_RUN, human_size, number, percent
from exporters.signature import Precision

_PRECISIONS: dict[Precision, str] = {
    "fp32": "full precision",
    "fp16": "half precision",
    "int8": "8-bit integers",
}


@dataclass(frozen=True)
class Meter:
    """A figure in a few words, and as a share of a bar, or None where it is none."""

    before: str
    value: str
    after: str
    share: float | None


@dataclass(frozen=True)
class Card:
    """One tier. `place` is where it stands among all; the page's scripts know it by that."""

    place: int
    name: str
    title: str
    kind: str
    provenance: str
    size: str
    wait: str
    gain: str
    meters: tuple["Meter", ...]
    advice: str
    beaten: bool
    folded: bool


def cards_of(document: ReportDocument, views: Sequence[TierView]) -> list[Card]:
    """A card for each tier, nearest to the teacher first."""
    teacher = known_teacher(document)
    advice = advise(views, teacher)
    return [
        Card(
            place=place,
            name=view.name,
            title=view.title,
            kind=_PRECISIONS[view.made.precision],
            provenance=view.lead.provenance,
            size=human_size(view.lead.bytes),
            wait=_wait(view.lead),
            gain=_gain(view),
            meters=(*_meters(view.lead, teacher), *_rest(view.lead)),
            advice=advice[view.name].sentence,
            beaten=advice[view.name].beaten_by is not None,
            # Whoever ran the recipe looks for what it made, good or bad.
            folded=advice[view.name].beaten_by is not None and not is_own(view),
        )
        for place, view in enumerate(views)
    ]


def first_chosen(views: Sequence[TierView]) -> list[int]:
    """The tiers that the page begins with: the nearest to the teacher, and one to set beside it.

    That is the nearest that the run made itself, or where it made none or that one the smallest of
    those that nothing beats.
    """
    best = pareto(views)
    places = [i for i, view in enumerate(views) if view.name in best] or list(range(len(views)))
    own = [i for i, view in enumerate(views) if is_own(view) and i not in places[:1]]
    if own and not all(is_own(view) for view in views):
        return [*places[:1], own[0]]
    sizes = {i: size for i in places if (size := views[i].lead.bytes) is not None}
    smallest = [min(sizes, key=lambda i: sizes[i])] if sizes else []
    return list(dict.fromkeys([*places[:1], *smallest]))


def is_own(view: TierView) -> bool:
    """Whether the run trained it."""
    return view.lead.provenance == "trained in this run"


def known_teacher(document: ReportDocument) -> Tier | None:
    """The teacher's row, or None in a report without one."""
    try:
        return teacher_of(document)
    except ValueError:
        return None


def wait_of(row: Tier) -> str:
    """``80 ms``, or ``not run``."""
    wait = row.algorithmic_latency_ms
    return NOT_RUN if wait is None else f"{wait:g} ms"


def _wait(row: Tier) -> str:
    wait = row.algorithmic_latency_ms
    return f"waits {wait:g} ms" if wait is not None else f"what it waits: {NOT_RUN}"


def _likeness(row: Tier) -> Meter:
    r2 = row.against_teacher.get("r2")
    if not isinstance(r2, float):
        return Meter("likeness to the teacher:", NOT_RUN, "", None)
    return Meter("likeness to the teacher: R²", f"{r2:.2f}", "", max(r2, 0.0))


def _meters(row: Tier, teacher: Tier | None) -> Iterator[Meter]:
    yield _likeness(row)
    yield _lips(row, teacher)
    pbm, false = against_truth(row, "pbm"), against_truth(row, "closed_outside")
    if pbm is not None:
        after = f"of p, b and m, and wrongly in {percent(false)} of other speech (F)"
        yield Meter("as it is they close on", f"{100 * pbm:.0f} %", after, None)
    if (lowest := worst(row.by_kind)) is not None:
        yield _worst(lowest)


def _worst(one: KindFigures) -> Meter:
    """The kind of voice on which the tier does worst, and how it does there."""
    before = f"worst kind of voice, {one.kind}:"
    if (share := against_truth(one, "pbm_at_1pct")) is not None:
        return Meter(before, f"{100 * share:.0f} %", "of p, b and m at F = 1 %", share)
    return Meter(before, f"R² {number(against_teacher(one, 'r2'))}", "", None)


def _lips(row: Tier, teacher: Tier | None) -> Meter:
    kept = None if teacher is None else closures_kept(row, teacher, "pbm_at_1pct")
    if kept is not None:
        shown = f"{100 * kept:.0f} %"
        return Meter("lips close", shown, "as often as the teacher's, at F = 1 %", min(kept, 1.0))
    if (own := against_truth(row, "pbm_at_1pct")) is not None:
        return Meter("lips close on", f"{100 * own:.0f} %", "of p, b and m at F = 1 %", own)
    if (off := against_teacher(row, "lip_vertex_error")) is not None:
        return Meter("farthest lip vertex", number(off), "mesh units off", None)
    if (off := against_teacher(row, "vertex_error")) is not None:
        return Meter("vertices", number(off), "mesh units off", None)
    return Meter("lip closures:", NOT_RUN, "", None)


def _rest(row: Tier) -> list[Meter]:
    """How much the face moves where nobody speaks; nothing where that was not asked."""
    found = row.not_speech
    if found is None or found.movement is None:
        return []
    of_teacher = found.teacher_movement
    beside = "" if of_teacher is None else f"; the teacher {share_text(of_teacher)}"
    shown = share_text(found.movement)
    said = f"as much as in speech{beside}"
    return [Meter("on noise and music it moves", shown, said, min(found.movement, 1.0))]


def _gain(view: TierView) -> str:
    """Size of the file that the card speaks of, speed of the tier's quickest."""
    cost, smaller = view.cost, view.lead.cost and view.lead.cost.smaller
    if cost is None:
        return f"size and speed beside the teacher: {NOT_RUN}"
    if _times(cost.faster) == _times(1 / cost.faster):  # a twentieth apart at most
        speed = "as fast as the teacher"
    elif cost.faster < 1:
        speed = f"{_times(1 / cost.faster)} slower than the teacher"
    else:
        speed = f"{_times(cost.faster)} faster than the teacher"
    return f"{_times(smaller)} smaller, {speed}" if smaller else speed


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×"
