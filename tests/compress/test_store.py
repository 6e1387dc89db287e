"""Kept results: keys, atomic writes under kill and full disk, the lock, stages."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.errors import LockedError, StorageError
from compress.store import (
    atomic_folder,
    atomic_write,
    content_key,
    file_hash,
    run_lock,
    seal,
    stage,
    storage_errors,
    tool_versions,
)
from exporters.atomic import temporary_of

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# ---------------------------------------------------------------------------------------- keys

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


def test_a_key_is_the_hash_of_canonical_json() -> None:
    expected = hashlib.sha256(b'{"a":[1,2.5],"b":"x"}').hexdigest()[:16]
    assert content_key(b="x", a=(1, 2.5)) == expected


@given(st.dictionaries(st.text("abc", min_size=1), scalars, min_size=2))
@settings(max_examples=50, deadline=None)
def test_a_key_depends_on_values_and_not_on_order(parts: dict[str, object]) -> None:
    assert content_key(**dict(reversed(parts.items()))) == content_key(**parts)
    for name in parts:
        assert content_key(**{**parts, name: [parts[name]]}) != content_key(**parts)


def test_keys_refuse_what_has_no_one_spelling() -> None:
    assert content_key(a=1) != content_key(a=1.0) != content_key(a=True)
    with pytest.raises(ValueError, match="Out of range"):
        content_key(a=float("nan"))
    with pytest.raises(TypeError):
        content_key(a=Path("x"))


def test_a_file_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert file_hash(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_versions_of_what_is_not_installed_are_none() -> None:
    versions = tool_versions("pytest", "no-such-distribution")
    assert versions == {"pytest": pytest.__version__, "no-such-distribution": None}


# ------------------------------------------------------------------------------------- writing


def test_a_write_replaces_all_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    atomic_write(path, "alt\r\n")
    atomic_write(path, "neu é\n")
    assert tree(tmp_path) == {"deep/a.json": "neu é\n".encode()}


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "labels"
    for content in (b"one", b"two"):
        with atomic_folder(path) as work:
            assert list(work.iterdir()) == []
            (work / "sub").mkdir()
            (work / "sub" / content.decode()).write_bytes(content)
            (work / "sub" / content.decode()).chmod(0o444)
            assert not (path / "sub" / content.decode()).exists()
    assert tree(tmp_path) == {"runs/labels/sub/two": b"two"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_folder_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "labels"
    with atomic_folder(path) as work:
        (work / "a").write_text("old")
    with pytest.raises(error), atomic_folder(path) as work:
        (work / "a").write_text("new")
        raise error
    assert tree(tmp_path) == {"labels/a": b"old"}


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels"
    with atomic_folder(path) as work:
        (work / "a").write_text("old")
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if temporary_of(Path(source).name) == "labels":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(StorageError, match="disk is full"), atomic_folder(path) as work:
        (work / "a").write_text("new")
    assert tree(tmp_path) == {"labels/a": b"old"}


@posix
@pytest.mark.parametrize("moment", ["filling", "between renames"])
def test_a_killed_write_leaves_no_half_folder(tmp_path: Path, moment: str) -> None:
    path = tmp_path / "labels"
    with atomic_folder(path) as work:
        (work / "a").write_text("old")
    code = """if True:
        import os, sys, time
        from compress import store
        path, moment = sys.argv[1:]
        rename = os.rename
        def pause(*names):
            print("now", flush=True)
            time.sleep(60)
        def first_only(source, target):
            rename(source, target)
            pause()
        if moment == "between renames":
            os.rename = first_only
        with store.atomic_folder(path) as work:
            (work / "a").write_text("new")
            if moment == "filling":
                pause()
    """
    with python(code, path, moment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "now\n"
        process.send_signal(signal.SIGKILL)
    if moment == "filling":
        assert (path / "a").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2  # something was left behind, or the test is idle
    # A failing next run restores what was there; a good one replaces it. Both clear the leftovers.
    with pytest.raises(RuntimeError), atomic_folder(path):
        raise RuntimeError
    assert tree(tmp_path) == {"labels/a": b"old"}
    with atomic_folder(path) as work:
        (work / "a").write_text("newest")
    assert tree(tmp_path) == {"labels/a": b"newest"}


@posix
@pytest.mark.parametrize("how", ["write", "folder"])
def test_a_full_disk_is_a_storage_error_and_leaves_the_old_result(tmp_path: Path, how: str) -> None:
    """The limit on file size stands for a full disk: the system refuses in the middle of a write."""
    atomic_write(tmp_path / "labels" / "a", "old")
    code = """if True:
        import resource, sys
        from pathlib import Path
        from compress import errors, store
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        folder = Path(sys.argv[1])
        try:
            if sys.argv[2] == "write":
                store.atomic_write(folder / "a", bytes(1_000_000))
            else:
                with store.atomic_folder(folder) as work:
                    (work / "a").write_bytes(bytes(1_000_000))
        except errors.StorageError as error:
            print(error)
            sys.exit(error.exit_code)
    """
    with python(code, tmp_path / "labels", how) as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == 4, err
    assert str(tmp_path / "labels") in out
    assert "ulimit" in out
    assert tree(tmp_path) == {"labels/a": b"old"}


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
    ],
)
def test_refusals_to_write_are_explained(tmp_path: Path, number: int, words: str) -> None:
    path = tmp_path / "out" / "a"
    with pytest.raises(StorageError, match=words) as caught, storage_errors(path):
        raise OSError(number, os.strerror(number), str(path.parent))
    assert str(path) in str(caught.value)
    assert "--out" in str(caught.value)


def test_an_input_that_cannot_be_read_is_not_a_storage_error(tmp_path: Path) -> None:
    for number, name in ((errno.EACCES, "speech/a.wav"), (errno.ENOENT, "out/a")):
        with pytest.raises(OSError, match=name), storage_errors(tmp_path / "out"):
            raise OSError(number, os.strerror(number), str(tmp_path / name))


def test_a_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StorageError, match="a file"):
        atomic_write(tmp_path / "run" / "a", "x")
    with pytest.raises(StorageError, match="a file"), atomic_folder(tmp_path / "run" / "labels"):
        pass
    with pytest.raises(StorageError, match="a file"), run_lock(tmp_path / "run"):
        pass


# ---------------------------------------------------------------------------------------- lock


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    code = """if True:
        import sys
        from compress import store
        with store.run_lock(sys.argv[1]):
            print("held", flush=True)
            sys.stdin.read()
    """
    with python(code, tmp_path / "run") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_told_who_holds_the_folder(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    told = pytest.raises(LockedError, match=rf"process {holder.pid}\b")
    with told as caught, run_lock(tmp_path / "run"):
        pass
    assert caught.value.exit_code == 2
    with run_lock(tmp_path / "another"):
        pass
    holder.communicate("", timeout=600)
    with run_lock(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").read_text() == f"{os.getpid()}\n"


def test_a_killed_run_holds_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait(timeout=600)
    with run_lock(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_also_excludes_threads_and_is_free_after_an_error(tmp_path: Path) -> None:
    refused = []

    def second() -> None:
        try:
            with run_lock(tmp_path):
                pass
        except LockedError as error:
            refused.append(str(error))

    with pytest.raises(RuntimeError), run_lock(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        raise RuntimeError
    assert len(refused) == 1
    with run_lock(tmp_path):
        pass


@posix
@pytest.mark.parametrize(
    "name", [".lock", ".run.json.tmp", "labels", "models/tiny-fp32/model.onnx"]
)
@pytest.mark.parametrize("kind", ["file", "folder", "nowhere"])
def test_a_run_folder_with_a_link_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    """A run that wrote through it would replace what lies elsewhere."""
    precious = tmp_path / "precious"
    if kind == "file":
        precious.write_text("mine")
    elif kind == "folder":
        precious.mkdir()
        (precious / "a").write_text("mine")
    run = tmp_path / "run"
    (run / name).parent.mkdir(parents=True)
    (run / name).symlink_to(precious)
    before = tree(tmp_path)
    with pytest.raises(StorageError, match="link") as caught, run_lock(run):
        pass
    assert str(run / name) in str(caught.value)
    after = tree(tmp_path)
    after.pop("run/.lock", None)
    before.pop("run/.lock", None)
    assert after == before


def test_a_lock_clears_what_a_killed_run_left(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / ".tiny-fp32.0123abcd.tmp" / "deep").mkdir(parents=True)
    (models / ".tiny-fp32.0123abcd.tmp" / "deep" / "model.onnx").write_bytes(b"half")
    (models / ".hidden").write_bytes(b"not ours")
    (tmp_path / ".run.json.89abcdef.tmp").write_bytes(b"half")
    with run_lock(tmp_path):
        assert tree(tmp_path).keys() == {".lock", "models/.hidden"}


# -------------------------------------------------------------------------------------- stages


def test_a_sealed_folder_is_a_hit_for_its_key_only(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    assert stage(folder, "k1").reason == "not made yet"
    with atomic_folder(folder) as work:
        (work / "sub").mkdir()
        (work / "sub" / "a").write_bytes(b"abc")
        (work / ".b.0123abcd.tmp").write_bytes(b"left by a killed write")
        seal(work, "k1")
    found = stage(folder, "k1")
    assert found.hit
    assert dict(found.files) == {"sub/a": hashlib.sha256(b"abc").hexdigest()}
    other = stage(folder, "k2")
    assert not other.hit
    assert not other.files
    assert "k1" in other.reason
    first = (folder / "stage.json").read_bytes()
    assert seal(folder, "k1") == found
    assert (folder / "stage.json").read_bytes() == first


def test_damage_is_a_miss(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    seal(tmp_path, "k")
    (tmp_path / "a").write_bytes(b"xyz")
    assert stage(tmp_path, "k").hit  # the size is right, and hashing is asked for
    assert "not the file" in stage(tmp_path, "k", verify=True).reason
    (tmp_path / "a").write_bytes(b"ab")
    assert "2 bytes, 3 recorded" in stage(tmp_path, "k").reason
    (tmp_path / "a").unlink()
    assert stage(tmp_path, "k").reason == "a is gone"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"key": "k"}', '{"key": "k", "files": {"a": 1}}'])
def test_a_damaged_list_is_a_miss(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "stage.json").write_text(text)
    found = stage(tmp_path, "k")
    assert not found.hit
    assert "damaged" in found.reason
