"""What a recipe asks: met, broken, or not measured, which is not met."""

from types import SimpleNamespace
from typing import Any

import pytest

from compress.evaluation import Quality
from compress.metrics import Share
from compress.recipe import GateSettings
from compress.stages.gates import broken, judge
from exporters.checks import Check

RIDGE = Quality({"r2": 0.5}, {})


def quality(r2: float | None, pbm: float | None = None) -> Quality:
    share = None if pbm is None else Share(value=pbm, n=10, low=0.0, high=1.0)
    return Quality({"r2": r2}, {"pbm": share})


@pytest.mark.parametrize(
    ("limit", "value", "status", "found"),
    [
        ({"min_r2": 0.7}, quality(0.7), "passed", 0.7),
        ({"min_r2": 0.7}, quality(0.699), "failed", 0.699),
        ({"min_r2": 0.7}, quality(None), "not run", None),
        ({"min_pbm": 0.9}, quality(0.0, 0.9), "passed", 0.9),
        ({"min_pbm": 0.9}, quality(0.0, 0.8), "failed", 0.8),
        ({"min_pbm": 0.9}, quality(0.0), "not run", None),
        ({"min_r2_over_ridge": 0.25}, quality(0.75), "passed", 0.25),
        ({"min_r2_over_ridge": 0.25}, quality(0.5), "failed", 0.0),
        ({"min_r2_over_ridge": 0.25}, quality(None), "not run", None),
        ({"max_bytes": 1000}, quality(0.0), "passed", 1000),
        ({"max_bytes": 999}, quality(0.0), "failed", 1000),
    ],
)
def test_one_limit(limit: dict[str, Any], value: Quality, status: str, found: float | None) -> None:
    (gate,) = judge(GateSettings(**limit), "small onnx", value, 1000, RIDGE)
    assert (gate.status, gate.value, gate.limit) == (status, found, next(iter(limit.values())))
    assert gate.name.startswith("small onnx: ")


def test_no_limit_is_no_gate() -> None:
    assert judge(GateSettings(), "small onnx", quality(0.1), 1000, RIDGE) == []


def test_what_is_broken_is_said() -> None:
    limits = GateSettings(min_r2=0.7, min_pbm=0.9, max_bytes=2000)
    gates = judge(limits, "small onnx", quality(0.61234), 1000, RIDGE)
    sets = [
        SimpleNamespace(name="silence", reason="it gives nan", status="failed"),
        SimpleNamespace(name="speech", reason="", status="passed"),
    ]
    parity = SimpleNamespace(file="model.onnx", result=SimpleNamespace(status="failed", sets=sets))
    checks = [
        Check(file="model.onnx", what="lag", status="failed", detail="12 ms behind"),
        Check(file="model.onnx", what="structure", status="passed", detail="sound"),
        Check(file="model.mlpackage", what="parity, Core ML", status="not run", detail="Linux"),
    ]
    report: Any = SimpleNamespace(gates=gates, parity=[parity], checks=checks)
    assert broken(report) == [
        "small onnx: R² against the teacher: 0.6123, expected >= 0.7",
        "small onnx: PBM accuracy: not measured, expected >= 0.9",
        "parity of model.onnx failed: silence: it gives nan",
        "lag of model.onnx: 12 ms behind",
    ]
