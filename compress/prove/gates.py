"""What a recipe asks of a file, and whether it is met. What was not measured is not met."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from exporters.proof.checks import Status
from exporters.proof.parity import ParityResult
from exporters.report.figure import Subject
from exporters.report.figures import FIGURES, beside, excused, gate_name
from exporters.report.gate_words import in_words
from exporters.report.records import document as doc
from exporters.report.records.document import ReportDocument

if TYPE_CHECKING:
    from compress.recipe.recipe import GateSettings


def judge(
    settings: "GateSettings",
    row: doc.Tier,
    parity: ParityResult | None,
    teacher: doc.Tier,
    ridge: doc.Tier | None,
) -> list[doc.Gate]:
    """One gate for each limit that is set for the file of a row, and makes sense for it.

    Every limit is judged, whatever came of the others. Raises ValueError for a row that is no file.
    """
    if row.made is None:
        raise ValueError(f"{row.name} is no file of a run, so no limit is set for it")
    subject = Subject(row, teacher, parity, ridge)
    gates = []
    for name, limit in settings.of(row.made.tier, row.made.target).items():
        figure = FIGURES[name.partition("_")[2]]
        if figure.asked_of(subject):
            gates.append(
                replace(
                    _gate(gate_name(row.made, figure), figure.read(subject), limit, figure.limit),
                    beside=beside(name.partition("_")[2], subject),
                )
            )
    return gates


def broken(report: ReportDocument) -> list[str]:
    """Every gate and parity of a report that did not pass and every check that failed, in words.

    What can never run on this machine breaks nothing, and passes for nothing: a check in Core ML
    itself elsewhere than on macOS, and a limit on time or memory of a file that is only evaluated
    here. The report lists both as not run. Other figures that are missing break their gates.
    """
    never = excused(report)
    lines = [
        f"{gate.name}: {in_words(gate)}"
        for gate in report.gates
        if gate.status == "failed" or (gate.status == "not run" and gate.name not in never)
    ]
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
    if value is not None and not math.isfinite(value):
        value, status = None, "failed"  # no report holds what is no number
    elif value is not None:
        kept = value >= limit if comparison == ">=" else value <= limit
        status = "passed" if kept else "failed"
    return doc.Gate(
        name=name, value=value, limit=float(limit), comparison=comparison, status=status
    )
