"""Which speech a run has, and on which side of the split."""

from pathlib import Path

import pytest
import soundfile

from compress.errors import AudioError
from compress.recipe.recipe import SpeechSettings
from compress.speech.audio import SAMPLE_RATE, read
from compress.speech.gathering import excerpt, gather
from compress.speech.split import prompt_id, split
from tests.compress.speech.sources.made import sine
from tests.compress.speech.sources.made import write as write_as


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


def test_too_many_bad_files_stop_a_run(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "train" / f"{number}.wav")
    write(tmp_path / "heldout" / "3.wav")
    (tmp_path / "heldout" / "4.wav").write_text("no audio")

    def run(max_bad_share: float) -> int:
        settings = SpeechSettings(
            train=("train",), heldout=("heldout",), max_bad_share=max_bad_share
        )
        return len(gather(settings, tmp_path).spoken)

    assert run(0.2) == 4  # the share itself is still allowed
    with pytest.raises(AudioError, match=r"1 of 5 audio files .*0\.1: .*4\.wav: not readable") as e:
        run(0.1)
    assert e.value.exit_code == 3
    for path in tmp_path.glob("*/?.wav"):
        path.write_text("no audio")
    with pytest.raises(AudioError, match=r"5 of 5 .*; and 2 more"):
        run(1.0)


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / "all" / name / "a.wav")
    write(tmp_path / "heldout" / "b.wav")
    heldout = ("heldout",)
    with pytest.raises(AudioError, match="would both be the clip a"):
        gather(SpeechSettings(train=("all/one", "all/two"), heldout=heldout), tmp_path)
    spoken = gather(SpeechSettings(train=("all",), heldout=heldout), tmp_path).spoken
    assert [s.clip.id for s in spoken] == ["b", "one/a", "two/a"]
    write(tmp_path / "all" / "one" / "a.flac")
    with pytest.raises(AudioError, match="would both be the clip one/a"):
        gather(SpeechSettings(train=("all",), heldout=heldout), tmp_path)


def test_long_clips_are_divided_and_stay_on_one_side(tmp_path: Path) -> None:
    names = [f"clip-{i}" for i in range(12)]
    for name in names:
        write(tmp_path / "all" / f"{name}.wav", 2.6)
    spoken = gather(SpeechSettings(train=("all",), max_clip_s=1.0), tmp_path).spoken
    assert [s.clip.id for s in spoken] == [
        f"{name}@{second:06}" for name in sorted(names) for second in (0, 1, 2)
    ]
    assert all(s.side == split(s.clip.recording) for s in spoken)
    assert sum(s.clip.samples for s in spoken) == 12 * round(2.6 * SAMPLE_RATE)


def test_a_name_that_is_no_source_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    for name, place in (
        ("absent", f"The speech {tmp_path / 'absent'} is not there. "),
        ("notes.txt", f"The speech {tmp_path / 'notes.txt'} is of no format that is read. "),
        ("https://me:secret@there/x.tgz?key=secret", "https://there/x.tgz is no source of speech"),
    ):
        with pytest.raises(AudioError, match="Looked for a folder of audio") as caught:
            gather(SpeechSettings(train=(name,)), tmp_path)
        assert place in str(caught.value)
        assert "secret" not in str(caught.value)


def test_an_excerpt_is_of_the_first_clips_that_can_be_used(tmp_path: Path) -> None:
    write_as(tmp_path / "a" / "1.wav", sine(300, 0.4))
    write_as(tmp_path / "a" / "2.wav", 0 * sine(300))
    write_as(tmp_path / "b" / "1.wav", sine(500, 0.4))
    (tmp_path / "b" / "2.wav").write_text("never read")
    settings = SpeechSettings(train=("a", "b"))
    found = excerpt(settings, tmp_path, 0.6)
    parts = [read(tmp_path / "a" / "1.wav"), read(tmp_path / "b" / "1.wav")]
    assert found.tolist() == [*parts[0].tolist(), *parts[1][: round(0.2 * SAMPLE_RATE)].tolist()]
    assert len(excerpt(settings, tmp_path, 60.0)) == round(0.8 * SAMPLE_RATE), "all that there is"


def test_an_excerpt_of_nothing_says_what_was_wrong(tmp_path: Path) -> None:
    write_as(tmp_path / "all" / "1.wav", 0 * sine(300))
    with pytest.raises(AudioError, match=r"No audio can be used: .*1\.wav: silent"):
        excerpt(SpeechSettings(train=("all",)), tmp_path, 1.0)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """The same twelve clips as a folder, as a manifest, and as a Shar of two shards."""
    from lhotse import CutSet, MonoCut, Recording

    cuts = []
    for i in range(12):
        path = tmp_path / "folder" / f"f{i}.wav"
        write_as(path, sine(200 + 20 * i, 0.6))
        recording = Recording.from_file(path, recording_id=f"r{i}")
        cuts += [MonoCut(f"{i}-{part}", 0.3 * part, 0.3, 0, recording=recording) for part in (1, 0)]
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    (tmp_path / "shar").mkdir()
    named = [cut.with_id(f"s{cut.id}") for cut in cuts]
    CutSet.from_cuts(named).to_shar(tmp_path / "shar", {"recording": "flac"}, shard_size=12)
    return tmp_path


def test_sources_of_all_formats_are_gathered(mixed: Path) -> None:
    names = ("shar", "cuts.jsonl.gz", "folder")
    settings = SpeechSettings(train=names, min_clip_s=0.2)
    speech = gather(settings, mixed)
    ids = [spoken.clip.id for spoken in speech.spoken]
    alone, in_tars = ids[:36], ids[36:]
    assert alone == sorted(
        [*(f"{i}-{part}" for i in range(12) for part in (0, 1)), *(f"f{i}" for i in range(12))]
    )
    assert in_tars == [f"s{i}-{part}" for i in range(12) for part in (1, 0)], "in their order"
    assert speech.folders == (mixed / "folder",)
    for spoken in speech.spoken:
        assert spoken.side == split(spoken.clip.recording)
        assert len(spoken.clip.read()) == spoken.clip.samples


@pytest.mark.parametrize(
    ("name", "first"), [("folder", 0.6), ("cuts.jsonl.gz", 0.3), ("shar", 0.3)]
)
def test_an_excerpt_is_had_of_every_format(mixed: Path, name: str, first: float) -> None:
    settings = SpeechSettings(train=(name,))
    found = excerpt(settings, mixed, 1.0)
    assert len(found) == SAMPLE_RATE
    clips = {
        s.clip.id: s.clip
        for s in gather(SpeechSettings(train=(name,), min_clip_s=0.2), mixed).spoken
    }
    begun = clips[{"folder": "f0", "cuts.jsonl.gz": "0-1", "shar": "s0-1"}[name]]
    assert begun.seconds == first
    assert found[: begun.samples].tolist() == begun.read().tolist()


def test_one_recording_on_two_sides_is_refused(mixed: Path) -> None:
    settings = SpeechSettings(train=("cuts.jsonl.gz",), heldout=("shar",), min_clip_s=0.2)
    with pytest.raises(AudioError, match=r"of one recording, r0, but on two sides of the split"):
        gather(settings, mixed)
