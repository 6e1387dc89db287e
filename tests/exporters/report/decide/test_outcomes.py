"""What passed in one report and not in the other: gates, parity and checks."""

from dataclasses import replace
from typing import Any

from exporters.proof.checks import Check
from exporters.report.decide.comparison import compare
from exporters.report.figures import FIGURES
from exporters.report.records.document import FileParity, ReportDocument
from tests.exporters.compared import changed, gate, of
from tests.exporters.documents import (
    benchmark,
    file_row,
    parity_of,
)


def broken(old: ReportDocument, new: ReportDocument) -> tuple[str, ...]:
    found = compare(old, new)
    assert found.regressions >= len(found.broken)
    return found.broken


def test_a_gate_that_breaks_is_a_regression() -> None:
    row = file_row()
    assert broken(of(row, gates=(gate(1.0),)), of(row, gates=(gate(300_000),))) == (
        "gate tiny-int8 onnx: bytes failed (passed before): 300,000, expected <= 200,000 (50 % over)",
    )
    assert broken(of(row, gates=(gate(1.0),)), of(row, gates=(gate(None),))) == (
        "gate tiny-int8 onnx: bytes not run (passed before): not measured, expected <= 200,000",
    )
    assert broken(of(row), of(row, gates=(gate(300_000),))) == (
        "gate tiny-int8 onnx: bytes failed (new): 300,000, expected <= 200,000 (50 % over)",
    )
    was_broken = of(row, gates=(gate(300_000),))
    assert broken(was_broken, was_broken) == ()
    assert compare(was_broken, of(row, gates=(gate(1.0),))).mended == (
        "gate tiny-int8 onnx: bytes passed (failed before)",
    )


def test_a_gate_that_can_never_run_here_is_no_regression() -> None:
    row = file_row(target="coreml", costs=benchmark(ms=None, memory=None))
    asked = {"file": "tiny-int8 coreml", "what": FIGURES["memory_bytes"].name}
    old, new = of(row, gates=(gate(1.0, **asked),)), of(row, gates=(gate(None, **asked),))  # type: ignore[arg-type]
    assert broken(old, new) == ()
    assert compare(old, new).notes == (
        "Passed before and not run now: gate tiny-int8 coreml: memory (bytes).",
    )


def test_parity_and_checks_that_break() -> None:
    row = file_row()
    assert row.path is not None

    def at(result: Any, status: Any) -> ReportDocument:
        check = Check(file=row.path or "", what="structure", status=status, detail="a transpose")
        return of(row, parity=(FileParity(file=row.path or "", result=result),), checks=(check,))

    sound = at(parity_of(1e-4), "passed")
    assert broken(sound, at(parity_of(1e-4, 1.0), "failed")) == (
        "parity of models/tiny-int8/model.onnx failed (passed before): set 1: for a test",
        "structure of models/tiny-int8/model.onnx failed (passed before): a transpose",
    )
    idle = compare(sound, at(parity_of(1e-4), "not run"))
    assert (idle.broken, idle.regressions) == ((), 0), "what can run is the machine's matter"
    assert idle.notes == (
        "Passed before and not run now: structure of models/tiny-int8/model.onnx.",
    )
    unknown = compare(sound, at(parity_of(1e-4, None, status="failed"), "passed"))
    assert changed(unknown, "no longer measured") == {"parity": (1e-4, None)}


def test_gates_that_ask_less_are_said() -> None:
    rows = (file_row(), file_row(target="tflite"))
    tflite = "tiny-int8 tflite"
    old = of(*rows, gates=(gate(1.0), gate(1.0, file=tflite), gate(1.0, what="memory")))
    new = of(*rows, gates=(gate(1.0, 400_000), gate(1.0, 400_000, file=tflite)))
    assert compare(old, new).notes == (
        "A gate asks less: bytes <= 200,000 → 400,000 (tiny-int8 onnx, tiny-int8 tflite).",
        "A gate asks less: memory <= 200,000 is asked no more (tiny-int8 onnx).",
    )
    assert compare(new, replace(old, gates=old.gates[:2])).notes == (), "more is no note"
    assert compare(old, of(file_row("nano"))).notes == (), "its tier is gone, which is said"
