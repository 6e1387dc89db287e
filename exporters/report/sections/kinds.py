"""Tiers by kind of voice, as tables of the page."""

from exporters.report.records.document import ReportDocument
from exporters.report.sections.kind_table import KIND_HEADERS, KIND_NOTE, KindRow, kind_rows
from exporters.report.sections.tables import Table


def kinds_table(document: ReportDocument) -> Table | None:
    """Each tier on each kind of voice, or None where there is one kind alone or none."""
    rows = kind_rows(document)
    return _table("Tiers by kind of voice", rows, KIND_NOTE) if rows else None


def languages_table(document: ReportDocument) -> Table:
    """The same by language; without a row where the clips' names tell none."""
    return _table("By kind of voice and language", kind_rows(document, languages=True))


def _table(caption: str, rows: list[KindRow], note: str = "") -> Table:
    return Table(
        caption=caption,
        headers=KIND_HEADERS,
        rows=tuple(row.cells for row in rows),
        words=2,
        note=note,
        strong=frozenset(place for place, row in enumerate(rows) if row.worst),
    )
