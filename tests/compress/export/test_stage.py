"""Stage export: files, signature and golden windows that agree."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.export import stage as exporting
from compress.judge.held_out import HeldOut, load_heldout
from compress.labels import stage as labelling
from compress.recipe.recipe import load_recipe
from compress.run.jobs import Plan
from compress.run.planning import find_inputs, plan
from compress.store import file_hash
from compress.students.contract import Window
from compress.students.integers import Range
from compress.students.storing import load_student
from exporters.signature import Signature
from exporters.targets.contract import load_target


@pytest.fixture
def planned(workshop: Path, run: Path) -> Plan:
    recipe = load_recipe(workshop / "recipe.yaml")
    return plan(recipe, find_inputs(recipe), run)


@pytest.fixture
def heldout(planned: Plan) -> Callable[[], HeldOut]:
    return lambda: load_heldout(labelling.run(planned.label), {})


def test_a_file_says_what_its_golden_windows_expect(finished: Path) -> None:
    tier = finished / "models" / "small-fp32"
    golden = np.load(tier / "golden.npz")
    runtime = load_target("onnx").open_runtime(tier / "model.onnx")
    kinds = golden["kinds"].tolist()
    assert golden["audio"].shape == (len(kinds), 1, 512)
    assert kinds[: exporting.GOLDEN_SPEECH] == ["speech"] * exporting.GOLDEN_SPEECH
    assert (golden["audio"][kinds.index("silence")] == 0).all()
    np.testing.assert_allclose(runtime.run(golden["audio"]), golden["rig"], atol=1e-5, rtol=0)
    assert len(np.unique(golden["rig"], axis=0)) > 20, "not all stuck at a limit"


def test_the_signature_is_inside_the_file_and_beside_it(finished: Path) -> None:
    tier = finished / "models" / "small-fp32"
    signature = Signature.read(tier / "signature.json")
    assert load_target("onnx").open_runtime(tier / "model.onnx").signature == signature
    assert (signature.student, signature.precision) == ("small", "fp32")
    assert (signature.past, signature.future, signature.window) == (256, 256, 512)
    assert signature.constants["eyeBlinkLeft"] == 0.125
    assert set(signature.constants) | set(signature.driven) == set(signature.controls)


def test_an_int8_file_tells_its_codes_but_not_every_scale(shrunk: Path) -> None:
    """Those of weights, one a channel, are in its graph; nothing tells where it was made."""
    tier = shrunk / "models" / "small-int8"
    signature = Signature.read(tier / "signature.json")
    assert signature.precision == "int8"
    whole = load_student(shrunk / "students" / "small" / "int8")[1].quantization
    assert whole is not None
    assert signature.quantization == {
        "layers": whole.layers,
        "tensors": {name: vars(found) for name, found in whole.tensors.items()},
        "made_by": whole.made_by,
    }
    assert load_target("onnx").open_runtime(tier / "model.onnx").signature == signature
    for file in tier.iterdir():
        if file.name != "stage.json":
            assert str(shrunk.parent).encode() not in file.read_bytes(), file


def test_golden_windows_of_an_int8_file_are_those_of_its_integers(shrunk: Path) -> None:
    """Within the recipe's limit for int8; the float twin is further off."""
    tier = shrunk / "models" / "small-int8"
    golden = np.load(tier / "golden.npz")
    found = load_target("onnx").open_runtime(tier / "model.onnx").run(golden["audio"])
    np.testing.assert_allclose(found, golden["rig"], atol=2e-3, rtol=0)
    twin = Window(load_student(shrunk / "students" / "small" / "int8")[0]).eval()
    with torch.no_grad():
        whole = twin(torch.from_numpy(golden["audio"])).numpy()
    assert np.abs(whole - golden["rig"]).max() > 2e-3


def test_equal_students_give_equal_files(
    planned: Plan, finished: Path, heldout: Callable[[], HeldOut]
) -> None:
    job = planned.students[0].tiers[0].export
    shutil.rmtree(job.folder)
    exported = exporting.run(job, heldout)
    for name in ("model.onnx", "signature.json", "golden.npz", "stage.json"):
        assert file_hash(exported.folder / name) == file_hash(finished / "models/small-fp32" / name)


def test_a_file_that_is_gone_is_made_again(planned: Plan, heldout: Callable[[], HeldOut]) -> None:
    job = planned.students[0].tiers[0].export
    job.files["onnx"].unlink()
    assert exporting.run(job, heldout).files["onnx"].is_file()


def test_an_int8_rig_may_differ_by_a_code(workshop: Path, shrunk: Path) -> None:
    """Whatever a code stands for; a float head has the recipe's limit, and so has a float file."""
    limits = load_recipe(workshop / "shrinking.yaml").parity
    codes = load_student(shrunk / "students" / "small" / "int8")[1].quantization
    assert codes is not None
    codes = replace(codes, layers=codes.layers | {"rig": "int8"})
    coarse = replace(codes, tensors=codes.tensors | {"rig": Range(0.25, 0)})
    fine = replace(codes, tensors=codes.tensors | {"rig": Range(0.0001, 0)})
    in_float = replace(coarse, layers=codes.layers | {"rig": "int8_weights"})
    found = [exporting.largest_difference(limits, "int8", c) for c in (coarse, fine, in_float)]
    assert found[1:] == [2e-3] * 2
    assert 0.25 < found[0] < 0.251
    wider = limits.model_copy(update={"int8_max_lsb": 2})
    assert 0.5 < exporting.largest_difference(wider, "int8", coarse) < 0.502
    floats = [exporting.largest_difference(limits, p, None) for p in ("fp32", "fp16")]
    assert floats == [1e-5, 5e-3]


def test_a_converter_that_is_missing_is_missed_before_the_training(
    workshop: Path, tmp_path: Path, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_target("onnx"), "TOOLS", ("torch", "no-such-converter"))
    asked = ("compress", workshop / "recipe.yaml", "--out", tmp_path / "run")
    ended = cli(*asked, "--set", "export.targets=[onnx, tflite]")
    assert ended.failed(4, "onnx (no-such-converter)", "pip install", "export.targets=[tflite]")
    assert not (tmp_path / "run" / "labels").exists()
    assert cli("label", workshop / "recipe.yaml", "--out", tmp_path / "run").code == 0
