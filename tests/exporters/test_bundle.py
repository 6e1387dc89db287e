"""A bundle proves itself from its files, in every target there is, and no damage goes unnoticed."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import exporters
from exporters.bundle import folder as bundle
from exporters.bundle.folder import check_bundle, lacking, model_files, seal_bundle
from exporters.bundle.golden import make_golden
from exporters.checks import Check, overall
from exporters.errors import MissingToolError, ModelFileError
from exporters.signature import Signature
from exporters.targets import available_targets, load_target

TARGETS = available_targets()
# A file in fp16 has rounded weights, its source has not.
MAX_ABS = {"fp32": 1e-5, "fp16": 5e-3, "int8": 2e-3}

MakeBundle = Callable[[str], Path]


class Student(nn.Module):
    """Two convolutions with weights that follow a rule: [batch, 1, 64] -> [batch, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv1d(1, 8, kernel_size=64)
        self.rig = nn.Conv1d(8, 3, kernel_size=1)
        with torch.no_grad():
            for scale, weights in enumerate(self.parameters(), start=1):
                count = torch.arange(weights.numel(), dtype=torch.float64)
                weights.copy_((torch.sin(scale + count) / scale**0.5).view_as(weights))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.rig(torch.relu(self.features(audio))).squeeze(-1)


@pytest.fixture(scope="session")
def make_bundle(
    signature: Signature,
    integer_signature: Signature,
    integer_student: nn.Module,
    tmp_path_factory: pytest.TempPathFactory,
) -> MakeBundle:
    """A sealed bundle in a precision, with a file for every target that has it. Read, never written."""
    made: dict[str, Path] = {}

    def make(precision: str) -> Path:
        if precision not in made:
            made[precision] = folder = tmp_path_factory.mktemp(f"tiny-{precision}")
            signed = replace(signature, precision=precision)
            if precision == "int8":
                # The head takes codes and gives values.
                layers = {"features": "int8", "head": "int8_weights"}
                made_of = {**integer_signature.quantization, "layers": layers}
                signed = replace(integer_signature, quantization=made_of)
            module = integer_student if precision == "int8" else Student()
            speech = np.random.default_rng(7).uniform(-0.5, 0.5, (5, 1, 64)).astype(np.float32)
            golden = make_golden(module, signed, speech, max_abs=MAX_ABS[precision])
            for name in TARGETS:
                if precision in load_target(name).PRECISIONS:
                    path = folder / f"model{load_target(name).SUFFIX}"
                    load_target(name).export(module, signed, path)
            signed.write(folder / "signature.json")
            (folder / "golden.npz").write_bytes(golden.to_bytes())
            (folder / "README.md").write_text("# tiny\n")
            seal_bundle(folder)
        return made[precision]

    return make


@pytest.fixture
def own(make_bundle: MakeBundle, tmp_path: Path) -> Path:
    """A copy of the bundle in fp32 to spoil."""
    return shutil.copytree(make_bundle("fp32"), tmp_path / "tiny")


def model_of(folder: Path, target: str) -> Path:
    return folder / f"model{load_target(target).SUFFIX}"


def parts(model: Path) -> list[Path]:
    """The files of a model: itself, or those in it."""
    return (
        sorted(path for path in model.rglob("*") if path.is_file()) if model.is_dir() else [model]
    )


def refused(folder: Path, *said: str, **options: Any) -> bool:
    with pytest.raises(ModelFileError) as error:
        check_bundle(folder, **options)
    text = str(error.value)
    assert "\n\n" not in text, "one paragraph"
    assert [word for word in said if word not in text] == [], text
    return True


def by_what(checks: tuple[Check, ...], file: str) -> dict[str, Check]:
    return {check.what: check for check in checks if check.file == file}


# -------------------------------------------------------------------------------------------- sound


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
    with pytest.raises(ValueError, match="no target 'coffee'"):
        check_bundle(folder, ["coffee"])


def test_sums_are_those_of_sha256sum(own: Path) -> None:
    # The tool itself reads ours, and ours reads what the tool writes.
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(command, cwd=own, check=True)
    names = [line.split("  ", 1)[1] for line in (own / "SHA256SUMS").read_text().splitlines()]
    files = [path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_file()]
    assert names == sorted(set(files) - {"SHA256SUMS"})
    written = subprocess.run(
        ["sha256sum", "--binary", *names], cwd=own, check=True, capture_output=True
    )
    assert b" *" in written.stdout
    (own / "SHA256SUMS").write_bytes(written.stdout)
    assert check_bundle(own, ["onnx"])[0].detail == f"{len(names)} files as they are listed"


def test_stamps_and_hidden_files_are_no_part_of_it(own: Path) -> None:
    before = (own / "SHA256SUMS").read_bytes()
    (own / "stage.json").write_text("{}")
    (own / ".DS_Store").write_text("a desktop was here")
    (own / ".cache").mkdir()
    (own / ".cache" / "model.onnx").write_text("none of ours")
    (own / ".model.onnx").write_text("half copied")
    check_bundle(own, ["onnx"])
    seal_bundle(own)
    assert (own / "SHA256SUMS").read_bytes() == before


# ------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize("target", TARGETS)
def test_one_byte(own: Path, target: str) -> None:
    found = 0
    for path in parts(model_of(own, target)):
        content = path.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            name = path.relative_to(own).as_posix()
            assert refused(own, f"{name} has the SHA-256 ", ", expected ")
            found += 1
        path.write_bytes(content)
    assert found >= 3


@pytest.mark.parametrize("target", TARGETS)
def test_a_file_that_is_missing(own: Path, target: str) -> None:
    model = model_of(own, target)
    first = parts(model)[0]
    name, content = first.relative_to(own).as_posix(), first.read_bytes()
    first.unlink()
    assert refused(own, f"{name} is missing")
    first.symlink_to("nowhere")
    assert refused(own, f"{name} is missing")
    first.unlink()
    first.mkdir()
    assert refused(own, f"{name} cannot be read: Is a directory")
    first.rmdir()
    first.write_bytes(content)
    if model.is_dir():
        shutil.rmtree(model)
        model.write_text("a file now")
        assert refused(
            own, f"{name} cannot be read: Not a directory", f"{model.name} is not listed"
        )


def test_a_file_that_may_not_be_read(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything, so the refusal is played.
    original = Path.open

    def refusing(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "golden.npz":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refusing)
    assert refused(own, "golden.npz cannot be read: Permission denied")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("content", [b"", b"no model" * 100])
def test_a_file_that_is_no_model_though_its_sum_is_right(
    own: Path, target: str, content: bytes
) -> None:
    for path in parts(model_of(own, target)):
        path.write_bytes(content)
    seal_bundle(own)
    assert refused(own, f"{own}")


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_of_the_other_form(own: Path, target: str) -> None:
    # A folder where a file belongs, or a file where a folder does.
    model = model_of(own, target)
    if model.is_dir():
        shutil.rmtree(model)
        model.write_bytes(b"no model")
    else:
        model.unlink()
        model.mkdir()
        (model / "model").write_bytes(b"no model")
    seal_bundle(own)
    assert refused(own, model.name)


def test_all_faults_are_named_together(own: Path) -> None:
    (own / "golden.npz").unlink()
    (own / "signature.json").write_text("{}")
    (own / "more").mkdir()
    (own / "more" / "weights.bin").write_text("whose?")
    assert refused(
        own,
        "3 faults",
        "golden.npz is missing",
        "signature.json has the SHA-256 ",
        "more/weights.bin is not listed",
    )


def test_without_sums_nothing_is_proved(own: Path) -> None:
    (own / "SHA256SUMS").unlink()
    assert refused(own, "SHA256SUMS is missing")
    assert refused(own / "nowhere", "SHA256SUMS is missing")
    (own / "SHA256SUMS").mkdir()
    assert refused(own, "SHA256SUMS cannot be read")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "some words",
        "0" * 63 + "  model.onnx",
        "0" * 64 + " model.onnx",
        "0" * 64 + "  /etc/passwd",
        "0" * 64 + "  ../model.onnx",
        "0" * 64 + "  a/../model.onnx",
        "0" * 64 + "  ./model.onnx",
        "0" * 64 + "  a\\b",
        "0" * 64 + "  README.md",  # a second time
        "\0",
    ],
)
def test_sums_that_are_damaged(own: Path, line: str) -> None:
    sums = own / "SHA256SUMS"
    count = len(sums.read_text().splitlines())
    sums.write_text(sums.read_text() + line + "\n")
    assert refused(own, f"SHA256SUMS is damaged in line {count + 1}")
    sums.write_bytes(b"\xff\xfe")
    assert refused(own, "SHA256SUMS cannot be read")
    sums.write_text("")
    assert refused(own, "lists no file")


def test_models_that_nobody_knows_and_none_at_all(own: Path) -> None:
    (own / "model.pt").write_text("a pickle")
    seal_bundle(own)
    assert refused(own, "holds model.pt, which no target here knows", ".onnx")
    (own / "model.pt").unlink()
    for name in TARGETS:
        model = model_of(own, name)
        shutil.rmtree(model) if model.is_dir() else model.unlink()
        seal_bundle(own)
        assert refused(own, f"no file for {name}" if name != TARGETS[-1] else "", targets=[name])
    assert refused(own, "holds no model file; expected one that ends in ", ".onnx")


def test_signatures_that_contradict_each_other(own: Path) -> None:
    beside = Signature.read(own / "signature.json")
    replace(beside, past=16, future=48, teacher="another").write(own / "signature.json")
    seal_bundle(own)
    assert refused(
        own,
        "model.onnx carries another",
        "past is 48 in the file and 16 beside it",
        "teacher is ",
        targets=["onnx"],
    )
    for name in TARGETS:
        assert refused(own, model_of(own, name).name, targets=[name])
    (own / "signature.json").write_text("{")
    seal_bundle(own)
    assert refused(own, "signature.json does not hold a signature")
    (own / "signature.json").unlink()
    seal_bundle(own)
    assert refused(own, "signature.json cannot be read")


def test_golden_windows_that_are_gone_or_of_another_file(own: Path) -> None:
    (own / "golden.npz").write_bytes(b"no archive")
    seal_bundle(own)
    assert refused(own, "golden.npz does not hold golden windows")
    signed = replace(Signature.read(own / "signature.json"), window=32, past=16, future=16)
    made = make_golden(
        nn.Sequential(nn.Conv1d(1, 3, 32), nn.Flatten()),
        signed,
        np.zeros((1, 1, 32), np.float32),
        max_abs=1.0,
    )
    (own / "golden.npz").write_bytes(made.to_bytes())
    seal_bundle(own)
    assert refused(own, "32 samples and 3 controls, expected 64 and 3")


# ------------------------------------------------------------------- wrong numbers, sums rewritten


@pytest.mark.parametrize("target", TARGETS)
def test_a_doubled_weight_is_found(own: Path, target: str) -> None:
    double_a_weight(model_of(own, target), Student().rig.weight.detach().numpy())
    seal_bundle(own)
    checks = by_what(check_bundle(own, [target]), model_of(own, target).name)
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
    own: Path, integer_signature: Signature, make_bundle: MakeBundle, target: str
) -> None:
    # Its signature promises int8, its graph is another: the structure says so.
    load_target(target).export(
        Student(), replace(integer_signature, precision="fp32"), model_of(own, target)
    )
    promised = load_target(target).structure(model_of(own, target))
    outcome = bundle._structure(model_of(own, target), promised, integer_signature)
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


def test_model_files_are_told(make_bundle: MakeBundle) -> None:
    folder = make_bundle("fp32")
    assert model_files(folder) == {model_of(folder, name): name for name in TARGETS}
    assert model_files(folder, ["onnx"]) == {folder / "model.onnx": "onnx"}
