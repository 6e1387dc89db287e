"""A full folder for temporary files is named as such, and never taken for a fault of the module."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from exporters.errors import ExportFailed, ScratchError
from exporters.scratch import scratch

FULL = os.strerror(errno.ENOSPC)


def temporary(name: str = "tmp1.mlmodel") -> str:
    return os.path.join(tempfile.gettempdir(), name)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, FULL),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), temporary()),
        PermissionError(errno.EACCES, "Permission denied", temporary()),
        OSError(errno.EROFS, "Read-only file system", temporary().encode()),
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
        RuntimeError(f"filesystem error: cannot copy: {FULL} [{temporary()}]"),
        RuntimeError(f"filesystem error: cannot copy: Input/output error [{temporary()}] [/x]"),
    ],
)
def test_what_could_not_be_written_is_told(error: Exception) -> None:
    with pytest.raises(ScratchError) as raised, scratch():
        raise error
    assert raised.value.exit_code == 4
    assert tempfile.gettempdir() in str(raised.value)
    assert "TMPDIR" in str(raised.value)


def test_it_is_found_behind_the_words_of_a_target() -> None:
    with pytest.raises(ScratchError, match=f"{FULL}. Free some room"), scratch():
        try:
            raise RuntimeError(f"cannot copy: {FULL}")
        except RuntimeError as error:
            raise ExportFailed("small cannot be converted to Core ML") from error


@pytest.mark.parametrize(
    "error",
    [
        ExportFailed("the module has loops"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/models/model.onnx"),
        PermissionError(errno.EACCES, "Permission denied", "/models/model.onnx"),
        RuntimeError("shape mismatch"),
        RuntimeError("filesystem error: cannot copy: Input/output error [/models/a] [/models/b]"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_stay(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, scratch():
        raise error
    assert raised.value is error


@pytest.mark.slow  # the converter takes seconds to begin
@pytest.mark.parametrize("size", ["16k", "32k"])  # Python's own files fail, and those of C++
def test_a_folder_that_is_full(tmp_path: Path, size: str) -> None:
    """A file system of a few kilobytes, in a namespace where anybody may mount one."""
    small, code = (
        tmp_path / "small",
        (
            "from pathlib import Path\n"
            "from compress.commands.doctor import example\n"
            "from exporters.errors import ScratchError\n"
            "from exporters.targets.contract import load_target\n"
            "module, signature, _ = example('fp32')\n"
            f"path = Path({str(tmp_path)!r}, 'model.mlpackage')\n"
            "try:\n"
            "    load_target('coreml').export(module, signature, path)\n"
            "except ScratchError as error:\n"
            "    print(error)\n"
        ),
    )
    small.mkdir()
    mount = f"mount -t tmpfs -o size={size} tmpfs {small}"
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*namespace, mount], check=False).returncode:
        pytest.skip("nobody may mount a file system here")
    done = subprocess.run(
        [*namespace, f'{mount} && exec "$0" -c "$1"', sys.executable, code],
        env=os.environ | {"TMPDIR": str(small), "PYTHONWARNINGS": ""},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    said = f"Temporary files could not be written to {small}: "
    assert done.stdout.startswith(said), done.stderr
