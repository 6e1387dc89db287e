"""Two reports side by side: noise, limits, what is gone, and what does not compare."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporters import records
from exporters.measuring.figures import Arena
from exporters.report.decide.comparison import Change, ReportComparison, compare
from exporters.report.decide.comparison_text import to_lines, to_markdown, verdict
from exporters.report.decide.noise import COMPARED
from exporters.report.figure import Allowance
from exporters.report.figures import FIGURES
from exporters.report.records.document import FileParity, ReportDocument
from tests.exporters.compared import changed, of, other_speech
from tests.exporters.documents import (
    MACHINE,
    benchmark,
    document,
    documents,
    file_row,
    parity_of,
    teacher_row,
)


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
        ({"pbm": 0.81}, {"pbm": 0.70}, "pbm", "same"),  # of 100 sounds, other ones each time
        ({"pbm": 0.81}, {"pbm": 0.68}, "pbm", "worse"),  # the intervals are 9 points wide each
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
    assert all(figure.noise.why for figure in FIGURES.values() if figure.noise is not None)
    assert not {"ms", "frame_share"} & set(COMPARED), "milliseconds are never judged"


def test_milliseconds_are_shown_and_never_judged() -> None:
    found = compare(of(file_row(costs=benchmark(ms=0.1))), of(file_row(costs=benchmark(ms=10.0))))
    assert changed(found, "shown only") == {"ms": (0.1, 10.0)}
    assert found.regressions == 0


def test_noise_and_limit_go_over_the_default() -> None:
    old, new = (
        of(file_row(r2=r2, pbm=pbm, pbm_at_1pct=0.6)) for r2, pbm in ((0.65, 0.81), (0.60, 0.65))
    )
    assert compare(old, new).regressions == 2
    limits = {"r2": Allowance(absolute=0.1), "pbm": Allowance(absolute=0.05)}
    found = compare(old, new, limits=limits)
    assert set(changed(found, "worse")) == {"r2", "pbm"}
    assert [change.metric for change in found.changes if change.regression] == ["pbm"]
    quiet = compare(old, new, noise={"r2": Allowance(absolute=0.1), "pbm": Allowance(relative=0.3)})
    assert changed(quiet, "worse") == {}


# ----------------------------------------------------------------------- what is there and is not


def test_a_figure_that_is_not_measured_any_more_is_a_regression() -> None:
    found = compare(of(file_row()), of(file_row(pbm=None)))
    assert changed(found, "no longer measured") == {
        "pbm": (0.81, None),
        "pbm_at_1pct": (0.81, None),
        "false_closures": (0.02, None),
        "phone_f1": (0.7, None),
    }
    assert found.regressions == 4
    back = compare(of(file_row(pbm=None)), of(file_row()))
    assert changed(back, "now measured")["pbm"] == (None, 0.81)
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
        "pbm_at_1pct": (0.9, 0.7),
    }
    assert found.regressions == 0, "it is given"


def test_a_report_without_its_teacher_compares() -> None:
    assert compare(document(file_row()), document(file_row())).regressions == 0


# --------------------------------------------------------------------------- what does not compare


def other_teacher(found: ReportDocument) -> ReportDocument:
    return replace(found, teacher=replace(found.teacher, sha256="ef" * 32, name="another"))


def test_quality_on_other_speech_is_shown_and_not_judged() -> None:
    old, new = of(file_row()), other_speech(of(file_row(r2=0.2, pbm=None, size=300_000)))
    found = compare(old, new)
    assert set(changed(found, "not comparable")) == {
        *("r2", "mse", "pbm", "closure_f1", "jitter_ratio", "lag_ms"),
        *("pbm_at_1pct", "false_closures", "phone_f1"),
    }
    assert set(changed(found, "worse")) == {"bytes", "download_bytes"}, "the rest is"
    assert "Other held-out speech: 3 minutes → 9 minutes." in found.notes
    assert found.incomparable == 9 + 4, "the teacher's lips too"
    across = compare(old, new, across=["speech"])
    assert across.incomparable == 0
    assert set(changed(across, "worse", "no longer measured")) == {
        *("bytes", "download_bytes", "r2", "pbm"),
        *("pbm_at_1pct", "false_closures", "phone_f1"),
    }


def test_what_another_teacher_measures_is_not_judged() -> None:
    found = compare(of(file_row()), other_teacher(of(file_row(pbm=0.5, r2=0.1, faster=1.0))))
    assert set(changed(found, "not comparable")) == {
        *("r2", "mse", "closure_f1", "jitter_ratio", "lag_ms", "times_faster")
    }
    assert set(changed(found, "worse")) == {"pbm", "pbm_at_1pct"}, "the truth is the same"
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
@given(documents(), documents(), st.sampled_from(sorted(COMPARED)))
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
