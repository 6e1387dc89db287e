"""Reading speech: round trips through real codecs, resampling against a sine, and bad files."""

import os
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from compress.errors import BadAudio
from compress.speech import audio, decoder
from compress.speech.audio import HOP, HOP_RATE, SAMPLE_RATE, measure, read, read_part
from tests.compress.speech.sources.made import chirps, sine, write


def loudest_hz(samples: np.ndarray) -> float:
    """Frequency of the highest peak, to the resolution of the clip's own spectrum."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"fianc\xe9.wav")
    path.write_bytes(write(tmp_path / "a.wav", sine(440)).read_bytes())
    np.testing.assert_array_equal(read(path), read(tmp_path / "a.wav"))


def test_silence_is_heard_where_it_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.zeros(1600, np.float32))
    assert not read(path, silence=True).any()
    with pytest.raises(BadAudio, match="no samples"):
        read(write(tmp_path / "a.wav", np.zeros(0, np.float32)), silence=True)


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
        "absent.wav": "it is not there, expected an audio file",
    }.items():
        with pytest.raises(BadAudio, match=reason):
            read(tmp_path / name)


CODECS: dict[str, dict[str, Any]] = {
    "pcm.wav": {"subtype": "PCM_16"},
    "float.wav": {"subtype": "FLOAT"},
    "adpcm.wav": {"subtype": "IMA_ADPCM"},
    "a.flac": {},
    "vorbis.ogg": {"subtype": "VORBIS"},
    "celt.opus": {"format": "OGG", "subtype": "OPUS"},
    "silk.opus": {"format": "OGG", "subtype": "OPUS", "compression_level": 1.0},
    "constant.mp3": {},
    "variable.mp3": {"bitrate_mode": "VARIABLE", "compression_level": 0.5},
}


def at_once(path: Path) -> np.ndarray:
    """What a file holds by soundfile's and SciPy's own calls, all of it at once."""
    channels, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return resample_poly(channels.mean(axis=1), SAMPLE_RATE, rate).clip(-1, 1)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("name", CODECS)
def test_parts_are_the_parts_of_the_whole(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    rate: int,
) -> None:
    if name.endswith("opus") and rate == 44_100:
        pytest.skip("Opus has no such rate")
    monkeypatch.setattr(audio, "BLOCK", 50_001)  # many blocks, none of them a whole second
    path = write(tmp_path / name, chirps(9, rate), rate, **CODECS[name])
    whole = at_once(path)
    # Decoders sum in other orders by how much is asked of them at once.
    np.testing.assert_allclose(read(path), whole, rtol=0, atol=1e-6)
    assert measure(path) == len(whole)
    length = 2 * SAMPLE_RATE + 77
    forward = range(0, len(whole), length)
    back = [100_000, 3, 71_234, 71_234 + length, 20_000]
    ends = range(len(whole) - 9_999, len(whole), 1_111)  # where libsndfile's seek misses in Vorbis
    for start in (*forward, *back, *ends):
        part = read_part(path, start, start + length)
        np.testing.assert_allclose(part, whole[start : start + length], rtol=0, atol=1e-6)
    assert len(read_part(path, len(whole), len(whole) + 9)) == 0
    assert capfd.readouterr() == ("", ""), "mpg123 complains of what it is not given in order"


def test_one_read_is_what_soundfile_and_scipy_say(tmp_path: Path) -> None:
    for rate in (8_000, 22_050, 44_101, 96_000):
        path = write(tmp_path / f"{rate}.wav", chirps(3, rate), rate, subtype="FLOAT")
        np.testing.assert_array_equal(read(path), at_once(path))


def test_bytes_are_read_as_the_file_they_are_of(tmp_path: Path) -> None:
    for name in ("a.flac", "constant.mp3"):
        path = write(tmp_path / name, chirps(4, 48_000), 48_000, **CODECS[name])
        whole, expected = path.read_bytes(), read(path)
        for start in (20_000, 30_000, 0):
            part = read_part(whole, start, start + 10_000)
            np.testing.assert_allclose(part, expected[start : start + 10_000], rtol=0, atol=1e-6)
    with pytest.raises(BadAudio, match="there: not readable as audio"):
        read_part(b"no audio", 0, 9, "there")


def test_channels_are_chosen(tmp_path: Path) -> None:
    both = np.stack([sine(440), sine(660)], axis=1)
    path = write(tmp_path / "a.wav", both, subtype="FLOAT")
    for channels in ((0,), (1,), (0, 1)):
        part = read_part(path, 0, 16_000, channels=channels)
        np.testing.assert_allclose(part, both[:, channels].mean(axis=1), atol=1e-7)
    with pytest.raises(BadAudio, match="has 2 channels, expected at least 3"):
        read_part(path, 0, 9, channels=(0, 2))


def test_a_silent_part_is_no_error_and_a_bad_one_is(tmp_path: Path) -> None:
    samples = np.concatenate([np.zeros(SAMPLE_RATE), sine(440)]).astype(np.float32)
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert not read_part(path, 0, SAMPLE_RATE).any()
    samples[-9] = np.nan
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert len(read_part(path, 0, SAMPLE_RATE)) == SAMPLE_RATE
    for fails in (lambda: read_part(path, SAMPLE_RATE, 2 * SAMPLE_RATE), lambda: measure(path)):
        with pytest.raises(BadAudio, match="NaN"):
            fails()


def test_a_file_that_is_written_again_is_not_gone_on_with(tmp_path: Path) -> None:
    first, second = chirps(4, 16_000), chirps(4.5, 16_000, seed=1)
    path = write(tmp_path / "a.mp3", first)
    read_part(path, 0, 16_000)
    write(path, second)
    np.testing.assert_allclose(
        read_part(path, 16_000, 32_000), at_once(path)[16_000:32_000], atol=1e-6
    )


def test_parts_in_order_are_decoded_once_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.mp3", chirps(6, 44_100), 44_100)
    whole = at_once(path)
    opens: list[Path] = []
    opened = decoder.Decoder._open

    def counted(opening: decoder.Decoder) -> None:
        opens.append(path)
        opened(opening)

    monkeypatch.setattr(decoder.Decoder, "_open", counted)
    starts = range(0, len(whole), SAMPLE_RATE)
    for start in starts:
        with ThreadPoolExecutor(1) as thread:
            part = thread.submit(read_part, path, start, start + SAMPLE_RATE).result()
        np.testing.assert_allclose(part, whole[start : start + SAMPLE_RATE], rtol=0, atol=1e-6)
    assert len(opens) == 1
    with ThreadPoolExecutor(3) as threads:
        parts = list(threads.map(lambda start: read_part(path, start, start + SAMPLE_RATE), starts))
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["pcm.wav", pytest.param("constant.mp3", marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    """Four minutes of 44.1 kHz are 85 MB as float32 in two channels, and 42 MB in one."""
    path = write(tmp_path / name, np.tile(chirps(30, 44_100), (8, 1)), 44_100, **CODECS[name])
    tracemalloc.start()
    try:
        assert measure(path) == 240 * SAMPLE_RATE
        read_part(path, 230 * SAMPLE_RATE, 239 * SAMPLE_RATE)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 40e6
