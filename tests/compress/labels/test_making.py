"""Pseudo-labels: what is kept, how an interrupted run goes on, and what is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from compress.errors import AudioError, InputError, TeacherError
from compress.labels.making import Spoken, labels_key
from compress.labels.store import Labels, audio_of, curves_of, read_labels, resample
from compress.recipe.recipe import LabelSettings
from compress.recipe.teacher import TeacherSettings
from compress.speech.audio import HOP, SAMPLE_RATE
from compress.speech.sources.folder import FileSource
from compress.store import stage
from compress.teachers.loading import TeacherFile
from compress.teachers.networks.voice2face import Voice2Face

MakeSpeech = Callable[..., list[Spoken]]
LabelBy = Callable[..., Labels]
SECONDS = (0.6, 0.7, 0.6, 0.5, 0.6, 0.8)


@pytest.fixture
def speech(tmp_path: Path, make_speech: MakeSpeech) -> list[Spoken]:
    return make_speech(tmp_path / "speech", SECONDS)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_what_is_kept(labels: Labels) -> None:
    assert stage(labels.folder, "key", verify=True).hit
    assert labels.driven == ("jawOpen", "mouthClose")
    assert labels.constants == {"browInnerUp": 0.25}
    assert labels.driven_columns == [0, 1]
    assert [clip.id for clip in labels.side("heldout")] == ["2", "5"]
    assert [clip.id for clip in labels.side("train")] == ["0", "1", "3", "4"]
    for clip, seconds in zip(labels.clips, SECONDS, strict=True):
        assert clip.frames == np.ceil(round(seconds * 30, 6))
        assert clip.hops == np.ceil(round(seconds * 62.5, 6))


def test_curves_are_those_of_the_teacher(labels: Labels) -> None:
    """At its own frames but for what storing rounds, on the hop grid between them."""
    frames = curves_of(labels, labels.clips, "frames")
    hops = curves_of(labels, labels.clips, "hops")
    for clip, at_frames, at_hops in zip(labels.clips, frames, hops, strict=True):
        samples = audio_of(labels, clip)
        moments = np.round(np.arange(clip.frames) / 30 * SAMPLE_RATE).astype(int)
        stored = {"rtol": 0, "atol": 1 / 131_070}  # half a step of values in 0..1
        np.testing.assert_allclose(at_frames[:, 0], np.abs(samples[moments]), **stored)
        np.testing.assert_allclose(at_frames[:, 1], 0.5 * samples[moments], **stored)
        grid = np.arange(clip.hops) * HOP / SAMPLE_RATE
        expected = np.interp(grid, np.arange(clip.frames) / 30, at_frames[:, 1])
        np.testing.assert_allclose(at_hops[:, 1], expected, atol=1e-6)


def test_curves_come_in_the_order_asked(labels: Labels) -> None:
    one, two = labels.clips[1], labels.clips[4]
    forth = curves_of(labels, [one, two, one], "hops")
    back = curves_of(labels, [two, one], "hops")
    np.testing.assert_array_equal(forth[0], back[1])
    np.testing.assert_array_equal(forth[1], back[0])
    np.testing.assert_array_equal(forth[2], forth[0])


def test_labels_are_read_back_from_anywhere(labels: Labels, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.move(labels.folder, moved)
    again = read_labels(moved, {clip.id: clip.audio for clip in labels.clips})
    assert again == replace(labels, folder=moved)
    for name in ("index.json", "clips.jsonl"):
        assert str(tmp_path) not in (moved / name).read_text(), "paths are no result"


def test_batches_of_equal_length_change_no_curve(
    label_by: LabelBy, tmp_path: Path, speech: list[Spoken], tiny_voice2face: Voice2Face
) -> None:
    """The group norm and the attention of a real encoder would see padding."""
    found = []
    for batch_s, name in ((60.0, "together"), (0.01, "alone")):
        asked = LabelSettings(batch_s=batch_s, shard_s=60.0)
        made = label_by(tiny_voice2face, "key", speech, tmp_path / name, asked)
        found.append(curves_of(made, made.clips, "frames"))
    for together, alone in zip(*found, strict=True):
        np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(found[0][0], axis=0).min() > 1e-4, "the curves move"


def test_only_equal_lengths_are_batched(
    label_by: LabelBy, tmp_path: Path, speech: list[Spoken], known_teacher: Any
) -> None:
    teacher = known_teacher()
    asked = LabelSettings(batch_s=1.2, shard_s=60.0)
    label_by(teacher, "key", speech, tmp_path / "labels", asked)
    # Two clips of 0.6 s make 1.2 s; the third of that length comes after them.
    expected = [(1, 8000), (2, 9600), (1, 9600), (1, 11200), (1, 12800)]
    assert teacher.calls == expected


class Interrupting:
    """Raises KeyboardInterrupt instead of the n-th answer."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, curves: Tensor) -> Tensor:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return curves


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5])
def test_an_interrupted_run_goes_on_and_ends_in_the_same_bytes(
    label_by: LabelBy,
    tmp_path: Path,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
    after: int,
) -> None:
    """Shards of two clips, each of another length: two calls a shard."""
    folder = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        label_by(
            known_teacher(spoil=Interrupting(after)),
            "key",
            speech,
            folder,
            label_settings,
        )
    shards = list(folder.glob("shard-*")) if folder.exists() else []
    assert len(shards) == after // 2
    assert not stage(folder, "key").hit
    times = {path: path.stat().st_mtime_ns for path in shards}

    teacher = known_teacher()
    resumed = label_by(teacher, "key", speech, folder, label_settings)
    assert len(teacher.calls) == 6 - 2 * len(shards)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    undisturbed = label_by(known_teacher(), "key", speech, tmp_path / "whole", label_settings)
    assert content(folder) == content(tmp_path / "whole")
    assert resumed == replace(undisturbed, folder=folder)


def test_a_damaged_shard_is_made_again(
    label_by: LabelBy,
    labels: Labels,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
) -> None:
    before = content(labels.folder)
    shard = labels.folder / labels.clips[0].shard
    shard.write_bytes(shard.read_bytes()[:-7])
    teacher = known_teacher()
    label_by(teacher, "key", speech, labels.folder, label_settings)
    assert len(teacher.calls) == 2
    assert content(labels.folder) == before


def test_shards_of_another_key_go(
    label_by: LabelBy,
    labels: Labels,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
) -> None:
    again = label_by(known_teacher(), "other", speech, labels.folder, label_settings)
    assert {p.name for p in labels.folder.glob("shard-*")} == {clip.shard for clip in again.clips}
    assert not {clip.shard for clip in labels.clips} & {clip.shard for clip in again.clips}


def test_a_shard_that_cannot_be_read_is_named(labels: Labels) -> None:
    shard = labels.folder / labels.clips[0].shard
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{shard.name} cannot be read"):
        curves_of(labels, labels.clips, "hops")
    shard.unlink()
    with pytest.raises(InputError, match=f"{shard.name} cannot be read"):
        curves_of(labels, labels.clips, "hops")


def test_a_teacher_without_a_number_is_refused_with_the_clip(
    label_by: LabelBy,
    tmp_path: Path,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
) -> None:
    def spoil(curves: Tensor) -> Tensor:
        if curves.shape[1] == 24:  # the longest clip
            curves[0, 3, 0] = torch.inf
        return curves

    folder = tmp_path / "labels"
    with pytest.raises(
        InputError, match=r"5 cannot be labelled: .* inf for jawOpen at frame 3 of .*5\.wav"
    ):
        label_by(known_teacher(spoil=spoil), "key", speech, folder, label_settings)
    assert not stage(folder, "key").hit


def test_a_teacher_of_another_rate_is_refused_with_the_clip(
    label_by: LabelBy,
    tmp_path: Path,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
) -> None:
    teacher = known_teacher(spoil=lambda curves: curves.repeat_interleave(2, 1))
    with pytest.raises(
        InputError,
        match=r"(?s)2 of 6 clips .* 0: The teacher gave .*\[1, 36, 3\] for 0\.60 s of .*0\.wav",
    ):
        label_by(teacher, "key", speech, tmp_path / "labels", label_settings)


def test_a_teacher_that_moves_nothing_is_refused(
    label_by: LabelBy,
    tmp_path: Path,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
) -> None:
    teacher = known_teacher(spoil=lambda curves: curves * 1e-7)
    with pytest.raises(TeacherError, match="none of its 3 controls over 4 clips of training"):
        label_by(teacher, "key", speech, tmp_path / "labels", label_settings)


def test_only_training_speech_says_what_is_driven(
    label_by: LabelBy,
    tmp_path: Path,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
) -> None:
    def spoil(curves: Tensor) -> Tensor:
        if curves.shape[1] == 24:  # a held-out clip
            curves[:, 5, 2] = 0.9
        return curves

    teacher = known_teacher(spoil=spoil)
    made = label_by(teacher, "key", speech, tmp_path / "labels", label_settings)
    assert made.driven == ("jawOpen", "mouthClose")


def test_the_same_recording_on_both_sides_is_refused(
    label_by: LabelBy,
    tmp_path: Path,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
) -> None:
    held_out = speech[2]
    assert held_out.side == "heldout"
    copy = Spoken(replace(speech[0].clip, sha256=held_out.clip.sha256), "train")
    with pytest.raises(AudioError, match=r"0\.wav and .*2\.wav are the same bytes"):
        label_by(known_teacher(), "key", [copy, *speech[1:]], tmp_path / "a", label_settings)
    twice = [replace(copy, side="heldout"), *speech[1:]]
    label_by(known_teacher(), "key", twice, tmp_path / "b", label_settings)


def test_audio_that_changed_since_it_was_found_is_refused(
    label_by: LabelBy,
    tmp_path: Path,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
) -> None:
    soundfile.write(speech[3].clip.path, np.full(9000, 0.1), SAMPLE_RATE)
    with pytest.raises(
        InputError, match=r"3 cannot be labelled: it changed .* 9000 samples, expected the 8000"
    ):
        label_by(known_teacher(), "key", speech, tmp_path / "labels", label_settings)


def test_the_key_stands_for_everything(speech: list[Spoken], label_settings: LabelSettings) -> None:
    teacher = TeacherFile("name", Path("here"), "abc", 3, "voice2face")
    clip = speech[0].clip

    def key(**changes: Any) -> str:
        given: dict[str, Any] = {
            "teacher": teacher,
            "speech": speech,
            "settings": label_settings,
            "teacher_settings": TeacherSettings(checkpoint="name"),
            "threads": 1,
        }
        return labels_key(**(given | changes))

    different = [
        key(),
        key(teacher=replace(teacher, hash="abd")),
        key(speech=speech[1:]),
        key(speech=[replace(speech[0], side="heldout"), *speech[1:]]),
        key(speech=[Spoken(replace(clip, sha256="other"), "train"), *speech[1:]]),
        key(settings=LabelSettings(batch_s=2.0, shard_s=3.0)),
        key(teacher_settings=TeacherSettings(checkpoint="name", max_chunk_s=20.0)),
        key(teacher_settings=TeacherSettings(checkpoint="name", overlap_s=1.0)),
        key(threads=2),
    ]
    assert len(set(different)) == len(different)
    moved = Spoken(replace(clip, source=FileSource(Path("there.wav"), clip.samples)), "train")
    same = [
        key(teacher_settings=TeacherSettings(checkpoint="else", trust=True, rig="a.yaml")),
        key(speech=[moved, *speech[1:]]),
    ]
    assert set(same) == {key()}


def test_the_index_is_plain_json(labels: Labels) -> None:
    fields = json.loads((labels.folder / "index.json").read_text())
    assert fields["teacher_description"] == "a known function"
    assert fields["missing"] == []
    first, *others = (labels.folder / "clips.jsonl").read_text().splitlines()
    assert len(others) == 5
    assert json.loads(first) == {
        "id": "0",
        "side": "train",
        "audio": "elsewhere",
        "seconds": 0.6,
        "sha256": labels.clips[0].sha256,
        "shard": labels.clips[0].shard,
        "frames": 18,
        "hops": 38,
    }


@given(
    arrays(
        np.float32, st.tuples(st.integers(1, 40), st.just(2)), elements=st.floats(-1, 1, width=32)
    ),
    st.sampled_from([24.0, 30.0, 50.0, 62.5, 100.0]),
    st.floats(-0.05, 0.05),
    st.integers(1, 20_000),
)
@settings(max_examples=150, deadline=None)
def test_resampling_is_that_of_numpy(
    curves: np.ndarray, rate_hz: float, offset_s: float, samples: int
) -> None:
    found = resample(curves, rate_hz, offset_s, samples / SAMPLE_RATE)
    assert found.dtype == np.float32
    assert len(found) == -(-samples // HOP)
    grid_s = np.arange(len(found)) * HOP / SAMPLE_RATE
    frames_s = offset_s + np.arange(len(curves)) / rate_hz
    for column in range(2):
        expected = np.interp(grid_s, frames_s, curves[:, column])
        np.testing.assert_allclose(found[:, column], expected, atol=1e-5)
