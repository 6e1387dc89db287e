"""Lhotse Shar folders, as Lhotse writes them and reads them."""

import gc
import gzip
import json
import pickle
import tarfile
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from lhotse import CutSet, MonoCut, Recording

from compress.errors import AudioError, BadAudio
from compress.speech.audio import resampled
from compress.speech.sources import Clip, parts, remote
from compress.speech.sources.shar import SharSource, find, look, scan
from tests.compress.speech.containers.made import with_total
from tests.compress.speech.sources.conftest import PATIENT_S
from tests.compress.speech.sources.made import chirps, write

RATE = 48_000
SHARD = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight cuts of one and of two channels in three shards; the last one is short."""
    write(tmp_path / "audio" / "long.wav", chirps(9, RATE), RATE)
    recording = Recording.from_file(tmp_path / "audio" / "long.wav")
    mono = [
        MonoCut(f"en/cut-{i}.x", float(i), 1.0 + 0.1 * i, i % 2, recording=recording)
        for i in range(6)
    ]
    both = recording.to_cut().truncate(offset=2.0, duration=2.5).with_id("both")
    short = MonoCut("short", 8.0, 0.4, 0, recording=recording)
    cuts = CutSet.from_cuts([*mono, both, short])
    (tmp_path / "shar").mkdir()
    cuts.to_shar(tmp_path / "shar", {"recording": "flac"}, shard_size=SHARD)
    return tmp_path / "shar"


def heard_by_lhotse(folder: Path) -> dict[str, np.ndarray]:
    """Each cut averaged and at 16 kHz, float32 `[samples]`."""
    names = {field: sorted(folder.glob(f"{field}.*")) for field in ("cuts", "recording")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Lhotse leaves its files open
        heard = {cut.id: cut.load_audio().mean(axis=0) for cut in CutSet.from_shar(fields=names)}
        gc.collect()
    return {id_: resampled(mono.astype(np.float32), RATE) for id_, mono in heard.items()}


def check(clips: tuple[Clip, ...], folder: Path) -> None:
    expected = heard_by_lhotse(folder)
    assert len(clips) == 7
    for clip in clips:
        np.testing.assert_allclose(clip.read(), expected[clip.id], rtol=0, atol=1e-6)


def test_cuts_are_clips_in_the_order_of_the_tars(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = scan(str(folder), Path(), 0.5, lambda done, total: seen.append((done, total)))
    assert [clip.id for clip in found.clips] == [*(f"en/cut-{i}.x" for i in range(6)), "both"]
    assert {clip.recording for clip in found.clips} == {"long"}
    tars = [f"{folder}/recording.{i // SHARD:06}.tar" for i in range(7)]
    assert [clip.source.group for clip in found.clips] == tars
    assert all(clip.source.local for clip in found.clips)
    (short,) = found.skipped
    assert (short.name, short.reason) == (
        "cuts.000002.jsonl.gz: short",
        "too short: 0.40 s, expected at least 0.5 s",
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert found.folder is None
    check(found.clips, folder)
    check(tuple(pickle.loads(pickle.dumps(found.clips))), folder)
    assert isinstance(next(look(str(folder))), Clip)


def test_clips_may_be_read_in_any_order(folder: Path) -> None:
    clips = scan(str(folder), Path(), 0.5).clips
    check(clips[::-1], folder)
    check((*clips[3:], *clips[:3]), folder)


def test_parts_make_up_the_whole(folder: Path) -> None:
    clip = scan(str(folder), Path(), 0.5).clips[-1]
    joined = np.concatenate([part.read() for part in parts(clip, 1.0)])
    np.testing.assert_allclose(joined, heard_by_lhotse(folder)["both"], rtol=0, atol=1e-6)


def test_formats_and_fields_that_are_not_read(folder: Path, tmp_path: Path) -> None:
    """Opus and MP3 in the tar, features beside it, and cuts without audio."""
    recording = Recording.from_file(tmp_path / "audio" / "long.wav")
    cuts = CutSet.from_cuts([MonoCut(f"{i}", i, 2.0, 0, recording=recording) for i in range(5)])
    for kind in ("opus", "mp3"):
        there = tmp_path / kind
        there.mkdir()
        cuts.to_shar(there, {"recording": kind}, shard_size=3)
        (there / "features.000000.tar").write_bytes(b"never read")
        expected = heard_by_lhotse(there)
        for clip in scan(str(there), Path(), 0.5).clips:
            np.testing.assert_allclose(clip.read(), expected[clip.id], rtol=0, atol=1e-5)


def test_which_names_are_shar_folders(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "fields.json").write_text("{}")
    for name in ("shar", str(folder), "fields.json", "s3://bucket/shar/", "https://h/a.json?key=1"):
        assert find(name, tmp_path)
    for name in ("audio", "absent", "absent.json", "https://h/cuts.jsonl.gz", "shar/nowhere"):
        assert not find(name, tmp_path)


def test_a_missing_tar(folder: Path) -> None:
    (folder / "recording.000001.tar").unlink()
    with pytest.raises(AudioError, match=r"cuts\.000001.*no tar of its recordings: .*000001\.tar"):
        scan(str(folder))


def test_headers_that_lie_in_a_tar(folder: Path) -> None:
    """What is read of them ends where the sound does; a cut that is longer than it says is refused."""
    clips = {clip.id: clip for clip in scan(str(folder), Path(), 0.5).clips}
    expected = heard_by_lhotse(folder)
    tar = folder / "recording.000000.tar"
    with tarfile.open(tar) as members:
        files = {m.name: members.extractfile(m).read() for m in members.getmembers()}
    for name, total in (("en/cut-0.x.flac", 0), ("en/cut-1.x.flac", 9000)):
        files[name] = with_total(files[name], total)
    files["en/cut-2.x.flac"] += files["en/cut-1.x.flac"]
    with tarfile.open(tar, "w") as members:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            members.addfile(member, BytesIO(content))
    for id_ in ("en/cut-0.x", "en/cut-1.x"):
        np.testing.assert_allclose(clips[id_].read(), expected[id_], rtol=0, atol=1e-6)
    with pytest.raises(BadAudio, match="longer than its manifest says"):
        clips["en/cut-2.x"].read()


def test_a_cut_that_cannot_be_is_refused(folder: Path) -> None:
    cuts = folder / "cuts.000000.jsonl.gz"
    first, *rest = gzip.decompress(cuts.read_bytes()).decode().splitlines()
    for key, value in (("duration", 2**64), ("start", 1e308), ("channel", -1)):
        entry = json.dumps(json.loads(first) | {key: value})
        cuts.write_bytes(gzip.compress("\n".join((entry, *rest)).encode()))
        with pytest.raises(AudioError, match=rf"cuts\.000000.*line 1 .*its {key} is"):
            scan(str(folder))


def test_a_truncated_tar_keeps_what_can_be_read(folder: Path) -> None:
    clips = scan(str(folder), Path(), 0.5).clips[:SHARD]
    tar = folder / "recording.000000.tar"
    with tarfile.open(tar) as members:
        second = members.getmembers()[2]
    expected = heard_by_lhotse(folder)
    tar.write_bytes(tar.read_bytes()[: second.offset_data + second.size // 2])
    for _ in range(2):
        np.testing.assert_allclose(clips[0].read(), expected[clips[0].id], rtol=0, atol=1e-6)
        with pytest.raises(BadAudio, match=r"000000\.tar \(en/cut-1\.x\): the tar"):
            clips[1].read()
        with pytest.raises(BadAudio, match=r"\(en/cut-2\.x\): the tar"):
            clips[2].read()


def test_a_damaged_tar(folder: Path) -> None:
    clips = scan(str(folder), Path(), 0.5).clips
    tar = folder / "recording.000000.tar"
    whole = bytearray(tar.read_bytes())
    with tarfile.open(tar) as members:
        second, third = (members.getmembers()[i] for i in (2, 4))
    whole[second.offset_data : second.offset_data + second.size] = bytes(second.size)
    tar.write_bytes(whole)
    clips[0].read()
    with pytest.raises(BadAudio, match=r"\(en/cut-1\.x\): not readable as audio"):
        clips[1].read()
    clips[2].read()
    whole[third.offset : third.offset + 100] = b"\xff" * 100
    tar.write_bytes(whole)
    clips[3].read()  # another tar in between, so that this one is opened again
    clips[0].read()
    with pytest.raises(BadAudio, match=r"\(en/cut-2\.x\): the tar ends without it"):
        clips[2].read()
    tar.write_bytes(b"no tar" * 1000)
    clips[3].read()
    with pytest.raises(BadAudio, match=r"\(en/cut-0\.x\): the tar cannot be read"):
        clips[0].read()
    tar.unlink()
    with pytest.raises(BadAudio, match="No such file"):
        clips[0].read()


def test_a_cut_without_audio_in_the_tar(folder: Path, tmp_path: Path) -> None:
    from lhotse.shar import AudioTarWriter

    clips = scan(str(folder), Path(), 0.5).clips
    with AudioTarWriter(str(folder / "recording.%06d.tar"), shard_size=SHARD) as tar:
        for i in range(3):
            tar.write_placeholder(f"en/cut-{i}.x")
    with pytest.raises(BadAudio, match=r"\(en/cut-1\.x\): the tar holds a placeholder"):
        clips[1].read()


def test_a_list_of_shards(folder: Path, tmp_path: Path) -> None:
    cuts = sorted(path.name for path in folder.glob("cuts.*"))
    tars = sorted(path.name for path in folder.glob("recording.*"))
    fields = {
        "cuts": [f"shar/{name}" for name in cuts],
        "recording": [str(folder / t) for t in tars],
    }
    (tmp_path / "fields.json").write_text(json.dumps(fields))
    check(scan("fields.json", tmp_path, 0.5).clips, folder)
    (tmp_path / "fields.yaml").write_text(
        f"cuts: {fields['cuts']}\nrecording: {fields['recording']}"
    )
    check(scan("fields.yaml", tmp_path, 0.5).clips, folder)
    for wrong, said in (
        ({"cuts": fields["cuts"]}, "KeyError: 'recording'"),
        ({**fields, "cuts": cuts[:1]}, "found 1 shards of cuts and 3 of recording"),
        ({**fields, "cuts": ["pipe:touch ran"] * 3}, "pipe:touch ran is a command"),
        ([], "TypeError"),
    ):
        (tmp_path / "fields.json").write_text(json.dumps(wrong))
        with pytest.raises(AudioError, match=said):
            scan("fields.json", tmp_path)


# ----------------------------------------------------------------------------------- by URL


def test_a_folder_on_a_web_server_is_streamed_once(
    folder: Path, served: Callable[[Path], str], asked: Counter[str]
) -> None:
    url = served(folder)
    found = scan(f"{url}/", Path(), 0.5, timeout_s=PATIENT_S)
    at_scan = asked.copy()
    assert not any(clip.source.local for clip in found.clips)
    check(found.clips, folder)
    once = {f"/recording.{i:06}.tar": 1 for i in range(3)}
    assert asked - at_scan == once
    asked.clear()
    for clip in found.clips[1:]:  # another thread goes on where one has stopped
        with ThreadPoolExecutor(1) as thread:
            assert len(thread.submit(clip.read).result()) == clip.samples
    # The third still stands at what was read of it last.
    assert asked == {"/recording.000000.tar": 1, "/recording.000001.tar": 1}
    check(found.clips[::-1], folder)
    with pytest.raises(AudioError, match=r"/none/ is no Lhotse Shar folder: .*cuts\.000000"):
        scan(f"{url}/none/", timeout_s=PATIENT_S)


def test_a_tar_that_fails_comes_at_last_and_one_that_hangs_does_not(
    folder: Path, tmp_path: Path, served: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "BLOCK", 2**16)
    url = served(folder)
    fields = {"cuts": [f"{url}/cuts.000000.jsonl.gz"]}
    (tmp_path / "flaky.json").write_text(
        json.dumps(fields | {"recording": [f"{url}/flaky/recording.000000.tar"]})
    )
    expected = heard_by_lhotse(folder)
    for clip in scan("flaky.json", tmp_path, 0.5, timeout_s=PATIENT_S).clips:
        np.testing.assert_allclose(clip.read(), expected[clip.id], rtol=0, atol=1e-6)
    (tmp_path / "cut.json").write_text(
        json.dumps(fields | {"recording": [f"{url}/cut/recording.000000.tar"]})
    )
    for clip in scan("cut.json", tmp_path, 0.5, timeout_s=PATIENT_S).clips:
        np.testing.assert_allclose(clip.read(), expected[clip.id], rtol=0, atol=1e-6)
    (tmp_path / "slow.json").write_text(
        json.dumps(fields | {"recording": [f"{url}/trickles/recording.000000.tar"]})
    )
    clip = scan("slow.json", tmp_path, 0.5, timeout_s=PATIENT_S).clips[0]
    assert isinstance(clip.source, SharSource)
    clip = replace(clip, source=replace(clip.source, timeout_s=0.3))
    with pytest.raises(BadAudio, match=r"trickles/.*\(en/cut-0\.x\): .*within 0\.3 s"):
        clip.read()


def test_a_folder_in_an_object_store(folder: Path, bucket: Callable[[Path], str]) -> None:
    check(scan(f"{bucket(folder)}/", Path(), 0.5, timeout_s=PATIENT_S).clips, folder)
