"""Reading speech: round trips through real codecs, resampling against a sine, and bad files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from compress.audio import HOP, HOP_RATE, SAMPLE_RATE, read
from compress.errors import AudioError, BadAudio
from compress.sources import Clip, folder
from compress.sources.folder import Speech, excerpt, scan
from compress.store import file_hash


def sine(hz: float, seconds: float = 1.0, rate: int = SAMPLE_RATE) -> np.ndarray:
    """A sine at half scale, float32 [samples]."""
    time_s = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def loudest_hz(samples: np.ndarray) -> float:
    """Frequency of the highest peak, to the resolution of the clip's own spectrum."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


def write(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def look(*folders: Path, min_clip_s: float = 0.5, max_bad_share: float = 0.5) -> Speech:
    return scan(folders, min_clip_s=min_clip_s, max_bad_share=max_bad_share)


def test_constants_agree() -> None:
    assert HOP_RATE == 62.5
    assert SAMPLE_RATE % 1000 == 0, "a whole millisecond has whole samples"
    assert HOP * 1000 / SAMPLE_RATE == 16.0


# Lossless formats are off by the rounding of their integers; the lossy ones keep the sine's shape.
@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.wav", {"subtype": "FLOAT"}, 0.0),
        ("a.wav", {"subtype": "PCM_16"}, 1 / 2**15),
        ("a.flac", {}, 1 / 2**15),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}, None),
        ("a.ogg", {"format": "OGG", "subtype": "VORBIS"}, None),
        ("a.mp3", {}, None),
    ],
)
def test_formats(
    tmp_path: Path, name: str, options: dict[str, Any], tolerance: float | None
) -> None:
    original = sine(440)
    samples = read(write(tmp_path / name, original, **options))
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    if tolerance is not None:
        np.testing.assert_allclose(samples, original, atol=tolerance, rtol=0)
    else:
        assert (
            abs(len(samples) - len(original)) <= 2 * 1152
        )  # MP3 pads to whole frames, at both ends
        middle = samples[4000:12000]
        assert abs(loudest_hz(middle) - 440) <= SAMPLE_RATE / len(middle)
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampling_keeps_time_frequency_and_level(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", sine(1000, 1.0, rate), rate, subtype="FLOAT")
    samples = read(path)
    assert samples.dtype == np.float32
    assert len(samples) == SAMPLE_RATE
    assert loudest_hz(samples) == pytest.approx(1000, abs=1)
    # The filter's edges aside, it is the sine sampled at 16 kHz; scipy's default filter ripples by 1e-3.
    np.testing.assert_allclose(samples[500:-500], sine(1000)[500:-500], atol=2e-3)


def test_ultrasound_does_not_fold_down(tmp_path: Path) -> None:
    mixed = sine(1000, 1.0, 48_000) + sine(15_000, 1.0, 48_000)
    samples = read(write(tmp_path / "a.wav", mixed, 48_000, subtype="FLOAT"))
    # 15 kHz sampled at 16 kHz would be 1 kHz, and add to or take from the sine that is there.
    np.testing.assert_allclose(samples[500:-500], sine(1000)[500:-500], atol=2e-3)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = sine(440), 0.5 * sine(880)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(read(path), (left + right) / 2, atol=1e-7)


def test_overshoot_is_clipped(tmp_path: Path) -> None:
    samples = read(write(tmp_path / "a.wav", 2.4 * sine(440), subtype="FLOAT"))
    assert samples.max() == 1.0
    assert samples.min() == -1.0


def _with(value: float) -> np.ndarray:
    samples = sine(440)
    samples[7] = value
    return samples


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (_with(np.nan), "NaN"),
        (_with(-np.inf), "infinite"),
        (np.zeros(16_000, np.float32), "silent: its peak is 0.0e+00, expected at least 1e-04"),
        (1e-5 * sine(440), "silent"),
        (np.stack([sine(440), -sine(440)], axis=1), "silent"),
        (np.zeros(0, np.float32), "no samples"),
        (20_000 * sine(440), "expected samples in −1..1"),
    ],
    ids=["nan", "infinite", "zeros", "too quiet", "channels cancel", "empty", "integers as floats"],
)
def test_samples_that_are_no_speech(tmp_path: Path, samples: np.ndarray, reason: str) -> None:
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(BadAudio) as caught:
        read(path)
    assert reason in caught.value.reason
    assert str(path) in str(caught.value)


def test_files_that_are_no_audio(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("this is a text\n" * 100)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "link.wav").symlink_to(tmp_path / "nowhere")
    good = write(tmp_path / "good.wav", sine(440)).read_bytes()
    rate = good[24:28]
    assert int.from_bytes(rate, "little") == SAMPLE_RATE
    (tmp_path / "rate.wav").write_bytes(good[:24] + (2**30).to_bytes(4, "little") + good[28:])
    for name, reason in {
        "text.wav": "not readable as audio",
        "empty.wav": "not readable as audio",
        "link.wav": "broken link",
        "rate.wav": "sample rate is 1073741824 Hz",
        "absent.wav": "no file",
    }.items():
        with pytest.raises(BadAudio, match=reason):
            read(tmp_path / name)


def test_a_scan_lists_clips_by_id_and_bad_files_with_reasons(tmp_path: Path) -> None:
    write(tmp_path / "b" / "two.WAV", sine(440, 0.75), format="WAV")
    one = write(tmp_path / "a" / "x.y.flac", sine(440))
    write(tmp_path / "a" / "short.wav", sine(440, 0.4))
    (tmp_path / "b" / "text.mp3").write_text("no audio")
    (tmp_path / "b" / "notes.txt").write_text("not even by name")
    (tmp_path / "b" / "._two.wav").write_text("a resource fork of macOS")
    seen: list[tuple[int, int]] = []
    found = scan(
        [tmp_path],
        min_clip_s=0.5,
        max_bad_share=0.5,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [(clip.id, clip.seconds) for clip in found.clips] == [("a/x.y", 1.0), ("b/two", 0.75)]
    assert found.clips[0].path == str(one)
    assert found.clips[0].sha256 == file_hash(one)
    assert [Path(file.path).name for file in found.skipped] == ["short.wav", "text.mp3"]
    assert found.skipped[0].reason == "too short: 0.40 s, expected at least 0.5 s"
    assert seen == [(n, 4) for n in range(1, 5)]


def test_too_many_bad_files_stop_a_scan(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"{number}.wav", sine(440))
    (tmp_path / "4.wav").write_text("no audio")
    assert len(look(tmp_path, max_bad_share=0.2).clips) == 4  # the share itself is still allowed
    with pytest.raises(AudioError, match=r"1 of 5 audio files .*0\.1: .*4\.wav: not readable") as e:
        look(tmp_path, max_bad_share=0.1)
    assert e.value.exit_code == 3
    for number in range(4):
        (tmp_path / f"{number}.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"5 of 5 .*; and 2 more"):
        look(tmp_path, max_bad_share=1.0)


def test_folders_without_audio(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(AudioError, match=r"hold no audio; .*\.wav, \.flac, \.ogg, \.opus, \.mp3"):
        look(tmp_path)
    with pytest.raises(AudioError, match="is a file"):
        look(tmp_path / "notes.txt")
    with pytest.raises(AudioError, match="is not there"):
        look(tmp_path / "absent")


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name / "a.wav", sine(440))
    with pytest.raises(AudioError, match="would both be the clip a"):
        look(tmp_path / "one", tmp_path / "two")
    assert [clip.id for clip in look(tmp_path).clips] == ["one/a", "two/a"]
    write(tmp_path / "one" / "a.flac", sine(440))
    with pytest.raises(AudioError, match="would both be the clip one/a"):
        look(tmp_path)


def test_an_interrupted_scan_does_not_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        write(tmp_path / f"{number}.wav", sine(440, 0.6))
    reads: list[Path] = []
    inspect = folder._clip

    def counted(path: Path, root: Path, min_clip_s: float) -> Clip:
        reads.append(path)
        return inspect(path, root, min_clip_s)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "_clip", counted)
    with pytest.raises(KeyboardInterrupt):
        scan([tmp_path], min_clip_s=0.5, max_bad_share=0, progress=stop)
    assert 0 < len(reads) < 60


def test_an_excerpt_is_of_the_first_clips_that_can_be_used(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.wav", sine(300, 0.4))
    write(tmp_path / "a" / "2.wav", np.zeros(8000, np.float32))
    write(tmp_path / "b" / "1.wav", sine(500, 0.4))
    (tmp_path / "b" / "2.wav").write_text("never read")
    folders = [tmp_path / "a", tmp_path / "b"]
    found = excerpt(folders, 0.6)
    assert len(found) == round(0.6 * SAMPLE_RATE)
    np.testing.assert_array_equal(found[: round(0.4 * SAMPLE_RATE)], read(tmp_path / "a" / "1.wav"))
    assert loudest_hz(found[round(0.4 * SAMPLE_RATE) :]) == pytest.approx(500, abs=10)
    assert len(excerpt(folders, 60.0)) == round(0.8 * SAMPLE_RATE), "all that there is"


def test_an_excerpt_of_nothing_says_what_was_wrong(tmp_path: Path) -> None:
    write(tmp_path / "1.wav", np.zeros(8000, np.float32))
    with pytest.raises(AudioError, match=r"No audio can be used: .*1\.wav: silent"):
        excerpt([tmp_path], 1.0)
