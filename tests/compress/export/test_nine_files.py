"""One student in three targets and three precisions: every file checked, and every check listed."""

import copy
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch

from compress.export.stage import window_form
from compress.quantize.graph import IntegerWindow
from compress.recipe.recipe import load_recipe
from compress.report.chain import unsupported
from compress.run.planning import find_inputs, plan
from compress.store import file_hash
from compress.students.contract import Window
from exporters.proof.localisation import first_departure
from exporters.targets.contract import available_targets, load_target

pytestmark = pytest.mark.slow

ASKED = (
    *("--set", f"export.targets=[{', '.join(available_targets())}]"),
    *("--set", "export.precisions=[fp32, fp16, int8]"),
)


@pytest.fixture(scope="module")
def nine(workshop: Path, shrunk: Path, cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that prunes and quantizes, with all files. Read, never written."""
    run = shutil.copytree(shrunk, tmp_path_factory.mktemp("nine") / "run")
    ended = cli("compress", workshop / "shrinking.yaml", "--out", run, *ASKED)
    assert ended.code == 0, ended.err
    return run


@pytest.fixture(scope="module")
def report(nine: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((nine / "report" / "report.json").read_text())
    return document


def test_nine_files_and_all_that_goes_with_them(nine: Path) -> None:
    beside = {"signature.json", "golden.npz", "README.md", "SHA256SUMS", "stage.json"}
    models = {f"model{load_target(target).SUFFIX}" for target in ("coreml", "onnx", "tflite")}
    for precision in ("fp32", "fp16", "int8"):
        found = {path.name for path in (nine / "models" / f"small-{precision}").iterdir()}
        assert found == beside | models


def test_every_gate_is_green_or_honestly_not_run(report: dict[str, Any]) -> None:
    assert [row["result"]["status"] for row in report["parity"]] == ["passed"] * 9
    states = Counter(check["status"] for check in report["checks"])
    assert states["failed"] == 0
    waiting = {check["what"] for check in report["checks"] if check["status"] == "not run"}
    assert all(what.startswith("parity, Core ML") or what == "lag" for what in waiting), waiting
    asked = Counter(check["what"].split(",")[0] for check in report["checks"])
    assert asked["structure"] == asked["declared future"] == asked["declared past"] == 9
    assert asked["MSE to the teacher"] == 3, "of fp16 files"


def test_the_chain_has_every_step_and_every_file(report: dict[str, Any]) -> None:
    rows = [(hop["name"], hop["made_of"]) for hop in report["chain"]]
    assert rows[:3] == [("distilled", "teacher"), ("pruned", "distilled"), ("int8", "pruned")]
    assert Counter(made_of for _, made_of in rows[3:]) == {"pruned": 6, "int8": 3}
    evaluated = [hop for hop in report["chain"] if hop["name"].endswith(".mlpackage")]
    assert all(hop["runs_in"].startswith("MIL evaluated in PyTorch") for hop in evaluated)
    assert all(hop["max_abs"] is not None for hop in report["chain"][3:])


def test_junit_lists_every_check(nine: Path, report: dict[str, Any]) -> None:
    root = ET.parse(nine / "report" / "parity.junit.xml").getroot()
    sets = sum(len(row["result"]["sets"]) for row in report["parity"])
    assert len(list(root.iter("testcase"))) == sets + len(report["checks"]) + len(report["gates"])
    assert list(root.iter("failure")) == []


def test_what_only_evaluates_is_not_timed(report: dict[str, Any]) -> None:
    taken = {row["path"]: row["benchmark"] for row in report["tiers"] if row["path"]}
    assert len(taken) == 9
    for path, benchmark in taken.items():
        evaluated = path.endswith(".mlpackage")
        assert (benchmark["paces"] == []) == evaluated, path
        assert (benchmark["memory"] is None) == evaluated, path
        assert benchmark["size"]["bytes"] > 0


def test_the_same_bytes_in_another_process(
    workshop: Path, nine: Path, process: Any, tmp_path: Path
) -> None:
    run = shutil.copytree(nine, tmp_path / "run")
    shutil.rmtree(run / "models")
    asked = ("compress", workshop / "shrinking.yaml", "--out", run, *ASKED, "--until", "verify")
    ended = process(*asked)
    assert ended.code == 0, ended.err
    assert ended.err == "", "no converter talks to the user"
    for path in (nine / "models").rglob("*"):
        if path.is_file():
            assert file_hash(run / path.relative_to(nine)) == file_hash(path), path


def test_it_verifies_from_the_files_alone(nine: Path, cli: Any) -> None:
    ended = cli("verify", nine / "models" / "small-int8")
    assert ended.code == 0, ended.out + ended.err


def test_a_package_that_is_a_folder_is_a_model_file_too(nine: Path, cli: Any) -> None:
    folder = nine / "models" / "small-int8" / "model.mlpackage"
    facts = json.loads(cli("inspect", folder, "--json").out)
    assert facts["is"] == "a model file, coreml"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert facts["bytes"] == f"{size:,}"


@pytest.mark.parametrize("target", available_targets())
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_first_layer_that_departs_is_named(nine: Path, target: str, precision: str) -> None:
    """Nothing departs in a faithful file, and a source with other weights does so where they are."""
    step = "int8" if precision == "int8" else "pruned"
    module, student, card = window_form(nine / "students" / "small" / step)
    file = nine / "models" / f"small-{precision}" / f"model{load_target(target).SUFFIX}"
    runtime = load_target(target).open_runtime(file)
    window = runtime.signature.window
    audio = np.random.default_rng(3).uniform(-0.5, 0.5, (1, 1, window)).astype(np.float32)
    limit = {"fp32": 1e-5, "fp16": 5e-3, "int8": 2e-3}[precision]
    assert first_departure(runtime, module, audio, limit, 1).startswith("no layer departs")
    for layer in ("conv1", "rig"):
        changed = copy.deepcopy(student)
        with torch.no_grad():
            getattr(changed.steps, layer).bias.add_(1.0)
        source = Window(changed).eval()
        if card.quantization is not None:
            source = IntegerWindow(changed, card.quantization)
        said = first_departure(runtime, source, audio, limit, 1)
        assert said.startswith(f"the first layer to depart is {layer}: tensor "), said


def test_what_a_target_cannot_write_is_said(
    nine: Path, workshop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_target("onnx"), "PRECISIONS", ("fp32", "int8"))
    recipe = load_recipe(workshop / "shrinking.yaml", [text for text in ASKED if "=" in text])
    (student,) = plan(recipe, find_inputs(recipe), nine).students
    by_name = {tier.name: tier for tier in student.tiers}
    assert set(by_name["small-fp16"].verify) == {"coreml", "tflite"}
    (check,) = unsupported(by_name["small-fp16"])
    assert (check.status, check.detail) == ("not run", "onnx writes no fp16 files")
    assert list(unsupported(by_name["small-fp32"])) == []
