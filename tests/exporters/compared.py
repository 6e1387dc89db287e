"""What the tests of comparisons share: small reports, and what changed between two."""

from dataclasses import replace
from typing import Any

from exporters.report.decide.comparison import ReportComparison
from exporters.report.records.document import Gate, ReportDocument, Tier
from tests.exporters.documents import (
    document,
    teacher_row,
)


def of(*rows: Tier, **given: Any) -> ReportDocument:
    return document(teacher_row(), *rows, **given)


def changed(
    found: ReportComparison, *kinds: str, tier: str = "tiny-int8"
) -> dict[str, tuple[float | None, float | None]]:
    return {
        change.metric: (change.old, change.new)
        for change in found.changes
        if change.verdict in kinds and change.tier == tier
    }


def other_speech(found: ReportDocument) -> ReportDocument:
    return replace(
        found, speech=replace(found.speech, held_out_key="33" * 32, held_out_minutes=9.0)
    )


def gate(
    value: float | None, limit: float = 200_000, file: str = "tiny-int8 onnx", what: str = "bytes"
) -> Gate:
    status: Any = "not run" if value is None else "passed" if value <= limit else "failed"
    return Gate(name=f"{file}: {what}", value=value, limit=limit, comparison="<=", status=status)
