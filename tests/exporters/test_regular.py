"""What stands where a file should."""

import os
import sys
from pathlib import Path

import pytest

from exporters.errors import ModelFileError
from exporters.regular import check_regular, irregular
from exporters.targets.contract import target_of


@pytest.mark.skipif(sys.platform == "win32", reason="has no such pipes and links")
def test_only_a_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "round").symlink_to("round")
    os.mkfifo(tmp_path / "pipe")
    for name, found in {
        "file": "",
        "link": "",
        "gone": "a broken link",
        "absent": "not there",
        "pipe": "a pipe",
        ".": "a folder",
        "/dev/null": "a device",
    }.items():
        assert irregular(tmp_path / name) == found
    assert irregular(tmp_path / "round").startswith("not to be had (")
    for name in ("file", "link", "gone", "absent", "."):  # whoever opens these is told so at once
        check_regular(tmp_path / name)
    for name in ("pipe", "/dev/null"):
        with pytest.raises(OSError, match=r"it is a (pipe|device), expected a file"):
            check_regular(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="has no such pipes")
def test_a_model_is_known_by_its_ending_in_any_case_and_is_no_pipe(tmp_path: Path) -> None:
    assert target_of(Path("HERO.ONNX")) == target_of(Path("hero.onnx"))
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelFileError, match="is a pipe, expected a model file"):
        target_of(tmp_path / "pipe.onnx")
