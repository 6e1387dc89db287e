"""What lies elsewhere comes whole, within a time, or is said not to have come; secrets are not said."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from compress.errors import AudioError, BadAudio, MissingError
from compress.speech.sources import remote
from compress.speech.sources.remote import (
    NotFetched,
    Stream,
    beside,
    cached,
    exists,
    fetch,
    is_url,
    shown,
)
from tests.compress.speech.sources.conftest import PATIENT_S

Serve = Callable[[Path], str]
CONTENT = bytes(range(256)) * 10_000


@pytest.fixture
def url(tmp_path: Path, served: Serve) -> str:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    return served(tmp_path)


@pytest.mark.parametrize("mood", ["", "/flaky", "/cut"])
def test_a_file_comes_whole(url: str, asked: Counter[str], mood: str) -> None:
    assert fetch(f"{url}{mood}/a.bin", PATIENT_S) == CONTENT
    assert asked[f"{mood}/a.bin"] == (3 if mood else 1)


@pytest.mark.parametrize("mood", ["hangs", "trickles"])
def test_what_does_not_come_in_time_is_said(
    url: str, asked_for: Callable[[str, int], int], mood: str
) -> None:
    """Neither ends by itself, so that it is an answer at all is what is asked."""
    with pytest.raises(BadAudio, match=f"/{mood}/a.bin: .*did not (come|answer).*(0.2 s|in time)"):
        fetch(f"{url}/{mood}/a.bin", 0.2)
    assert asked_for(f"/{mood}/a.bin", 3) == 3


def test_a_server_that_is_not_there(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSE_S", 0.01)
    with pytest.raises(BadAudio, match="could not be fetched \\(ConnectionError\\)"):
        fetch(f"http://127.0.0.1:{closed_port}/a.bin", PATIENT_S)


def test_what_is_not_there_is_asked_for_once(url: str, asked: Counter[str]) -> None:
    with pytest.raises(BadAudio, match="the server answered 404"):
        fetch(f"{url}/b.bin", PATIENT_S)
    assert asked["/b.bin"] == 1
    assert not exists(f"{url}/b.bin", PATIENT_S)
    assert exists(f"{url}/a.bin", PATIENT_S)
    with pytest.raises(BadAudio, match="did not"):
        exists(f"{url}/hangs/a.bin", 0.2)


def test_nothing_secret_is_said(url: str) -> None:
    address = url.removeprefix("http://")
    assert fetch(f"http://me:secret@{address}/guarded/a.bin?token=1", PATIENT_S) == CONTENT
    for place in (f"http://me:hush@{address}/guarded/a.bin", f"http://{address}/b?token=hush#hush"):
        with pytest.raises(BadAudio) as caught:
            fetch(place, PATIENT_S)
        error: BaseException | None = caught.value
        while error is not None and not error.__suppress_context__:
            assert "hush" not in f"{error!r} {error}"
            error = error.__cause__ or error.__context__
        assert "hush" not in str(caught.value)
    assert shown("s3://id:hush@bucket/a/b.tar?x=hush") == "s3://bucket/a/b.tar"
    assert shown("/folder/a?b@c") == "/folder/a?b@c"


def test_what_is_a_url(tmp_path: Path) -> None:
    assert all(map(is_url, ["http://a", "s3://b/c", "HTTPS://x"]))
    assert not any(map(is_url, ["C:/speech", "C:\\speech", "speech", "/a", "builtin:speech"]))
    assert beside("http://h/a/b.jsonl?key=1", "c/d.wav") == "http://h/a/c/d.wav?key=1"
    assert beside("http://h/a/", "c.tar") == "http://h/a/c.tar"
    assert beside("http://h/a/", "s3://b/c.tar") == "s3://b/c.tar"


def test_parts_of_a_recording_are_fetched_once(
    url: str, asked: Counter[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in "bc":
        (tmp_path / f"{name}.bin").write_bytes(CONTENT)
    monkeypatch.setattr(remote, "CACHED", 2 * len(CONTENT))
    first = cached(f"{url}/a.bin", PATIENT_S)
    for name in "abab":
        assert cached(f"{url}/{name}.bin", PATIENT_S) == CONTENT
    assert cached(f"{url}/a.bin", PATIENT_S) is first
    assert asked == {"/a.bin": 1, "/b.bin": 1}
    cached(f"{url}/c.bin", PATIENT_S)
    cached(f"{url}/a.bin", PATIENT_S)
    cached(f"{url}/b.bin", PATIENT_S)
    assert asked == {"/a.bin": 1, "/b.bin": 2, "/c.bin": 1}


def test_no_file_is_held_that_is_larger_than_memory_may_be(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LARGEST", 2**20)
    with pytest.raises(BadAudio, match=r"larger than 0\.000976562 GiB"):
        fetch(f"{url}/a.bin", PATIENT_S)


def test_a_stream_is_read_block_by_block(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(f"{url}/a.bin", PATIENT_S)
    found = b"".join(iter(lambda: stream.read(99_999), b""))
    stream.close()
    assert found == CONTENT
    slow = Stream(f"{url}/trickles/a.bin", PATIENT_S)
    monkeypatch.setattr(slow, "_timeout_s", 0.3)
    with pytest.raises(NotFetched, match=r"within 0\.3 s"):
        slow.read(1000)


def test_a_mistake_of_ours_is_not_tried_again() -> None:
    def fail(left: threading.Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        remote.tried(lambda: remote.within(PATIENT_S, fail))


def test_a_kind_of_url_that_nobody_knows() -> None:
    with pytest.raises(AudioError, match="begins with gopher://"):
        fetch("gopher://there/a.wav", PATIENT_S)


def test_a_missing_package_says_what_to_install(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smart_open", None)
    with pytest.raises(MissingError, match=r"pip install .lipstill\[cloud\]"):
        fetch(f"{url}/a.bin", PATIENT_S)


def test_a_store_that_hangs_holds_up_no_exit(url: str) -> None:
    code = f"""
import compress.speech.sources.remote as remote
remote.PAUSE_S = 0.01
try:
    remote.fetch("{url}/hangs/a.bin", 0.2)
except Exception as error:
    print(type(error).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENT_S, check=True
    )
    assert done.stdout == "BadAudio\n"


def test_an_object_store(tmp_path: Path, bucket: Callable[[Path], str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.bin").write_bytes(CONTENT)
    there = bucket(tmp_path)
    assert fetch(f"{there}/in/a.bin", 10) == CONTENT
    assert exists(f"{there}/in/a.bin", PATIENT_S)
    assert not exists(f"{there}/in/b.bin", PATIENT_S)
    with pytest.raises(BadAudio, match=r"s3://speech/in/b\.bin: the server answered 404 NoSuchKey"):
        fetch(f"{there}/in/b.bin", PATIENT_S)
