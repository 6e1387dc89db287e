"""The report as Markdown: one screen, then everything, in words."""

from dataclasses import replace

import pytest

from exporters.measuring.figures import Arena
from exporters.proof.parity import SetParity
from exporters.report.records.document import FileParity, Gate, ReportDocument, SkippedClip
from exporters.report.sections.markdown import best_first, to_markdown
from exporters.report.wording import figure, human_count, human_size, number
from tests.exporters.documents import TEACHER_BYTES, benchmark, file_row, teacher_row
from tests.exporters.documents import row as any_row
from tests.exporters.report.unfolded import above, cells, folded, table, tables
from tests.exporters.told import FILE, PBM, told_report


@pytest.fixture
def document() -> ReportDocument:
    return told_report()


def cells_of(text: str, start: str) -> list[str]:
    """Of the one line that starts so."""
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return cells(line)


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
    gates = folded(text, "Gates")
    assert gates.startswith("1 not run, 1 passed\n")
    assert table(gates, "The recipe's limits")[2:] == [
        ["R² to teacher", "passed", "0.812", "≥ 0.7", ""],
        ["median (ms)", "not run", "not run", "≤ 4", ""],
    ]
    assert "- **not run**, median (ms) (asked ≤ 4)" in lines
    assert "1 of 1 files agree with their PyTorch source, at most 3e-07 apart." in lines
    headers, _, *rows = table(folded(text, "Quality: all figures"), "Against the teacher")
    assert (headers[-1], rows[-1][0], rows[-1][-1]) == (
        *("velocity error", "student demo, fp32", "0.0123"),
    )
    assert "for \\| the map" in text
    assert "![clip-7: teacher and student over time](curves-7.png)" in text
    loss = "Loss, and R² on clips set aside, of demo over training steps"
    training = folded(text, "Training")
    assert "demo: 50 steps in 1.5 s. Final reconstruction loss 0.01." in training
    assert f"![{loss}](training-demo.png)" in training
    made = table(folded(text, "Where it comes from"), "This run")
    assert ["Commit of lipstill", f"`{'c0ffee' * 6}c0de`"] in made
    assert ["Left out: c-19", "silent"] in made
    assert ["Licence of the files and of the speech beside them", "of their own"] in made
    assert not any(word in text for word in ("None", "nan", "{{", "{%"))
    absent = ("Pruning", "int8 and", "LSB", "codes", "Codes")
    assert not any(word in text for word in absent), "no such"


def test_a_teachers_checkpoint_is_for_no_target(document: ReportDocument) -> None:
    lite = file_row("demo", "fp32", "tflite")
    text = to_markdown(replace(document, tiers=(teacher_row(), *document.tiers, lite)))
    assert cells_of(text, "| demo teacher | the teacher itself")[3:5] == ["36.0 MB as it is", "–"]


def test_a_broken_gate_says_how_far_off_it_is(document: ReportDocument) -> None:
    broken = Gate(name="bytes", value=150.0, limit=100.0, comparison="<=", status="failed")
    text = to_markdown(replace(document, gates=(broken,)))
    assert "- **FAILED**, bytes: 150 (asked ≤ 100, 50 % over)" in above(text)
    assert "| bytes | FAILED | 150 | ≤ 100 | 50 % over |" in folded(text, "Gates")


def test_what_is_above_the_fold_fits_on_a_screen(document: ReportDocument) -> None:
    text = to_markdown(document)
    first = above(text)
    assert len(first.splitlines()) < 40
    assert "| demo, fp32 |" in first
    assert "**not run**, median (ms)" in first
    assert "**passed**, R² to teacher" not in first, "what holds is counted"
    assert "1 of 2 passed." in first.splitlines()
    assert text.count("<details>") == text.count("</details>")


def test_a_tier_is_one_row_whatever_its_files(document: ReportDocument) -> None:
    lite = file_row("demo", "fp32", "tflite", size=700_000, faster=50.0)
    lite = replace(lite, smoothing=document.tiers[1].smoothing)
    text = to_markdown(replace(document, tiers=(*document.tiers, lite)))
    row = cells_of(above(text), "| demo, fp32 |")
    assert row[3:6] == ["655 kB", "700 kB", "0.432 / 0.2"]
    assert row[7] == f"× {TEACHER_BYTES / 700_000:.3g}, × 50"


def test_a_pose_may_wait_for_the_future_alone(document: ReportDocument) -> None:
    bare = replace(document.tiers[1], name="bare", smoothing=(1.0,), algorithmic_latency_ms=256.0)
    text = to_markdown(replace(document, tiers=(*document.tiers, bare)))
    assert cells_of(text, "| demo, fp32, without smoothing |")[5] == "256"
    rows = [line for line in text.splitlines() if line.startswith(f"| `{FILE}`")]
    assert len(rows) == 2, "one file: hashed once, and one set of windows"
    for block in tables(folded(text, "Files: size, speed, memory")):
        assert block.count("| demo, fp32") == block.count("| demo, fp32 | onnx |") == 1, block


def test_what_a_file_costs_stands_beside_what_took_turns_with_it(document: ReportDocument) -> None:
    costs = benchmark(size=100_000, download=80_000, ms=0.08, ratio=0.64)
    costs = replace(costs, arena=Arena(bytes=None, detail="not run: no kernel for LOG |\n\nEXP"))
    file = replace(file_row(size=100_000), path="models/x/model.tflite", benchmark=costs)
    text = to_markdown(replace(document, tiers=(*document.tiers, file)))
    files = folded(text, "Files: size, speed, memory")
    size, pace = "Size and memory", "Computing one prediction, in milliseconds"
    assert table(files, size)[-1] == [
        *("tiny, int8", "onnx", "172 k", "100 kB", "80 kB", "not run", "2.0 MB", "not run"),
        "not run",
    ]
    assert "of int8 TFLite files only; not run: no kernel for LOG \\| EXP. File" in files
    assert table(files, pace)[-1] == [
        *("tiny, int8", "onnx", "`the fp32 file`", "1", "0.08", "0.08", "0.08", "0.5 %"),
        *("0.640 (0.640\N{EN DASH}0.640)", "80"),
    ]
    hashed = table(folded(text, "Where it comes from"), "Files")[-1]
    assert hashed == ["`models/x/model.tflite`", f"`{'cd' * 32}`", "100,000"]
    evaluated = replace(file, benchmark=benchmark(ms=None, memory=None))
    text = to_markdown(replace(document, tiers=(evaluated,)))
    files = folded(text, "Files: size, speed, memory")
    assert table(files, size)[-1][3:] == [
        *("100 kB", "150 kB", "not run", "not run", "–", "–"),
    ]
    assert table(files, pace)[-1] == ["tiny, int8", "onnx", *["not run"] * 7, "80"]


def test_regions_of_the_face_are_told_apart(document: ReportDocument) -> None:
    text = to_markdown(document)
    caption = "By part of the face, against the teacher: MSE (correlation)"
    assert table(folded(text, "Quality: all figures"), caption) == [
        ["Row", "lips", "brows"],
        ["---", "--:", "--:"],
        ["student demo, fp32", "0.0021 (0.9)", "0 (not run)"],
    ]
    assert "0.95" not in text, "single controls are for report.json"
    bare = replace(document, tiers=document.tiers[:1])
    assert "By part of the face" not in to_markdown(bare)


def test_every_table_is_a_table(document: ReportDocument) -> None:
    summary_alone, files, quality, gates, parity, provenance = 1, 3, 3, 1, 1, 2
    expected = summary_alone + files + quality + gates + parity + provenance
    assert len(tables(to_markdown(document))) == expected


def test_text_from_outside_breaks_nothing(document: ReportDocument) -> None:
    hostile = "a | b\n\n| c |\n"
    trained = replace(document.training[0], student=hostile)
    speech = replace(document.speech, skipped=(SkippedClip(clip=hostile, reason=hostile),))
    gate = replace(document.gates[0], name=hostile)
    text = to_markdown(
        replace(
            document,
            training=(trained,),
            speech=speech,
            gates=(gate,),
            machine={"cpu": hostile},
        )
    )
    assert len(tables(text)) == len(tables(to_markdown(document)))
    flat = "a \\| b \\| c \\|"
    assert f"| {flat} | passed | 0.812 |" in text
    assert f"| Left out: {flat} | {flat} |" in text
    assert f"| Machine: cpu | {flat} |" in text
    assert f"{flat} : 50 steps in 1.5 s." in text


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
