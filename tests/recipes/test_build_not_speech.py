"""Sounds that are not speech in a folder: the same bytes always, each on its side of the split."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from compress.speech.audio import SAMPLE_RATE, read
from compress.speech.sources.folder import scan
from compress.speech.split import prompt_id, split
from recipes.build import not_speech
from recipes.build.not_speech import HELD_OUT_TUNES, MADE, MOH, SHARES, make, plans

TUNES = (*HELD_OUT_TUNES, "a-tune", "b-tune")


@pytest.fixture(autouse=True)
def on_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for the music on hold, which a test machine need not have: a tone for each tune."""
    folder = tmp_path / "moh"
    folder.mkdir()
    for name in TUNES:
        (folder / f"{name}.g722").touch()

    def tune(name: str) -> np.ndarray:
        time = np.arange(30 * SAMPLE_RATE) / SAMPLE_RATE
        found = 0.2 * np.sin(2 * np.pi * (200 + 100 * TUNES.index(name)) * time)
        found[: 12 * SAMPLE_RATE] = 0  # it begins with silence
        return np.asarray(found, np.float32)

    monkeypatch.setattr(not_speech, "MUSIC_ON_HOLD", folder)
    monkeypatch.setattr(not_speech, "_tune", tune)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.flac")}


def test_the_same_clips_come_again_and_more_minutes_only_add_some(tmp_path: Path) -> None:
    make(tmp_path / "one", 0.7)
    first = contents(tmp_path / "one")
    assert len(first) >= 4
    gone = min(first)
    (tmp_path / "one" / gone).unlink()
    kept = max(first)
    (tmp_path / "one" / kept).write_bytes(b"not made again")
    make(tmp_path / "one", 0.7)
    assert contents(tmp_path / "one") == first | {kept: b"not made again"}
    make(tmp_path / "two", 1.0)
    assert contents(tmp_path / "two").items() > first.items()


def test_every_clip_lies_on_its_side_under_both_of_its_names() -> None:
    some = list(islice(plans(), 120))
    assert {plan.kind for plan in some} == set(SHARES) == {*MADE, MOH}
    assert len({plan.name for plan in some}) == 120
    for plan in some:
        assert split(plan.name) == split(plan.name.removeprefix("rest/")) == plan.side
        assert 3 <= plan.seconds <= 12
    assert sum(plan.side == "heldout" for plan in some) == 20


def test_what_a_run_finds_there(tmp_path: Path) -> None:
    make(tmp_path, 1.5)
    planned = {plan.name: plan for plan in islice(plans(), 40)}
    clips = scan(str(tmp_path), min_clip_s=0.5).clips
    assert sum(clip.seconds for clip in clips) >= 90
    for clip in clips:
        plan = planned[clip.id]
        assert split(prompt_id(clip.recording)) == plan.side
        assert clip.seconds == pytest.approx(plan.seconds, abs=1e-3)
        samples = read(tmp_path / f"{clip.id}.flac")
        # FLAC of 16 bits: half a code is 3 % of a peak of −60 dB.
        assert 20 * np.log10(np.abs(samples).max()) == pytest.approx(plan.peak_db, abs=0.3)


def test_tunes_on_hold_are_others_on_each_side() -> None:
    """By their tones: 200 Hz is the one that is held out."""
    heard: dict[str, set[int]] = {"train": set(), "heldout": set()}
    for plan in islice((plan for plan in plans() if plan.kind == MOH), 40):
        samples = not_speech.made(plan)
        spectrum = np.abs(np.fft.rfft(samples))
        heard[plan.side].add(round(float(spectrum.argmax()) / plan.seconds, -2).__int__())
        assert np.abs(samples).max() > 0.0009, "no silence of a tune's beginning"
    assert heard == {"train": {300, 400}, "heldout": {200}}


def test_what_is_missing_is_said_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(not_speech, "MUSIC_ON_HOLD", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="apt-get install asterisk-moh-opsound-g722"):
        make(tmp_path / "sounds", 1.0)
    assert not (tmp_path / "sounds").exists()
