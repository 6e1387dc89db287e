"""Shards of labels: what goes in comes out, equal content is equal bytes, and damage is said."""

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.errors import InputError
from compress.labels.curve_codec import pack
from compress.labels.shards import (
    FORMAT,
    HEADER,
    Labelled,
    Missing,
    Shard,
    TeacherFacts,
    facts_of,
    flac,
    kept,
    to_bytes,
)
from compress.speech.audio import SAMPLE_RATE

FACTS = TeacherFacts(("jawOpen", "größer|ends"), (-1.0, 1.0), 30.0, 0.02, 3, "a known function")
NAMES = ("plain", "en/vm intro", "a|ends", "a|packed", "a", "名前|audio", 'quote"d', "\\")


def curves(seed: int, frames: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (frames, 2)).astype(np.float32)


def noise(seed: int, samples: int = 4_000) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)


def clips(names: tuple[str, ...] = NAMES, audio: bool = False) -> list[Labelled]:
    return [
        Labelled(name, 20 + i, pack(curves(i, 20 + i)), flac(noise(i)) if audio else b"")
        for i, name in enumerate(names)
    ]


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "shard-0.safetensors"
    path.write_bytes(to_bytes(FACTS, clips(audio=True), [Missing("gone|audio", "silent, it is")]))
    return path


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A shard whose header says something else, its tensors untouched."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    fields = json.loads(data[8 : 8 + length])
    header = json.loads(fields["__metadata__"][HEADER])
    change(header)
    fields["__metadata__"][HEADER] = json.dumps(header)
    text = json.dumps(fields).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def test_what_goes_in_comes_out(shard: Path) -> None:
    """Whatever clips are called: names that look like those of tensors too."""
    with Shard(shard) as opened:
        assert opened.header.teacher == FACTS
        assert opened.header.frames == {name: 20 + i for i, name in enumerate(NAMES)}
        assert [*opened.header.frames] == [*NAMES], "in the order in which they came"
        assert opened.header.missing == (Missing("gone|audio", "silent, it is"),)
        for i, name in enumerate(NAMES):
            given = curves(i, 20 + i)
            np.testing.assert_allclose(opened.curves(name), given, rtol=0, atol=2 / 131_070)
            np.testing.assert_array_equal(opened.ends(name), [given.min(0), given.max(0)])
    assert kept(shard) == opened.header


def test_audio_is_kept_to_the_precision_of_16_bits(shard: Path) -> None:
    with Shard(shard) as opened:
        for i, name in enumerate(NAMES):
            assert opened.keeps_audio(name)
            found = opened.audio(name)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, noise(i), rtol=0, atol=1 / 32_768)


def test_full_scale_stays_full_scale() -> None:
    """FLAC has no +1: what is louder than its largest number is that number."""
    import io

    import soundfile

    loud = np.array([1, -1, 0.5, -0.5] * 100, np.float32)
    found, rate = soundfile.read(io.BytesIO(flac(loud)), dtype="float32")
    assert rate == SAMPLE_RATE
    np.testing.assert_allclose(found, loud, rtol=0, atol=1 / 32_768)


def test_a_shard_without_audio_says_so(tmp_path: Path) -> None:
    path = tmp_path / "shard.safetensors"
    path.write_bytes(to_bytes(FACTS, clips(("a", "a|audio"))))
    with Shard(path) as opened:
        assert not opened.keeps_audio("a")
        assert not opened.keeps_audio("a|audio")
        with pytest.raises(InputError, match="audio"):
            opened.audio("a")


def test_equal_content_is_equal_bytes(tmp_path: Path, shard: Path) -> None:
    """Also when it was read from a shard."""
    missing = [Missing("gone|audio", "silent, it is")]
    assert to_bytes(FACTS, clips(audio=True), missing) == shard.read_bytes()
    with Shard(shard) as opened:
        again = [
            Labelled(name, frames, pack(opened.curves(name)), clip.audio)
            for (name, frames), clip in zip(
                opened.header.frames.items(), clips(audio=True), strict=True
            )
        ]
        assert to_bytes(opened.header.teacher, again, opened.header.missing) == shard.read_bytes()
    assert to_bytes(replace(FACTS, offset_s=0.0), clips(audio=True), missing) != shard.read_bytes()


def test_facts_are_those_of_the_teacher(known_teacher: Any) -> None:
    teacher = known_teacher(rate_hz=50.0, offset_s=0.01)
    assert facts_of(teacher) == TeacherFacts(
        ("jawOpen", "mouthClose", "browInnerUp"), (-1.0, 1.0), 50.0, 0.01, 3, "a known function"
    )


def test_a_rig_without_limits(tmp_path: Path) -> None:
    path = tmp_path / "shard.safetensors"
    path.write_bytes(to_bytes(replace(FACTS, limits=None), clips()))
    header = kept(path)
    assert header is not None
    assert header.teacher.limits is None


def test_a_shard_of_missing_clips_alone(tmp_path: Path) -> None:
    path = tmp_path / "shard.safetensors"
    path.write_bytes(to_bytes(FACTS, [], [Missing("a", "silent")]))
    with Shard(path) as opened:
        assert opened.header.frames == {}
        assert opened.header.missing == (Missing("a", "silent"),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda header: header.update(format=FORMAT + 1),
            f"format {FORMAT + 1}, expected {FORMAT}",
        ),
        (lambda header: header.pop("format"), "format"),
        (lambda header: header.pop("frames"), "frames"),
        (lambda header: header["teacher"].pop("rate_hz"), "rate_hz"),
        (lambda header: header["teacher"].update(colour="red"), "colour"),
        (lambda header: header.update(teacher=7), "object"),
        (lambda header: header["teacher"].update(limits=[1.0]), "limits.1"),
        (lambda header: header.update(missing=["a"]), "missing"),
        (lambda header: header.update(frames=["a"]), "frames"),
        (lambda header: header["frames"].update(plain="20"), "frames.plain"),
    ],
)
def test_a_header_of_another_kind_is_refused(
    shard: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    rewritten(shard, lambda header: None)
    assert kept(shard) is not None, "rewriting alone spoils nothing"
    rewritten(shard, change)
    with pytest.raises(InputError, match=said) as raised:
        Shard(shard)
    assert f"{shard} cannot be read as a shard of labels" in str(raised.value)
    assert "lipstill labels verify" in str(raised.value)
    assert kept(shard) is None


def test_other_files_are_no_shards(tmp_path: Path) -> None:
    from safetensors.numpy import save

    path = tmp_path / "shard.safetensors"
    for content in (b"", b"text", save({"a": np.zeros(3)}), save({"a": np.zeros(3)}, {"b": "c"})):
        path.write_bytes(content)
        assert kept(path) is None
    assert kept(tmp_path / "none.safetensors") is None


def test_a_clip_that_is_not_there(shard: Path) -> None:
    with Shard(shard) as opened, pytest.raises(InputError, match="other"):
        opened.curves("other")


def everything(path: Path) -> list[Any]:
    """All that can be read of a shard."""
    with Shard(path) as opened:
        names = [*opened.header.frames]
        return [
            opened.header,
            *(opened.curves(name).tolist() for name in names),
            *(opened.audio(name).tolist() for name in names),
        ]


@given(st.data())
@settings(max_examples=200)
def test_a_flipped_bit_is_damage_or_another_value_and_no_crash(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Without the checksums of a whole label folder, a changed end or sample looks like any other."""
    path = tmp_path / "flipped.safetensors"
    whole = to_bytes(FACTS, clips(("a", "b"), audio=True), [Missing("c", "silent")])
    path.write_bytes(whole)
    unspoiled = everything(path)
    (header,) = struct.unpack("<Q", whole[:8])
    places = st.integers(0, len(whole) - 1) | st.integers(0, 8 + header)
    place, bit = data.draw(places), data.draw(st.integers(0, 7))
    spoiled = bytearray(whole)
    spoiled[place] ^= 1 << bit
    path.write_bytes(spoiled)
    with suppress(InputError):  # and nothing else
        assert len(everything(path)) == len(unspoiled)


def test_no_curve_comes_out_of_damaged_bytes(tmp_path: Path) -> None:
    """Every byte of what is deflated, one after the other."""
    path = tmp_path / "flipped.safetensors"
    (clip,) = clips(("a",))
    whole = to_bytes(FACTS, [clip])
    start = whole.index(clip.curves.packed.tobytes())
    given = curves(0)
    for place in range(start, start + len(clip.curves.packed)):
        spoiled = bytearray(whole)
        spoiled[place] ^= 0x10
        path.write_bytes(spoiled)
        try:
            with Shard(path) as opened:
                found = opened.curves("a")
        except InputError:
            continue
        np.testing.assert_allclose(found, given, rtol=0, atol=2 / 131_070)
