"""The report in one small table, for the terminal in which a run has ended."""

from exporters.report.records.chain import Proportion
from exporters.report.records.document import ReportDocument, Tier
from exporters.report.records.tiers import TierView, pareto, tiers_of
from exporters.report.wording import NOT_RUN, figure, human_size, number, percent

# Beside the teacher.
MOST_ROWS = 7
HEAD = ("", "size", "waits", "R²", "PBM at F = 1 % (95 % CI)", "PBM (F)")


def best_tiers(document: ReportDocument) -> list[TierView]:
    """This run's own tiers and those that no other beats, in that order, each best first."""
    views = tiers_of(document)
    unbeaten = pareto(views)
    own = [view for view in views if view.lead.provenance == "trained in this run"]
    rest = [view for view in views if view not in own and view.name in unbeaten]
    return [*own, *rest][:MOST_ROWS]


def summary(document: ReportDocument) -> list[str]:
    """The teacher and the best tiers, one line each, below a line of headings."""
    from rich.console import Console
    from rich.table import Table

    shown = best_tiers(document)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, head in enumerate(HEAD):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    for row in document.tiers:
        if row.kind == "teacher":
            table.add_row(row.name, *_cells(row))
    for view in shown:
        table.add_row(view.title, *_cells(view.lead))
    # Of its own width: a terminal wraps what a pipe must have whole.
    console = Console(width=200, color_system=None, force_terminal=False)
    with console.capture() as told:
        console.print(table)
    lines = [line.rstrip() for line in told.get().splitlines()]
    if left := len(tiers_of(document)) - len(shown):
        lines.append(f"and {left} more {'tier' if left == 1 else 'tiers'}, in the report")
    return lines


def _cells(row: Tier) -> list[str]:
    wait, own = row.algorithmic_latency_ms, row.kind == "teacher"
    pbm, false = (row.against_truth.get(name) for name in ("pbm", "closed_outside"))
    said = NOT_RUN
    if pbm is not None:
        said = f"{_short(pbm)} ({_short(false)})"
    return [
        "–" if row.bytes is None else human_size(row.bytes),
        "" if wait is None else f"{wait:g} ms",
        "–" if own else figure(row.against_teacher.get("r2")),
        _with_interval(row.against_truth.get("pbm_at_1pct")),
        said,
    ]


def _short(value: Proportion | float | None) -> str:
    return percent(value.value if isinstance(value, Proportion) else value)


def _with_interval(value: Proportion | float | None) -> str:
    if not isinstance(value, Proportion):
        return number(value)
    return f"{percent(value.value)} ({100 * value.low:.0f}–{100 * value.high:.0f})"
