"""lipstill verify: sound folders, damage, wrong numbers, what cannot run here, and how it ends."""

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.commands.doctor import example
from compress.prove import verification
from compress.quantize.graph import IntegerWindow
from compress.report.provenance import write_sums
from compress.students.contract import Window
from compress.students.integers import Range, to_codes
from exporters.bundle.folder import seal_bundle
from exporters.proof.golden import make_golden
from exporters.targets.contract import available_targets, load_target

pytestmark = pytest.mark.slow  # converters take seconds to begin

TARGETS = available_targets()
PRECISIONS = ("fp32", "fp16", "int8")
INT8 = tuple(name for name in TARGETS if "int8" in load_target(name).PRECISIONS)

# Import name of what runs a target's files.
RUNTIMES = {"coreml": "coremltools", "onnx": "onnxruntime", "tflite": "ai_edge_litert"}

Cli = Callable[..., Any]


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny student in all precisions and targets. Read, never written."""
    run = tmp_path_factory.mktemp("sound") / "run"
    for precision in PRECISIONS:
        module, signature, golden = example(precision)
        if precision == "int8":
            module, signature, golden = with_an_int8_rig()
        folder = run / "models" / f"tiny-{precision}"
        for name in TARGETS:
            if precision in load_target(name).PRECISIONS:
                path = folder / f"model{load_target(name).SUFFIX}"
                load_target(name).export(module, signature, path)
        signature.write(folder / "signature.json")
        (folder / "golden.npz").write_bytes(golden.to_bytes())
        (folder / "README.md").write_text("# tiny\n")
        (folder / "stage.json").write_text("{}\n")
        seal_bundle(folder)
    (run / "labels").mkdir()
    (run / "labels" / "0.npz").write_bytes(b"curves")
    (run / "run.json").write_text("{}\n")
    (run / ".lock").write_text("1\n")
    write_sums(run)
    return run


def with_an_int8_rig() -> tuple[IntegerWindow, Any, Any]:
    """The int8 student of the doctor with its last layer in int8 as well."""
    from compress.quantize.calibration import calibrate, choosing
    from compress.quantize.graph import with_integer_biases

    module, signature, _ = example("int8")
    assert isinstance(module, IntegerWindow)
    student, _ = module._made_of
    noise = 0.1 * torch.randn(4, 1, 512 + 256 * 15, generator=torch.Generator().manual_seed(1))
    codes = calibrate(student, [noise], "minmax")
    # Room for what is louder than that noise.
    widest = Range(2 * codes.tensors["rig"].scale, codes.tensors["rig"].zero_point)
    codes = replace(codes, tensors={**codes.tensors, "rig": widest})
    codes = choosing(codes, student.config, {**codes.layers, "first": "float"})
    module = IntegerWindow(with_integer_biases(student, codes), codes)
    signature = replace(signature, quantization=codes.in_brief())
    speech = np.zeros((0, 1, 512), np.float32)
    limit = 1.001 * widest.scale  # one step of the rig's codes
    return module, signature, make_golden(module, signature, speech, max_abs=limit)


@pytest.fixture
def own(sound: Path, tmp_path: Path) -> Path:
    """A copy of the run to spoil."""
    return shutil.copytree(sound, tmp_path / "run")


@pytest.fixture
def bundle(sound: Path, tmp_path: Path) -> Path:
    """A copy of the bundle in fp32 to spoil."""
    return shutil.copytree(sound / "models" / "tiny-fp32", tmp_path / "tiny-fp32")


def model_of(folder: Path, target: str) -> Path:
    return folder / f"model{load_target(target).SUFFIX}"


def parts(model: Path) -> list[Path]:
    return (
        sorted(path for path in model.rglob("*") if path.is_file()) if model.is_dir() else [model]
    )


def largest(model: Path) -> Path:
    """The file of a model with the most bytes."""
    return max(parts(model), key=lambda path: path.stat().st_size)


def rows(ended: Any) -> dict[tuple[str, str], tuple[str, str]]:
    """Of `--json`: file and what → status and detail."""
    checks = json.loads(ended.out)["checks"]
    return {(row["file"], row["what"]): (row["status"], row["detail"]) for row in checks}


def golden_rows(ended: Any, model: Path) -> list[str]:
    found = rows(ended).items()
    return [
        status
        for (file, what), (status, _) in found
        if file == model.name and what.startswith("golden windows")
    ]


# -------------------------------------------------------------------------------------------- sound


def test_a_sound_run(sound: Path, cli: Cli) -> None:
    ended = cli("verify", sound, "--json")
    assert (ended.code, ended.err) == (0, "")
    found = rows(ended)
    assert found["SHA256SUMS", "checksums"][0] == "passed"
    for precision in PRECISIONS:
        prefix = f"models/tiny-{precision}/"
        assert found[f"{prefix}SHA256SUMS", "checksums"][0] == "passed"
        for name in TARGETS:
            if precision in load_target(name).PRECISIONS:
                file = str(model_of(Path(prefix), name))
                runtime = load_target(name).open_runtime(sound / file).describe()["runtime"]
                for what in ("golden windows", "declared future", "declared past"):
                    assert found[file, f"{what}, {runtime}"][0] == "passed"
                assert found[file, "structure"][0] == "passed"
    statuses = {status for status, _ in found.values()}
    assert statuses <= {"passed", "not run"}
    assert json.loads(ended.out)["status"] == ("not run" if "not run" in statuses else "passed")


def test_lines_are_aligned(sound: Path, cli: Cli) -> None:
    ended = cli("verify", sound / "models" / "tiny-fp32", "--target", "onnx")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert [line.split()[0] for line in lines] == ["SHA256SUMS"] + ["model.onnx"] * 4
    columns = {line.index("  passed  ") for line in lines}
    assert len(columns) == 1


def test_a_whole_run_of_a_recipe(finished: Path, cli: Cli) -> None:
    ended = cli("verify", finished)
    assert ended.code == 0, f"{ended.out}\n{ended.err}"
    assert "models/small-fp32/model.onnx" in ended.out


def test_chosen_targets(sound: Path, cli: Cli) -> None:
    for name in TARGETS:
        found = rows(cli("verify", sound, "--target", name, "--json"))
        suffixes = {Path(file).suffix for file, _ in found} - {""}
        assert suffixes == {load_target(name).SUFFIX}
    assert cli("verify", sound, "--target", "coffee").failed(2, "coffee", "onnx")


def test_here_and_in_a_folder_that_is_entered(
    bundle: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle)
    assert cli("verify", ".", "--target", "onnx").code == 0


def test_torch_is_not_needed(sound: Path, process: Cli) -> None:
    targets = [name for name in ("onnx", "tflite") if name in TARGETS]
    chosen = [part for name in targets for part in ("--target", name)]
    ended = process("verify", sound, *chosen, before="sys.modules['torch'] = None")
    assert ended.code == 0, f"{ended.out}\n{ended.err}"
    assert ended.out.count("golden windows") >= len(PRECISIONS) * len(targets)


def test_junit(sound: Path, tmp_path: Path, cli: Cli) -> None:
    ended = cli("verify", sound, "--junit", tmp_path / "new" / "verify.xml", "--json")
    assert ended.code == 0, ended.err
    (suite,) = ET.parse(tmp_path / "new" / "verify.xml").getroot()
    cases = [(case.get("classname"), case.get("name")) for case in suite.iter("testcase")]
    assert cases == list(rows(ended))
    assert (suite.get("failures"), suite.get("tests")) == ("0", str(len(cases)))
    assert {"lipstill", "cpu"} <= {entry.get("name") for entry in suite.iter("property")}


# ------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize("target", TARGETS)
def test_one_byte_of_a_model(bundle: Path, target: str, cli: Cli) -> None:
    path = largest(model_of(bundle, target))
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    name = path.relative_to(bundle).as_posix()
    assert cli("verify", bundle).failed(3, f"{name} has the SHA-256", "expected")


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_that_is_missing(bundle: Path, target: str, cli: Cli) -> None:
    model = model_of(bundle, target)
    shutil.rmtree(model) if model.is_dir() else model.unlink()
    assert cli("verify", bundle).failed(3, model.name, "is missing")
    seal_bundle(bundle)
    assert cli("verify", bundle, "--target", target).failed(3, f"no file for {target}")


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_that_cannot_be_read(bundle: Path, target: str, cli: Cli) -> None:
    path = largest(model_of(bundle, target))
    path.unlink()
    path.mkdir()
    assert cli("verify", bundle).failed(3, path.name, "cannot be read: Is a directory")
    path.rmdir()
    path.write_bytes(b"no model" * 100)
    seal_bundle(bundle)
    assert cli("verify", bundle).failed(3, model_of(bundle, target).name)


def test_a_damaged_part_does_not_hide_the_others(own: Path, tmp_path: Path, cli: Cli) -> None:
    (own / "models" / "tiny-fp16" / "golden.npz").unlink()
    (own / "labels" / "0.npz").write_bytes(b"other curves")
    options = ("--target", "onnx", "--junit", tmp_path / "verify.xml", "--json")
    ended = cli("verify", own, *options)
    assert ended.failed(3, "labels/0.npz has the", "tiny-fp16/golden.npz is missing")
    found = rows(ended)
    assert found[".", "intact"][0] == "failed"
    assert found["models/tiny-fp16", "intact"][0] == "failed"
    assert found["models/tiny-fp32/model.onnx", "golden windows, ONNX Runtime"][0] == "passed"
    assert json.loads(ended.out)["status"] == "failed"
    (suite,) = ET.parse(tmp_path / "verify.xml").getroot()
    assert suite.get("failures") == "2"


def test_a_run_is_as_it_was_summed(own: Path, cli: Cli) -> None:
    chosen = ("--target", "onnx")
    (own / "notes.txt").write_text("a note at the top is nobody's result")
    (own / "labels" / ".DS_Store").write_text("hidden")
    assert cli("verify", own, *chosen).code == 0
    (own / "labels" / "1.npz").write_bytes(b"whose?")
    assert cli("verify", own, *chosen).failed(3, "labels/1.npz is not listed")
    (own / "SHA256SUMS").unlink()
    assert cli("verify", own, *chosen).failed(3, "SHA256SUMS is missing")


def test_a_tier_that_was_not_sealed(own: Path, cli: Cli) -> None:
    (own / "models" / "tiny-int8" / "SHA256SUMS").unlink()
    write_sums(own)
    ended = cli("verify", own, "--target", "onnx")
    assert ended.failed(3, "models/tiny-int8/SHA256SUMS is missing")


def test_what_is_neither_a_run_nor_a_bundle(tmp_path: Path, sound: Path, cli: Cli) -> None:
    assert cli("verify", tmp_path / "gone").failed(3, "gone does not exist", "signature.json")
    assert cli("verify", tmp_path).failed(3, f"{tmp_path} holds no models")
    model = sound / "models" / "tiny-fp32" / "model.onnx"
    assert cli("verify", model).failed(3, "model.onnx is no folder")
    (tmp_path / "models" / ".half.tmp").mkdir(parents=True)
    assert cli("verify", tmp_path).failed(3, "holds no models")


# ------------------------------------------------------------------- wrong numbers, sums rewritten


def replaced(model: Path, pattern: bytes, by: bytes) -> bool:
    """Whether the pattern stood in a model's files just once; then it is replaced."""
    holders = [path for path in parts(model) for _ in range(path.read_bytes().count(pattern))]
    if len(holders) != 1:
        return False
    holders[0].write_bytes(holders[0].read_bytes().replace(pattern, by))
    return True


@pytest.mark.parametrize("target", TARGETS)
def test_a_doubled_weight(bundle: Path, target: str, cli: Cli) -> None:
    module, _, golden = example("fp32")
    assert isinstance(module, Window)
    with torch.inference_mode():
        heard = module.layers(torch.from_numpy(golden.windows))["head2"].amax((0, 2)).numpy()
    weights = module.student.steps.rig.weight.detach().numpy()[..., 0]
    # Those first that move the rig most: a weight of a channel that is always 0 does nothing.
    by_share = weights.ravel()[np.argsort(-np.abs(weights * heard).ravel())]
    model = model_of(bundle, target)
    assert any(replaced(model, weight.tobytes(), (2 * weight).tobytes()) for weight in by_share)
    assert cli("verify", bundle, "--target", target).code == 3, "the sums are still the old ones"
    seal_bundle(bundle)
    ended = cli("verify", bundle, "--target", target)
    assert ended.failed(1, f"{model.name}, golden windows", "windows differ by more than 0.0001")
    ended = cli("verify", bundle, "--target", target, "--json")
    assert "passed" not in golden_rows(ended, model)
    assert rows(ended)[model.name, "structure"][0] == "passed"
    others = [part for name in TARGETS if name != target for part in ("--target", name)]
    assert not others or cli("verify", bundle, *others).code == 0


@pytest.mark.parametrize("target", INT8)
def test_a_doubled_row_of_codes(own: Path, target: str, cli: Cli) -> None:
    folder = own / "models" / "tiny-int8"
    module, *_ = with_an_int8_rig()
    student, quantization = module._made_of
    scales = quantization.weights["rig"]
    codes = to_codes(student.steps.rig.weight.detach(), scales).numpy()[..., 0]
    model = model_of(folder, target)
    # An ONNX file holds codes as uint8, shifted by 128.
    shift, kind = (128, np.uint8) if target == "onnx" else (0, np.int8)

    def stored(row: np.ndarray) -> bytes:
        return bytes((row + shift).astype(kind).tobytes())

    wide = codes.astype(int)
    assert any(replaced(model, stored(row), stored(np.clip(2 * row, -127, 127))) for row in wide)
    seal_bundle(folder)
    ended = cli("verify", folder, "--target", target)
    assert ended.failed(
        1, f"{model.name}, golden windows", "codes differ: the largest difference is"
    )
    assert "passed" not in golden_rows(cli("verify", folder, "--target", target, "--json"), model)


def test_a_failed_check_is_told_in_every_form(bundle: Path, tmp_path: Path, cli: Cli) -> None:
    golden = example("fp32")[2]
    off = replace(golden, rig=golden.rig + np.float32(1))
    (bundle / "golden.npz").write_bytes(off.to_bytes())
    seal_bundle(bundle)
    junit = tmp_path / "verify.xml"
    ended = cli("verify", bundle, "--target", "onnx", "--junit", junit)
    assert ended.failed(1, "1 of 5 checks", "golden windows, ONNX Runtime: ")
    assert "  failed  " in ended.out
    (failure,) = ET.parse(junit).getroot().iter("failure")
    assert failure.text is not None
    assert failure.text in ended.err


def test_a_signature_that_promises_too_much(bundle: Path, cli: Cli) -> None:
    """A window that ends earlier than declared: the proof of latency is asked too."""
    module, signature, _ = example("fp32")

    class Deaf(torch.nn.Module):
        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            heard: torch.Tensor = module(audio * (torch.arange(512) < 400))
            return heard

    golden = make_golden(Deaf(), signature, np.zeros((0, 1, 512), np.float32), max_abs=1e-4)
    load_target("onnx").export(Deaf(), signature, bundle / "model.onnx")
    (bundle / "golden.npz").write_bytes(golden.to_bytes())
    seal_bundle(bundle)
    ended = cli("verify", bundle, "--target", "onnx")
    assert ended.failed(1, "declared future, ONNX Runtime", "declares more than it hears")


# --------------------------------------------------------------------------------- what cannot run


@pytest.mark.parametrize("target", sorted(set(RUNTIMES) & set(TARGETS)))
def test_a_runtime_that_is_not_installed(sound: Path, target: str, process: Cli) -> None:
    """Exit 4, for it is the target's own; the rest is checked all the same."""
    folder, package = sound / "models" / "tiny-fp32", RUNTIMES[target]
    ended = process("verify", folder, "--json", before=f"sys.modules[{package!r}] = None")
    name = model_of(folder, target).name
    assert ended.failed(4, name, f"pip install {package.replace('_', '-')}", "--target")
    found = rows(ended)
    assert found[name, "golden windows"][0] == "not run"
    for other in TARGETS:
        ran = golden_rows(ended, model_of(folder, other))
        assert (ran[0] == "passed") == (other != target), found


def test_what_is_chosen_needs_nothing_of_the_others(sound: Path, process: Cli) -> None:
    others = set(RUNTIMES.values()) - {"onnxruntime"}
    blocked = "; ".join(f"sys.modules[{package!r}] = None" for package in sorted(others))
    ended = process("verify", sound, "--target", "onnx", before=blocked)
    assert ended.code == 0, f"{ended.out}\n{ended.err}"


def test_what_failed_counts_for_more_than_what_is_missing(bundle: Path, process: Cli) -> None:
    golden = example("fp32")[2]
    (bundle / "golden.npz").write_bytes(replace(golden, rig=golden.rig + 1).to_bytes())
    seal_bundle(bundle)
    ended = process("verify", bundle, "--target", "onnx", before="sys.modules['onnx'] = None")
    assert ended.failed(1, "golden windows, ONNX Runtime")
    assert "pip install onnx" in ended.out


def test_versions_of_all_runtimes_are_told() -> None:
    named = verification.runtimes()
    assert len(named) == len(set(named))
    for target in TARGETS:
        assert set(load_target(target).RUNTIMES) <= set(named)
