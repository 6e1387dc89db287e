"""Labels against their checksums, index and contents; only what is damaged is made again."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.errors import InputError, LockedError
from compress.labels.curve_codec import Stored, pack
from compress.labels.making import Spoken
from compress.labels.shards import Labelled, Missing, Shard, to_bytes
from compress.labels.store import Labels
from compress.labels.verification import Verification, remove_damaged, verify_labels
from compress.recipe.recipe import LabelSettings
from compress.store import run_lock, seal

LabelBy = Callable[..., Labels]
MakeSpeech = Callable[..., list[Spoken]]


@pytest.fixture
def speech(tmp_path: Path, make_speech: MakeSpeech) -> list[Spoken]:
    """That of `labels`."""
    return make_speech(tmp_path / "speech", (0.6, 0.7, 0.6, 0.5, 0.6, 0.8))


@pytest.fixture
def damaged(labels: Labels) -> str:
    """The name of a shard of which one byte of a clip's curves is another."""
    path = labels.folder / labels.clips[2].shard
    flip(path, path.stat().st_size - 100)
    return path.name


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x04
    path.write_bytes(content)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def faults(found: Verification) -> dict[str, str]:
    return {fault.file: fault.wrong for fault in found.faults}


def resealed(labels: Labels, name: str, change: Callable[[str], str]) -> None:
    """A file that says something else, with the checksum that is right for it."""
    path = labels.folder / name
    path.write_text(change(path.read_text()))
    seal(labels.folder, labels.key)


def test_whole_labels(labels: Labels) -> None:
    found = verify_labels(labels.folder)
    assert found == replace(found, folder=labels.folder, finished=True, faults=(), removed=())
    assert (found.shards, found.clips, found.controls, found.driven) == (3, 6, 3, 2)
    assert found.seconds == pytest.approx(sum(clip.frames for clip in labels.clips) / 30)
    found.conclude()
    said = dict(line.split(maxsplit=1) for line in found.lines)
    assert said["state"] == "finished"
    assert said["controls"] == "3, 2 of them driven"


def test_the_folder_of_a_run_will_do(labels: Labels) -> None:
    assert verify_labels(labels.folder.parent) == verify_labels(labels.folder)


@pytest.mark.parametrize(("name", "said"), [("none", "does not exist"), ("speech", "no labels")])
def test_a_folder_without_labels_is_refused(labels: Labels, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        verify_labels(labels.folder.parent / name)


def test_a_flipped_byte_is_found_and_the_clip_is_named(labels: Labels, damaged: str) -> None:
    found = verify_labels(labels.folder)
    wrong = [fault.wrong for fault in found.faults]
    assert {fault.file for fault in found.faults} == {damaged}
    assert "its SHA-256 is" in wrong[0]
    assert wrong[1].startswith("clip ")
    assert "while decompressing" in wrong[1]
    assert found.clips == 5, "the others of that shard can be read"
    with pytest.raises(InputError, match="--remove-damaged` removes what is damaged") as raised:
        found.conclude()
    assert f"  - {damaged}: its SHA-256" in str(raised.value)


@given(st.data())
@settings(max_examples=60)
def test_no_flipped_bit_goes_unseen(labels: Labels, data: st.DataObject) -> None:
    """In whatever file, and no file beside it is blamed."""
    name = data.draw(st.sampled_from(sorted(content(labels.folder))))
    path = labels.folder / name
    whole = path.read_bytes()
    try:
        place = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(
            whole[:place]
            + bytes([whole[place] ^ 1 << data.draw(st.integers(0, 7))])
            + whole[place + 1 :]
        )
        found = verify_labels(labels.folder)
        if name == "stage.json":  # in which a bit may stand for any file's checksum, or the key
            return
        assert {fault.file for fault in found.faults} == {name}
    finally:
        path.write_bytes(whole)


def test_only_what_is_damaged_is_removed_and_made_again(
    labels: Labels,
    damaged: str,
    label_by: LabelBy,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
    tmp_path: Path,
) -> None:
    """The teacher hears the clips of that shard, and no others; the bytes are as they were."""
    whole = tmp_path / "whole"
    label_by(known_teacher(), "key", speech, whole, label_settings)
    found = remove_damaged(verify_labels(labels.folder))
    assert found.removed == (damaged,)
    assert content(labels.folder).keys() == content(whole).keys() - {damaged}
    with pytest.raises(InputError, match="is removed; `lipstill label RECIPE --out"):
        found.conclude()
    assert faults(verify_labels(labels.folder)) == {damaged: "it is gone"}

    teacher = known_teacher()
    label_by(teacher, "key", speech, labels.folder, label_settings)
    inside = [clip for clip in labels.clips if clip.shard == damaged]
    assert sorted(samples for _, samples in teacher.calls) == sorted(
        round(clip.seconds * 16_000) for clip in inside
    )
    assert content(labels.folder) == content(whole)
    verify_labels(labels.folder).conclude()


@pytest.mark.parametrize("name", ["index.json", "clips.jsonl", "stage.json"])
def test_a_damaged_index_is_made_again_without_the_teacher(
    labels: Labels,
    name: str,
    label_by: LabelBy,
    speech: list[Spoken],
    known_teacher: Any,
    label_settings: LabelSettings,
) -> None:
    before = content(labels.folder)
    flip(labels.folder / name, 0)
    found = remove_damaged(verify_labels(labels.folder))
    assert found.removed == (name,)
    teacher = known_teacher()
    label_by(teacher, "key", speech, labels.folder, label_settings)
    assert teacher.calls == []
    assert content(labels.folder) == before


def test_nothing_is_removed_under_a_run(labels: Labels, damaged: str) -> None:
    (labels.folder.parent / "run.json").write_text("{}")
    found = verify_labels(labels.folder)
    with run_lock(labels.folder.parent), pytest.raises(LockedError, match="Another run"):
        remove_damaged(found)
    assert (labels.folder / damaged).exists()
    remove_damaged(found)
    assert not (labels.folder / damaged).exists()


def test_files_that_are_not_listed_are_said_and_stay(labels: Labels, damaged: str) -> None:
    stray = labels.folder / "shard-mine.safetensors"
    shutil.copy(labels.folder / damaged, stray)
    (labels.folder / ".hidden").write_text("not looked at")
    found = remove_damaged(verify_labels(labels.folder))
    assert faults(found)[stray.name] == "stage.json does not list it"
    assert found.removed == (damaged,)
    assert stray.exists()


def test_a_stray_file_alone_is_no_damage_to_the_labels(labels: Labels) -> None:
    (labels.folder / "notes.txt").write_text("call Ada")
    found = remove_damaged(verify_labels(labels.folder))
    assert found.removed == ()
    with pytest.raises(InputError, match=r"notes\.txt: .*\n.*themselves are whole"):
        found.conclude()


def test_labelling_that_is_not_finished(labels: Labels, damaged: str) -> None:
    """What is there is checked all the same, and nobody takes it for all labels."""
    (labels.folder / "stage.json").unlink()
    found = verify_labels(labels.folder)
    assert (found.finished, found.shards, found.driven) == (False, 3, None)
    assert set(faults(found)) == {damaged}
    found = remove_damaged(found)
    assert found.removed == (damaged,)
    found = verify_labels(labels.folder)
    assert (found.shards, found.faults) == (2, ())
    assert "labelling is not finished" in "\n".join(found.lines)
    with pytest.raises(InputError, match=r"not finished\. What is there is whole"):
        found.conclude()


def test_missing_clips_are_said_and_no_fault(
    label_by: LabelBy, speech: list[Spoken], known_teacher: Any, tmp_path: Path
) -> None:
    def spoil(curves: Any) -> Any:
        if curves.shape[1] == 24:  # the longest clip
            curves[0, 3, 0] = np.inf
        return curves

    asked = LabelSettings(batch_s=2.0, shard_s=0.1, max_missing_share=0.5)
    folder = tmp_path / "labels"
    made = label_by(known_teacher(spoil=spoil), "key", speech, folder, asked)
    assert [clip.id for clip in made.missing] == ["5"]
    found = verify_labels(folder)
    found.conclude()
    assert found.missing == made.missing
    assert found.lines[-1].startswith("missing   5: The teacher gave inf")


@pytest.mark.parametrize(
    ("name", "change", "file", "said"),
    [
        (
            "clips.jsonl",
            lambda t: t + t.splitlines(True)[-1],
            "clips.jsonl",
            "clip 5 is in it twice",
        ),
        (
            "clips.jsonl",
            lambda t: "".join(t.splitlines(True)[1:]),
            "shard",
            "0 is not in clips.jsonl",
        ),
        (
            "clips.jsonl",
            lambda t: t.replace('"id":"3"', '"id":"9"'),
            "shard",
            "clip 9 is not in it",
        ),
        ("clips.jsonl", lambda t: t.replace(":18,", ":19,"), "shard", "has 18 frames, 19 in"),
        ("clips.jsonl", lambda t: t.replace("elsewhere", "kept"), "shard", "is not kept, kept in"),
        ("clips.jsonl", lambda t: t.replace("shard-", "shard-x"), "clips.jsonl", "does not list"),
        ("clips.jsonl", lambda t: t.replace("train", "test"), "clips.jsonl", "line 1: side"),
        ("index.json", lambda t: t.replace("jawOpen", "jawShut"), "shard", "other facts"),
        ("index.json", lambda t: t.replace('"browInnerUp": 0.25', ""), "index.json", "0 constants"),
        ("index.json", lambda t: t[:-3], "index.json", "cannot be read"),
        ("stage.json", lambda t: t.replace('"shard', '"../shard'), "stage.json", "no path below"),
    ],
)
def test_what_disagrees_is_said_though_checksums_agree(
    labels: Labels, name: str, change: Callable[[str], str], file: str, said: str
) -> None:
    if name == "stage.json":
        path = labels.folder / name
        path.write_text(change(path.read_text()))
    else:
        resealed(labels, name, change)
    found = [(fault.file, fault.wrong) for fault in verify_labels(labels.folder).faults]
    assert any(at.startswith(file) and said in wrong for at, wrong in found), found


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: pack(c[:, :2]), "of shape [2, 2] and type float32, of 3 controls"),
        (lambda c: replace(pack(c), ends=pack(c).ends.astype(np.float64)), "and type float64"),
        (lambda c: replace(pack(c), ends=pack(c).ends + np.float32(np.inf)), "not finite"),
        (lambda c: replace(pack(c), ends=pack(c).ends + np.float32(np.nan)), "not finite"),
        (lambda c: pack(c[1:]), "bytes, expected"),
    ],
)
def test_curves_that_are_not_those_of_the_header_are_said(
    labels: Labels, spoil: Callable[[np.ndarray], Stored], said: str
) -> None:
    """A shard that was written wrongly, and sealed."""
    path = labels.folder / labels.clips[0].shard
    with Shard(path) as shard:
        header = shard.header
        clips = [
            Labelled(clip, frames, spoil(shard.curves(clip)))
            for clip, frames in header.frames.items()
        ]
    path.write_bytes(to_bytes(header.teacher, clips, [Missing("x", "y")]))
    seal(labels.folder, labels.key)
    found = verify_labels(labels.folder)
    assert said in faults(found)[path.name]
    assert found.clips == 4


def test_kept_audio_is_checked(
    label_by: LabelBy, speech: list[Spoken], known_teacher: Any, tmp_path: Path
) -> None:
    asked = LabelSettings(batch_s=2.0, shard_s=1.4, keep_audio=True)
    made = label_by(known_teacher(), "key", speech, tmp_path / "labels", asked)
    verify_labels(made.folder).conclude()
    resealed(made, "clips.jsonl", lambda text: text.replace('"seconds":0.7', '"seconds":0.71'))
    assert (
        "has 11200 samples, expected 11360"
        in faults(verify_labels(made.folder))[made.clips[1].shard]
    )


def test_many_faults_make_no_endless_message(labels: Labels) -> None:
    for i in range(30):
        (labels.folder / f"note-{i:02}.txt").write_text("")
    found = verify_labels(labels.folder)
    with pytest.raises(InputError, match="and 10 more, which --json lists"):
        found.conclude()
    assert len(json.loads(found.to_json())["faults"]) == 30
