"""The card of a bundle: what it says, that it repeats, and that its Python runs as it stands."""

import math
import os
import re
import runpy
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from exporters.bundle import card
from exporters.bundle.card import CardFacts, MetricRow, write_card
from exporters.bundle.folder import seal_bundle
from exporters.errors import ModelFileError
from exporters.proof.golden import make_golden
from exporters.signature import Signature
from exporters.targets.contract import available_targets, load_target

pytestmark = pytest.mark.slow  # converters take seconds to begin

TARGETS = available_targets()
# The module that the Python of a target's card imports; Core ML runs on macOS only.
RUNTIMES = {"onnx": "onnxruntime", "tflite": "ai_edge_litert"}

FACTS = CardFacts(
    parameters=91,
    trained_on="12 minutes of noise | curves of the demo teacher",
    licence="Apache-2.0",
    metrics=(
        MetricRow(
            name="R²",
            value=0.75123,
            against="the teacher",
            n=1200,
            command="lipstill compress demo",
        ),
        MetricRow(name="closures", value="93.1 %", against="phones", n=None, command=None),
        MetricRow(name="lag", value=None, against="the teacher", n="12 clips", command=None),
    ),
)


@pytest.fixture(scope="session")
def bundle(signature: Signature, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed bundle with every target and its card. Read, never written."""
    folder = tmp_path_factory.mktemp("cards") / "tiny-fp32"
    torch.manual_seed(3)
    student = nn.Sequential(nn.Conv1d(1, 4, 64), nn.ReLU(), nn.Conv1d(4, 3, 1), nn.Flatten())
    speech = np.zeros((2, 1, 64), np.float32)
    golden = make_golden(student, signature, speech, max_abs=1e-5)
    for name in TARGETS:
        target = load_target(name)
        target.export(student, signature, folder / f"model{target.SUFFIX}")
    signature.write(folder / "signature.json")
    (folder / "golden.npz").write_bytes(golden.to_bytes())
    write_card(folder, FACTS)
    seal_bundle(folder)
    return folder


@pytest.fixture
def page(bundle: Path) -> str:
    return (bundle / "README.md").read_text("utf-8")


@pytest.fixture
def bare(bundle: Path, tmp_path: Path) -> Path:
    """A bundle with a golden file, a signature and something called a model, to change."""
    for name in ("golden.npz", "signature.json"):
        shutil.copy(bundle / name, tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"never opened")
    return tmp_path


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def row(page: str, name: str) -> list[str]:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[2:-1]]


def test_what_it_is(page: str) -> None:
    assert page.startswith("# tiny, fp32\n")
    assert row(page, "Parameters") == ["91"]
    assert row(page, "Hears") == [
        "64 samples at 16000 Hz: 48 (3 ms) before the moment of a pose, 16 (1 ms) from it on"
    ]
    assert row(page, "Latency")[0].startswith("future 1 ms + hop 16 ms + smoothing 16 ms = 33 ms")
    assert row(page, "Controls") == ["4: 3 predicted, 1 constant"]
    assert row(page, "Trained on") == ["12 minutes of noise \\| curves of the demo teacher"]
    assert row(page, "Licence") == ["Apache-2.0"]
    assert row(page, "Teacher") == ["demo teacher, 0123abcd"]
    assert "tongueOut 0.125." in page
    assert '"jawOpen", "mouthClose", "mouthPucker"' in page
    assert "no value may differ from that by more than 1e-05" in page
    assert "32 windows (2 speech, 1 silence, " in page


def test_figures_and_those_that_nobody_measured(page: str) -> None:
    assert row(page, "R²") == ["0.751", "the teacher", "1200", "`lipstill compress demo`"]
    assert row(page, "closures") == ["93.1 %", "phones", "not stated", "not stated"]
    assert row(page, "lag") == ["not run", "the teacher", "12 clips", "not stated"]


def test_files_are_listed_with_their_bytes(bundle: Path, page: str) -> None:
    listed = dict(re.findall(r"^\| `([^`]+)` \| ([\d,]+) \|$", page, re.MULTILINE))
    for path in bundle.iterdir():
        name = f"{path.name}/" if path.is_dir() else path.name
        if name in ("README.md", "SHA256SUMS"):
            assert name not in listed
            continue
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        total = sum(file.stat().st_size for file in files)
        assert int(listed.pop(name).replace(",", "")) == total
    assert listed == {}


def test_smoothing_is_told_as_hops(page: str, bare: Path) -> None:
    moments = [("0.25", "k − 1"), ("0.5", "k"), ("0.25", "k + 1")]
    for weight, moment in moments:
        assert f"| {weight} | {moment} |\n" in page
    signature = replace(Signature.read(bare / "signature.json"), smoothing=(1.0,))
    signature.write(bare / "signature.json")
    plain = write_card(bare, FACTS).read_text("utf-8")
    assert row(plain, "Smoothing") == ["none"]
    assert "| Weight | Hop |" not in plain


def test_codes_have_a_limit_too(
    bare: Path, integer_student: nn.Module, integer_signature: Signature
) -> None:
    speech = np.zeros((1, 1, 64), np.float32)
    golden = make_golden(integer_student, integer_signature, speech, max_abs=2e-3)
    (bare / "golden.npz").write_bytes(golden.to_bytes())
    page = " ".join(write_card(bare, FACTS).read_text("utf-8").split())
    assert (
        "more than 0.002, and no code of the last quantized tensor by more than 1 step of" in page
    )


def test_equal_bundles_have_equal_cards(bundle: Path, tmp_path: Path) -> None:
    again = shutil.copytree(bundle, tmp_path / "elsewhere")
    (again / "stage.json").write_text("{}")  # a run's own stamp changes nothing
    (again / "README.md").unlink()
    assert write_card(again, FACTS) == again / "README.md"
    assert (again / "README.md").read_bytes() == (bundle / "README.md").read_bytes()


def test_what_is_not_known_says_so(bare: Path) -> None:
    facts = CardFacts(parameters=None, trained_on=None, licence=None, metrics=())
    page = write_card(bare, facts).read_text("utf-8")
    for name in ("Parameters", "Trained on", "Licence"):
        assert row(page, name) == ["not stated"]
    assert row(page, "all") == ["not run", "", "", ""]
    assert "None" not in page


def test_a_figure_that_is_no_number_is_refused() -> None:
    wrong = MetricRow(name="R²", value=float("nan"), against="x", n=None, command=None)
    with pytest.raises(ValueError, match="must be finite, or None: R² is nan"):
        replace(FACTS, metrics=(wrong,))


def test_a_folder_that_is_no_bundle(bare: Path) -> None:
    for name in ("model.onnx", "golden.npz", "signature.json"):
        (bare / name).unlink()
        with pytest.raises(ModelFileError):
            write_card(bare, FACTS)
    assert not (bare / "README.md").exists()


def test_only_the_targets_that_are_there(bare: Path) -> None:
    page = write_card(bare, FACTS).read_text("utf-8")
    assert (len(blocks(page, "python")), len(blocks(page, "js")), len(blocks(page, "cpp"))) == (
        1,
    ) * 3
    assert "swift" not in page
    assert "kotlin" not in page


def test_a_target_without_a_template_of_its_own(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "model_files", lambda folder: {folder / "model.abacus": "abacus"})
    page = write_card(bare, FACTS).read_text("utf-8")
    assert "### `model.abacus`\n\nHow to run it: not stated." in page


# ---------------------------------------------------------------------------------------- snippets


def predicted(bundle: Path, target: str, speech: np.ndarray, t: float) -> np.ndarray:
    """The rig at a time, between two windows cut by hand: float32 [driven]."""
    path = bundle / f"model{load_target(target).SUFFIX}"
    runtime = load_target(target).open_runtime(path)

    def on(hop: int) -> np.ndarray:
        start = hop * 256 - 48
        window = [speech[i] if 0 <= i < len(speech) else 0.0 for i in range(start, start + 64)]
        return runtime.run(np.array(window, np.float32).reshape(1, 1, 64))[0]

    hop = math.floor(t * 62.5)
    return on(hop) + (t * 62.5 - hop) * (on(hop + 1) - on(hop))


@pytest.mark.parametrize("target", sorted(set(RUNTIMES) & set(TARGETS)))
def test_its_python_runs_as_it_stands(
    bundle: Path, page: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (snippet,) = [text for text in blocks(page, "python") if RUNTIMES[target] in text]
    (tmp_path / "snippet.py").write_text(snippet)
    monkeypatch.chdir(bundle)
    pose: Callable[..., dict[str, float]] = runpy.run_path(str(tmp_path / "snippet.py"))["pose"]
    speech = np.random.default_rng(5).uniform(-0.5, 0.5, 400).astype(np.float32)
    # Before the recording, at its edges, inside, and after it; some on the grid.
    for t in (-1.0, -0.001, 0.0, 0.0005, 0.0101, 0.016, 0.02, 399 / 16000, 0.025, 0.026, 5.0):
        found = pose(speech, t)
        assert list(found) == ["jawOpen", "mouthClose", "mouthPucker"]
        expected = predicted(bundle, target, speech, t)
        np.testing.assert_allclose(list(found.values()), expected, atol=1e-6, rtol=0)
    moving = [pose(speech, t)["jawOpen"] for t in np.arange(10) / 300]
    assert np.ptp(moving) > 0.01, "it must move, or nothing was compared"


@pytest.mark.parametrize("target", TARGETS)
def test_all_python_is_python(bundle: Path, page: str, target: str) -> None:
    suffix = load_target(target).SUFFIX
    found = [text for text in blocks(page, "python") if f'"model{suffix}"' in text]
    assert found, f"{target} shows no Python"
    for text in found:
        compile(text, "card", "exec")


def test_names_are_written_as_each_language_reads_them(bare: Path) -> None:
    signature = Signature.read(bare / "signature.json")
    names: tuple[str, ...] = ('a "quoted" one', "back\\slash", "two words", "пример", "$money")
    names += tuple(f"shape{i}" for i in range(40))
    odd = replace(signature, controls=(*names, "rest"), driven=names, constants={"rest": 0.0})
    odd.write(bare / "signature.json")
    (snippet,) = blocks(write_card(bare, FACTS).read_text("utf-8"), "python")
    listed: dict[str, Any] = {}
    exec(re.search(r"CONTROLS = \[.*?\n\]", snippet, re.DOTALL)[0], listed)  # type: ignore[index]
    assert tuple(listed["CONTROLS"]) == names
    assert max(len(line) for line in snippet.splitlines()) <= 100


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node to read JavaScript")
def test_javascript_is_javascript(page: str, tmp_path: Path) -> None:
    (snippet,) = blocks(page, "js")
    (tmp_path / "pose.mjs").write_text(snippet)
    command = ["node", "--check", str(tmp_path / "pose.mjs")]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_each_language_names_this_bundles_numbers(page: str) -> None:
    expected = {"python", "js", "cpp"} | ({"kotlin"} if "tflite" in TARGETS else set())
    expected |= {"swift"} if "coreml" in TARGETS else set()
    for language in expected:
        assert blocks(page, language), language
        for text in blocks(page, language):
            for part in ("* 16000", "48", "64", '"jawOpen", "mouthClose", "mouthPucker"'):
                assert part in text, (language, part)
