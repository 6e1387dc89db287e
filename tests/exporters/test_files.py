"""Files are measured whether they are one file or a folder."""

import hashlib
from pathlib import Path

import pytest

from exporters.errors import MissingToolError
from exporters.files import describe_file
from exporters.requirements import require


def test_file_is_hashed_as_sha256sum_does(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"abc")
    file = describe_file(path, "onnx")
    # The test vector of FIPS 180-2.
    assert file.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (file.bytes, file.target, file.path) == (3, "onnx", path)


def test_folder_is_one_model(tmp_path: Path) -> None:
    model = tmp_path / "model.mlpackage"
    (model / "Data").mkdir(parents=True)
    (model / "Manifest.json").write_bytes(b"{}")
    (model / "Data" / "weights.bin").write_bytes(b"abc")
    file = describe_file(model, "coreml")
    lines = [
        f"{hashlib.sha256(b'abc').hexdigest()}  Data/weights.bin\n",
        f"{hashlib.sha256(b'{}').hexdigest()}  Manifest.json\n",
    ]
    assert file.bytes == 5
    assert file.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    (model / "Data" / "weights.bin").rename(model / "Data" / "other.bin")
    assert describe_file(model, "coreml").sha256 != file.sha256


def test_missing_packages_come_with_their_install_line() -> None:
    require("json", purpose="never fail")
    with pytest.raises(MissingToolError, match=r"pip install no-such-tool no-such-other$") as error:
        require("json", "no_such_tool", "no_such_other", purpose="export files")
    assert "no_such_tool and no_such_other are needed to export files" in str(error.value)
    assert error.value.exit_code == 4
