"""Which speech a run has, and on which side of the split."""

from pathlib import Path

import pytest
import soundfile

from compress.audio import SAMPLE_RATE
from compress.errors import AudioError
from compress.recipe import SpeechSettings
from compress.split import prompt_id, split
from compress.stages.speech import gather


def write(path: Path, seconds: float = 0.6) -> None:
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(len(path.stem)).uniform(-0.5, 0.5, round(seconds * SAMPLE_RATE))
    soundfile.write(path, samples, SAMPLE_RATE)


def test_named_folders_say_the_side(workshop: Path) -> None:
    settings = SpeechSettings(train=("speech/train",), heldout=("speech/heldout",))
    speech = gather(settings, workshop)
    sides = {spoken.clip.id: spoken.side for spoken in speech.spoken}
    assert sides == {str(i): "train" for i in range(8)} | {
        str(i): "heldout" for i in (100, 101, 102)
    }
    assert [spoken.clip.id for spoken in speech.spoken] == sorted(sides)
    assert speech.folders == (workshop / "speech" / "train", workshop / "speech" / "heldout")


def test_one_folder_is_divided_by_the_split(tmp_path: Path) -> None:
    names = [f"{language}/clip-{i}" for language in ("en", "it") for i in range(10)]
    for name in names:
        write(tmp_path / "all" / f"{name}.wav")
    speech = gather(SpeechSettings(train=("all",)), tmp_path)
    assert {s.clip.id: s.side for s in speech.spoken} == {n: split(prompt_id(n)) for n in names}
    assert {s.side for s in speech.spoken} == {"train", "heldout"}


def test_one_side_alone_is_no_split(tmp_path: Path) -> None:
    name = next(f"clip-{i}" for i in range(99) if split(f"clip-{i}") == "train")
    write(tmp_path / "all" / f"{name}.wav")
    with pytest.raises(
        AudioError, match=r"All 1 clips fall on the training side .* speech\.heldout"
    ):
        gather(SpeechSettings(train=("all",)), tmp_path)


def test_a_clip_on_both_sides(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.wav")
    write(tmp_path / "heldout" / "a.flac")
    settings = SpeechSettings(train=("train",), heldout=("heldout",))
    with pytest.raises(AudioError, match="would both be the clip a"):
        gather(settings, tmp_path)


def test_files_left_out_are_named_without_the_machines_path(tmp_path: Path) -> None:
    for name in ("train/a.wav", "train/in/b.wav", "heldout/c.wav"):
        write(tmp_path / name)
    write(tmp_path / "train" / "in" / "short.wav", seconds=0.1)
    settings = SpeechSettings(train=("train",), heldout=("heldout",), max_bad_share=0.5)
    ((name, reason),) = gather(settings, tmp_path).left_out
    assert name == "train/in/short.wav"
    assert "too short" in reason
