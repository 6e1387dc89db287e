"""Files and folders appear whole; what killed writers left goes, what others planted is not followed."""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from exporters import atomic
from exporters.atomic import atomic_file, atomic_folder, write_atomically

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals, links and locks of POSIX")
Way = Callable[[Path], AbstractContextManager[Path]]
ways = pytest.mark.parametrize("way", [atomic_file, atomic_folder])


def fill(place: Path, content: bytes) -> None:
    (place / "a" if place.is_dir() else place).write_bytes(content)


def content_of(path: Path) -> bytes:
    return (path / "a" if path.is_dir() else path).read_bytes()


def test_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.bin"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@posix
@ways
def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path: Path, way: Way) -> None:
    code = f"""if True:
        import sys
        from pathlib import Path
        from exporters.atomic import {way.__name__} as way
        with way(Path(sys.argv[1])):
            print("now", flush=True)
            sys.stdin.read()
    """
    path = tmp_path / "report.html"
    command = [sys.executable, "-c", code, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        # A second writer of the same name leaves the first one's work alone.
        with way(path) as temporary:
            fill(temporary, b"second")
        assert len(list(tmp_path.iterdir())) == 2
        process.send_signal(signal.SIGKILL)
    with way(path) as temporary:
        fill(temporary, b"third")
    assert list(tmp_path.iterdir()) == [path]
    assert content_of(path) == b"third"


@posix
@ways
def test_a_planted_link_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    """Even where the random part of the name is known, and where the target itself is a link."""
    names = iter(["00000000", "11111111"])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(names))
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", ".run.json.tmp", ".run.json.00000000.tmp"):
        (run / name).symlink_to(precious)
    monkeypatch.setattr(atomic, "_clear", lambda path: None)  # so that the name is really taken
    with pytest.raises(FileExistsError), way(run / "run.json"):
        pass
    with way(run / "run.json") as temporary:
        fill(temporary, b"new")
    assert content_of(run / "run.json") == b"new"
    assert not (run / "run.json").is_symlink()
    assert precious.read_bytes() == b"mine"


def test_modes_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "written", "é")
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "written").read_bytes() == "é".encode()


@pytest.mark.parametrize(
    ("name", "stands_for"),
    [
        (".a.json.0123abcd.tmp", "a.json"),
        (".a b.0123abcd.tmp", "a b"),
        (".a.json.tmp", None),
        (".a.0123abcdX.tmp", None),
        ("a.0123abcd.tmp", None),
    ],
)
def test_temporary_names_are_known(name: str, stands_for: str | None) -> None:
    assert atomic.temporary_of(name) == stands_for
