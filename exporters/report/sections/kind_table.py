"""The table of tiers by kind of voice: the same rows for the page and for Markdown."""

from collections.abc import Iterator
from dataclasses import dataclass

from exporters.report.records.chain import Measurements, Proportion
from exporters.report.records.document import ReportDocument
from exporters.report.records.kinds import KindFigures, worst
from exporters.report.records.tiers import against_teacher, against_truth, tiers_of
from exporters.report.wording import NOT_RUN, number, percent

KIND_HEADERS = (
    *("Tier", "Kind of voice", "R² to teacher", "PBM at F = 1 %", "PBM", "F"),
    *("Closure F1, phones", "/p b m/", "Clips", "Voices"),
)
KIND_NOTE = (
    "Each tier is judged on each kind of voice, and never by one number for all; its worst kind by "
    "PBM at F = 1 % is in bold. Intervals are 95 %, drawn over voices and their clips; of a single "
    "voice they say nothing of others. F is the share of speech outside of /p b m/ with closed lips."
)


@dataclass(frozen=True)
class KindRow:
    """The cells of a row, as many as `KIND_HEADERS`, and whether it is the tier's worst kind."""

    cells: tuple[str, ...]
    worst: bool


def kind_rows(document: ReportDocument, languages: bool = False) -> list[KindRow]:
    """The teacher, each tier and each baseline, on each kind of voice; or on each language of it.

    Empty where no row tells kinds, and for one kind alone, of which the other tables tell all.
    """
    found, given = [], {row.name for row in document.tiers if row.kind == "teacher"}
    for name, kinds in _by_row(document):
        lowest = worst(kinds)
        for one in kinds:
            if (one.language is not None) == languages:
                kind = f"{one.kind}, {one.language}" if languages else one.kind
                cells = (name, kind, *_figures(one))
                if name in given:  # against itself there is nothing to measure
                    cells = (*cells[:2], "–", *cells[3:])
                found.append(KindRow(cells, one is lowest))
    return found if len({row.cells[1] for row in found}) > 1 else []


def _by_row(document: ReportDocument) -> Iterator[tuple[str, tuple[KindFigures, ...]]]:
    others = {
        kind: [r for r in document.tiers if r.kind == kind] for kind in ("teacher", "baseline")
    }
    for row in others["teacher"]:
        yield row.name, row.by_kind
    for view in tiers_of(document):
        yield view.title, view.lead.by_kind
    for row in others["baseline"]:
        yield row.name, row.by_kind


def _figures(one: KindFigures) -> tuple[str, ...]:
    truth = one.against_truth
    sounds = truth.get("pbm")
    return (
        _r2(one),
        _with_interval(truth, "pbm_at_1pct"),
        _with_interval(truth, "pbm"),
        percent(against_truth(one, "closed_outside")),
        number(against_truth(one, "phone_f1")),
        f"{sounds.n:,}" if isinstance(sounds, Proportion) else NOT_RUN,
        f"{one.clips:,}",
        f"{one.voices:,}",
    )


def _r2(one: KindFigures) -> str:
    value = against_teacher(one, "r2")
    return NOT_RUN if value is None else f"{round(value, 3) + 0.0:.3f}"  # no minus before 0


def _with_interval(truth: Measurements, name: str) -> str:
    """``74.1 % (68.0–79.9)``: how many there are has a column of its own."""
    share = truth.get(name)
    if not isinstance(share, Proportion):
        return percent(share)
    return f"{percent(share.value)} ({100 * share.low:.1f}\N{EN DASH}{100 * share.high:.1f})"
