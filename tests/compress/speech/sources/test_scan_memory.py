"""What is known of a file again, for how long, and that nothing depends on it."""

import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compress.speech.sources import scan_memory
from compress.speech.sources.scan_memory import Known, Stamp, cache_folder, open_memory

KNOWN = Known(16_000, "ab" * 32)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIPSTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def file(path: Path, text: str = "audio", age_s: float = 60.0) -> Stamp:
    path.write_text(text)
    then = time.time() - age_s
    os.utime(path, (then, then))
    return Stamp.of(path)


def remember(found: dict[Stamp, Known], later_s: float = 60.0) -> None:
    """As if they were read so long after the last of them was written."""
    written_ns = max(max(stamp.modified_ns, stamp.changed_ns) for stamp in found)
    with open_memory() as memory:
        memory.remember(found, written_ns + round(later_s * 1e9))


def recalled(*stamps: Stamp) -> dict[Stamp, Known]:
    with open_memory() as memory:
        return memory.recall(stamps)


def test_what_was_found_is_known_again_until_the_file_changes(tmp_path: Path) -> None:
    one, other = file(tmp_path / "one"), file(tmp_path / "other")
    bad = Known(0, "cd" * 32, "silent")
    assert recalled(one, other) == {}
    remember({one: KNOWN, other: bad})
    assert recalled(one, other) == {one: KNOWN, other: bad}
    changed = [
        file(tmp_path / "one", "louder"),
        file(tmp_path / "one", "audio", age_s=59),
    ]
    for stamp in changed:
        assert recalled(stamp) == {}
    remember({changed[-1]: bad})
    assert recalled(one, changed[-1]) == {changed[-1]: bad}, "one row a file"


@pytest.mark.skipif(sys.platform == "win32", reason="a file has no time of change there")
def test_a_file_replaced_under_its_old_time_is_another(tmp_path: Path) -> None:
    path = tmp_path / "one"
    one = file(path)
    remember({one: KNOWN})
    while Stamp.of(path).changed_ns == one.changed_ns:  # within one tick of the file system's clock
        path.write_text("other")
        os.utime(path, ns=(one.modified_ns, one.modified_ns))
    assert Stamp.of(path).modified_ns == one.modified_ns
    assert recalled(Stamp.of(path)) == {}


def test_a_file_that_has_just_been_written_is_not_remembered(tmp_path: Path) -> None:
    one = file(tmp_path / "one", age_s=0)
    remember({one: KNOWN}, later_s=1.5)
    assert recalled(one) == {}
    remember({one: KNOWN}, later_s=2.5)
    assert recalled(one) == {one: KNOWN}


def test_other_rules_find_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = file(tmp_path / "one")
    remember({one: KNOWN})
    monkeypatch.setattr(scan_memory, "RULES", scan_memory.RULES + 1)
    assert recalled(one) == {}


def test_a_damaged_memory_is_made_anew(tmp_path: Path, own_cache: Path) -> None:
    one = file(tmp_path / "one")
    remember({one: KNOWN})
    path = own_cache / scan_memory.FILE
    path.write_bytes(b"no database" * 1000)
    assert recalled(one) == {}
    remember({one: KNOWN})
    assert recalled(one) == {one: KNOWN}
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    assert recalled(one) == {}
    remember({one: KNOWN})
    assert recalled(one) == {one: KNOWN}


def test_a_memory_that_another_process_holds_is_done_without(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_memory, "PATIENCE_S", 0.1)
    one = file(tmp_path / "one")
    remember({one: KNOWN})
    holder = sqlite3.connect(own_cache / scan_memory.FILE)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert recalled(one) == {}
        remember({one: Known(1, "00")})
    finally:
        holder.close()
    assert recalled(one) == {one: KNOWN}


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path: Path, own_cache: Path) -> None:
    own_cache.write_text("a file stands in its place")
    one = file(tmp_path / "one")
    remember({one: KNOWN})
    assert recalled(one) == {}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_memory_that_is_read_only_is_read(tmp_path: Path, own_cache: Path) -> None:
    one = file(tmp_path / "one")
    remember({one: KNOWN})
    own_cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
    (own_cache / scan_memory.FILE).chmod(stat.S_IRUSR)
    try:
        remember({file(tmp_path / "other"): KNOWN})
        assert recalled(one) == {one: KNOWN}
    finally:
        own_cache.chmod(stat.S_IRWXU)


WRITER = """
import sys, time
from compress.speech.sources import scan_memory
from compress.speech.sources.scan_memory import Known, Stamp, open_memory
scan_memory.PATIENCE_S = 600
for i in range(40):
    with open_memory() as memory:
        memory.remember({Stamp(f"{sys.argv[1]}/{i}", i, 0, 0): Known(i, "ab")}, time.time_ns())
"""


def test_several_processes_write_at_once() -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, name]) for name in "abc"]
    assert [writer.wait(600) for writer in writers] == [0, 0, 0]
    stamps = [Stamp(f"{name}/{i}", i, 0, 0) for name in "abc" for i in range(40)]
    assert recalled(*stamps) == {stamp: Known(stamp.bytes, "ab") for stamp in stamps}


def test_a_name_that_is_no_text_is_remembered(tmp_path: Path) -> None:
    odd = Stamp(str(tmp_path / "a\udcff"), 1, 0, 0)
    remember({odd: KNOWN})
    assert recalled(odd) == {odd: KNOWN}


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIPSTILL_CACHE")
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for platform, variables, place in (
        ("linux", {}, "/home/someone/.cache/lipstill"),
        ("linux", {"XDG_CACHE_HOME": "/caches"}, "/caches/lipstill"),
        ("darwin", {}, "/home/someone/Library/Caches/lipstill"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/lipstill"),
        ("win32", {"LIPSTILL_CACHE": "~/mine"}, "/home/someone/mine"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert cache_folder() == Path(place)
