"""What a recipe asks of a file, and whether it is met. What was not measured is not met."""

from typing import TYPE_CHECKING

from compress.evaluation import Quality
from compress.metrics import Share
from exporters.checks import Status
from exporters.report import ReportDocument
from exporters.report import document as doc

if TYPE_CHECKING:
    from compress.recipe import GateSettings


def judge(
    limits: "GateSettings", name: str, quality: Quality, size_bytes: int, ridge: Quality
) -> list[doc.Gate]:
    """One gate for each limit that is set, of the file called `name`."""
    r2 = _number(quality.against_teacher.get("r2"))
    ridge_r2 = _number(ridge.against_teacher.get("r2"))
    above = None if r2 is None or ridge_r2 is None else r2 - ridge_r2
    pbm = _number(quality.against_truth.get("pbm"))
    asked: tuple[tuple[str, float | None, float | None, doc.Comparison], ...] = (
        ("R² against the teacher", r2, limits.min_r2, ">="),
        ("PBM accuracy", pbm, limits.min_pbm, ">="),
        ("R² above the ridge", above, limits.min_r2_over_ridge, ">="),
        ("bytes", float(size_bytes), limits.max_bytes, "<="),
    )
    return [
        _gate(f"{name}: {what}", value, limit, comparison)
        for what, value, limit, comparison in asked
        if limit is not None
    ]


def broken(report: ReportDocument) -> list[str]:
    """Every gate and parity of a report that did not pass and every check that failed, in words.

    A check that cannot run on this machine, as Core ML itself elsewhere than on macOS, breaks
    nothing, and passes for nothing.
    """
    lines = []
    for gate in report.gates:
        if gate.status != "passed":
            found = "not measured" if gate.value is None else f"{gate.value:.4g}"
            lines.append(f"{gate.name}: {found}, expected {gate.comparison} {gate.limit:g}")
    for entry in report.parity:
        if entry.result.status != "passed":
            missed = [f"{s.name}: {s.reason}" for s in entry.result.sets if s.status != "passed"]
            lines.append(f"parity of {entry.file} {entry.result.status}: {'; '.join(missed)}")
    lines += [
        f"{check.what} of {check.file}: {check.detail}"
        for check in report.checks
        if check.status == "failed"
    ]
    return lines


def _gate(name: str, value: float | None, limit: float, comparison: doc.Comparison) -> doc.Gate:
    status: Status = "not run"
    if value is not None:
        kept = value >= limit if comparison == ">=" else value <= limit
        status = "passed" if kept else "failed"
    return doc.Gate(
        name=name, value=value, limit=float(limit), comparison=comparison, status=status
    )


def _number(value: float | Share | None) -> float | None:
    return value.value if isinstance(value, Share) else value
