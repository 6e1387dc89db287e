"""A comparison of two reports as Markdown for a pull request, and as lines for a terminal."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from importlib.resources import files

from exporters.report.decide.comparison import Change, ReportComparison, Verdict
from exporters.report.figures import FIGURES
from exporters.report.gate_words import apart, plain

# So many rows of what is worse, and of what is better, stay on one screen; the rest is folded.
_SHOWN = 12
_WORSE: tuple[Verdict, ...] = ("worse", "no longer measured")
_BETTER: tuple[Verdict, ...] = ("better", "now measured")


@dataclass(frozen=True)
class Row:
    """A figure of all targets of a tier for which the words are the same."""

    file: str
    figure: str
    old: str
    new: str
    change: str
    verdict: str
    regression: bool


def verdict(comparison: ReportComparison) -> str:
    """The outcome in one line, without a full stop."""
    if comparison.regressions:
        return _number_of(comparison.regressions, "regression")
    if comparison.incomparable:
        return (
            f"{_number_of(comparison.incomparable, 'figure')} cannot be compared; no regression in "
            f"the others"
        )
    worse, better = (
        sum(change.verdict in names for change in comparison.changes) for names in (_WORSE, _BETTER)
    )
    if worse or better or comparison.gone or comparison.added or comparison.mended:
        return f"No regression: {worse} worse within limits, {better} better"
    return "No change beyond the noise"


def to_markdown(comparison: ReportComparison) -> str:
    """For a pull request: the verdict, what got worse, what better, and folded, every figure."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; text from outside goes through `cell`
    )
    environment.filters["cell"] = _cell
    template = environment.from_string(
        files("exporters.report").joinpath("comparison.md.j2").read_text(encoding="utf-8")
    )
    return template.render(
        comparison=comparison,
        verdict=verdict(comparison),
        worse=_judged(comparison, _WORSE),
        better=_judged(comparison, _BETTER),
        everything=_rows(comparison.changes),
        counts=_counts(comparison),
        shown=_SHOWN,
    )


def to_lines(comparison: ReportComparison) -> list[str]:
    """For a terminal: the same without the figures that did not change, in aligned columns."""
    lines = [f"{verdict(comparison)}.", f"{comparison.old} → {comparison.new}"]
    lines += [f"note: {note}" for note in comparison.notes]
    lines += [f"broken: {line}" for line in comparison.broken]
    allowed = " (allowed)" if comparison.gone_allowed else ""
    lines += [f"gone: {line}{allowed}" for line in comparison.gone]
    for title, names in (("worse", _WORSE), ("better", _BETTER)):
        if rows := _judged(comparison, names):
            lines += ["", f"{title}:", *_aligned(rows)]
    if comparison.mended or comparison.added:
        lines.append("")
    lines += [f"mended: {line}" for line in comparison.mended]
    lines += [f"new: {line}" for line in comparison.added]
    return [*lines, "", f"{_counts(comparison)}; --markdown and --json show every figure"]


def _judged(comparison: ReportComparison, verdicts: Collection[Verdict]) -> list[Row]:
    """Rows of changes with these verdicts, regressions first."""
    rows = _rows(change for change in comparison.changes if change.verdict in verdicts)
    return sorted(rows, key=lambda row: not row.regression)


def _rows(changes: Iterable[Change]) -> list[Row]:
    grouped: dict[Row, list[str]] = {}
    for change in changes:
        targets = grouped.setdefault(_row(change), [])
        targets += [change.target] if change.target else []
    return [
        replace(row, file=f"{row.file} {', '.join(targets)}".strip())
        for row, targets in grouped.items()
    ]


def _row(change: Change) -> Row:
    unit = FIGURES[change.metric].unit
    scale, mark = (100, " %") if unit == "share" else (1, "")
    values = [None if value is None else scale * value for value in (change.old, change.new)]
    texts = ["not run" if value is None else f"{plain(value)}{mark}" for value in values]
    if change.verdict in ("better", "worse") and values[0] is not None and values[1] is not None:
        texts = [f"{text}{mark}" for text in apart(values[0], values[1])]
    said: str = change.verdict
    if change.regression:
        said = "regression" if change.new is not None else f"regression, {said}"
    if change.verdict == "worse" and change.limit is not None:
        said += f" (limit {change.limit})"
    return Row(
        file=change.tier,
        figure=", ".join(filter(None, (FIGURES[change.metric].name, change.beside))),
        old=texts[0],
        new=texts[1],
        change="" if texts[0] == texts[1] else _difference(change),
        verdict=said,
        regression=change.regression,
    )


def _difference(change: Change) -> str:
    """``+6.8 %``, ``−2.2 points``, ``+0.012``: as it is usual for the unit."""
    if change.old is None or change.new is None:
        return ""
    unit, difference = FIGURES[change.metric].unit, change.new - change.old
    if unit == "share":
        return f"{_signed(100 * difference)} points"
    if unit == "ms":
        return f"{_signed(difference)} ms"
    if unit == "" or change.old <= 0:
        return _signed(difference)
    return f"{_signed(100 * difference / change.old)} %"


def _signed(value: float) -> str:
    digits = f"{abs(value):,.0f}" if abs(value) >= 99.5 else f"{abs(value):.2g}"
    return f"{'−' if value < 0 else '+'}{digits}"


def _counts(comparison: ReportComparison) -> str:
    """``3 worse, 1 better, 120 same``: files one by one."""
    counts = Counter(change.verdict for change in comparison.changes)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _aligned(rows: list[Row]) -> list[str]:
    cells = [(row.file, row.figure, row.old, "→", row.new, row.change, row.verdict) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  "
        + "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _number_of(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _cell(text: object) -> str:
    """Text from outside, safe inside a table cell or a line."""
    return " ".join(str(text).replace("|", "\\|").split())
