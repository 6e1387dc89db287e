"""An old code page and a missing home folder are no reason to fail."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

REPOSITORY = Path(__file__).parents[2]
REFERENCE = REPOSITORY / "artifacts" / "reference"
# What Windows has in Western Europe, Japan, China and Russia, and in its old console.
PAGES = ("cp1252", "cp932", "cp936", "cp1251", "cp437")
# Nobody has this number.
STRANGER = 12345


def environment(**given: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": ""} | given


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "arguments",
    [
        ("recipe", "list"),
        ("recipe", "show", "demo"),
        ("compare", REFERENCE, REFERENCE),
        ("compare", REFERENCE, REFERENCE, "--markdown"),
        ("choose", REFERENCE, "--max-kb", "300"),
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[-1]}".replace(str(REFERENCE), "reference"),
)
def test_what_cannot_be_written_is_replaced(
    process: Cli, page: str, arguments: tuple[object, ...]
) -> None:
    ended = process(*arguments, env=environment(PYTHONIOENCODING=page), encoding=page)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("recipe", "list", "--json"),
        ("compare", REFERENCE, REFERENCE, "--json"),
        ("choose", REFERENCE, "--json"),
    ],
    ids=lambda arguments: str(arguments[0]),
)
def test_json_says_the_same_in_every_code_page(process: Cli, arguments: tuple[object, ...]) -> None:
    """Escaped, not replaced: a machine reads every character."""
    told = [
        process(*arguments, env=environment(PYTHONIOENCODING=page), encoding=page)
        for page in ("utf-8", "cp1252", "ascii")
    ]
    assert [ended.code for ended in told] == [0, 0, 0]
    first, *others = (json.loads(ended.out) for ended in told)
    assert others == [first, first]
    if arguments[0] == "recipe":
        assert not json.dumps(first, ensure_ascii=False).isascii(), "something had to be escaped"


def test_a_name_that_is_no_unicode_can_be_said(process: Cli, tmp_path: Path) -> None:
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    ended = process("compare", strange, strange)
    assert (ended.code, "Traceback" in ended.err) == (3, False)


def without_baselines(run: Path) -> Path:
    """A run whose simple predictors and report have to be made again."""
    shutil.rmtree(run / "report")
    (baselines,) = run.rglob("0.json")
    shutil.rmtree(baselines.parent)
    return run


NOBODY_KNOWN = """
import os, pwd
def unknown(uid):
    raise KeyError(uid)
pwd.getpwuid = unknown
os.environ.pop("HOME", None)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a home folder is found otherwise there")
def test_a_run_needs_no_home(process: Cli, workshop: Path, run: Path, tmp_path: Path) -> None:
    """The ridge asks lhotse, which asks for the home folder; pictures ask matplotlib."""
    left = tmp_path / "temporary"
    left.mkdir()
    ended = process(
        *("compress", workshop / "recipe.yaml", "--out", without_baselines(run)),
        before=NOBODY_KNOWN,
        env=environment(TMPDIR=str(left)),
    )
    assert (ended.code, ended.err) == (0, "")
    assert (run / "report" / "report.html").is_file()
    assert not list(left.glob("lipstill-*")), "the folder that stood for it is gone"


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can become somebody whom passwd does not know",
)
def test_a_user_whom_nobody_knows_makes_a_whole_run(workshop: Path, tmp_path: Path) -> None:
    import subprocess

    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, STRANGER, STRANGER)
    reads = "+dac_read_search"
    done = subprocess.run(
        [
            *("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"),
            *(f"--inh-caps={reads}", f"--ambient-caps={reads}", "env", "-i", "PATH=/usr/bin:/bin"),
            *(f"PYTHONPATH={REPOSITORY}", f"TMPDIR={folder}", "OMP_NUM_THREADS=1"),
            *("PYTHONDONTWRITEBYTECODE=1", sys.executable, "-m", "compress", "compress"),
            *(str(workshop / "recipe.yaml"), "--out", str(folder / "run")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "report" / "report.html").is_file()


@pytest.mark.parametrize("said", [None, "ACTIVE"])
def test_threads_of_pytorch_sleep_while_they_wait_unless_the_user_says_otherwise(
    said: str | None,
) -> None:
    """OpenMP itself says what it read, when a command has imported PyTorch."""
    given = {name: value for name, value in environment().items() if name != "OMP_WAIT_POLICY"}
    given |= {"OMP_DISPLAY_ENV": "true"} | ({"OMP_WAIT_POLICY": said} if said else {})
    command = [sys.executable, "-m", "compress", "inspect", "builtin:tiny"]
    ended = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    told = [line for line in ended.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    assert {line.split("=")[1].strip(" '") for line in told} == {said or "PASSIVE"}
