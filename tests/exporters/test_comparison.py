"""Two reports side by side: noise, limits, what is gone, what does not compare, and the words."""

import json
import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters import records
from exporters.benchmark import Arena
from exporters.checks import Check
from exporters.report.comparison import Change, ReportComparison, compare
from exporters.report.comparison_text import to_lines, to_markdown, verdict
from exporters.report.document import FileParity, Gate, ReportDocument, Tier
from exporters.report.figures import FIGURES
from exporters.report.noise import METRICS, Allowance, read_allowance
from tests.exporters.documents import (
    MACHINE,
    benchmark,
    document,
    documents,
    file_row,
    parity_of,
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


def only(found: ReportComparison, metric: str) -> Change:
    (change,) = [
        change for change in found.changes if change.metric == metric and change.target is not None
    ]
    return change


# ----------------------------------------------------------------------------------------- noise


@pytest.mark.parametrize(
    ("before", "after", "metric", "expected"),
    [
        ({"r2": 0.65}, {"r2": 0.645}, "r2", "same"),  # just the noise of 0.005
        ({"r2": 0.65}, {"r2": 0.644}, "r2", "worse"),
        ({"r2": 0.65}, {"r2": 0.656}, "r2", "better"),
        ({"mse": 0.00400}, {"mse": 0.00408}, "mse", "same"),  # 2 %
        ({"mse": 0.00400}, {"mse": 0.00409}, "mse", "worse"),
        ({"pbm": 0.81}, {"pbm": 0.79}, "pbm", "same"),  # 2 points
        ({"pbm": 0.81}, {"pbm": 0.78}, "pbm", "worse"),
        ({"closure_f1": 0.80}, {"closure_f1": 0.83}, "closure_f1", "better"),
        ({"jitter_ratio": 2.00}, {"jitter_ratio": 2.11}, "jitter_ratio", "worse"),  # 5 %
        ({"lag_ms": 1.0}, {"lag_ms": -1.0}, "lag_ms", "same"),  # late or early: as far off
        ({"lag_ms": 1.0}, {"lag_ms": -2.5}, "lag_ms", "worse"),
        ({"future_ms": 80.0}, {"future_ms": 81.0}, "future_ms", "worse"),
        ({"faster": 40.0}, {"faster": 33.4}, "times_faster", "same"),  # 20 % of 33.4 is 6.68
        ({"faster": 40.0}, {"faster": 33.0}, "times_faster", "worse"),
        ({"size": 200_000}, {"size": 201_000}, "bytes", "same"),  # 0.5 %
        ({"size": 200_000}, {"size": 201_001}, "bytes", "worse"),
        ({"size": 200_000}, {"size": 190_000}, "download_bytes", "better"),
        (
            {"costs": benchmark(ratio=0.8)},
            {"costs": benchmark(ratio=0.97)},
            "latency_ratio",
            "worse",
        ),
        (
            {"costs": benchmark(memory=10_000_000)},
            {"costs": benchmark(memory=11_000_001)},  # 10 %
            *("memory_bytes", "worse"),
        ),
        (
            {"costs": benchmark(memory=100_000)},
            {"costs": benchmark(memory=231_072)},  # 131,072 more, as an allocator takes it
            *("memory_bytes", "same"),
        ),
        (
            {"costs": benchmark(arena=Arena(bytes=100_000, detail=""))},
            {"costs": benchmark(arena=Arena(bytes=98_000, detail=""))},
            *("arena_bytes", "better"),
        ),
    ],
)
def test_beyond_the_noise(
    before: dict[str, Any], after: dict[str, Any], metric: str, expected: str
) -> None:
    found = compare(of(file_row(**before)), of(file_row(**after)))
    change = only(found, metric)
    assert change.verdict == expected
    assert change.regression == (expected == "worse")


def test_parity_must_double_and_be_seen() -> None:
    def at(value: float) -> ReportDocument:
        row = file_row()
        assert row.path is not None
        return of(row, parity=(FileParity(file=row.path, result=parity_of(value)),))

    assert only(compare(at(2e-7), at(9e-7)), "parity").verdict == "same", "below 1e-6"
    assert only(compare(at(4e-4), at(8e-4)), "parity").verdict == "same"
    assert only(compare(at(4e-4), at(9e-4)), "parity").verdict == "worse"


def test_every_metric_is_a_figure_with_a_reason() -> None:
    assert set(METRICS) < set(FIGURES)
    assert all(metric.why for metric in METRICS.values())
    assert not {"ms", "frame_share"} & set(METRICS), "milliseconds are never judged"


def test_milliseconds_are_shown_and_never_judged() -> None:
    found = compare(of(file_row(costs=benchmark(ms=0.1))), of(file_row(costs=benchmark(ms=10.0))))
    assert changed(found, "shown only") == {"ms": (0.1, 10.0)}
    assert found.regressions == 0


def test_noise_and_limit_go_over_the_default() -> None:
    old, new = of(file_row(r2=0.65, pbm=0.81)), of(file_row(r2=0.60, pbm=0.75))
    assert compare(old, new).regressions == 2
    limits = {"r2": Allowance(absolute=0.1), "pbm": Allowance(absolute=0.05)}
    found = compare(old, new, limits=limits)
    assert set(changed(found, "worse")) == {"r2", "pbm"}
    assert [change.metric for change in found.changes if change.regression] == ["pbm"]
    quiet = compare(old, new, noise={"r2": Allowance(absolute=0.1), "pbm": Allowance(relative=0.1)})
    assert changed(quiet, "worse") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=1%", ("bytes", Allowance(relative=0.01))),
        (" r2=0.01 ", ("r2", Allowance(absolute=0.01))),
        ("mse=1e-4", ("mse", Allowance(absolute=1e-4))),
        ("pbm=0.05", ("pbm", Allowance(absolute=0.05))),
    ],
)
def test_an_allowance_is_read(text: str, expected: tuple[str, Allowance]) -> None:
    assert read_allowance(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bytes", "not METRIC=VALUE"),
        ("bites=1", "names no metric; there is bytes, download_bytes"),
        ("ms=1", "names no metric"),
        ("r2=-1", "at least 0"),
        ("r2=nan", "at least 0"),
        ("r2=inf", "at least 0"),
        ("r2=x", "at least 0"),
        ("pbm=2%", "give points as 0.02"),
    ],
)
def test_a_wrong_allowance_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_allowance(text)


# ----------------------------------------------------------------------- what is there and is not


def test_a_figure_that_is_not_measured_any_more_is_a_regression() -> None:
    found = compare(of(file_row()), of(file_row(pbm=None)))
    assert changed(found, "no longer measured") == {"pbm": (0.81, None)}
    assert found.regressions == 1
    back = compare(of(file_row(pbm=None)), of(file_row()))
    assert changed(back, "now measured") == {"pbm": (None, 0.81)}
    assert back.regressions == 0


def test_what_the_new_machine_can_never_measure_is_none() -> None:
    """A package that ran in Core ML before, and is only evaluated now."""
    here = file_row(target="coreml", faster=None, costs=benchmark(ms=None, memory=None))
    found = compare(of(file_row(target="coreml", costs=benchmark())), of(here))
    assert set(changed(found, "not measured here")) == {
        *("latency_ratio", "memory_bytes", "times_faster")
    }
    assert found.regressions == 0


def test_gone_and_added_tiers_and_files() -> None:
    old = of(file_row(), file_row(target="tflite"), file_row("nano"), file_row("nano", "fp32"))
    new = of(file_row(), file_row("nano"), file_row("small"), file_row("small", target="tflite"))
    found = compare(old, new)
    assert found.gone == ("tiny-int8 tflite", "nano-fp32")
    assert found.added == ("small-int8",)
    assert found.regressions == 2
    allowed = compare(old, new, allow_gone=True)
    assert (allowed.regressions, allowed.gone) == (0, found.gone)
    assert "gone: nano-fp32 (allowed)" in to_lines(allowed)


def test_only_the_row_as_it_ships_counts() -> None:
    """Its bare predictions stand beside a file that smooths."""
    ships, bare = file_row(r2=0.65), replace(file_row(r2=0.5), name="bare")
    found = compare(of(ships, bare), of(ships, replace(bare, against_teacher={"r2": 0.1})))
    assert only(found, "r2").verdict == "same"


def test_baselines_are_not_compared_and_the_teacher_is() -> None:
    old = document(teacher_row(pbm=0.9, size=1_000_000), file_row())
    new = document(teacher_row(pbm=0.7, size=2_000_000), file_row())
    found = compare(old, new)
    assert changed(found, "worse", tier="the teacher") == {
        "bytes": (1_000_000, 2_000_000),
        "pbm": (0.9, 0.7),
    }
    assert found.regressions == 0, "it is given"


def test_a_report_without_its_teacher_compares() -> None:
    assert compare(document(file_row()), document(file_row())).regressions == 0


# --------------------------------------------------------------------------- what does not compare


def other_speech(found: ReportDocument) -> ReportDocument:
    return replace(
        found, speech=replace(found.speech, held_out_key="33" * 32, held_out_minutes=9.0)
    )


def other_teacher(found: ReportDocument) -> ReportDocument:
    return replace(found, teacher=replace(found.teacher, sha256="ef" * 32, name="another"))


def test_quality_on_other_speech_is_shown_and_not_judged() -> None:
    old, new = of(file_row()), other_speech(of(file_row(r2=0.2, pbm=None, size=300_000)))
    found = compare(old, new)
    assert set(changed(found, "not comparable")) == {
        *("r2", "mse", "pbm", "closure_f1", "jitter_ratio", "lag_ms")
    }
    assert set(changed(found, "worse")) == {"bytes", "download_bytes"}, "the rest is"
    assert "Other held-out speech: 3 minutes → 9 minutes." in found.notes
    assert found.incomparable == 7, "the teacher's PBM too"
    across = compare(old, new, across=["speech"])
    assert across.incomparable == 0
    assert set(changed(across, "worse", "no longer measured")) == {
        *("bytes", "download_bytes", "r2", "pbm")
    }


def test_what_another_teacher_measures_is_not_judged() -> None:
    found = compare(of(file_row()), other_teacher(of(file_row(pbm=0.5, r2=0.1, faster=1.0))))
    assert set(changed(found, "not comparable")) == {
        *("r2", "mse", "closure_f1", "jitter_ratio", "lag_ms", "times_faster")
    }
    assert set(changed(found, "worse")) == {"pbm"}, "the truth is the same"
    assert "Other teacher: demo teacher (abababab) → another (efefefef)." in found.notes


def test_another_machine_and_other_tools_are_said() -> None:
    new = of(
        file_row(), machine={**MACHINE, "cpu": "Other"}, versions={"torch": "2.14.0", "onnx": "1"}
    )
    found = compare(of(file_row()), new)
    assert found.notes == (
        "Other machine: cpu Example 9000 → Other. Ratios of time and memory are judged all the same.",
        "Other tools: torch 2.13.0 → 2.14.0; onnx not told → 1.",
    )
    assert found.regressions == 0


# ------------------------------------------------------------------------------ gates, parity, checks


def gate(
    value: float | None, limit: float = 200_000, file: str = "tiny-int8 onnx", what: str = "bytes"
) -> Gate:
    status: Any = "not run" if value is None else "passed" if value <= limit else "failed"
    return Gate(name=f"{file}: {what}", value=value, limit=limit, comparison="<=", status=status)


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


# ------------------------------------------------------------------------------------- properties


@settings(max_examples=60, deadline=None)
@given(documents())
def test_a_report_is_the_same_as_itself(one: ReportDocument) -> None:
    found = compare(one, one)
    assert {change.verdict for change in found.changes} <= {"same", "shown only"}
    assert (found.regressions, found.notes, found.gone, found.broken) == (0, (), (), ())
    assert verdict(found) == "No change beyond the noise"
    lines = to_lines(found)
    assert len(lines) == 4, "a terminal needs no more"


@settings(max_examples=80, deadline=None)
@given(documents(), documents())
def test_the_way_back_turns_better_into_worse(one: ReportDocument, other: ReportDocument) -> None:
    there, back = compare(one, other), compare(other, one)
    turned = {
        "better": "worse",
        "worse": "better",
        "now measured": "no longer measured",
        "no longer measured": "now measured",
    }

    def verdicts(found: ReportComparison) -> dict[tuple[str, str | None, str], str]:
        return {
            (change.tier, change.target, change.metric): change.verdict for change in found.changes
        }

    backwards = verdicts(back)
    for name, found in verdicts(there).items():
        if "not measured here" in (found, backwards[name]):
            continue  # that depends on the newer machine
        assert backwards[name] == turned.get(found, found), name
    assert (there.gone, set(there.added)) == (back.added, set(back.gone))


@settings(max_examples=60, deadline=None)
@given(documents(), documents(), st.sampled_from(sorted(METRICS)))
def test_a_wider_limit_never_finds_more(
    one: ReportDocument, other: ReportDocument, metric: str
) -> None:
    wide = {metric: Allowance(absolute=1e12)}
    for given_ in ({"noise": wide}, {"limits": wide}):
        assert compare(one, other, **given_).regressions <= compare(one, other).regressions


@settings(max_examples=60, deadline=None)
@given(documents(), documents())
def test_every_word_of_it_can_be_written(one: ReportDocument, other: ReportDocument) -> None:
    found = compare(one, other)
    text = to_markdown(found)
    assert not [word for word in ("None", "nan", "{{", "{%") if word in text]
    assert text.count("<details>") == text.count("</details>") == 1
    for block in text.split("\n\n"):
        if block.startswith("|"):
            rows = [line for line in block.splitlines() if line.startswith("|")]
            assert {line.count("|") for line in rows} == {7}
    folded = text.index("<details>")
    assert text[:folded].count("\n") < 60, "one screen"
    again = json.loads(records.to_json(found))
    assert again["regressions"] == found.regressions
    assert len(again["changes"]) == len(found.changes)


# ------------------------------------------------------------------------------------------ words


SMALL = """\
## 3 regressions

demo, 2025-11-22, recipe c0ffee → demo, 2025-11-22, recipe c0ffee

- Other tools: torch 2.13.0 → 2.14.0.

### Worse

- **broken**: gate tiny-int8 onnx: bytes failed (passed before): 203,000, expected <= 200,000 (1.5 % over)

| File | Figure | Old | New | Change | |
|---|---|--:|--:|--:|---|
| tiny-int8 onnx, tflite | bytes | 187,201 | 203,000 | +8.4 % | **regression (limit 0.5 %)** |
| tiny-int8 onnx, tflite | download bytes | 149,760 | 162,400 | +8.4 % | worse (limit 10 %) |

### Better, or new

- new: nano-int8

| File | Figure | Old | New | Change | |
|---|---|--:|--:|--:|---|
| tiny-int8 onnx, tflite | PBM accuracy | 81 % | 84.25 % | +3.2 points | better |
| tiny-int8 onnx, tflite | algorithmic latency (ms) | 80 | 64 | −16 ms | better |

<details><summary>Every figure: 20 same, 4 worse, 4 better, 2 shown only</summary>

| File | Figure | Old | New | Change | |
|---|---|--:|--:|--:|---|
| the teacher | bytes | 36,000,000 | 36,000,000 |  | same |
| the teacher | PBM accuracy | 90 % | 90 % |  | same |
| tiny-int8 onnx, tflite | bytes | 187,201 | 203,000 | +8.4 % | **regression (limit 0.5 %)** |
| tiny-int8 onnx, tflite | download bytes | 149,760 | 162,400 | +8.4 % | worse (limit 10 %) |
| tiny-int8 onnx, tflite | largest difference from PyTorch | 0.0005 | 0.0005 |  | same |
| tiny-int8 onnx, tflite | R² against the teacher | 0.65 | 0.65 |  | same |
| tiny-int8 onnx, tflite | MSE against the teacher | 0.004 | 0.00401 | +0.25 % | same |
| tiny-int8 onnx, tflite | PBM accuracy | 81 % | 84.25 % | +3.2 points | better |
| tiny-int8 onnx, tflite | closure F1 | 0.8 | 0.8 |  | same |
| tiny-int8 onnx, tflite | jitter by the teacher's | 1.5 | 1.5 |  | same |
| tiny-int8 onnx, tflite | lag, late or early (ms) | 2 | 2 |  | same |
| tiny-int8 onnx, tflite | algorithmic latency (ms) | 80 | 64 | −16 ms | better |
| tiny-int8 onnx, tflite | times faster than the teacher | 40 | 40 |  | same |
| tiny-int8 onnx, tflite | latency by the fp32 file's | 0.8 | 0.8 |  | same |
| tiny-int8 onnx, tflite | memory (bytes) | 2,000,000 | 2,000,000 |  | same |
| tiny-int8 onnx, tflite | median of one prediction (ms) | 0.2 | 0.2 |  | shown only |

</details>
"""


@pytest.fixture
def small() -> ReportComparison:
    old = of(file_row(), file_row(target="tflite"), gates=(gate(187_201),))
    later = {"size": 203_000, "pbm": 0.8425, "future_ms": 64.0, "mse": 0.00401}
    rows = [file_row(target=target, **later) for target in ("onnx", "tflite")]
    new = of(*rows, file_row("nano"), gates=(gate(203_000),), versions={"torch": "2.14.0"})
    return compare(old, new, limits={"download_bytes": Allowance(relative=0.1)})


def test_the_markdown_of_a_small_one(small: ReportComparison) -> None:
    assert to_markdown(small) == SMALL


def test_the_lines_of_a_small_one(small: ReportComparison) -> None:
    assert to_lines(small) == [
        "3 regressions.",
        "demo, 2025-11-22, recipe c0ffee → demo, 2025-11-22, recipe c0ffee",
        "note: Other tools: torch 2.13.0 → 2.14.0.",
        "broken: gate tiny-int8 onnx: bytes failed (passed before): 203,000, expected <= 200,000 (1.5 % over)",
        "",
        "worse:",
        "  tiny-int8 onnx, tflite  bytes           187,201  →  203,000  +8.4 %  regression (limit 0.5 %)",
        "  tiny-int8 onnx, tflite  download bytes  149,760  →  162,400  +8.4 %  worse (limit 10 %)",
        "",
        "better:",
        "  tiny-int8 onnx, tflite  PBM accuracy              81 %  →  84.25 %  +3.2 points  better",
        "  tiny-int8 onnx, tflite  algorithmic latency (ms)  80    →  64       −16 ms       better",
        "",
        "new: nano-int8",
        "",
        "20 same, 4 worse, 4 better, 2 shown only; --markdown and --json show every figure",
    ]


def test_text_from_outside_breaks_no_table() -> None:
    row = file_row()
    check = Check(file=row.path or "", what="a | b", status="failed", detail="two\nlines | here")
    text = to_markdown(compare(of(row), of(row, checks=(check,))))
    assert "a \\| b of models/tiny-int8/model.onnx failed (new): two lines \\| here" in text


def test_the_verdict_in_a_line() -> None:
    def said(new: ReportDocument, **given: Any) -> str:
        return verdict(compare(of(file_row()), new, **given))

    assert said(of(file_row())) == "No change beyond the noise"
    assert said(of(file_row(r2=0.6))) == "1 regression"
    assert said(of(file_row(r2=0.7, mse=0.003))) == "No regression: 0 worse within limits, 2 better"
    assert said(other_speech(of(file_row()))) == (
        "7 figures cannot be compared; no regression in the others"
    )
    limits = {"r2": Allowance(absolute=math.inf)}
    assert said(of(file_row(r2=0.6)), limits=limits) == (
        "No regression: 1 worse within limits, 0 better"
    )


def test_a_long_list_ends_with_a_count() -> None:
    students = [f"s{i}" for i in range(20)]

    def rows(r2: float) -> Collection[Tier]:
        return [file_row(name, r2=r2) for name in students]

    text = to_markdown(compare(of(*rows(0.7)), of(*rows(0.6))))
    shown, _, folded = text.partition("<details>")
    assert shown.count("**regression (limit 0.005)**") == 12
    assert "and 8 more in the table of every figure." in shown
    assert folded.count("**regression (limit 0.005)**") == 20
