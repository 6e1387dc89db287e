"""Targets are found by listing the package; heavy packages stay out until needed."""

import subprocess
import sys
from pathlib import Path

import pytest

import exporters
from exporters.errors import ModelFileError
from exporters.targets import available_targets, load_target, target_of


def test_onnx_is_found() -> None:
    assert "onnx" in available_targets()
    assert load_target("onnx").SUFFIX == ".onnx"
    assert target_of(Path("models/demo-fp32/model.onnx")) == "onnx"


def test_a_new_file_is_a_new_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "abacus.py").write_text(
        "SUFFIX = '.abacus'\nPRECISIONS, TOOLS, RUNTIMES, EVALUATED = (), (), (), 0\n"
        "export = open_runtime = import_runtime = further_runtimes = structure = print\n"
    )
    (tmp_path / "beads.py").write_text("SUFFIX = '.beads'\n")
    monkeypatch.setattr(exporters, "__path__", [*exporters.__path__, str(tmp_path)])
    monkeypatch.setattr(exporters, "abacus", None, raising=False)  # undone with the rest
    monkeypatch.setattr(exporters, "beads", None, raising=False)
    try:
        assert {"abacus", "onnx"} <= set(available_targets())
        assert "beads" not in available_targets()
        assert target_of(Path("model.abacus")) == "abacus"
    finally:
        for name in ("abacus", "beads"):
            sys.modules.pop(f"exporters.{name}", None)


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no target 'coffee'; there is .*onnx"):
        load_target("coffee")
    with pytest.raises(ModelFileError, match=r"ends in '\.coffee'.*expected .*\.onnx"):
        target_of(Path("model.coffee"))


def test_listing_loads_nothing_heavy() -> None:
    heavy = ("torch", "onnx", "onnxruntime", "onnxsim", "matplotlib", "jinja2", "pydantic")
    code = (
        "import sys, exporters.targets, exporters.report, exporters.parity, exporters.benchmark\n"
        "exporters.targets.available_targets()\n"
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
