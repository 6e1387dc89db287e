"""Lhotse's own manifests, as Lhotse writes them and reads them."""

import gzip
import json
import os
import pickle
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lhotse import (
    AudioSource,
    CutSet,
    MonoCut,
    Recording,
    RecordingSet,
    SupervisionSegment,
    SupervisionSet,
)
from lhotse.utils import compute_num_samples

from compress.errors import AudioError, BadAudio
from compress.speech.audio import SAMPLE_RATE, read, resampled
from compress.speech.sources import Clip, Scanned, parts
from compress.speech.sources.cuts import samples_of
from compress.speech.sources.manifest import find, look, scan
from tests.compress.speech.containers.made import encoded, resized, voices
from tests.compress.speech.sources.conftest import PATIENT_S
from tests.compress.speech.sources.made import chirps, sine, write

# Lhotse cuts before we resample, so that the filter hears an edge where it hears the recording here.
EDGE = 16
RATE = 48_000


@pytest.fixture
def recordings(tmp_path: Path) -> RecordingSet:
    """Three of 48 kHz, in two channels each, in files below a folder `corpus`."""
    corpus = tmp_path / "corpus"
    paths = [
        write(corpus / "audio" / f"{i}.flac", chirps(seconds, RATE, i), RATE)
        for i, seconds in enumerate((2.0, 3.0, 1.0))
    ]
    return RecordingSet.from_recordings(Recording.from_file(path) for path in paths)


def manifest(path: Path, items: Any) -> str:
    """A manifest that Lhotse writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    items.to_file(path)
    return str(path)


def unpacked(path: Path | str) -> str:
    return gzip.decompress(Path(path).read_bytes()).decode()


def altered(path: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """The same manifest, of one line, after a change of its JSON."""
    entry = json.loads(unpacked(path))
    change(entry)
    other = path.with_name("altered.jsonl")
    other.write_text(json.dumps(entry) + "\n")
    return str(other)


def ours(channels: np.ndarray) -> np.ndarray:
    """What Lhotse loads at 48 kHz, `[channels, samples]`, averaged and at 16 kHz."""
    return resampled(channels.mean(axis=0).astype(np.float32), RATE)


def of(scanned: Scanned) -> dict[str, Clip]:
    return {clip.id: clip for clip in scanned.clips}


@given(st.floats(0.01, 40_000))
def test_seconds_are_rounded_as_lhotse_rounds_them(seconds: float) -> None:
    assert samples_of(seconds) == compute_num_samples(seconds, SAMPLE_RATE)


def test_recordings_are_clips(tmp_path: Path, recordings: RecordingSet) -> None:
    name = manifest(tmp_path / "corpus" / "recordings.jsonl.gz", recordings)
    seen: list[tuple[int, int]] = []
    found = scan(name, Path(), 1.5, lambda done, total: seen.append((done, total)))
    assert [(clip.id, clip.seconds, clip.recording) for clip in found.clips] == [
        ("0", 2.0, "0"),
        ("1", 3.0, "1"),
    ]
    (short,) = found.skipped
    assert short.name == "recordings.jsonl.gz: 2"
    assert short.path == f"{tmp_path}/corpus/audio/2.flac (2)"
    assert short.reason == "too short: 1.00 s, expected at least 1.5 s"
    assert seen[-1][0] == seen[-1][1]
    for clip in found.clips:
        assert (clip.source.local, clip.source.group) == (True, "")
        travelled = pickle.loads(pickle.dumps(clip)).read()
        path = tmp_path / "corpus" / "audio" / f"{clip.id}.flac"
        np.testing.assert_allclose(travelled, read(path), rtol=0, atol=1e-6)
        whole = ours(recordings[clip.id].load_audio())
        np.testing.assert_allclose(travelled, whole, rtol=0, atol=1e-5)
    assert len(pickle.dumps(found.clips[0])) < 1000


def test_cuts_are_heard_as_lhotse_hears_them(tmp_path: Path, recordings: RecordingSet) -> None:
    one, two = recordings["0"], recordings["1"]
    cuts = CutSet.from_cuts(
        [
            one.to_cut().with_id("whole"),
            one.to_cut().truncate(offset=0.25, duration=1.0).with_id("both"),
            MonoCut("left", 0.5, 1.25, 0, recording=two),
            MonoCut("right", 1.0, 1.25, 1, recording=two),  # overlaps
            MonoCut("louder", 1.0, 1.0, 1, recording=two).perturb_volume(0.5),
            MonoCut("faster", 0.0, 2.2, 0, recording=two).perturb_speed(1.1),
            MonoCut("other", 1.0, 1.0, 0, recording=two).resample(8_000),
        ]
    )
    found = of(scan(manifest(tmp_path / "cuts.jsonl.gz", cuts)))
    assert found.keys() == {cut.id for cut in cuts}
    assert {clip.recording for clip in found.values()} == {"0", "1"}, "perturbed ones stay there"
    for cut in cuts:
        clip = found[cut.id]
        assert clip.samples == compute_num_samples(cut.duration, SAMPLE_RATE)
        heard = clip.read()
        mono = cut.load_audio().mean(axis=0).astype(np.float32)
        expected = resampled(mono, cut.sampling_rate)
        assert abs(len(expected) - len(heard)) <= 2
        inner = slice(EDGE, min(len(heard), len(expected)) - EDGE)
        np.testing.assert_allclose(heard[inner], expected[inner], rtol=0, atol=1e-5)
    middle = found["left"].source.read(5000, 9000)
    np.testing.assert_allclose(middle, found["left"].read()[5000:9000], rtol=0, atol=1e-6)


def test_channels_may_be_files(tmp_path: Path) -> None:
    left, right = sine(300), sine(700)
    for name, samples in (("left", left), ("right", right)):
        write(tmp_path / f"{name}.wav", samples, subtype="FLOAT")
    both = Recording.from_file(tmp_path / "left.wav", recording_id="both")
    other = Recording.from_file(tmp_path / "right.wav").sources[0]
    other.channels = [1]
    both.sources.append(other)
    both.channel_ids = [0, 1]
    cuts = CutSet.from_cuts(
        [both.to_cut().with_id("both"), MonoCut("right", 0, 1, 1, recording=both)]
    )
    found = of(scan(manifest(tmp_path / "cuts.jsonl.gz", cuts)))
    np.testing.assert_allclose(found["both"].read(), (left + right) / 2, atol=1e-6)
    np.testing.assert_allclose(found["right"].read(), right, atol=1e-6)


def test_parts_make_up_the_whole(tmp_path: Path, recordings: RecordingSet) -> None:
    clip = of(scan(manifest(tmp_path / "recordings.jsonl", recordings)))["1"]
    joined = np.concatenate([part.read() for part in parts(clip, 1.0)])
    np.testing.assert_allclose(joined, clip.read(), rtol=0, atol=1e-6)


def test_moving_a_corpus_changes_nothing(tmp_path: Path, recordings: RecordingSet) -> None:
    cuts = CutSet.from_manifests(recordings=recordings)
    name = manifest(tmp_path / "corpus" / "cuts.jsonl.gz", cuts)
    before = scan(name)
    here = before.clips[0].read()
    shutil.move(tmp_path / "corpus", tmp_path / "elsewhere")
    text = unpacked(tmp_path / "elsewhere" / "cuts.jsonl.gz")
    (tmp_path / "elsewhere" / "relative.jsonl").write_text(text.replace(f"{tmp_path}/corpus/", ""))
    (tmp_path / "elsewhere" / "absolute.jsonl").write_text(text.replace("/corpus/", "/elsewhere/"))
    for moved in ("relative", "absolute"):
        after = scan(str(tmp_path / "elsewhere" / f"{moved}.jsonl"))
        assert [c.sha256 for c in after.clips] == [c.sha256 for c in before.clips]
        np.testing.assert_array_equal(after.clips[0].read(), here)
    with pytest.raises(BadAudio, match="it is not there"):
        before.clips[0].read()


def test_relative_paths_start_at_the_manifest_then_where_we_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "work" / "a.wav", sine(300), subtype="FLOAT")
    monkeypatch.chdir(tmp_path / "work")
    name = manifest(
        tmp_path / "corpus" / "recordings.jsonl",
        RecordingSet.from_recordings([Recording.from_file("a.wav")]),
    )
    (clip,) = scan(name).clips
    np.testing.assert_allclose(clip.read(), sine(300), atol=1e-6)
    write(tmp_path / "corpus" / "a.wav", sine(700), subtype="FLOAT")
    np.testing.assert_allclose(clip.read(), sine(700), atol=1e-6)


def test_what_is_said_in_it_is_no_part_of_a_clip(tmp_path: Path, recordings: RecordingSet) -> None:
    cut = recordings["0"].to_cut()
    plain = scan(manifest(tmp_path / "plain.jsonl", CutSet.from_cuts([cut]))).clips[0]
    cut.supervisions = [SupervisionSegment("s", "0", 0, 1, text="said")]
    told = scan(manifest(tmp_path / "told.jsonl", CutSet.from_cuts([cut]))).clips[0]
    assert told.sha256 == plain.sha256
    other = scan(
        manifest(tmp_path / "other.jsonl", CutSet.from_cuts([cut.truncate(duration=1.5)]))
    ).clips[0]
    assert other.sha256 != plain.sha256


@pytest.fixture
def one(tmp_path: Path, recordings: RecordingSet) -> Path:
    """A manifest of one cut."""
    cuts = CutSet.from_cuts([recordings["0"].to_cut().with_id("one")])
    return Path(manifest(tmp_path / "corpus" / "one.jsonl.gz", cuts))


def source_of(entry: dict[str, Any]) -> dict[str, Any]:
    source: dict[str, Any] = entry["recording"]["sources"][0]
    return source


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: source_of(e).update(type="command", source="touch ran"), "runs no commands"),
        (lambda e: source_of(e).update(source="pipe:touch ran"), "runs no commands"),
        (lambda e: source_of(e).update(type="url", source="pipe:touch ran"), "runs no commands"),
        (lambda e: source_of(e).update(type="memory"), "the type memory, expected file or url"),
        (lambda e: source_of(e).update(type="shar"), "Name the Shar folder itself"),
        (lambda e: source_of(e).update(video={"fps": 25}), "audio in a video"),
        (lambda e: e.pop("recording"), "a cut without a recording"),
        (
            lambda e: e["recording"].update(
                transforms=[{"name": "ReverbWithImpulseResponse", "kwargs": {}}]
            ),
            "changed by ReverbWithImpulseResponse, expected one of Resample, Speed",
        ),
        (lambda e: e.update(channel=[0, 7]), r"no source has the channels \[7\]"),
        (lambda e: e.update(duration=-1), "is no recording and no cut"),
        (lambda e: e.update(duration=float("inf")), "is no recording and no cut"),
        (lambda e: e.update(id=7), "is no recording and no cut"),
        (lambda e: e.update(id="\ud800"), "is no recording and no cut"),
        (lambda e: source_of(e).pop("channels"), "KeyError: 'channels'"),
    ],
)
def test_what_is_not_read_is_said(
    tmp_path: Path,
    one: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], None],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AudioError, match=rf"altered\.jsonl, line 1.*{said}") as caught:
        for clip in scan(altered(one, change)).clips:
            clip.read()
    assert caught.value.exit_code == 3
    assert not (tmp_path / "ran").exists()


def test_mixtures_are_refused(tmp_path: Path, recordings: RecordingSet) -> None:
    cut = recordings["0"].to_cut()
    for kind, made in {
        "MixedCut": cut.mix(recordings["1"].to_cut(), offset_other_by=0.5),
        "PaddingCut": cut.pad(duration=5.0).tracks[1].cut,
    }.items():
        with pytest.raises(AudioError, match=f"is a {kind}, which mixes or pads others"):
            scan(manifest(tmp_path / f"{kind}.jsonl", CutSet.from_cuts([made])))


def test_supervisions_are_no_speech(tmp_path: Path) -> None:
    said = SupervisionSet.from_segments([SupervisionSegment("s", "0", 0, 1, text="said")])
    with pytest.raises(AudioError, match=r"line 1: s says nothing of audio; found keys .*Name the"):
        scan(manifest(tmp_path / "supervisions.jsonl.gz", said))


def test_a_damaged_manifest_names_file_and_line(tmp_path: Path, recordings: RecordingSet) -> None:
    path = Path(manifest(tmp_path / "recordings.jsonl.gz", recordings))
    (tmp_path / "cut.jsonl.gz").write_bytes(path.read_bytes()[:-40])
    with pytest.raises(AudioError, match=r"cut\.jsonl\.gz cannot be read after line \d"):
        scan(str(tmp_path / "cut.jsonl.gz"))
    first, *others = unpacked(path).splitlines(keepends=True)
    (tmp_path / "text.jsonl").write_text(first + "no JSON\n" + "".join(others))
    with pytest.raises(AudioError, match=r"text\.jsonl, line 2 is no recording"):
        scan(str(tmp_path / "text.jsonl"))
    assert isinstance(next(look(str(tmp_path / "text.jsonl"))), Clip), "lines are read one by one"


def test_audio_that_is_not_as_the_manifest_says(tmp_path: Path, recordings: RecordingSet) -> None:
    name = manifest(tmp_path / "recordings.jsonl", recordings)
    clips = of(scan(name))
    write(tmp_path / "corpus" / "audio" / "0.flac", chirps(2.0 - 1 / SAMPLE_RATE, RATE), RATE)
    assert len(clips["0"].read()) == clips["0"].samples, "a rounding"
    write(tmp_path / "corpus" / "audio" / "0.flac", chirps(1.9, RATE), RATE)
    with pytest.raises(BadAudio, match=r"0\.flac \(0\): .*found 30400 of 32000 samples"):
        clips["0"].read()
    loud = write(
        tmp_path / "corpus" / "audio" / "1.wav", 9 * chirps(3, RATE), RATE, subtype="FLOAT"
    )
    loud.rename(loud.with_suffix(".flac"))
    with pytest.raises(BadAudio, match=r"expected samples in −1\.\.1"):
        clips["1"].read()


def test_which_names_are_manifests(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(b"")
    assert find("a.jsonl.gz", tmp_path)
    assert find("s3://bucket/cuts.jsonl.gz", tmp_path)
    assert find("https://there/cuts.jsonl?key=1", tmp_path)
    for name in ("absent.jsonl", "https://there/a.wav", "pipe:cat a.jsonl", "."):
        assert not find(name, tmp_path)


def test_a_corpus_on_a_web_server(
    tmp_path: Path,
    recordings: RecordingSet,
    served: Callable[[Path], str],
    asked: Counter[str],
) -> None:
    """Its manifest has paths relative to itself, of which one fails twice."""
    name = manifest(tmp_path / "corpus" / "cuts.jsonl.gz", CutSet.from_manifests(recordings))
    url = served(tmp_path / "corpus")
    text = unpacked(name).replace(f"{tmp_path}/corpus/", "")
    text = text.replace("audio/1", "flaky/audio/1")
    (tmp_path / "corpus" / "there.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    found = scan(f"{url}/there.jsonl.gz", timeout_s=PATIENT_S)
    assert not asked.keys() & {f"/audio/{i}.flac" for i in range(3)}, "no audio at scan"
    for clip in found.clips:
        assert not clip.source.local
        expected = read(tmp_path / "corpus" / "audio" / f"{clip.recording}.flac")
        for part in parts(clip, 1.0):
            heard = part.read()
            end = part.start + part.samples
            np.testing.assert_allclose(heard, expected[part.start : end], rtol=0, atol=1e-6)
    assert asked["/flaky/audio/1.flac"] == 3
    assert asked["/audio/0.flac"] == 1, "once for all of its parts"


def test_a_recording_that_hangs_is_bad_audio(
    tmp_path: Path, recordings: RecordingSet, served: Callable[[Path], str]
) -> None:
    name = manifest(tmp_path / "corpus" / "recordings.jsonl", recordings)
    url = served(tmp_path / "corpus")
    text = Path(name).read_text().replace(f"{tmp_path}/corpus", f"{url}/hangs")
    (tmp_path / "corpus" / "there.jsonl").write_text(text)
    clip = scan(str(tmp_path / "corpus" / "there.jsonl"), timeout_s=0.2).clips[0]
    with pytest.raises(BadAudio, match=r"hangs/audio/0.flac.*did not"):
        clip.read()
    with pytest.raises(BadAudio, match="did not"):
        scan(f"{url}/hangs/corpus.jsonl", timeout_s=0.2)


def test_a_corpus_in_an_object_store(
    tmp_path: Path, recordings: RecordingSet, bucket: Callable[[Path], str]
) -> None:
    at = tmp_path / "corpus"
    cuts = CutSet.from_manifests(recordings=recordings).to_eager()
    text = unpacked(manifest(at / "cuts.jsonl.gz", cuts))
    (at / "cuts.jsonl.gz").write_bytes(gzip.compress(text.replace(str(at), "s3://speech").encode()))
    there = bucket(at)
    clip = scan(f"{there}/cuts.jsonl.gz", timeout_s=PATIENT_S).clips[1]
    assert clip.path == "s3://speech/audio/1.flac (1-1)"
    np.testing.assert_allclose(clip.read(), read(at / "audio" / "1.flac"), rtol=0, atol=1e-6)


IMPOSSIBLE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    f"{key} {text[:9]}": (
        lambda entry, key=key, text=text: entry.update({key: json.loads(text)}),
        f"its {key} is .*, expected ",
    )
    for key, texts in {
        "duration": (str(2**64), "1e308", "1" + "0" * 400, "NaN", "Infinity", "-1.0", "0", '"1"'),
        "num_samples": (str(2**64), "1" + "0" * 400, "-5", "NaN", "0"),
        "sampling_rate": (str(2**64), "1e308", "0", "-16000", "NaN", "3000"),
        "channel_ids": (f"[{2**64}]", "[-1]", "[NaN]"),
    }.items()
    for text in texts
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_recording_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    change, reason = IMPOSSIBLE[name]
    write(tmp_path / "a.wav", sine(440))
    recordings = RecordingSet.from_recordings([Recording.from_file(tmp_path / "a.wav")])
    manifest(tmp_path / "recordings.jsonl.gz", recordings)
    with pytest.raises(AudioError, match=reason) as caught:
        scan(altered(tmp_path / "recordings.jsonl.gz", change))
    assert "altered.jsonl, line 1" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("key", "value"),
    [("start", 1e308), ("start", -1), ("start", 10**400), ("duration", 2**64), ("channel", 2**64)],
)
def test_a_cut_that_cannot_be_is_refused(tmp_path: Path, key: str, value: float) -> None:
    write(tmp_path / "a.wav", sine(440))
    cut = MonoCut("c", 0, 0.5, 0, recording=Recording.from_file(tmp_path / "a.wav"))
    manifest(tmp_path / "cuts.jsonl.gz", CutSet.from_cuts([cut]))
    name = altered(tmp_path / "cuts.jsonl.gz", lambda entry: entry.update({key: value}))
    with pytest.raises(AudioError, match=f"its {key} is"):
        scan(name)


def test_a_manifest_that_knows_less_than_the_file_holds(tmp_path: Path) -> None:
    """Such as Lhotse writes it of a file whose header is wrong: what is behind would be lost."""
    path = write(tmp_path / "a.wav", sine(440, 3.0))
    recording = Recording.from_file(path)
    short = Recording("r", recording.sources, 16_000, 2 * 16_000, 2.0)
    cuts = [short.to_cut().with_id("whole"), MonoCut("part", 0.5, 1.0, 0, recording=short)]
    clips = of(scan(manifest(tmp_path / "cuts.jsonl.gz", CutSet.from_cuts(cuts))))
    with pytest.raises(BadAudio, match=r"longer than its manifest says: more than 0\.25 s follow"):
        clips["whole"].read()
    np.testing.assert_allclose(clips["part"].read(), read(path)[8000:24_000], atol=1e-6)
    whole = Recording("r", recording.sources, 16_000, 3 * 16_000 - 3000, 3 - 3000 / 16_000)
    name = manifest(tmp_path / "b.jsonl.gz", RecordingSet.from_recordings([whole]))
    assert len(scan(name).clips[0].read()) == 45_000, "what encoders put at the end is no sound"
    name = altered(tmp_path / "b.jsonl.gz", lambda entry: entry.update(duration=1.0))
    with pytest.raises(
        AudioError, match=r"duration is 1 s, but 45000 samples at 16000 Hz are 2\.8"
    ):
        scan(name)


def test_recordings_whose_headers_lie_are_read_to_their_end(tmp_path: Path) -> None:
    """Also those that Lhotse loads, to change them."""
    crashed = resized(encoded("WAV PCM_16", voices(2, 16_000)), 0, 0)
    (tmp_path / "a.wav").write_bytes(crashed)
    joined = encoded("FLAC PCM_16", voices(1, 16_000)) + encoded("FLAC PCM_16", voices(1, 16_000))
    (tmp_path / "b.flac").write_bytes(joined)
    twice = np.concatenate([voices(1, 16_000), voices(1, 16_000)])
    for name, expected in (("a.wav", voices(2, 16_000)), ("b.flac", twice)):
        source = [AudioSource("file", [0], name)]
        recording = Recording("r", source, 16_000, 32_000, 2.0)
        cuts = [
            recording.to_cut().with_id("as is"),
            recording.perturb_volume(0.5).to_cut().with_id("quiet"),
        ]
        found = of(scan(manifest(tmp_path / "r.jsonl.gz", CutSet.from_cuts(cuts))))
        np.testing.assert_allclose(found["as is"].read(), expected[:, 0], atol=1e-4)
        np.testing.assert_allclose(found["quiet"].read(), 0.5 * expected[:, 0], atol=1e-4)
        short = Recording("r", source, 16_000, 16_000, 1.0).perturb_volume(0.5)
        name = manifest(tmp_path / "s.jsonl.gz", RecordingSet.from_recordings([short]))
        with pytest.raises(BadAudio, match="Lhotse cannot load it"):
            scan(name).clips[0].read()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such pipes")
def test_no_pipe_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    os.mkfifo(tmp_path / "m.jsonl")
    recording = Recording("r", [AudioSource("file", [0], "a.wav")], 16_000, 16_000, 1.0)
    changed = recording.perturb_speed(1.1)
    name = manifest(tmp_path / "r.jsonl.gz", RecordingSet.from_recordings([recording, changed]))
    for clip in scan(name).clips:
        with pytest.raises(BadAudio, match="it is a pipe, expected an audio file"):
            clip.read()
    assert not find("m.jsonl", tmp_path)
    with pytest.raises(AudioError, match="is a pipe, expected a file"):
        next(look("m.jsonl", tmp_path))
