"""Shards: parts of long recordings, clips that do not depend on their company, and missing ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from torch import Tensor

from compress.errors import InputError
from compress.labels.making import Spoken, tasks
from compress.labels.store import Labels, audio_of, curves_of
from compress.recipe.recipe import LabelSettings
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import parts
from compress.speech.sources.folder import FileSource
from compress.teachers.networks.voice2face import Voice2Face
from compress.teachers.pieces import Cutting

MakeSpeech = Callable[..., list[Spoken]]
LabelBy = Callable[..., Labels]
STORED = 1 / 131_070  # half a step of curves in 0..1


def divided(spoken: Spoken, longest_s: float) -> list[Spoken]:
    return [Spoken(part, spoken.side) for part in parts(spoken.clip, longest_s)]


@pytest.fixture
def recording(tmp_path: Path, make_speech: MakeSpeech) -> Spoken:
    (spoken,) = make_speech(tmp_path / "long", (21.3,))
    return spoken


@pytest.mark.parametrize("shard_s", [3.0, 60.0])
def test_parts_have_the_curves_of_the_whole(
    label_by: LabelBy, known_teacher: Any, recording: Spoken, tmp_path: Path, shard_s: float
) -> None:
    """Whatever shard they are in; and no piece is longer than the teacher may hear."""
    cutting = Cutting(2.0, 0.5)
    whole = label_by(
        known_teacher(), "key", [recording], tmp_path / "whole", LabelSettings(), cutting
    )
    teacher, settings = known_teacher(), LabelSettings(shard_s=shard_s)
    made = label_by(teacher, "key", divided(recording, 3.0), tmp_path / "parts", settings, cutting)
    assert [clip.id for clip in made.clips] == [f"0@{3 * i:06d}" for i in range(7)]
    assert [clip.seconds for clip in made.clips] == pytest.approx([3.0] * 6 + [3.3])
    (expected,) = curves_of(whole, whole.clips, "frames")
    found = np.concatenate(curves_of(made, made.clips, "frames"))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2 * STORED)
    assert max(samples for _, samples in teacher.calls) == 2 * SAMPLE_RATE
    heard = np.concatenate([audio_of(made, clip) for clip in made.clips])
    np.testing.assert_array_equal(heard, recording.clip.read())


def test_parts_between_the_frames_of_the_whole(
    label_by: LabelBy, known_teacher: Any, recording: Spoken, tmp_path: Path
) -> None:
    """At 29.97 frames a second the second 3 falls between two frames: curves are interpolated."""

    def slow(curves: Tensor) -> Tensor:
        import torch

        time = torch.arange(curves.shape[1]) / 29.97
        return time[None, :, None].expand(len(curves), -1, 3) / 30

    teacher = known_teacher(rate_hz=29.97, spoil=slow)
    made = label_by(teacher, "key", divided(recording, 3.0), tmp_path / "parts", LabelSettings())
    for clip, curves in zip(made.clips, curves_of(made, made.clips, "frames"), strict=True):
        start_s = int(clip.id.partition("@")[2])
        expected = (start_s + np.arange(len(curves)) / 29.97) / 30
        np.testing.assert_allclose(curves[:, 0], np.minimum(expected, 21.3 / 30), atol=2 * STORED)
        assert len(curves) == np.floor(clip.seconds * 29.97 - 1e-9) + 1


def test_a_clip_does_not_depend_on_its_company(
    label_by: LabelBy, tiny_voice2face: Voice2Face, tmp_path: Path, make_speech: MakeSpeech
) -> None:
    """A real encoder, whose norm and attention would see padding: alone, in pairs, all together."""
    speech = make_speech(tmp_path / "speech", (1.1, 0.8, 1.1, 6.3, 0.8, 1.1, 6.3))
    spoken = [part for each in speech for part in divided(each, 2.5)]
    cutting = Cutting(1.5, 0.4)

    def curves(members: list[Spoken], settings: LabelSettings, name: str) -> dict[str, Any]:
        folder = tmp_path / name
        made = label_by(tiny_voice2face, "key", members, folder, settings, cutting)
        return {
            clip.id: c
            for clip, c in zip(made.clips, curves_of(made, made.clips, "frames"), strict=True)
        }

    together = curves(spoken, LabelSettings(), "together")
    apart = curves(spoken, LabelSettings(shard_s=0.1, batch_s=0.1), "apart")
    backwards = curves(spoken[::-1], LabelSettings(shard_s=4.0), "backwards")
    few = curves(spoken[1:5], LabelSettings(), "few")
    assert len(together) == len(spoken) == 11
    moved = max(float(np.ptp(c, axis=0).max()) for c in together.values())
    assert moved > 1e-3
    for others in (apart, backwards, few):
        assert max(np.abs(others[name] - together[name]).max() for name in others) <= 1e-5


def test_kept_audio_needs_no_other(
    label_by: LabelBy, known_teacher: Any, tmp_path: Path, make_speech: MakeSpeech
) -> None:
    speech = make_speech(tmp_path / "speech", (0.6, 0.7, 0.5))
    settings = LabelSettings(keep_audio=True)
    made = label_by(known_teacher(), "key", speech, tmp_path / "labels", settings)
    before = [spoken.clip.read() for spoken in speech]
    for spoken in speech:
        Path(spoken.clip.path).unlink()
    for clip, samples in zip(made.clips, before, strict=True):
        assert clip.audio is None
        np.testing.assert_allclose(audio_of(made, clip), samples, rtol=0, atol=1 / 32_768)


def test_shards_depend_on_the_speech_alone(tmp_path: Path, make_speech: MakeSpeech) -> None:
    speech = make_speech(tmp_path / "speech", (0.6, 0.7, 0.6, 0.5, 0.6, 0.8))
    planned = tasks("key", speech, 1.4)
    assert [[clip.id for clip in task.clips] for task in planned] == [
        ["0", "1"],
        ["2", "3"],
        ["4", "5"],
    ]
    assert tasks("key", speech, 0.1) == [
        replace(task, shard=task.shard) for each in speech for task in tasks("key", [each], 0.1)
    ]

    @dataclass(frozen=True)
    class Member(FileSource):
        group: str = "a tar"

    other = speech[1].clip
    grouped = Spoken(replace(other, source=Member(Path(other.path), other.samples)), "train")
    shards = tasks("key", [speech[0], grouped, speech[2]], 60.0)
    assert [len(task.clips) for task in shards] == [1, 1, 1], "a tar is read from front to back"


@pytest.fixture
def six(tmp_path: Path, make_speech: MakeSpeech) -> list[Spoken]:
    return make_speech(tmp_path / "speech", (0.6, 0.7, 0.6, 0.5, 0.6, 0.8))


def spoiling(curves: Tensor) -> Tensor:
    if curves.shape[1] == 15:  # the clip of half a second
        curves[:, 2, 0] = float("nan")
    return curves


def test_missing_clips_are_listed_and_tried_again(
    label_by: LabelBy, known_teacher: Any, six: list[Spoken], tmp_path: Path
) -> None:
    """One without labels, one unreadable, one silent; the next run with less tolerance mends."""
    sound = {spoken.clip.id: Path(spoken.clip.path).read_bytes() for spoken in six}
    Path(six[0].clip.path).write_bytes(b"no audio")
    soundfile.write(six[4].clip.path, np.full(9600, 1e-6), SAMPLE_RATE, subtype="FLOAT")
    asked = LabelSettings(shard_s=1.4, max_missing_share=0.5)
    folder = tmp_path / "labels"
    made = label_by(known_teacher(spoil=spoiling), "key", six, folder, asked)
    reasons = {clip.id: clip.reason for clip in made.missing}
    assert sorted(reasons) == ["0", "3", "4"]
    assert "not readable as audio" in reasons["0"]
    assert "gave nan for jawOpen at frame 2 of" in reasons["3"]
    assert "silent" in reasons["4"]
    assert [clip.id for clip in made.clips] == ["1", "2", "5"]

    for spoken in six:
        Path(spoken.clip.path).write_bytes(sound[spoken.clip.id])
    teacher = known_teacher()
    mended = label_by(teacher, "key", six, folder, asked)
    assert mended.missing == ()
    assert len(mended.clips) == 6
    again = label_by(known_teacher(), "key", six, tmp_path / "undisturbed", asked)
    assert mended == replace(again, folder=folder)


def test_more_missing_than_stated_ends_the_run_with_their_names(
    label_by: LabelBy, known_teacher: Any, six: list[Spoken], tmp_path: Path
) -> None:
    for spoken in six[2:]:
        Path(spoken.clip.path).write_bytes(b"no audio")
    asked = LabelSettings(shard_s=1.4, max_missing_share=0.3)
    with pytest.raises(
        InputError, match=r"(?s)2 of 6 clips .* at most 0\.3.* 2: .*readable.* 3: "
    ) as e:
        label_by(known_teacher(), "key", six, tmp_path / "labels", asked)
    assert e.value.exit_code == 3
    assert len(list((tmp_path / "labels").glob("shard-*"))) == 2, "what was finished is kept"
    assert not (tmp_path / "labels" / "stage.json").exists()
