"""The chain, the checks of each file, and both as CI reads them."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from exporters import records
from exporters.proof.checks import Check
from exporters.proof.parity import ParityResult, SetParity
from exporters.report.records.chain import Hop, Proportion
from exporters.report.records.document import FileParity, Gate, ReportDocument, read_report
from exporters.report.records.schema import json_schema
from exporters.report.sections.markdown import to_markdown
from exporters.report.writer import write_report
from tests.exporters.report.unfolded import above, folded, table

FILE = "models/tiny-int8/model.mlpackage"


def hop(name: str, made_of: str, mse_ratio: float | None, max_abs: float | None) -> Hop:
    return Hop(
        student="tiny",
        name=name,
        made_of=made_of,
        runs_in="PyTorch" if max_abs is None else "MIL evaluated in PyTorch 2.13.0",
        max_abs=max_abs,
        mse_ratio=mse_ratio,
        against_teacher={"r2": 0.7, "jitter_ratio": 2.5},
        against_truth={"pbm": Proportion(value=0.8, n=89, low=0.7, high=0.9)},
    )


@pytest.fixture
def document(empty_report: ReportDocument) -> ReportDocument:
    compared = SetParity(
        name="silence",
        windows=1,
        status="failed",
        max_abs=0.25,
        mse=0.01,
        max_lsb=3,
        worst_control="jawOpen",
        worst_window=0,
        reason="the largest difference 0.25 is above 0.002",
    )
    parity = ParityResult(
        student="tiny",
        precision="int8",
        runtime={"runtime": "MIL evaluated in PyTorch", "version": "2.13.0"},
        max_abs_limit=2e-3,
        max_lsb_limit=1,
        sets=(compared,),
        status="failed",
    )
    return replace(
        empty_report,
        parity=(FileParity(file=FILE, result=parity),),
        checks=(
            Check(file=FILE, what="structure", status="passed", detail="as int8 promises"),
            Check(file=FILE, what="lag", status="failed", detail="12 ms behind | the teacher"),
            Check(file=FILE, what="parity, Core ML", status="not run", detail="this is Linux"),
        ),
        chain=(
            hop("distilled", "teacher", None, None),
            hop("int8", "distilled", 1.0125, None),
            hop(FILE, "int8", 1.0, 0.25),
        ),
        gates=(Gate(name="R²", value=0.7, limit=0.5, comparison=">=", status="passed"),),
    )


def test_markdown_shows_what_each_hop_cost(document: ReportDocument) -> None:
    chain = folded(to_markdown(document), "The chain from teacher to file")
    assert chain.startswith("3 hops\n")
    assert "that of the hop it was made of" in chain
    assert "computed operation by operation, not a run on a device" in chain
    headers, _, *rows = table(chain, "What each hop cost on held-out speech")
    assert headers[1:7] == ["Hop", "Made of", "Runs in", "R² to teacher", "MSE, ×", "Differs by"]
    assert [row[1:7] for row in rows] == [
        ["distilled", "teacher", "PyTorch", "0.7", "–", "–"],
        ["int8", "distilled", "PyTorch", "0.7", "1.012", "–"],
        [f"`{FILE}`", "int8", "MIL evaluated in PyTorch 2.13.0", "0.7", "1.000", "0.25"],
    ]
    assert rows[0][8] == "not run"
    assert rows[0][9].startswith("80.0 % (n = 89")
    assert rows[0][9].endswith("with F not run"), "PBM accuracy never stands alone"


def test_failed_checks_are_said_at_the_top_and_all_are_listed(document: ReportDocument) -> None:
    text = to_markdown(document)
    said = "further runtimes: 1 passed, 1 FAILED, 1 not run.\n- **FAILED**, "
    assert said in above(text)
    listed = folded(text, "Checks of each file")
    assert listed.startswith("1 failed, 1 not run, 1 passed\n")
    assert f"| `{FILE}` | structure | passed | as int8 promises |" in listed
    assert "| lag | FAILED | 12 ms behind \\| the teacher |" in listed
    assert "| parity, Core ML | not run | this is Linux |" in listed


def test_failed_parity_is_told_with_its_limit_and_reason(document: ReportDocument) -> None:
    """In the fold too; how far off the codes are is told there."""
    parity = folded(to_markdown(document), "Parity, set by set")
    assert parity.startswith("1 failed\n")
    headers, _, row = table(parity, "Does each file say what its source says?")
    found = dict(zip(headers, row, strict=True))
    assert (found["Status"], found["Largest difference"], found["Limit"]) == (
        *("FAILED", "0.25", "0.002"),
    )
    assert found["Why not"] == "the largest difference 0.25 is above 0.002"
    assert (found["Codes apart (LSB)"], found["Worst control"]) == ("3", "jawOpen")


def test_what_nobody_asked_is_said_in_a_line(empty_report: ReportDocument) -> None:
    text = to_markdown(empty_report)
    assert folded(text, "Gates") == "none in this recipe"
    assert folded(text, "Parity, set by set") == "not run"
    assert folded(text, "Checks of each file") == "not run"
    assert "The chain" not in text


def test_junit_lists_every_question(document: ReportDocument, tmp_path: Path) -> None:
    files = write_report(document, tmp_path)
    assert read_report(files.json) == document
    root = ET.fromstring(files.junit.read_text("utf-8"))
    assert {k: root.get(k) for k in ("tests", "failures", "skipped")} == {
        "tests": "5",
        "failures": "2",
        "skipped": "1",
    }
    found = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert found == {
        "parity on silence, MIL evaluated in PyTorch": ["failure"],
        "structure": [],
        "lag": ["failure"],
        "parity, Core ML": ["skipped"],
        "gate, R²": [],
    }


def test_the_schema_knows_the_chain(document: ReportDocument) -> None:
    data = json.loads(records.to_json(document))
    jsonschema.Draft202012Validator(json_schema()).validate(data)
    assert data["chain"][2]["max_abs"] == 0.25
