"""lipstill doctor: it tries what it says, names what is missing, and never ends in a traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compress.commands import doctor
from compress.commands.doctor import MAX_ABS, Examination, Finding, examine, example
from compress.errors import MissingError
from exporters.targets.contract import available_targets, load_target

pytestmark = pytest.mark.slow  # converters take seconds to begin

TARGETS = available_targets()
# Import name of what a target cannot do without.
PACKAGES = {"coreml": "coremltools", "onnx": "onnxsim", "tflite": "litert_torch"}

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def examined() -> Examination:
    """This machine, examined once."""
    return examine(hidden=True)


def stub(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Leave one target, ONNX in fp32, with some of it replaced."""
    real = load_target("onnx")
    names = ("SUFFIX", "TOOLS", "RUNTIMES", "export", "structure", "open_runtime")
    whole = {name: getattr(real, name) for name in (*names, "further_runtimes")}
    target = SimpleNamespace(**{**whole, "PRECISIONS": ("fp32",), **changes})
    monkeypatch.setattr(doctor, "available_targets", lambda: ("onnx",))
    monkeypatch.setattr(doctor, "load_target", lambda name: target)


def test_every_target_works_here_in_every_precision(examined: Examination) -> None:
    states = {found.what: found.state for found in examined.findings}
    for name in TARGETS:
        for precision in load_target(name).PRECISIONS:
            assert states[f"{name} {precision}"] == "works", examined.lines
    assert set(states.values()) <= {"works", "not run"}
    examined.conclude()


def test_facts_of_this_machine(examined: Examination) -> None:
    facts = examined.facts
    expected = {"python", "lipstill", "torch", "cpu", "instruction sets", "gpu", "android devices"}
    assert expected | {f"{name} tools" for name in TARGETS} <= set(facts)
    assert all(facts.values())
    assert "onnxruntime" in facts["onnx tools"]


def test_lines_and_json(examined: Examination) -> None:
    fields = json.loads(examined.to_json())
    assert fields["facts"] == examined.facts
    assert len(fields["findings"]) == len(examined.findings)
    starts = {*examined.facts, *(found.what for found in examined.findings)}
    width = max(map(len, starts))
    for line, name in zip(
        examined.lines, [*examined.facts, *(f.what for f in examined.findings)], strict=True
    ):
        assert line.startswith(f"{name:<{width}}  ")
        assert line[width + 2] != " "


def test_the_tiny_student_would_show_a_fault() -> None:
    for precision, limit in MAX_ABS.items():
        _, signature, golden = example(precision)
        assert np.ptp(golden.rig, axis=0).min() > 5 * limit, precision
        assert signature.precision == precision
        assert (golden.codes is not None) == (precision == "int8")


def test_wrong_numbers_do_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    real = load_target("onnx")

    def opened(path: Path) -> Any:
        runtime = real.open_runtime(path)
        return SimpleNamespace(
            signature=runtime.signature,
            run=lambda audio: runtime.run(audio) + np.float32(1),
            describe=runtime.describe,
        )

    stub(monkeypatch, open_runtime=opened)
    (finding,) = examine(hidden=True).findings
    assert (finding.what, finding.state) == ("onnx fp32", "does not work")
    assert "windows differ by more than" in finding.detail


def test_a_graph_of_another_precision_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    real = load_target("onnx")

    def exported(module: Any, signature: Any, path: Path) -> Any:
        half, halved, _ = example("fp16")
        return real.export(half, halved, path)

    stub(monkeypatch, export=exported)
    (finding,) = examine(hidden=True).findings
    assert finding.state == "does not work"
    assert "with float16 weights, expected" in finding.detail


def test_further_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = load_target("onnx")

    def further(path: Path) -> dict[str, Any]:
        return {"Twin": real.open_runtime(path), "Elsewhere": "runs on macOS only"}

    stub(monkeypatch, further_runtimes=further)
    examined = examine(hidden=True)
    assert [(found.what, found.state) for found in examined.findings] == [
        ("onnx fp32", "works"),
        ("onnx fp32, Twin", "works"),
        ("onnx, Elsewhere", "not run"),
    ]
    assert examined.findings[2].detail == "runs on macOS only"
    examined.conclude()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'abacus.beads'", name="abacus.beads"), "abacus is"),
        (ImportError("libabacus.so: cannot open"), "ImportError: libabacus.so: cannot open"),
        (AttributeError("abacus has no beads"), "AttributeError: abacus has no beads"),
    ],
)
def test_a_broken_installation_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def broken(*arguments: object, **options: object) -> Any:
        raise error

    stub(monkeypatch, export=broken)
    examined = examine(hidden=True)
    (finding,) = examined.findings
    assert finding.state == "does not work"
    assert said in finding.detail
    assert "pip install" in finding.detail
    with pytest.raises(MissingError, match="onnx fp32"):
        examined.conclude()


def test_without_packages(process: Cli) -> None:
    names = sorted(set(PACKAGES) & set(TARGETS))
    blocked = "; ".join(f"sys.modules[{PACKAGES[name]!r}] = None" for name in names)
    ended = process("doctor", "--json", before=blocked)
    assert ended.failed(4, *(f"{name} fp32" for name in names))
    findings = {row["what"]: row for row in json.loads(ended.out)["findings"]}
    for name in names:
        for precision in load_target(name).PRECISIONS:
            lost = findings[f"{name} {precision}"]
            assert lost["state"] == "does not work"
            assert f"pip install {PACKAGES[name].replace('_', '-')}" in lost["detail"]


def test_without_torch_at_all(process: Cli) -> None:
    ended = process("doctor", before="sys.modules['torch'] = None")
    assert ended.failed(4, *(f"{name} fp32" for name in TARGETS))
    assert "torch is missing" in ended.out
    assert "gpu" in ended.out


def test_a_fact_of_many_lines_stays_one_line() -> None:
    finding = Finding("abacus fp32", "does not work", "first\n  second\n")
    (fact, line) = Examination({"python": "3"}, (finding,)).lines
    assert (fact, line) == ("python       3", "abacus fp32  does not work: first second")
