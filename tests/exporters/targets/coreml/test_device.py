"""Packages on devices: one that flushes, a Mac with a stand-in for Core ML, and elsewhere."""

import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from exporters.targets.coreml import device as coreml_device
from exporters.targets.coreml import target as coreml
from exporters.targets.coreml.mil import evaluate, evaluate_to, read_program
from exporters.targets.coreml.package import quiet
from exporters.targets.runtime import Runtime

pytestmark = pytest.mark.slow  # converters take seconds to begin

NAMES = [
    "Core ML, CPU only",
    "Core ML, CPU and GPU",
    "Core ML, CPU and Neural Engine",
    "Core ML, all units",
]


def on_core_ml(package: Path) -> dict[str, Runtime | str]:
    """The further runtimes without the first, which runs everywhere."""
    first, *others = coreml.further_runtimes(package).items()
    assert first[0] == coreml.FLUSHED
    assert [name for name, _ in others] == NAMES
    return dict(others)


def test_a_device_that_flushes_is_a_runtime_of_its_own(
    packages: dict[str, Path], speech: np.ndarray
) -> None:
    flushed = coreml.further_runtimes(packages["fp16"])[coreml.FLUSHED]
    assert not isinstance(flushed, str)
    assert flushed.describe()["runtime"] == coreml.FLUSHED
    program = read_program(packages["fp16"], flush_subnormals=True)
    np.testing.assert_array_equal(flushed.run(speech), evaluate(program, speech))


@pytest.mark.skipif(platform.system() == "Darwin", reason="Core ML is here")
def test_elsewhere_core_ml_is_a_reason(packages: dict[str, Path]) -> None:
    found = on_core_ml(packages["fp32"])
    assert set(found.values()) == {f"Core ML runs on macOS only; this is {platform.system()}"}


class Framework:
    """Core ML's part: what MLModel gives where there is one. It evaluates what it is given."""

    opened: list[str] = []  # noqa: RUF012

    def __init__(self, path: str, compute_units: Any) -> None:
        self.opened.append(compute_units.name)
        self.program = read_program(Path(path))
        self.__proxy__ = None if compute_units.name == "CPU_AND_GPU" else object()

    def predict(self, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = self.program.outputs
        found = evaluate_to(self.program, data["audio"], names)
        return {
            name: values[0].astype(np.float16)
            if self.program.values[name].dtype == "fp16"
            else values[0]
            for name, values in found.items()
        }


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mac whose Core ML refuses the GPU."""
    with quiet():
        import coremltools
    machine = SimpleNamespace(
        system=lambda: "Darwin",
        mac_ver=lambda: ("14.5", ("", "", ""), "arm64"),
        machine=lambda: "arm64",
    )
    monkeypatch.setattr(coreml_device, "platform", machine)
    monkeypatch.setattr(coremltools.models, "MLModel", Framework)
    Framework.opened.clear()


@pytest.mark.usefixtures("mac")
@pytest.mark.parametrize("precision", coreml.PRECISIONS)
def test_on_a_mac_core_ml_is_asked_what_the_evaluator_is(
    packages: dict[str, Path], speech: np.ndarray, precision: str
) -> None:
    """The framework is a stand-in: this tests what it is asked, not what it answers."""
    found = on_core_ml(packages[precision])
    assert Framework.opened == ["CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL"]
    refused = found["Core ML, CPU and GPU"]
    assert isinstance(refused, str)
    assert refused.startswith("Core ML cannot load")
    runtime, evaluator = found["Core ML, all units"], coreml.open_runtime(packages[precision])
    assert not isinstance(runtime, str)
    np.testing.assert_allclose(runtime.run(speech), evaluator.run(speech), atol=5e-3)
    codes, expected = runtime.codes(speech[:1]), evaluator.codes(speech[:1])
    assert (codes is None) == (expected is None) == (precision != "int8")
    if codes is not None:
        assert codes.dtype == np.int8
        assert np.array_equal(codes, expected)
    tensors, wanted = runtime.tensors(speech[:1]), evaluator.tensors(speech[:1])
    assert list(tensors) == list(wanted)
    for name, values in tensors.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, wanted[name])
    facts = runtime.describe()
    assert facts["runtime"] == "Core ML, all units"
    assert facts["version"] == "macOS 14.5"


@pytest.mark.usefixtures("mac")
def test_a_mac_that_is_too_old(packages: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreml_device.platform, "mac_ver", lambda: ("13.6.1", ("",) * 3, "arm64"))
    found = on_core_ml(packages["fp32"])
    assert set(found.values()) == {"the package needs macOS 14; this is macOS 13.6.1"}
