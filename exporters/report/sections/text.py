"""Sections and tables as Markdown: the same cells that the page shows."""

from collections.abc import Sequence
from urllib.parse import quote

from exporters.report.sections.tables import Cell, Code, Mark, Section, Table


def section_text(section: Section, images: Sequence[str] = ()) -> str:
    """A section folded under its title, as GitHub shows it; `images` are files of its charts."""
    title = f"<details><summary>{section.title}: {cell_text(section.summary)}</summary>"
    parts = [title, *(cell_text(paragraph) for paragraph in section.paragraphs)]
    charts = zip(section.charts, images, strict=True)
    parts += [f"![{cell_text(label)}]({quote(image)})" for label, image in charts]
    parts += [table_text(table) for table in section.tables]
    return "\n\n".join([*parts, "</details>"])


def table_text(table: Table, caption: bool = True) -> str:
    """A table under its caption, and its note."""
    aligned = ["---"] * table.words + ["--:"] * (len(table.headers) - table.words)
    lines = [_row([cell_text(header) for header in table.headers]), f"|{'|'.join(aligned)}|"]
    for place, row in enumerate(table.rows):
        cells = [cell_text(cell) for cell in row]
        if place in table.strong:
            cells[: table.words] = [f"**{cell}**" for cell in cells[: table.words]]
        lines.append(_row(cells))
    parts = [f"**{cell_text(table.caption)}**"] if caption else []
    parts += ["\n".join(lines), *([cell_text(table.note)] if table.note else [])]
    return "\n\n".join(parts)


def cell_text(cell: Cell | object) -> str:
    """Text from outside too, safe inside a table cell or a line."""
    if isinstance(cell, Code):
        return f"`{_flat(cell.text)}`"
    return _flat(cell.text if isinstance(cell, Mark) else cell)


def _flat(text: object) -> str:
    return " ".join(str(text).replace("|", "\\|").split())


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
