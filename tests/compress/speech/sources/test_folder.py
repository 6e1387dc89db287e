"""Folders of audio: which files are clips, which are not and why, and what is read only once."""

import os
import pickle
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from compress.errors import AudioError, BadAudio, InputError
from compress.speech import audio
from compress.speech.audio import SAMPLE_RATE, read
from compress.speech.sources import Clip, folder, parts
from compress.speech.sources.folder import find, look, scan
from compress.speech.sources.scan_memory import Known
from compress.store import file_hash
from tests.compress.speech.sources.made import chirps, sine, write


def test_a_scan_lists_clips_by_id_and_bad_files_with_reasons(tmp_path: Path) -> None:
    write(tmp_path / "b" / "two.WAV", sine(440, 0.75), format="WAV")
    one = write(tmp_path / "a" / "x.y.flac", sine(440))
    write(tmp_path / "a" / "short.wav", sine(440, 0.4))
    (tmp_path / "b" / "text.mp3").write_text("no audio")
    (tmp_path / "b" / "notes.txt").write_text("not even by name")
    (tmp_path / "b" / "._two.wav").write_text("a resource fork of macOS")
    seen: list[tuple[int, int]] = []
    found = scan(str(tmp_path), Path(), 0.5, lambda done, total: seen.append((done, total)))
    assert [(clip.id, clip.seconds) for clip in found.clips] == [("a/x.y", 1.0), ("b/two", 0.75)]
    assert found.clips[0].path == str(one)
    assert found.clips[0].sha256 == file_hash(one)
    assert found.clips[0].recording == "a/x.y"
    assert [Path(file.path).name for file in found.skipped] == ["short.wav", "text.mp3"]
    assert found.skipped[0].name == f"{tmp_path.name}/a/short.wav"
    assert found.skipped[0].reason == "too short: 0.40 s, expected at least 0.5 s"
    assert found.folder == tmp_path
    assert seen == [(n, 4) for n in range(1, 5)]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names and pipes")
def test_pipes_devices_sockets_and_names_of_other_codes_are_skipped(tmp_path: Path) -> None:
    """None is waited for, and what is said of them can be written down."""
    speech = tmp_path / "speech"
    write(speech / "a.wav", sine(440))
    os.mkfifo(speech / "pipe.wav")
    (speech / "device.wav").symlink_to("/dev/zero")
    (speech / "gone.wav").symlink_to(speech / "nowhere.wav")
    (speech / "folder.wav").mkdir()
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind(str(speech / "socket.wav"))
    latin = os.fsdecode("fianc\xe9.wav".encode("latin-1"))
    (speech / latin).write_bytes((speech / "a.wav").read_bytes())
    found = scan(str(speech))
    assert [clip.id for clip in found.clips] == ["a"]
    assert {file.name: file.reason for file in found.skipped} == {
        "speech/device.wav": "it is a device, expected an audio file",
        "speech/fianc\\xe9.wav": "its name is not valid UTF-8",
        "speech/gone.wav": "it is a broken link, expected an audio file",
        "speech/pipe.wav": "it is a pipe, expected an audio file",
        "speech/socket.wav": "it is a socket, expected an audio file",
    }
    for file in found.skipped:
        (file.name + file.path + file.reason).encode()


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    speech = tmp_path / "speech"
    write(speech / "a.wav", sine(440))
    write(tmp_path / "elsewhere" / "b.wav", sine(440))
    for name in ("1.aiff", "2.AIFF", "sub/3.m4a", "LICENSE", "alignments.json", ".hidden.m4a"):
        (speech / name).parent.mkdir(exist_ok=True)
        (speech / name).write_text("")
    (speech / "sub" / "more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    passed = scan("speech", tmp_path).passed_over
    assert passed is not None
    assert passed.endings == {".aiff": 2, ".m4a": 1, "": 1}
    assert passed.links == ("sub/more",)
    assert str(passed) == (
        "speech: 2 .aiff, 1 without an ending, 1 .m4a, the link to folders sub/more"
    )
    write(tmp_path / "all" / "a.wav", sine(440))
    assert scan("all", tmp_path).passed_over is None
    assert scan("builtin:speech").passed_over is None, "nobody can mend what ships"


def test_clips_read_as_their_files_and_travel(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / "a.wav", chirps(2, 44_100), 44_100)
    (clip,) = scan("in", tmp_path).clips
    assert (clip.source.local, clip.source.group) == (True, "")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clip)).read(), read(path))


def test_parts_of_a_long_file_make_up_the_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", chirps(7.3, 44_100), 44_100)
    (clip,) = scan(str(tmp_path)).clips
    cut = parts(clip, 1.5)
    assert [part.id for part in cut] == ["a@000000", "a@000001", "a@000003", "a@000004", "a@000006"]
    assert {part.recording for part in cut} == {"a"}
    joined = np.concatenate([part.read() for part in cut])
    np.testing.assert_allclose(joined, read(path), rtol=0, atol=1e-6)


def test_a_silent_part_is_read_and_a_silent_file_is_skipped(tmp_path: Path) -> None:
    silence = np.zeros(SAMPLE_RATE, np.float32)
    write(tmp_path / "half.wav", np.concatenate([silence, sine(440)]))
    write(tmp_path / "whole.wav", silence)
    found = scan(str(tmp_path))
    assert [file.reason[:6] for file in found.skipped] == ["silent"]
    first, second = parts(found.clips[0], 1.0)
    assert not first.read().any()
    assert second.read().any()


@pytest.mark.parametrize("seconds", [1.9, 2.1])
def test_a_file_that_changed_is_told(tmp_path: Path, seconds: float) -> None:
    path = write(tmp_path / "a.wav", sine(440, 2.0))
    (clip,) = scan(str(tmp_path)).clips
    write(path, sine(440, seconds))
    first, last = parts(clip, 1.0)
    assert len(first.read()) == SAMPLE_RATE
    said = rf"changed while lipstill ran: found {round(seconds * SAMPLE_RATE)} .*the 32000 that"
    for changed in (clip, last):
        with pytest.raises(BadAudio, match=said):
            changed.read()


def test_folders_without_audio(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(AudioError, match=r"hold no audio; .*\.wav, \.flac, \.ogg, \.opus, \.mp3"):
        scan(str(tmp_path))
    with pytest.raises(AudioError, match="is a file"):
        scan(str(tmp_path / "notes.txt"))
    with pytest.raises(AudioError, match="is not there"):
        scan(str(tmp_path / "absent"))


def test_which_names_are_folders_of_audio(tmp_path: Path) -> None:
    write(tmp_path / "speech" / "a.wav", sine(440))
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "cuts.000000.jsonl.gz").write_bytes(b"")
    assert find("speech", tmp_path)
    assert find("builtin:speech", tmp_path)
    for name in ("shards", "speech/a.wav", "absent", "https://there/speech"):
        assert not find(name, tmp_path)
    with pytest.raises(InputError, match="There is no builtin:sppech"):
        find("builtin:sppech", tmp_path)


def test_what_is_looked_at_is_no_more_than_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", sine(440))
    (tmp_path / "b.wav").write_text("never read")
    looked = look(str(tmp_path))
    first = next(looked)
    assert isinstance(first, Clip)
    assert first.id == "a"


def settle(folder: Path) -> None:
    """Let every file be older than what a clock could hide."""
    for path in folder.rglob("*.*"):
        os.utime(path, (time.time() - 60, time.time() - 60))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIPSTILL_CACHE", str(tmp_path / "cache"))
    # Times of change cannot be set back.
    monkeypatch.setattr("compress.speech.sources.scan_memory.SETTLED_NS", 0)


@pytest.mark.usefixtures("own_cache")
def test_a_second_scan_reads_only_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech = tmp_path / "speech"
    for name in ("a", "b"):
        write(speech / f"{name}.wav", sine(440))
    write(speech / "quiet.wav", np.zeros(16_000, np.float32))
    settle(speech)
    first = scan(str(speech), Path(), 0.5)
    reads: list[str] = []
    measure = audio.measure

    def counted(path: Path) -> int:
        reads.append(path.name)
        return measure(path)

    monkeypatch.setattr(audio, "measure", counted)
    assert scan(str(speech), Path(), 0.5) == first
    assert reads == []
    assert len(scan(str(speech), Path(), 1.5).clips) == 0, "lengths are judged each time"
    assert reads == []
    write(speech / "b.wav", sine(440, 1.5))
    write(speech / "c.wav", sine(440))
    second = scan(str(speech), Path(), 0.5)
    assert sorted(reads) == ["b.wav", "c.wav"]
    assert [clip.seconds for clip in second.clips] == [1.0, 1.5, 1.0]
    assert second.skipped == first.skipped


@pytest.mark.usefixtures("own_cache")
def test_an_interrupted_scan_does_not_read_on_and_keeps_what_it_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        write(tmp_path / "speech" / f"{number:02}.wav", sine(440, 0.6))
    reads: list[Path] = []
    inspect, ended = folder._inspect, threading.Event()

    def counted(path: Path) -> Known:
        reads.append(path)
        if path.name >= "05.wav":
            ended.wait()
        return inspect(path)

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(False, cancel_futures=cancel_futures)
            ended.set()
            super().shutdown(wait)

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(folder, "_inspect", counted)
    monkeypatch.setattr(folder, "ThreadPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        scan(str(tmp_path / "speech"), progress=stop)
    assert 5 <= len(reads) <= 5 + 8, "what each thread was at is all that may still be read"
    reads.clear()
    assert len(scan(str(tmp_path / "speech")).clips) == 60
    assert len(reads) == 55
    assert min(reads).name == "05.wav"


@pytest.mark.usefixtures("own_cache")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_what_could_not_be_read_is_tried_again(tmp_path: Path) -> None:
    path = write(tmp_path / "speech" / "a.wav", sine(440))
    path.chmod(0)
    assert len(scan(str(tmp_path / "speech")).skipped) == 1
    path.chmod(0o600)
    assert len(scan(str(tmp_path / "speech")).clips) == 1
