"""Every metric of every row, against the teacher and against known truth, and by part of the face."""

from collections.abc import Callable, Sequence

from exporters.report.records.chain import Measurements
from exporters.report.records.document import ReportDocument, Tier
from exporters.report.sections.kinds import languages_table
from exporters.report.sections.not_speech import NOTE, sound_table, summary_table
from exporters.report.sections.tables import Section, Table, count_of, rows_of
from exporters.report.wording import HEADERS, NOT_RUN, figure, header, number


def quality_section(document: ReportDocument) -> Section:
    """All figures on held-out speech."""
    rows = document.tiers
    tables = [
        _metrics("Against the teacher", rows, lambda row: row.against_teacher),
        _metrics("Against the truth", rows, lambda row: row.against_truth),
        languages_table(document),
        _regions(rows),
        *_not_speech(rows),
    ]
    return Section(
        anchor="figures",
        title="Quality: all figures",
        summary=count_of(len(rows), "row"),
        tables=tuple(table for table in tables if table.rows),
    )


def _metrics(caption: str, rows: Sequence[Tier], measured: Callable[[Tier], Measurements]) -> Table:
    """Well-known metrics first, then as they come; rows that have none are left out."""
    found = dict.fromkeys(name for row in rows for name in measured(row))
    names = sorted(found, key=lambda name: [*HEADERS, name].index(name))
    return Table(
        caption=caption,
        headers=("Row", *(header(name) for name in names)),
        rows=rows_of(
            [
                (row.name, *(figure(measured(row).get(name)) for name in names))
                for row in rows
                if measured(row)
            ]
        ),
    )


def _regions(rows: Sequence[Tier]) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row.by_region))
    return Table(
        caption="By part of the face, against the teacher: MSE (correlation)",
        headers=("Row", *names),
        rows=rows_of(
            [(row.name, *(_part(row, name) for name in names)) for row in rows if row.by_region]
        ),
    )


def _not_speech(rows: Sequence[Tier]) -> list[Table]:
    (headers, found), (kinds, by_kind) = summary_table(rows), sound_table(rows)
    return [
        Table("Not speech", headers, rows_of(found), note=NOTE),
        Table(
            "Not speech: movement on each sound, of the teacher's in speech",
            kinds,
            rows_of(by_kind),
        ),
    ]


def _part(row: Tier, region: str) -> str:
    measured = row.by_region.get(region)
    if measured is None:
        return NOT_RUN
    return f"{number(measured.get('mse'))} ({number(measured.get('correlation'))})"
