"""The report as Markdown: one screen, then everything, in words."""

from dataclasses import replace

import pytest

from exporters.measuring.figures import Arena
from exporters.proof.parity import SetParity
from exporters.report import ReportDocument
from exporters.report.records.document import FileParity, Gate
from exporters.report.sections.markdown import best_first, summary, to_markdown
from exporters.report.wording import figure, human_count, human_size, number
from tests.exporters.documents import TEACHER_BYTES, benchmark, file_row, teacher_row
from tests.exporters.documents import row as any_row
from tests.exporters.told import FILE, PBM, told_report


@pytest.fixture
def document() -> ReportDocument:
    return told_report()


def test_the_summary_is_a_line_a_tier_best_first(document: ReportDocument) -> None:
    student, baseline = summary(document)
    assert student.startswith("demo, fp32   655 kB  R² to teacher 0.812")
    interval = "(n = 212, 95 % CI 89.0\N{EN DASH}96.2)"
    assert student.endswith(f"  PBM at F = 1 % 0.84  PBM 93.1 % {interval} with F 4.5 %")
    assert baseline.startswith("mean curve        –  R² to teacher 0 ")
    assert baseline.endswith("not run")


def cells_of(text: str, start: str) -> list[str]:
    """Of the one line that starts so."""
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown_says_it_in_words(document: ReportDocument) -> None:
    text = to_markdown(document)
    lines = text.splitlines()
    assert lines[5].startswith("**Verdict: of 2 gates 1 not run, 1 passed.** [report.html]")
    assert cells_of(text, "| demo, fp32 | trained") == [
        "demo, fp32",
        "trained in this run",
        "162 k",
        "655 kB",
        "0.432",
        "256 + 16 = 272",
        "not run",
        "0.812",
        "1.37",
        "0.875",
        "0.84",
        "93.1 % (n = 212, 95 % CI 89.0\N{EN DASH}96.2) with F 4.5 %",
    ]
    assert cells_of(text, "| mean curve | baseline")[3:7] == ["–"] * 4
    assert text.index("| demo, fp32 |") < text.index("| mean curve |")
    assert "- **passed**, R² to teacher: 0.812 (asked ≥ 0.7)" in lines
    assert "- **not run**, median (ms) (asked ≤ 4)" in lines
    assert "1 of 1 files agree with their PyTorch source, at most 3e-07 apart." in lines
    assert "velocity error" in text
    assert "for \\| the map" in text
    assert "![clip-7: teacher and student over time](curves-7.png)" in text
    assert "- **Commits**: lipstill c0ffee" in text
    assert not any(word in text for word in ("None", "nan", "{{", "{%"))
    assert not any(word in text for word in ("## Pruning", "## int8", "LSB", "codes")), "no such"


def test_a_teachers_checkpoint_is_for_no_target(document: ReportDocument) -> None:
    lite = file_row("demo", "fp32", "tflite")
    text = to_markdown(replace(document, tiers=(teacher_row(), *document.tiers, lite)))
    assert cells_of(text, "| demo teacher | the teacher itself")[3:5] == ["36.0 MB as it is", "–"]


def test_a_broken_gate_says_how_far_off_it_is(document: ReportDocument) -> None:
    broken = Gate(name="bytes", value=150.0, limit=100.0, comparison="<=", status="failed")
    above = to_markdown(replace(document, gates=(broken,))).partition("<details>")[0]
    assert "- **FAILED**, bytes: 150 (asked ≤ 100, 50 % over)" in above


def test_what_is_above_the_fold_fits_on_a_screen(document: ReportDocument) -> None:
    above = to_markdown(document).partition("<details>")[0]
    assert len(above.splitlines()) < 40
    assert "| demo, fp32 |" in above
    assert "**not run**, median (ms)" in above
    assert "**passed**, R² to teacher" not in above, "what holds is counted"
    assert to_markdown(document).count("<details>") == to_markdown(document).count("</details>")


def test_a_tier_is_one_row_whatever_its_files(document: ReportDocument) -> None:
    lite = file_row("demo", "fp32", "tflite", size=700_000, faster=50.0)
    lite = replace(lite, smoothing=document.tiers[1].smoothing)
    text = to_markdown(replace(document, tiers=(*document.tiers, lite)))
    row = cells_of(text, "| demo, fp32 |")
    assert row[3:6] == ["655 kB", "700 kB", "0.432 / 0.2"]
    assert row[7] == f"× {TEACHER_BYTES / 700_000:.3g}, × 50"


def test_without_smoothing_a_pose_waits_for_the_future_alone(document: ReportDocument) -> None:
    bare = replace(document.tiers[1], name="bare", smoothing=(1.0,), algorithmic_latency_ms=256.0)
    text = to_markdown(replace(document, tiers=(*document.tiers, bare)))
    assert cells_of(text, "| demo, fp32, without smoothing |")[5] == "256"
    rows = [line for line in text.splitlines() if line.startswith(f"| `{FILE}`")]
    assert len(rows) == 3, "one file: measured once, hashed once, and one set of windows"


def test_what_a_file_costs_stands_beside_what_took_turns_with_it(document: ReportDocument) -> None:
    costs = benchmark(size=100_000, download=80_000, ms=0.08, ratio=0.64)
    costs = replace(costs, arena=Arena(bytes=None, detail="not run: no kernel for LOG"))
    file = replace(file_row(size=100_000), path="models/x/model.tflite", benchmark=costs)
    text = to_markdown(replace(document, tiers=(*document.tiers, file)))
    assert cells_of(text, "| `models/x/model.tflite` | 100,000") == [
        *("`models/x/model.tflite`", "100,000", "80 kB", "not run", "1", "0.08 (0.5 %)"),
        *("0.08", "0.08", "`the fp32 file`", "0.64 (0.64\N{EN DASH}0.64)", "2.0 MB"),
        "not run: no kernel for LOG",
    ]
    evaluated = replace(file, benchmark=benchmark(ms=None, memory=None))
    text = to_markdown(replace(document, tiers=(evaluated,)))
    assert cells_of(text, "| `models/x/model.tflite` | 100,000")[4:] == [
        *("–", "not run", "not run", "not run", "–", "not run", "not run", "–"),
    ]


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
    entry = FileParity(file=FILE, result=result)
    text = to_markdown(replace(document, parity=(entry,)))
    assert "`models/demo-fp32/model.onnx` **FAILED**: at most 3e-07" in text
    assert "silence FAILED: the file gives nan" in text


def test_empty_run_is_not_green(document: ReportDocument) -> None:
    bare = replace(document, tiers=(), parity=(), gates=(), training=(), clips=())
    text = to_markdown(bare)
    assert "**Verdict: no gates in this recipe.**" in text
    assert "passed" not in text
    assert "**not run**" in text


def test_best_first_hides_no_baseline() -> None:
    rows = (
        any_row("untold"),
        any_row("poor student", against_teacher={"mse": 0.5}),
        any_row("good baseline", kind="baseline", against_teacher={"mse": 0.1}),
        any_row("teacher", kind="teacher", provenance="the teacher itself"),
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
