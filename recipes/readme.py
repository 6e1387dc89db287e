"""The README's table of `make demo`: ``python -m recipes.readme`` writes it from the reference report.

That report is artifacts/reference/report.json. The table stands between two marks in README.md.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from exporters.report.chain import Proportion
from exporters.report.document import ReportDocument, Tier, read_report
from exporters.report.tiers import TierView, tiers_of
from exporters.report.wording import NOT_RUN, human_count, human_size, number

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "artifacts" / "reference" / "report.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- demo: written by python -m recipes.readme -->\n", "<!-- end of demo -->\n"
TARGETS = ("onnx", "tflite", "coreml")
HEAD = (
    "| | parameters | ONNX | TFLite | Core ML | time, × fp32: ONNX / TFLite | waits (ms) | smaller, faster "
    "than the teacher | R² to teacher | jitter, × teacher's | lips closed on /p b m/ |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)


def table(document: ReportDocument) -> str:
    """The teacher, what the run trained, what ships, and what is simpler."""
    return HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in _rows(document))


def _rows(document: ReportDocument) -> Iterator[list[str]]:
    views = tiers_of(document)
    for row in document.tiers:
        if row.kind == "teacher":
            size = human_size(row.bytes)
            yield ["the teacher", human_count(row.parameters), size, *["–"] * 7, _lips(row)]
    own = [view for view in views if view.lead.provenance == "trained in this run"]
    for view in own:
        yield [f"**{view.title}**", *_of_tier(view)]
    for view in views:
        if view not in own:
            name, comma, precision = view.title.partition(",")
            yield [f"`{name}`{comma}{precision}", *_of_tier(view)]
    for row in document.tiers:
        if row.kind == "baseline":
            yield [row.name, human_count(row.parameters), *["–"] * 6, *_quality(row)]


def _of_tier(view: TierView) -> list[str]:
    files = [view.of(target) for target in TARGETS]
    sizes = ["–" if row is None else human_size(row.bytes) for row in files]
    ratios = [_ratio(row) for row in files[:2]]
    cost = view.cost
    gain = NOT_RUN if cost is None else f"× {number(cost.smaller)}, × {number(cost.faster)}"
    wait = view.lead.algorithmic_latency_ms
    waits = NOT_RUN if wait is None else f"{wait:g}"
    paces = "1" if view.made.precision == "fp32" else " / ".join(ratios)
    return [
        *(human_count(view.lead.parameters), *sizes, paces, waits, gain),
        *_quality(view.lead),
    ]


def _ratio(row: Tier | None) -> str:
    pace = None if row is None or row.benchmark is None else row.benchmark.single
    return NOT_RUN if pace is None or pace.ratio is None else f"{pace.ratio:.2f}"


def _quality(row: Tier) -> list[str]:
    copies = [row.against_teacher.get(name) for name in ("r2", "jitter_ratio")]
    r2, jitter = (value if isinstance(value, float) else None for value in copies)
    return [
        NOT_RUN if r2 is None else f"{r2:.3f}",
        NOT_RUN if jitter is None else f"{jitter:.1f}",
        _lips(row),
    ]


def _lips(row: Tier) -> str:
    share = row.against_truth.get("pbm")
    if not isinstance(share, Proportion):
        return NOT_RUN
    return f"{100 * share.value:.1f} % ({100 * share.low:.0f}–{100 * share.high:.0f})"


def with_table(readme: str, document: ReportDocument) -> str:
    """The README with the table of a report. Raises ValueError where its marks are not there."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks the marks {BEGIN.strip()} and {END.strip()}")
    return before + begin + table(document) + end + after


if __name__ == "__main__":
    README.write_text(with_table(README.read_text("utf-8"), read_report(REPORT)), "utf-8")
    sys.stdout.write(f"{README} has the figures of {REPORT}\n")
