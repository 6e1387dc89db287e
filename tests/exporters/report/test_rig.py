"""What a report says of the rig: when its lips are closed, or that nobody said so."""

from dataclasses import replace
from pathlib import Path

from exporters.report.records.document import ReportDocument, RigFacts
from exporters.report.writer import read_report, write_report
from tests.exporters.report.unfolded import folded, table


def markdown(document: ReportDocument, rig: RigFacts | None, folder: Path) -> str:
    named = replace(document, teacher=replace(document.teacher, rig=rig))
    files = write_report(named, folder)
    assert read_report(files.json).teacher.rig == rig
    return files.markdown.read_text("utf-8")


def facts(text: str) -> list[list[str]]:
    """What is told of where a report comes from."""
    return table(folded(text, "Where it comes from"), "This run")[2:]


def test_a_rig_whose_lips_are_known(empty_report: ReportDocument, tmp_path: Path) -> None:
    rig = RigFacts(
        name="slider",
        closed_lips="lip_gap < 0.1",
        aperture={"lip_gap": 1.0},
        closed_below=0.1,
        scale=1.0,
        labels={"lip_gap": "Gap"},
    )
    said = facts(markdown(empty_report, rig, tmp_path / "report"))
    assert ["Rig", "slider"] in said
    assert ["Lips are closed where", "lip_gap < 0.1"] in said


def test_a_rig_whose_lips_are_not_known(empty_report: ReportDocument, tmp_path: Path) -> None:
    rig = RigFacts(
        name="skin PCA", closed_lips=None, aperture={}, closed_below=None, scale=1.0, labels={}
    )
    said = facts(markdown(empty_report, rig, tmp_path / "report"))
    assert ["Rig", "skin PCA"] in said
    unknown = "not known, so that closures and /p b m/ are not run"
    assert ["Lips are closed where", unknown] in said


def test_what_labelling_made_of_its_controls(empty_report: ReportDocument, tmp_path: Path) -> None:
    notes = ("brow is still, at 0.25.", "head is learned around 165.5.")
    rig = RigFacts(
        name="unknown",
        closed_lips=None,
        aperture={},
        closed_below=None,
        scale=1.0,
        labels={},
        notes=notes,
    )
    written = markdown(empty_report, rig, tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    for note in notes:
        assert ["Note on the rig", note] in facts(written)
        assert note in page


def test_an_older_report_says_nothing(empty_report: ReportDocument, tmp_path: Path) -> None:
    said = facts(markdown(empty_report, None, tmp_path / "report"))
    assert ["Teacher", "demo teacher. Small."] in said
    assert not {"Rig", "Lips are closed where", "Note on the rig"} & {fact for fact, _ in said}
