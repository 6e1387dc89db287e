"""The report: JSON and its schema, what it refuses, the Markdown's wording, the pictures."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import exporters.report
from exporters import records
from exporters.benchmark import Latency
from exporters.errors import ModelFileError
from exporters.parity import ParityResult, SetParity
from exporters.report import ReportDocument, read_report, render, write_report
from exporters.report.chain import Proportion
from exporters.report.document import (
    ClipCurves,
    FileParity,
    Gate,
    SkippedClip,
    Span,
    Speech,
    Teacher,
    Tier,
    Training,
    TrainingPoint,
)
from exporters.report.markdown import (
    best_first,
    figure,
    human_count,
    human_size,
    number,
    summary,
    to_markdown,
)
from exporters.report.plots import plot_clip
from exporters.report.schema import json_schema

PBM = Proportion(value=0.931, n=212, low=0.89, high=0.962)


def tier(name: str, **given: Any) -> Tier:
    nothing: dict[str, Any] = dict.fromkeys(
        (
            *("parameters", "bytes", "sha256", "path", "latency"),
            *("future_ms", "smoothing", "algorithmic_latency_ms"),
        )
    )
    kinds = {"kind": "student", "provenance": "trained in this run"}
    metrics: dict[str, Any] = {
        name: {} for name in ("against_teacher", "against_truth", "by_region", "by_control")
    }
    return Tier(name=name, **{**nothing, **kinds, **metrics, **given})


def clip_curves(**given: Any) -> ClipCurves:
    times = tuple(index * 0.016 for index in range(20))
    fields: dict[str, Any] = {
        "clip": "clip-7",
        "text": "Pay $5, then $6 for | the map",
        "student": "demo",
        "times_s": times,
        "teacher_values": {"mouthClose": times, "jawOpen": tuple(math.sin(t) for t in times)},
        "student_values": {"mouthClose": times, "jawOpen": (0.0,) * 20},
        "sealed": (Span(label="p", start_s=0.05, end_s=0.1),),
        "phones": (Span(label="p", start_s=0.05, end_s=0.1),),
        "image": "curves/clip-7.png",
    }
    return ClipCurves(**{**fields, **given})


def training() -> Training:
    points = [
        TrainingPoint(step=0, losses={"reconstruction": 0.1, "velocity": 0.0}, validation_r2=None),
        TrainingPoint(
            step=50, losses={"reconstruction": 0.01, "velocity": 0.001}, validation_r2=0.5
        ),
    ]
    return Training(
        student="demo",
        steps=50,
        seconds=1.5,
        final_losses={"reconstruction": 0.01},
        curve=tuple(points),
        image="training-demo.png",
    )


@pytest.fixture
def document() -> ReportDocument:
    compared = SetParity(
        name="held-out speech",
        windows=256,
        status="passed",
        max_abs=3e-7,
        mse=1e-15,
        max_lsb=None,
        worst_control="jawOpen",
        worst_window=17,
        reason="",
    )
    return ReportDocument(
        name="demo",
        recipe_hash="c0ffee",
        created="2025-11-22T08:00:00+00:00",
        teacher=Teacher(
            name="demo teacher",
            sha256="ab" * 32,
            description="Small.",
            controls=52,
            driven=26,
            parameters=12_345_678,
            frame_rate_hz=60.0,
        ),
        speech=Speech(
            train_minutes=121.4,
            held_out_minutes=9.7,
            clips=1830,
            languages=("en", "de"),
            skipped=(SkippedClip(clip="c-19", reason="silent"),),
        ),
        machine={"cpu": "Example 9000", "threads": "1"},
        versions={"torch": "2.13.0"},
        tiers=(
            tier(
                "mean curve",
                kind="baseline",
                provenance="baseline, fitted in this run",
                against_teacher={"mse": 0.021, "r2": 0.0},
                against_truth={"pbm": None},
            ),
            tier(
                "student demo, fp32",
                parameters=162_000,
                bytes=655_360,
                sha256="cd" * 32,
                path="models/demo-fp32/model.onnx",
                latency=Latency(
                    median_ms=0.432, p95_ms=0.5, p99_ms=0.75, runs=200, frame_share=0.027
                ),
                future_ms=256.0,
                smoothing=(0.25, 0.5, 0.25),
                algorithmic_latency_ms=272.0,
                against_teacher={
                    "mse": 0.0031,
                    "r2": 0.812,
                    "jitter_ratio": 1.37,
                    "closure_f1": 0.875,
                    "lag_ms": -2.5,
                    "velocity_error": 0.0123,
                },
                against_truth={"pbm": PBM},
                by_region={
                    "lips": {"mse": 0.0021, "correlation": 0.9},
                    "brows": {"mse": 0.0, "correlation": None},
                },
                by_control={"jawOpen": {"mse": 0.001, "correlation": 0.95}},
            ),
        ),
        parity=(
            FileParity(
                file="models/demo-fp32/model.onnx",
                result=ParityResult(
                    student="demo",
                    precision="fp32",
                    runtime={"runtime": "ONNX Runtime"},
                    max_abs_limit=1e-4,
                    max_lsb_limit=None,
                    sets=(compared,),
                    status="passed",
                ),
            ),
        ),
        checks=(),
        chain=(),
        gates=(
            Gate(name="R² to teacher", value=0.812, limit=0.7, comparison=">=", status="passed"),
            Gate(name="median (ms)", value=None, limit=4.0, comparison="<=", status="not run"),
        ),
        training=(training(),),
        pruning=(),
        quantization=(),
        curves=(clip_curves(),),
    )


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    path = Path(exporters.report.__path__[0]) / "report.schema.json"
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_what_is_written_is_read_back_and_all_is_made_of_it(
    document: ReportDocument, tmp_path: Path
) -> None:
    files = write_report(document, tmp_path / "report")
    assert read_report(files.json) == document
    written = {path for path in (tmp_path / "report").rglob("*") if path.is_file()}
    assert written == {files.json, files.markdown, files.junit, *files.images}
    assert sorted(path.name for path in files.images) == ["clip-7.png", "training-demo.png"]
    order = list(read_report(files.json).curves[0].teacher_values)
    assert order == ["mouthClose", "jawOpen"], "panels keep their order"

    before = {path: path.read_bytes() for path in (files.markdown, *files.images)}
    for path in before:
        path.unlink()
    assert render(tmp_path / "report") == files
    assert {path: path.read_bytes() for path in before} == before


def test_written_report_obeys_the_published_schema(
    document: ReportDocument, schema: dict[str, Any]
) -> None:
    data = json.loads(records.to_json(document))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(data)


def test_published_schema_is_the_present_one(schema: dict[str, Any]) -> None:
    assert schema == json_schema(), "run: python -m exporters.report.schema, see its docstring"


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
        write_report(spoiled, tmp_path / "report")
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
        {"curves": (clip_curves(), clip_curves(clip="other"))},
        {"curves": (clip_curves(image="../clip.png"),)},
        {"curves": (clip_curves(image="/clip.png"),)},
        {"curves": (clip_curves(image="clip.html"),)},
    ],
)
def test_impossible_documents_are_refused(document: ReportDocument, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"UTC|share a name|inside the report"):
        replace(document, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"student_values": {"jawOpen": (0.0,) * 20}},
        {"times_s": (0.0, 1.0)},
        {"teacher_values": {}, "student_values": {}},
        {"times_s": (0.0,), "teacher_values": {"a": (1.0,)}, "student_values": {"a": (1.0,)}},
    ],
)
def test_impossible_curves_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="clip 'clip-7'"):
        clip_curves(**change)


def test_the_summary_is_a_line_a_tier_best_first(document: ReportDocument) -> None:
    student, baseline = summary(document)
    assert student.startswith("student demo, fp32  R² to teacher 0.812")
    assert student.endswith("93.1 % (n = 212, 95 % CI 89.0\N{EN DASH}96.2)")
    assert baseline.startswith("mean curve ")
    assert baseline.endswith("not run")


def test_markdown_says_it_in_words(document: ReportDocument) -> None:
    text = to_markdown(document)
    lines = text.splitlines()
    assert "**Verdict: of 2 gates 1 not run, 1 passed.**" in lines
    (row,) = [line for line in lines if line.startswith("| student demo, fp32 | trained")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "student demo, fp32",
        "trained in this run",
        "162 k",
        "655 kB",
        "0.432 (2.7 %)",
        "256 + 16 = 272",
        "0.812",
        "1.37",
        "0.875",
        "-2.5",
        "93.1 % (n = 212, 95 % CI 89.0\N{EN DASH}96.2)",
    ]
    (baseline,) = [line for line in lines if line.startswith("| mean curve | baseline")]
    assert baseline.split(" | ")[3:6] == ["no file", "–", "–"]
    assert text.index("| student demo, fp32 |") < text.index("| mean curve |")
    assert "- **passed**, R² to teacher: 0.812 (asked ≥ 0.7)" in lines
    assert "- **not run**, median (ms) (asked ≤ 4)" in lines
    assert "at most 3e-07 from its PyTorch source (256 windows; worst at `jawOpen`" in text
    assert "velocity error" in text
    assert "for \\| the map" in text
    assert "![clip-7: teacher and student over time](curves/clip-7.png)" in text
    assert not any(word in text for word in ("None", "nan", "{{", "{%"))
    assert not any(word in text for word in ("## Pruning", "## int8", "LSB", "codes")), "no such"


def test_without_smoothing_a_pose_waits_for_the_future_alone(document: ReportDocument) -> None:
    bare = replace(
        document.tiers[1], name="bare", smoothing=(1.0,), algorithmic_latency_ms=256.0, latency=None
    )
    text = to_markdown(replace(document, tiers=(*document.tiers, bare)))
    (row,) = [line for line in text.splitlines() if line.startswith("| bare | trained")]
    assert row.split(" | ")[5] == "256"
    rows = [
        line for line in text.splitlines() if line.startswith("| `models/demo-fp32/model.onnx`")
    ]
    assert len(rows) == 3, "one file: timed once, hashed once, and one set of windows"


def test_regions_of_the_face_are_told_apart(document: ReportDocument) -> None:
    text = to_markdown(document)
    _, table = text.split("### By region of the face, against the teacher: MSE (correlation)\n\n")
    assert table.splitlines()[:3] == [
        "| Tier | lips | brows |",
        "|---|--:|--:|",
        "| student demo, fp32 | 0.0021 (0.9) | 0 (not run) |",
    ]
    assert not table.splitlines()[3]
    assert "0.95" not in text, "single controls are for report.json"
    bare = replace(document, tiers=document.tiers[:1])
    assert "region" not in to_markdown(bare)


def test_every_table_is_a_table(document: ReportDocument) -> None:
    text = to_markdown(document)
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 7
    for block in blocks:
        widths = {line.replace("\\|", "").count("|") for line in block.splitlines()}
        assert len(widths) == 1, block
        assert all(line.startswith("|") and line.endswith("|") for line in block.splitlines())


def test_failed_parity_is_loud(document: ReportDocument) -> None:
    failed = SetParity(
        name="silence",
        windows=1,
        status="failed",
        max_abs=None,
        mse=None,
        max_lsb=None,
        worst_control="jawOpen",
        worst_window=0,
        reason="the file gives nan",
    )
    result = document.parity[0].result
    result = replace(result, sets=(*result.sets, failed), status="failed")
    entry = FileParity(file="models/demo-fp32/model.onnx", result=result)
    text = to_markdown(replace(document, parity=(entry,)))
    assert "`models/demo-fp32/model.onnx` **FAILED**: at most 3e-07" in text
    assert "silence FAILED: the file gives nan" in text


def test_empty_run_is_not_green(document: ReportDocument) -> None:
    bare = replace(document, tiers=(), parity=(), gates=(), training=(), curves=())
    text = to_markdown(bare)
    assert "**Verdict: no gates in this recipe.**" in text
    assert "passed" not in text
    assert "- **not run**" in text


def test_best_first_hides_no_baseline() -> None:
    rows = (
        tier("untold"),
        tier("poor student", against_teacher={"mse": 0.5}),
        tier("good baseline", kind="baseline", against_teacher={"mse": 0.1}),
        tier("teacher", kind="teacher", provenance="the teacher itself"),
    )
    assert [row.name for row in best_first(rows)] == [
        "teacher",
        "good baseline",
        "poor student",
        "untold",
    ]


def test_figures_are_rounded_for_people() -> None:
    assert [human_size(count) for count in (0, 950, 177_400, 999_700, 3_400_000, 2 * 10**9)] == [
        "0 B",
        "950 B",
        "177 kB",
        "1.0 MB",
        "3.4 MB",
        "2.0 GB",
    ]
    assert [human_count(count) for count in (26, 162_000, 2_500_000)] == ["26", "162 k", "2.5 M"]
    assert [number(value) for value in (0.0, 0.81234, 12345.6, 1e-7)] == [
        "0",
        "0.812",
        "12,346",
        "1e-07",
    ]
    assert {human_size(None), human_count(None), number(None), figure(None)} == {"not run"}
    assert figure(PBM) == "93.1 % (n = 212, 95 % CI 89.0\N{EN DASH}96.2)"


def pixels(png: bytes) -> np.ndarray:
    """RGB of a PNG, uint8 [height, width, 3]."""
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_picture_shows_teacher_student_and_sealed_lips() -> None:
    with_all, without = pixels(plot_clip(clip_curves())), pixels(plot_clip(clip_curves(sealed=())))

    def count(picture: np.ndarray, colour: str) -> int:
        wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
        return int((picture == wanted).all(axis=2).sum())

    assert with_all.shape == without.shape
    for picture in (with_all, without):
        assert count(picture, "#0072b2") > 500
        assert count(picture, "#b5b5b5") > 500
    changed = (with_all != without).any(axis=2)
    assert changed.sum() > 1000


def test_dollars_in_speech_are_not_mathematics() -> None:
    # Read as a formula, an unknown command between dollar signs stops matplotlib.
    plot_clip(clip_curves(text="It was $\\five$ then"))


def test_scripts_that_the_font_lacks_do_not_warn() -> None:
    plot_clip(clip_curves(text="こんにちは", clip="日本"))


def test_many_phones_give_way() -> None:
    spans = tuple(
        Span(label="a", start_s=0.003 * index, end_s=0.003 * (index + 1)) for index in range(100)
    )
    assert plot_clip(clip_curves(phones=spans)) == plot_clip(clip_curves(phones=()))
