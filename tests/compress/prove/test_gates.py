"""What a recipe asks: met, broken, or not measured, which is not met."""

import math
from dataclasses import replace
from typing import Any

import pytest

from compress.prove.gates import broken, judge
from compress.recipe.gates import GateSettings, Limits, Override
from exporters.measuring.figures import Arena
from exporters.proof.checks import Check
from exporters.report.figures import FIGURES
from exporters.report.gate_words import in_words
from exporters.report.records.document import FileParity, Gate, Tier
from exporters.report.sections.markdown import to_markdown
from tests.exporters.documents import (
    benchmark,
    document,
    file_row,
    not_speech,
    parity_of,
    ridge_row,
    share,
    teacher_row,
)

NO_FIGURES = file_row(
    size=None,
    faster=None,
    future_ms=None,
    **dict.fromkeys(("r2", "mse", "jitter_ratio", "closure_f1", "lag_ms", "pbm")),
)
ARENA = benchmark(arena=Arena(bytes=104_000, detail="tflite-micro 1"))
# A limit that the file just keeps, and one that it breaks; by hand from the rows of documents.py.
ASKED = [
    ("min_r2", 0.65, 0.66, 0.65),
    ("min_pbm", 0.81, 0.82, 0.81),
    ("min_pbm_at_1pct", 0.74, 0.75, 0.74),
    ("max_false_closures", 0.027, 0.026, 0.027),
    ("min_phone_f1", 0.7, 0.71, 0.7),
    ("min_r2_over_ridge", 0.4, 0.5, 0.65 - 0.25),
    ("max_bytes", 187_201, 187_200, 187_201),
    ("max_parity", 5e-4, 4e-4, 5e-4),
    ("max_download_bytes", 150_000, 149_999, 150_000),
    ("max_latency_ratio", 0.8, 0.75, 0.8),
    ("max_frame_share", 0.0125, 0.012, 0.2 / 16),
    ("max_memory_bytes", 2_000_000, 1_999_999, 2_000_000),
    ("max_arena_bytes", 104_000, 100_000, 104_000),
    ("max_mse", 0.004, 0.0039, 0.004),
    ("min_pbm_of_teacher", 0.89, 0.91, 0.81 / 0.9),
    ("min_closure_f1", 0.8, 0.9, 0.8),
    ("max_jitter_ratio", 1.5, 1.4, 1.5),
    ("max_rest_movement", 0.1501, 0.14, (0.1 + 0.2) / 2),
    ("max_rest_distance", 0.6001, 0.5, (0.4 + 0.8) / 2),
    ("max_lag_ms", 2.0, 1.9, 2.0),
    ("max_future_ms", 80.0, 79.0, 80.0),
    ("min_times_smaller", 192.0, 200.0, 36_000_000 / 187_201),
    ("min_times_faster", 40.0, 41.0, 40.0),
]


def judged(limits: GateSettings, row: Tier, parity: Any = None) -> list[Gate]:
    return judge(limits, row, parity, teacher_row(pbm=0.9), ridge_row(0.25))


@pytest.mark.parametrize(("limit", "kept", "missed", "value"), ASKED)
def test_one_limit(limit: str, kept: float, missed: float, value: float) -> None:
    row = file_row(
        costs=ARENA, elsewhere=not_speech(0.1, 0.4), pbm_at_1pct=0.74, closed_outside=0.027
    )
    for asked, status in ((kept, "passed"), (missed, "failed")):
        (gate,) = judged(GateSettings(**{limit: asked}), row, parity_of(3e-4, 5e-4))  # type: ignore[arg-type]
        assert (gate.status, gate.value, gate.limit) == (status, pytest.approx(value), asked)
        assert gate.name.startswith("tiny-int8 onnx: ")
    (gate,) = judged(GateSettings(**{limit: kept}), NO_FIGURES)  # type: ignore[arg-type]
    assert (gate.status, gate.value) == ("not run", None), "what was not measured is not met"


@pytest.mark.parametrize(("asked", "status"), [(0.8, "passed"), (0.9, "failed")])
def test_a_gate_on_pbm_says_what_it_cost_in_false_closures(asked: float, status: str) -> None:
    row = file_row(pbm=0.83, closed_outside=0.027)
    gates = judged(GateSettings(min_pbm=asked, min_pbm_of_teacher=0.1, min_r2=0.1), row)
    assert [gate.beside for gate in gates] == ["", "with F 2.7 %", "with F 2.7 %"]
    assert gates[1].status == status
    assert in_words(gates[1]).endswith("with F 2.7 %")
    assert "0.83 with F 2.7 %" in to_markdown(document(row, gates=gates))
    # Of vowels alone: a report from before F was measured.
    older = replace(row, against_truth={"pbm": share(0.83), "false_closures": share(0.001)})
    assert judged(GateSettings(min_pbm=asked), older)[0].beside == "with F not run"
    (false,) = judged(GateSettings(max_false_closures=0.5), older)
    assert (false.status, false.value) == ("not run", None)


def test_every_limit_asks_a_figure_the_way_its_name_says() -> None:
    assert sorted(name for name, *_ in ASKED) == sorted(Limits.model_fields)
    for name in Limits.model_fields:
        way, _, figure = name.partition("_")
        assert FIGURES[figure].better == {"min": "more", "max": "less"}[way]


def test_no_limit_is_no_gate() -> None:
    assert judged(GateSettings(), file_row()) == []


def test_all_limits_are_judged_whatever_came_of_the_others() -> None:
    limits = GateSettings(min_r2=0.9, max_bytes=1, max_mse=1.0)
    assert [gate.status for gate in judged(limits, file_row())] == ["failed", "passed", "failed"]


def test_the_tier_goes_over_the_target_over_the_rest() -> None:
    limits = GateSettings(
        max_bytes=100,
        min_r2=0.1,
        targets={"tflite": Override(max_bytes=200, max_mse=0.5)},
        tiers={"tiny-int8": Override(max_bytes=300), "tiny-fp32": Override(max_bytes=None)},
    )

    def asked(precision: str, target: str) -> dict[str, float]:
        return limits.of(f"tiny-{precision}", target)

    assert asked("fp16", "onnx") == {"min_r2": 0.1, "max_bytes": 100}
    assert asked("fp16", "tflite") == {"min_r2": 0.1, "max_bytes": 200, "max_mse": 0.5}
    assert asked("int8", "tflite") == {"min_r2": 0.1, "max_bytes": 300, "max_mse": 0.5}
    assert asked("fp32", "onnx") == {"min_r2": 0.1}, "a null lifts a limit"
    (r2, size) = judged(limits, file_row(target="onnx"))
    assert (r2.limit, size.limit) == (0.1, 300)


def test_what_makes_no_sense_for_a_file_is_not_asked() -> None:
    limits = GateSettings(max_latency_ratio=0.5, max_arena_bytes=1)
    assert judged(limits, file_row(precision="fp32")) == []
    assert [gate.status for gate in judged(limits, file_row(precision="fp16"))] == ["failed"]


def test_a_file_that_took_turns_with_itself_has_no_ratio_to_fp32() -> None:
    row = file_row()
    assert row.benchmark
    assert row.path
    alone = tuple(replace(pace, reference=row.path) for pace in row.benchmark.paces)
    row = replace(row, benchmark=replace(row.benchmark, paces=alone))
    (gate,) = judged(GateSettings(max_latency_ratio=1.5), row)
    assert (gate.value, gate.status) == (None, "not run")


def test_what_is_no_number_fails() -> None:
    limits = GateSettings(min_r2=0.5, max_parity=1.0)
    gates = judged(limits, file_row(r2=math.nan), parity_of(1e-4, None, status="failed"))
    assert [(gate.status, gate.value) for gate in gates] == [("failed", None)] * 2
    assert broken(document(gates=tuple(gates))) == [
        "tiny-int8 onnx: R² against the teacher: no number, expected >= 0.5",
        "tiny-int8 onnx: largest difference from PyTorch: no number, expected <= 1",
    ]


def test_a_set_that_did_not_run_leaves_parity_unknown() -> None:
    (gate,) = judged(GateSettings(max_parity=1.0), file_row(), parity_of(1e-4, None))
    assert gate.status == "not run"


def test_a_row_that_is_no_file_has_no_limits() -> None:
    with pytest.raises(ValueError, match="ridge is no file"):
        judged(GateSettings(min_r2=0.1), ridge_row())


def test_what_can_never_run_here_is_listed_but_breaks_nothing() -> None:
    limits = GateSettings(max_latency_ratio=1.0, max_memory_bytes=1000, min_times_faster=2.0)
    evaluated = file_row(target="coreml", faster=None, costs=benchmark(ms=None, memory=None))
    slow = file_row(target="onnx", costs=benchmark(ratio=None))
    gates = [*judged(limits, evaluated), *judged(limits, slow)]
    assert [gate.status for gate in gates[:3]] == ["not run"] * 3
    report = document(evaluated, slow, gates=tuple(gates))
    assert broken(report) == [
        "tiny-int8 onnx: latency by the fp32 file's: not measured, expected <= 1",
        "tiny-int8 onnx: memory (bytes): 2,000,000, expected <= 1,000 (2,000 times the limit)",
    ]


def test_quality_of_a_file_that_is_only_evaluated_must_be_there() -> None:
    evaluated = file_row(target="coreml", r2=None, costs=benchmark(ms=None, memory=None))
    gates = tuple(judged(GateSettings(min_r2=0.5), evaluated))
    (line,) = broken(document(evaluated, gates=gates))
    assert line == "tiny-int8 coreml: R² against the teacher: not measured, expected >= 0.5"


def test_a_core_ml_file_is_smaller_all_the_same() -> None:
    evaluated = file_row(target="coreml", faster=None, costs=benchmark(ms=None, memory=None))
    (gate,) = judged(GateSettings(min_times_smaller=190.0), evaluated)
    assert (gate.status, gate.value) == ("passed", 36_000_000 / 187_201)


def test_what_is_broken_is_said_with_value_limit_and_how_far_off() -> None:
    limits = GateSettings(min_r2=0.77, max_bytes=100_000, min_pbm=0.9, max_mse=1.0)
    row = file_row(pbm=None)
    report = replace(
        document(row, gates=tuple(judged(limits, row))),
        parity=(FileParity(file="model.onnx", result=parity_of(1e-4, None, status="failed")),),
        checks=(
            Check(file="model.onnx", what="lag", status="failed", detail="12 ms behind"),
            Check(file="model.onnx", what="structure", status="passed", detail="sound"),
            Check(file="model.mlpackage", what="parity, Core ML", status="not run", detail="Linux"),
        ),
    )
    assert broken(report) == [
        "tiny-int8 onnx: R² against the teacher: 0.65, expected >= 0.77 (0.12 short)",
        "tiny-int8 onnx: PBM accuracy: not measured, expected >= 0.9",
        "tiny-int8 onnx: bytes: 187,201, expected <= 100,000 (87 % over)",
        "parity of model.onnx failed: set 1: for a test",
        "lag of model.onnx: 12 ms behind",
    ]
