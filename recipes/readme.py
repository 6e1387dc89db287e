"""The README's table of `make demo`: ``python -m recipes.readme`` writes it from the reference report.

That report is artifacts/reference/report.json. The table stands between two marks in README.md.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from exporters.report.records.chain import Proportion
from exporters.report.records.document import ReportDocument, Tier, read_report
from exporters.report.records.kinds import whole
from exporters.report.records.tiers import TierView, tiers_of
from exporters.report.wording import NOT_RUN, human_count, human_size, number

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "artifacts" / "reference" / "report.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- demo: written by python -m recipes.readme -->\n", "<!-- end of demo -->\n"
TARGETS = ("onnx", "tflite", "coreml")
SIZES = ("", "parameters", *("ONNX", "TFLite", "Core ML"), "waits (ms)", "smaller", "faster")
FIGURES = ("R²", "PBM at F = 1 %", "PBM (F)")
Cells = Sequence[str]


def table(document: ReportDocument) -> str:
    """What each model costs, then what it makes of each kind of voice.

    Both have the teacher, what the run trained and what ships; the second has what is simpler too.
    """
    kinds = [one.kind for one in whole(document.tiers[0].by_kind)]
    figures = ["", *(f"{kind}: {figure}" for kind in kinds for figure in FIGURES)]
    costs, qualities = zip(*_models(document), strict=True)
    simpler = [[row.name, *_quality(row)] for row in document.tiers if row.kind == "baseline"]
    return f"{_markdown(SIZES, costs)}\n{_markdown(figures, [*qualities, *simpler])}"


def _markdown(head: Cells, rows: Iterable[Cells]) -> str:
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *rows))


def _models(document: ReportDocument) -> Iterator[tuple[Cells, Cells]]:
    """The row of each model in either table."""
    for row in document.tiers:
        if row.kind == "teacher":
            sizes = [human_count(row.parameters), human_size(row.bytes), *["–"] * 5]
            yield ["the teacher", *sizes], ["the teacher", *_quality(row)]
    views = tiers_of(document)
    own = [view for view in views if view.lead.provenance == "trained in this run"]
    for view in (*own, *(view for view in views if view not in own)):
        name, comma, precision = view.title.partition(",")
        title = f"**{view.title}**" if view in own else f"`{name}`{comma}{precision}"
        yield [title, *_cost(view)], [title, *_quality(view.lead)]


def _cost(view: TierView) -> list[str]:
    files = [view.of(target) for target in TARGETS]
    sizes = ["–" if row is None else human_size(row.bytes) for row in files]
    cost = view.cost
    gains = (NOT_RUN, NOT_RUN) if cost is None else (cost.smaller, cost.faster)
    smaller, faster = (gain if isinstance(gain, str) else f"× {number(gain)}" for gain in gains)
    wait = view.lead.algorithmic_latency_ms
    waits = NOT_RUN if wait is None else f"{wait:g}"
    return [human_count(view.lead.parameters), *sizes, waits, smaller, faster]


def _quality(row: Tier) -> list[str]:
    """The figures of each kind; against itself the teacher has no R²."""
    cells = []
    for one in whole(row.by_kind):
        r2 = one.against_teacher.get("r2")
        own = row.kind == "teacher" or not isinstance(r2, float)
        at, pbm, closed = (
            share if isinstance(share := one.against_truth.get(name), Proportion) else None
            for name in ("pbm_at_1pct", "pbm", "closed_outside")
        )
        cells += [
            "–" if own else f"{r2:.3f}",
            NOT_RUN if at is None else f"{_percent(at)} ({100 * at.low:.0f}–{100 * at.high:.0f})",
            NOT_RUN
            if pbm is None or closed is None
            else f"{_percent(pbm)} ({100 * closed.value:.2f} %)",
        ]
    return cells


def _percent(share: Proportion) -> str:
    return f"{100 * share.value:.1f} %"


def with_table(readme: str, document: ReportDocument) -> str:
    """The README with the table of a report. Raises ValueError where its marks are not there."""
    return between(readme, BEGIN, END, table(document))


def between(readme: str, begin: str, end: str, text: str) -> str:
    """A page with another text between two marks. Raises ValueError where they are not there."""
    before, found, rest = readme.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page lacks the marks {begin.strip()} and {end.strip()}")
    return before + begin + text + end + after


if __name__ == "__main__":
    README.write_text(with_table(README.read_text("utf-8"), read_report(REPORT)), "utf-8")
    sys.stdout.write(f"{README} has the figures of {REPORT}\n")
