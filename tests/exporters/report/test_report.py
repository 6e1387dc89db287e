"""The report: JSON and its schema, what it refuses, what is written and made again from it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import exporters.report
from exporters import records
from exporters.errors import ModelFileError
from exporters.report.records.clips import read_clips
from exporters.report.records.document import Gate, ReportDocument, read_report
from exporters.report.records.schema import json_schema
from exporters.report.writer import render, write_report
from tests.exporters.told import AUDIO, TIMES, clip, clips, shown, tier_curves, told_report


@pytest.fixture
def document() -> ReportDocument:
    return told_report()


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    path = Path(exporters.report.__path__[0]) / "report.schema.json"
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_what_is_written_is_read_back_and_all_is_made_of_it(
    document: ReportDocument, tmp_path: Path
) -> None:
    files = write_report(document, tmp_path / "report", clips(), AUDIO)
    assert read_report(files.json) == document
    folder = tmp_path / "report"
    assert read_clips(folder / "clips.json") == clips()
    written = {path for path in folder.rglob("*") if path.is_file()}
    kept = {folder / "clips.json", folder / "clip-7.flac"}
    assert written == {files.json, files.markdown, files.page, files.junit, *files.images} | kept
    assert sorted(path.name for path in files.images) == ["curves-7.png", "training-demo.png"]

    before = {path: path.read_bytes() for path in (files.markdown, files.page, *files.images)}
    for path in before:
        path.unlink()
    assert render(folder) == files
    assert {path: path.read_bytes() for path in before} == before


def test_a_report_alone_is_rendered_without_clips(document: ReportDocument, tmp_path: Path) -> None:
    files = write_report(document, tmp_path)
    assert not (tmp_path / "clips.json").exists()
    assert [path.name for path in files.images] == ["training-demo.png"]
    assert "curves-7.png" not in files.markdown.read_text("utf-8")


def test_audio_that_is_gone_is_a_file_error(document: ReportDocument, tmp_path: Path) -> None:
    write_report(document, tmp_path, clips(), AUDIO)
    (tmp_path / "clip-7.flac").unlink()
    with pytest.raises(ModelFileError, match=r"names the audio clip-7\.flac of clip-7"):
        render(tmp_path)


def test_clips_that_are_damaged_are_a_file_error(document: ReportDocument, tmp_path: Path) -> None:
    write_report(document, tmp_path, clips(), AUDIO)
    (tmp_path / "clips.json").write_text("{}")
    with pytest.raises(ModelFileError, match=r"clips\.json is not what this version reads"):
        render(tmp_path)


def test_written_report_obeys_the_published_schema(
    document: ReportDocument, schema: dict[str, Any]
) -> None:
    data = json.loads(records.to_json(document))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(data)


def test_published_schema_is_the_present_one(schema: dict[str, Any]) -> None:
    assert schema == json_schema(), (
        "run: python -m exporters.report.records.schema, see its docstring"
    )


def test_every_field_is_described(schema: dict[str, Any]) -> None:
    for record in (schema, *schema["$defs"].values()):
        for name, field in record["properties"].items():
            assert field.get("description"), f"{record['title']}.{name} has no text"


def _drop_verdict(data: dict[str, Any]) -> None:
    del data["gates"]


def _invent_key(data: dict[str, Any]) -> None:
    data["tiers"][0]["speed"] = "fast"


def _invent_provenance(data: dict[str, Any]) -> None:
    data["tiers"][1]["provenance"] = "found somewhere"


def _text_for_number(data: dict[str, Any]) -> None:
    data["tiers"][1]["against_teacher"]["r2"] = "good"


def _green_by_another_name(data: dict[str, Any]) -> None:
    data["parity"][0]["result"]["status"] = "ok"


@pytest.mark.parametrize(
    "spoil",
    [
        _drop_verdict,
        _invent_key,
        _invent_provenance,
        _text_for_number,
        _green_by_another_name,
    ],
)
def test_schema_and_reader_refuse_the_same(
    document: ReportDocument,
    schema: dict[str, Any],
    tmp_path: Path,
    spoil: Callable[[dict[str, Any]], None],
) -> None:
    path = tmp_path / "report.json"
    data = json.loads(records.to_json(document))
    spoil(data)
    assert not jsonschema.Draft202012Validator(schema).is_valid(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ModelFileError, match=r"report\.json is not a report"):
        read_report(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_refused_with_its_place_and_nothing_is_written(
    document: ReportDocument, tmp_path: Path, bad: float
) -> None:
    student = replace(document.tiers[1], against_teacher={"r2": bad})
    spoiled = replace(document, tiers=(document.tiers[0], student))
    with pytest.raises(ValueError, match=r"tiers\[1\]\.against_teacher\.r2 is"):
        write_report(spoiled, tmp_path / "report", clips(), AUDIO)
    assert not (tmp_path / "report").exists()


def test_missing_report_is_a_file_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read as a report"):
        render(tmp_path)


@pytest.mark.parametrize("value", [None, 0.69, float("nan")])
def test_gate_cannot_pass_by_assertion(value: float | None) -> None:
    with pytest.raises(ValueError, match="cannot have passed"):
        Gate(name="R²", value=value, limit=0.7, comparison=">=", status="passed")


@pytest.mark.parametrize(
    "change",
    [
        {"created": "2025-11-22T08:00:00"},
        {"created": "2025-11-22T08:00:00+01:00"},
        {"clips": (shown(), shown(clip="other", audio="other.flac"))},
        {"clips": (shown(), shown(clip="other", image="other.png"))},
        {"clips": (shown(image="../clip.png"),)},
        {"clips": (shown(image="/clip.png"),)},
        {"clips": (shown(image="clip.html"),)},
        {"clips": (shown(audio="../clip.flac"),)},
    ],
)
def test_impossible_documents_are_refused(document: ReportDocument, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"UTC|share a name|inside the report"):
        replace(document, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"tiers": (tier_curves(values={"jawOpen": (0.0,) * 20}),)},
        {"tiers": (tier_curves(values={"mouthClose": TIMES, "jawOpen": (0.0,)}),)},
        {"teacher": {}, "tiers": (), "shown": ()},
        {"teacher": {"mouthClose": (0.0,)}, "tiers": (), "shown": ()},
        {"shown": ("jawOpen", "tongueOut")},
    ],
)
def test_impossible_curves_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="clip 'clip-7'"):
        clip(**change)
