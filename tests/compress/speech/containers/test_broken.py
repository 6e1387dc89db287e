"""Headers that lie, joined files and missing parts: all of the sound is read, or what is missing is said.

The reference is what FFmpeg decodes of the honest parts, each by itself.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compress.errors import BadAudio
from compress.speech import decoder
from compress.speech.audio import measure, read, read_part
from compress.speech.containers import wav
from tests.compress.speech.containers.made import (
    ID3V1,
    by_av,
    encoded,
    id3,
    noted,
    pages,
    position,
    repaged,
    resized,
    vbri,
    voices,
    with_chunk,
    with_total,
    without_note,
)

ALL = 10**9
WAVE = encoded("WAV PCM_16", voices(1.2, 16_000))
OTHER = encoded("WAV PCM_16", voices(0.9, 16_000, seed=1))
STEREO = encoded("WAV PCM_24", voices(0.8, 44_100, 2), 44_100)
EXTENSIBLE = encoded("WAVEX PCM_16", voices(1.0, 16_000, 6))
ALAW = encoded("WAV ALAW", voices(1.0, 8_000), 8_000)
RF64 = encoded("RF64 PCM_16", voices(1.0, 16_000))
FLAC = encoded("FLAC PCM_16", voices(1.2, 16_000))
FLAC_OTHER = encoded("FLAC PCM_16", voices(0.9, 16_000, seed=1))
SAMPLES = 19_200  # of WAVE and FLAC
VORBIS = encoded("OGG VORBIS", voices(8, 16_000))
OPUS = encoded("OGG OPUS", voices(8, 16_000))
MP3 = encoded("MP3 MPEG_LAYER_III", voices(1.2, 44_100, 2), 44_100, bitrate_mode="VARIABLE")
MP3_OTHER = encoded("MP3 MPEG_LAYER_III", voices(0.9, 44_100, 2, 1), 44_100)

LIST = b"LIST" + struct.pack("<I", 18) + b"INFOISFT\x06\0\0\0words\0"


def pad_less(wave: bytes) -> bytes:
    """A chunk of odd size before the samples, and no byte behind it as there should be."""
    return with_chunk(wave, b"note" + struct.pack("<I", 3) + b"odd")


WHOLE: dict[str, tuple[bytes, tuple[bytes, ...]]] = {
    "wav": (WAVE, (WAVE,)),
    "wav data 0": (resized(WAVE, data=0), (WAVE,)),
    "wav both 0": (resized(WAVE, 0, 0), (WAVE,)),
    "wav never filled in": (resized(WAVE, 36, 0), (WAVE,)),
    "wav data 2³²-1": (resized(WAVE, data=2**32 - 1), (WAVE,)),
    "wav both 2³²-1": (resized(WAVE, 2**32 - 1, 2**32 - 1), (WAVE,)),
    "wav both 2³¹-1": (resized(WAVE, 2**31 - 1, 2**31 - 1), (WAVE,)),
    "wav riff 0": (resized(WAVE, 0), (WAVE,)),
    "wav riff half": (resized(WAVE, 20_000), (WAVE,)),
    "wav data half": (resized(WAVE, data=20_000), (WAVE,)),
    "wav both half": (resized(WAVE, 20_036, 20_000), (WAVE,)),
    "wav odd size": (resized(WAVE, data=19_999), (WAVE,)),
    "wav one byte": (resized(WAVE, data=1), (WAVE,)),
    "wav tags": (WAVE + LIST, (WAVE,)),
    "wav cut tags": (WAVE + LIST[:-7], (WAVE,)),
    "wav id3v1": (WAVE + ID3V1, (WAVE,)),
    "wav id3v2": (id3(3000) + WAVE, (WAVE,)),
    "wav zeros behind": (WAVE + bytes(2000), (WAVE,)),
    "wav odd chunk": (with_chunk(WAVE, b"note" + struct.pack("<I", 3) + b"odd\0"), (WAVE,)),
    "wav odd chunk unpadded": (pad_less(WAVE), (WAVE,)),
    "wav joined": (WAVE + OTHER, (WAVE, OTHER)),
    "wav joined behind tags": (WAVE + LIST + OTHER + LIST, (WAVE, OTHER)),
    "wav joined, the last crashed": (WAVE + resized(OTHER, 0, 0), (WAVE, OTHER)),
    "wav 24 bits data 0": (resized(STEREO, 0, 0), (STEREO,)),
    "wav 24 bits joined": (STEREO + STEREO, (STEREO, STEREO)),
    "wav extensible data 0": (resized(EXTENSIBLE, 0, 0), (EXTENSIBLE,)),
    "wav a-law data half": (resized(ALAW, data=3000), (ALAW,)),
    "wav rf64 joined": (RF64 + RF64, (RF64, RF64)),
    "wav rf64 size 0": (RF64[:28] + bytes(8) + RF64[36:], (RF64,)),
    "wav rf64 size half": (RF64[:28] + struct.pack("<Q", 9000) + RF64[36:], (RF64,)),
    "wav rf64 size 2⁶⁴-1": (RF64[:28] + b"\xff" * 8 + RF64[36:], (RF64,)),
    "flac": (FLAC, (FLAC,)),
    "flac total 0": (with_total(FLAC, 0), (FLAC,)),
    "flac total half": (with_total(FLAC, SAMPLES // 2), (FLAC,)),
    "flac joined": (FLAC + FLAC_OTHER, (FLAC, FLAC_OTHER)),
    "flac joined to itself": (FLAC + FLAC, (FLAC, FLAC)),
    "flac joined, totals 0": (
        with_total(FLAC, 0) + with_total(FLAC_OTHER, 0),
        (FLAC, FLAC_OTHER),
    ),
    "flac id3": (id3(3000) + FLAC + ID3V1, (FLAC,)),
    "flac total 0 id3": (id3(3000) + with_total(FLAC, 0) + ID3V1, (FLAC,)),
    "vorbis joined": (VORBIS + VORBIS, (VORBIS, VORBIS)),
    "vorbis id3": (id3(3000) + VORBIS, (VORBIS,)),
    "vorbis junk between": (
        b"".join((*pages(VORBIS)[:4], b"junk" * 99, *pages(VORBIS)[4:])),
        (VORBIS,),
    ),
    "opus joined": (OPUS + OPUS, (OPUS, OPUS)),
    "opus three joined": (OPUS * 3, (OPUS,) * 3),
    "mp3": (MP3, (MP3,)),
    "mp3 id3": (id3(9000) + MP3 + ID3V1, (MP3,)),
    "mp3 without note": (without_note(MP3), (without_note(MP3),)),
    "mp3 fraunhofer's note": (vbri(MP3, 7), (without_note(MP3),)),
    "mp3 note counts half": (noted(MP3, 20), (MP3,)),
    "mp3 joined": (MP3 + MP3_OTHER, (MP3, MP3_OTHER)),
    "mp3 joined with tags": (
        id3(50) + MP3 + ID3V1 + id3(9000) + MP3_OTHER + ID3V1,
        (MP3, MP3_OTHER),
    ),
    "mp3 joined without notes": (
        without_note(MP3) + without_note(MP3_OTHER),
        (without_note(MP3), without_note(MP3_OTHER)),
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_all_of_the_sound_is_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    file, parts = WHOLE[name]
    expected = by_av(*parts)
    kind = name.split()[0]
    # FFmpeg puts or leaves up to two blocks of what is coded with loss at each end of each part.
    blocks = {"vorbis": 512, "opus": 640, "mp3": 2 * 1152 * 16 // 44}.get(kind, 1) * len(parts)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(file)
    found = read(path)
    assert abs(len(found) - len(expected)) <= blocks
    assert measure(path) == len(found)
    np.testing.assert_array_equal(read_part(file, 0, ALL), found)
    first = min(len(found), len(by_av(parts[0]))) - blocks
    error = 1e-4 if blocks == len(parts) else 0.02
    assert np.sqrt(np.mean((found[:first] - expected[:first]) ** 2)) < error
    last = len(by_av(parts[-1])) - 2 * blocks
    if blocks == len(parts):  # to the sample, so that the end can be compared too
        np.testing.assert_allclose(found[-last:], expected[-last:], atol=1e-4)
    else:
        assert np.corrcoef(*(_loudness(each[-last:]) for each in (found, expected)))[0, 1] > 0.95
    # Parts of it, in no order, are those of the whole.
    for start in (len(found) - 3000, 2000, len(found) // 2):
        part = read_part(path, start, start + 2500)
        np.testing.assert_allclose(part, found[start : start + 2500], atol=1e-6)
    assert capfd.readouterr() == ("", ""), "mpg123 complains of sizes that do not fit"


def _loudness(samples: np.ndarray) -> np.ndarray:
    """By tenths of a second, which a block more or less does not change."""
    return np.sqrt(np.square(samples[: len(samples) // 1600 * 1600]).reshape(-1, 1600).mean(axis=1))


OTHERS: dict[str, tuple[bytes, int, str]] = {  # where the size stands, and how it is written
    "AIFF": (encoded("AIFF PCM_16", voices(2, 16_000)), len("SSND"), ">I"),
    "AU": (encoded("AU PCM_16", voices(2, 16_000)), len(".snd") + 4, ">I"),
    "CAF": (encoded("CAF PCM_16", voices(2, 16_000)), len("data"), ">q"),
    "W64": (encoded("W64 PCM_16", voices(2, 16_000)), 16, "<q"),
    "NIST": (encoded("NIST PCM_16", voices(2, 16_000)), len("sample_count -i "), "5s"),
}

REFUSES = {("AU", 0), ("AU", 2**31 - 1), *((name, 30_000) for name in ("AIFF", "AU", "CAF"))} | {
    ("CAF", 0),
    ("CAF", 2**31 - 1),
}


@pytest.mark.parametrize("size", [0, 30_000, 2**31 - 1])
@pytest.mark.parametrize("name", OTHERS)
def test_sizes_of_other_containers(name: str, size: int) -> None:
    """They are read as libsndfile reads them, or refused where that is less than there is."""
    file, offset, form = OTHERS[name]
    mark = {"AIFF": b"SSND", "NIST": b"sample_count", "AU": file[:4]}.get(name, b"data")
    at = file.index(mark) + offset
    order = "<I" if file[:4] == b"dns." else form  # AU in the order of this machine
    said = struct.pack(order, b"%05d" % (size % 99_999) if name == "NIST" else size)
    changed = file[:at] + said + file[at + len(said) :]
    if (name, size) in REFUSES:
        with pytest.raises(BadAudio, match=r"convert it to wav or flac|not readable as audio"):
            read_part(changed, 0, ALL)
    else:
        np.testing.assert_allclose(
            read_part(changed, 0, ALL), voices(2, 16_000)[:, 0], rtol=0, atol=1e-4
        )


def test_a_header_may_round_up(tmp_path: Path) -> None:
    """By a tenth of a second: the sound is all there."""
    longer = resized(WAVE, data=2 * SAMPLES + 3000)
    np.testing.assert_allclose(read_part(longer, 0, ALL), read_part(WAVE, 0, ALL))


def test_what_is_there_of_a_file_that_was_cut_is_read() -> None:
    endless = resized(WAVE, 2**32 - 1, 2**32 - 1)
    for file in (resized(WAVE, 0, 0), endless, VORBIS, OPUS, without_note(MP3), MP3):
        whole = read_part(file, 0, ALL)
        cut = file[: len(file) * 7 // 10]
        found = read_part(cut, 0, ALL)
        # A page of Ogg is a second long and can be decoded as a whole only.
        assert 0.4 * len(whole) < len(found) < 0.9 * len(whole)
        np.testing.assert_allclose(found[:5000], whole[:5000], atol=1e-4)


def _pages_but(file: bytes, number: int) -> bytes:
    found = pages(file)
    return b"".join(found[:number] + found[number + 1 :])


def _last_says(file: bytes, change: Callable[[int], int]) -> bytes:
    *others, last = pages(file)
    return b"".join((*others, repaged(last, change(position(last)))))


def _renumbered(file: bytes) -> bytes:
    return b"".join(repaged(page, number=i) for i, page in enumerate(pages(file)))


def _damaged(file: bytes) -> bytes:
    at = len(file) // 2
    return file[:at] + bytes([file[at] ^ 0xFF]) + file[at + 1 :]


REFUSED = {
    "vorbis page missing": (_pages_but(VORBIS, 3), r"1 of its Ogg pages are missing after 3, at"),
    "opus page missing": (
        _pages_but(OPUS, 5),
        r"1 of its Ogg pages are missing after 5, at 2\.98 s",
    ),
    "vorbis gap": (_renumbered(_pages_but(VORBIS, 3)), r"should be 8\.00 s long, and [56]\.\d\d s"),
    "opus gap": (_renumbered(_pages_but(OPUS, 5)), r"should be 8\.00 s long, and 7\.\d\d s"),
    "vorbis damaged page": (_damaged(VORBIS), r"should be 8\.00 s long, and [56]\.\d\d s"),
    "opus damaged page": (_damaged(OPUS), r"should be 8\.00 s long, and 7\.\d\d s"),
    "vorbis end too early": (_last_says(VORBIS, lambda n: n // 3), r"at 2\.67 s, .* it was at"),
    "opus end too early": (_last_says(OPUS, lambda n: n // 3), r"at 2\.67 s, .* it was at"),
    "opus end 0": (_last_says(OPUS, lambda _: 0), r"at 0\.00 s, .* it was at"),
    "vorbis end open": (_last_says(VORBIS, lambda _: -1), "does not say where the sound ends"),
    "flac cut": (FLAC[: len(FLAC) * 7 // 10], r"has 19200 samples, its frames end at \d+"),
    "flac total too large": (with_total(FLAC, 40_000), r"40000 samples, its frames end at 19200"),
    "wav cut": (WAVE[: len(WAVE) * 7 // 10], r"has 38400 bytes of sound, and 2\d+ are there"),
    "wav rf64 cut": (RF64[: len(RF64) * 7 // 10], r"has 32000 bytes of sound, and 2\d+ are there"),
    "wav data too large": (resized(WAVE, data=60_000), r"60000 bytes of sound, and 38400 are"),
    "wav two formats joined": (WAVE + STEREO, r"16000 Hz and 1 channels and of 44100 Hz and 2"),
    "wav joined to an empty one": (WAVE + OTHER[:30], "another WAVE begins at byte"),
    "wav two chunks of samples": (WAVE + WAVE[36:], "two chunks of samples"),
    "mp3 two formats joined": (
        MP3 + encoded("MP3 MPEG_LAYER_III", voices(0.5, 16_000)),
        r"2 recordings joined, of 44100 Hz and 2 channels and of 16000 Hz and 1",
    ),
    "aiff joined": (encoded("AIFF PCM_16", voices(1, 16_000)) * 2, "not readable as audio"),
    "au joined": (
        encoded("AU PCM_16", voices(1, 16_000)) * 2,
        "holds 32000 bytes of sound, and the file is 64048 bytes long",
    ),
    "caf joined": (encoded("CAF PCM_16", voices(1, 16_000)) * 2, "holds 32000 bytes of sound"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_whole_is_refused_with_both_lengths(tmp_path: Path, name: str) -> None:
    file, reason = REFUSED[name]
    path = tmp_path / "a.wav"
    path.write_bytes(file)
    for fails in (lambda: read(path), lambda: measure(path), lambda: read_part(file, 0, ALL)):
        with pytest.raises(BadAudio, match=reason):
            fails()


@pytest.mark.parametrize("seed", range(4))
def test_damage_ends_in_samples_or_in_bad_audio(seed: int) -> None:
    random = np.random.default_rng(seed)
    files = [*(file for file, _ in WHOLE.values()), *(file for file, _ in REFUSED.values())]
    outcomes = set()
    for _ in range(60):
        file = bytearray(files[random.integers(len(files))])
        if random.random() < 0.3:
            del file[random.integers(2, len(file)) :]
        for _ in range(random.integers(1, 6)):
            file[random.integers(min(len(file), 120))] = random.integers(256)
        try:
            read_part(bytes(file), 0, 10**7)
            outcomes.add("read")
        except BadAudio:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize(
    "file", [FLAC[:79], FLAC[:30], b"".join(pages(VORBIS)[1:]), RF64[:40], MP3[:30]]
)
def test_what_is_left_of_a_header_is_refused(file: bytes) -> None:
    with pytest.raises(BadAudio, match="not readable as audio"):
        read_part(file, 0, ALL)


def test_an_honest_file_is_given_to_libsndfile_as_it_is() -> None:
    """So its samples are those of any other program, and do not change."""
    for file in (WAVE, WAVE + LIST, STEREO, EXTENSIBLE, ALAW, RF64, FLAC, VORBIS, OPUS, MP3):
        assert decoder._streams(file) == ()


def test_sound_of_more_than_four_gibibytes_is_read_behind_several_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wav, "LONGEST", 10_000)
    cut = resized(STEREO, 0, 0)
    assert len(decoder._streams(cut)) > 20
    np.testing.assert_allclose(read_part(cut, 0, ALL), read_part(STEREO, 0, ALL), atol=1e-6)


def test_a_file_that_cannot_be_opened_is_bad_audio(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(BadAudio, match="it is a folder, expected an audio file"):
        read(tmp_path / "a.wav")
