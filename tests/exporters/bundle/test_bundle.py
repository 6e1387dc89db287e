"""A bundle proves itself from its files, in every target there is."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import exporters
from exporters.bundle import folder as bundle
from exporters.bundle.folder import check_bundle, lacking, model_files, seal_bundle
from exporters.errors import ContractError, MissingToolError
from exporters.proof.checks import Check, overall
from exporters.signature import Signature
from exporters.targets.contract import load_target
from tests.exporters.bundles import MAX_ABS, TARGETS, MakeBundle, Student, model_of, parts

pytestmark = pytest.mark.slow  # converters take seconds to begin


def by_what(checks: tuple[Check, ...], file: str) -> dict[str, Check]:
    return {check.what: check for check in checks if check.file == file}


# ------------------------------------------------------------------------------------------- sound


@pytest.mark.parametrize("precision", sorted(MAX_ABS))
def test_a_sound_bundle(make_bundle: MakeBundle, precision: str) -> None:
    folder = make_bundle(precision)
    checks = check_bundle(folder)
    assert checks[0].file == "SHA256SUMS"
    asked = [name for name in TARGETS if precision in load_target(name).PRECISIONS]
    assert asked
    for name in asked:
        path = model_of(folder, name)
        found = by_what(checks, path.name)
        runtime = load_target(name).open_runtime(path).describe()["runtime"]
        own = ("structure", f"golden windows, {runtime}")
        assert {what: found[what].status for what in own} == dict.fromkeys(own, "passed"), found
        further = load_target(name).further_runtimes(path)
        assert set(found) == {*own, *(f"golden windows, {other}" for other in further)}
        for other, runs in further.items():
            check = found[f"golden windows, {other}"]
            if isinstance(runs, str):
                assert (check.status, check.detail) == ("not run", runs)
            else:
                assert check.status == "passed", check
    assert {check.file for check in checks[1:]} == {model_of(folder, name).name for name in asked}
    assert lacking(checks) == ()


def test_chosen_targets(make_bundle: MakeBundle) -> None:
    folder = make_bundle("fp32")
    for name in TARGETS:
        files = {check.file for check in check_bundle(folder, [name])}
        assert files == {"SHA256SUMS", model_of(folder, name).name}
    assert {check.file for check in check_bundle(folder, TARGETS)} == {
        check.file for check in check_bundle(folder)
    }
    with pytest.raises(ContractError, match="no target 'coffee'"):
        check_bundle(folder, ["coffee"])


def test_model_files_are_told(make_bundle: MakeBundle) -> None:
    folder = make_bundle("fp32")
    assert model_files(folder) == {model_of(folder, name): name for name in TARGETS}
    assert model_files(folder, ["onnx"]) == {folder / "model.onnx": "onnx"}


# ------------------------------------------------------------------- wrong numbers, sums rewritten


@pytest.mark.parametrize("target", TARGETS)
def test_a_doubled_weight_is_found(own_bundle: Path, target: str) -> None:
    double_a_weight(model_of(own_bundle, target), Student().rig.weight.detach().numpy())
    seal_bundle(own_bundle)
    checks = by_what(check_bundle(own_bundle, [target]), model_of(own_bundle, target).name)
    assert checks["structure"].status == "passed"
    golden = [check for what, check in checks.items() if what.startswith("golden windows")]
    assert golden[0].status == "failed"
    assert "windows differ by more than 1e-05; worst: " in golden[0].detail
    assert all(check.status != "passed" for check in golden)
    assert overall(check.status for check in checks.values()) == "failed"


def double_a_weight(model: Path, weights: np.ndarray) -> None:
    """Find one of these float32 weights by its bytes and double it, whatever the format."""
    for weight in sorted(weights.ravel(), key=abs, reverse=True):
        pattern = weight.tobytes()
        holders = [path for path in parts(model) if pattern in path.read_bytes()]
        if len(holders) == 1 and holders[0].read_bytes().count(pattern) == 1:
            content = holders[0].read_bytes().replace(pattern, (2 * weight).tobytes())
            holders[0].write_bytes(content)
            return
    raise AssertionError(f"{model} holds no weight of the layer just once")


@pytest.mark.parametrize("target", [t for t in TARGETS if "int8" in load_target(t).PRECISIONS])
def test_a_file_of_float_weights_is_no_int8_file(
    own_bundle: Path, integer_signature: Signature, make_bundle: MakeBundle, target: str
) -> None:
    # Its signature promises int8, its graph is another: the structure says so.
    load_target(target).export(
        Student(), replace(integer_signature, precision="fp32"), model_of(own_bundle, target)
    )
    promised = load_target(target).structure(model_of(own_bundle, target))
    outcome = bundle._structure(model_of(own_bundle, target), promised, integer_signature)
    assert outcome.status == "failed"
    assert "convolution 1 is computed in float with float32 weights, expected" in outcome.detail


# --------------------------------------------------------------------------------- what cannot run


def stub(monkeypatch: pytest.MonkeyPatch, target: str, **changes: Any) -> None:
    real = load_target(target)
    names = ("SUFFIX", "structure", "open_runtime", "further_runtimes")
    stubbed = SimpleNamespace(**({name: getattr(real, name) for name in names} | changes))
    monkeypatch.setattr(
        bundle, "load_target", lambda name: stubbed if name == target else load_target(name)
    )


def missing(*arguments: object, **options: object) -> Any:
    raise MissingToolError("abacus is needed to do this. Install with: pip install abacus")


def test_a_runtime_that_is_not_installed(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_bundle("fp32")
    stub(monkeypatch, "onnx", open_runtime=missing, structure=missing, further_runtimes=missing)
    checks = check_bundle(folder)
    lost = by_what(checks, "model.onnx")
    assert {what: check.status for what, check in lost.items()} == {
        "structure": "not run",
        "golden windows": "not run",
        "golden windows, further runtimes": "not run",
    }
    assert all("pip install abacus" in check.detail for check in lost.values())
    assert set(lacking(checks)) == {lost["structure"], lost["golden windows"]}
    assert overall(check.status for check in checks) == "not run"


def test_codes_that_cannot_be_read_here(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = load_target("onnx").open_runtime(make_bundle("int8") / "model.onnx")
    monkeypatch.setattr(runtime, "codes", missing)
    stub(monkeypatch, "onnx", open_runtime=lambda *_, **__: runtime)
    checks = by_what(check_bundle(make_bundle("int8"), ["onnx"]), "model.onnx")
    assert checks["golden windows"].status == "not run"


def test_further_runtimes(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_bundle("fp32")
    runtime = load_target("onnx").open_runtime(folder / "model.onnx")
    broken = SimpleNamespace(
        signature=runtime.signature,
        run=lambda audio: np.full_like(runtime.run(audio), np.nan),
        describe=lambda: {"runtime": "Broken"},
    )
    others = {"Twin": runtime, "Elsewhere": "runs on macOS only", "Broken": broken}
    stub(monkeypatch, "onnx", further_runtimes=lambda *_, **__: others)
    checks = check_bundle(folder, ["onnx"])
    found = by_what(checks, "model.onnx")
    assert found["golden windows, Twin"].status == "passed"
    assert found["golden windows, Broken"].status == "failed"
    elsewhere = found["golden windows, Elsewhere"]
    assert (elsewhere.status, elsewhere.detail) == ("not run", "runs on macOS only")
    assert lacking(checks) == ()


def test_threads_are_handed_on(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = load_target("onnx")

    def opened(path: Path, *, threads: int) -> Any:
        asked.append(threads)
        return real.open_runtime(path, threads=threads)

    stub(monkeypatch, "onnx", open_runtime=opened)
    check_bundle(make_bundle("fp32"), ["onnx"], threads=2)
    assert asked == [2]


@pytest.mark.parametrize("precision", sorted(MAX_ABS))
def test_torch_is_not_needed_where_a_runtime_suffices(
    make_bundle: MakeBundle, precision: str
) -> None:
    targets = [name for name in TARGETS if name in ("onnx", "tflite")]
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from exporters.bundle.folder import check_bundle\n"
        f"for check in check_bundle(Path(sys.argv[1]), {targets!r}):\n"
        "    print(check.file, check.what, check.status, check.detail, sep='|')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(make_bundle(precision))],
        cwd=Path(exporters.__path__[0]).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines()]
    for target in targets:
        if precision in load_target(target).PRECISIONS:
            name = model_of(Path(), target).name
            own = [(what, status) for file, what, status, _ in lines if file == name][:2]
            assert [status for _, status in own] == ["passed", "passed"], done.stdout
