"""What the page's tables and sections are made of: plain cells, in order."""

from collections.abc import Sequence
from dataclasses import dataclass

from exporters.proof.checks import Status


@dataclass(frozen=True)
class Mark:
    """A status in a cell: shown as a word, and as a colour beside it."""

    status: Status
    text: str


@dataclass(frozen=True)
class Code:
    """A file, a hash, a name in a program."""

    text: str


Cell = str | Mark | Code


@dataclass(frozen=True)
class Table:
    """Rows of cells under headers. The first `words` columns are words, the others numbers."""

    caption: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int = 1
    note: str = ""
    strong: frozenset[int] = frozenset()
    """Rows that stand out, by their place."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headers):
                raise ValueError(
                    f"{self.caption!r} has {len(self.headers)} columns, and a row of {len(row)}"
                )


@dataclass(frozen=True)
class Section:
    """Something an engineer unfolds."""

    anchor: str
    title: str
    summary: str
    """A few words beside the title, to be read folded."""
    tables: tuple[Table, ...] = ()
    paragraphs: tuple[str, ...] = ()
    """Above the tables."""
    charts: tuple[str, ...] = ()
    """Labels of the charts that the page draws into it."""


def status_cell(status: Status) -> Mark:
    """A status as it is read; what failed is loud."""
    return Mark(status, status.upper() if status == "failed" else status)


def count_of(count: int, what: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def rows_of(rows: Sequence[Sequence[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    """Rows as a table holds them."""
    return tuple(tuple(row) for row in rows)
