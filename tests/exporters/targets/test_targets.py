"""Targets are found by listing the package; heavy packages stay out until needed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import exporters
from exporters.errors import ContractError, ModelFileError
from exporters.targets.contract import available_targets, load_target, target_of


def test_onnx_is_found() -> None:
    assert "onnx" in available_targets()
    assert load_target("onnx").SUFFIX == ".onnx"
    assert target_of(Path("models/demo-fp32/model.onnx")) == "onnx"


def test_a_new_file_is_a_new_target(add_module: Callable[[str, str], Path]) -> None:
    """Its functions may take more than the contract asks, where that has a default."""
    add_module(
        "exporters.targets.abacus",
        "SUFFIX = '.abacus'\nPRECISIONS, TOOLS, RUNTIMES, EVALUATED = (), (), (), False\n"
        "def export(module, signature, path, *, beads=10): ...\n"
        "def open_runtime(path, *, threads=1, carefully=True): ...\n"
        "import_runtime = lambda: None\n"
        "further_runtimes = structure = lambda path, **asked: {}\n",
    )
    add_module("exporters.targets.beads", "SUFFIX = '.beads'\n")
    assert {"abacus", "onnx"} <= set(available_targets())
    assert "beads" not in available_targets()
    assert target_of(Path("model.abacus")) == "abacus"


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(ContractError, match=r"no target 'coffee'; there is .*onnx"):
        load_target("coffee")
    with pytest.raises(ModelFileError, match=r"ends in '\.coffee'.*expected .*\.onnx"):
        target_of(Path("model.coffee"))


def test_listing_loads_nothing_heavy() -> None:
    heavy = ("torch", "onnx", "onnxruntime", "onnxsim", "matplotlib", "jinja2", "pydantic")
    code = (
        "import sys, exporters.targets.contract, exporters.report, exporters.proof.parity, exporters.measuring.figures\n"
        "exporters.targets.contract.available_targets()\n"
        f"loaded = [name for name in {heavy!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    home = str(Path(exporters.__path__[0]).parent)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_compress_is_not_imported() -> None:
    sources = list(Path(exporters.__path__[0]).rglob("*.py"))
    assert len(sources) > 10
    for source in sources:
        assert "import compress" not in source.read_text()
        assert "from compress" not in source.read_text()
