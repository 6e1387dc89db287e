"""Speech that lies on a server: labelled and learned from, also where some of it does not come."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from lhotse import RecordingSet

from compress.speech.sources import remote
from tests.compress.speech.sources.conftest import PATIENT_S

Cli: TypeAlias = Callable[..., Any]

pytestmark = pytest.mark.slow


def manifests(own: Path, url: str, moods: dict[str, str]) -> Path:
    """The speech of a recipe by URL, the audio of some clips in a mood of the server's."""
    for side in ("train", "heldout"):
        lines = []
        for recording in RecordingSet.from_dir(own / "speech" / side, "*.wav"):
            mood = f"{moods[recording.id]}/" if recording.id in moods else ""
            (source,) = recording.sources
            place = f"{url}/{mood}{side}/{Path(source.source).name}"
            said = recording.to_dict() | {
                "sources": [source.to_dict() | {"type": "url", "source": place}]
            }
            lines.append(json.dumps(said) + "\n")
        (own / "speech" / f"{side}.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode()))
    recipe = own / "recipe.yaml"
    text = recipe.read_text().replace("train: [speech/train]", f"train: ['{url}/train.jsonl.gz']")
    text = text.replace("heldout: [speech/heldout]", f"heldout: ['{url}/heldout.jsonl.gz']")
    recipe.write_text(text.replace("speech: {", f"speech: {{timeout_s: {PATIENT_S}, "))
    return recipe


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> str:
    """What never comes is waited for a two-hundredth of the recipe's time; says how long that is."""
    whole = remote._whole

    def hurried(url: str, timeout_s: float) -> bytes:
        never = "/hangs/" in url or "/trickles/" in url
        return whole(url, timeout_s / 200 if never else timeout_s)

    monkeypatch.setattr(remote, "_whole", hurried)
    return f"{PATIENT_S / 200:g} s"


def test_a_store_that_hangs_costs_the_clips_that_it_does_not_give(
    own: Path,
    cli: Cli,
    served: Callable[[Path], str],
    asked: Counter[str],
    asked_for: Callable[[str, int], int],
    impatient: str,
) -> None:
    """Flaky ones come at the third try. The audio is kept, and asked for no more."""
    url = served(own / "speech")
    recipe = manifests(own, url, {"3": "hangs", "5": "flaky", "6": "trickles"})
    ended = cli("label", recipe, "--out", own / "run", "--set", "labels.max_missing_share=0.1")
    assert ended.failed(3, "2 of 11 clips cannot be labelled", f"did not come within {impatient}")
    assert asked_for("/hangs/train/3.wav", 3) == 3
    assert asked_for("/trickles/train/6.wav", 3) == 3
    asked.clear()
    more = ("--set", "labels.max_missing_share=0.2")
    done = cli("distill", recipe, "--out", own / "run", *more)
    assert done.code == 0, done.err
    assert "no labels  3: " in done.out
    assert "no labels  6: " in done.out
    assert {path for path in asked if path.endswith(".wav")} <= {
        *("/hangs/train/3.wav", "/trickles/train/6.wav"),
        *(f"/train/{n}.wav" for n in (4, 7)),  # of the shards that had lacked a clip
        *(f"/{mood}train/5.wav" for mood in ("flaky/", "")),
    }
    missing = json.loads((own / "run" / "labels" / "index.json").read_text())["missing"]
    assert [clip["id"] for clip in missing] == ["3", "6"]


def test_a_bucket_and_a_folder_make_the_same_student(
    own: Path, cli: Cli, bucket: Callable[[Path], str]
) -> None:
    """But for the 16 bits of audio that is kept, which files of 16 bits lose nothing by."""
    plain = own / "plain.yaml"
    plain.write_text((own / "recipe.yaml").read_text())
    more = ("--set", "labels.keep_audio=true")
    here = cli("distill", plain, "--out", own / "here", *more)
    assert here.code == 0, here.err
    recipe = manifests(own, "s3://speech", {})
    assert bucket(own / "speech") == "s3://speech"
    there = cli("distill", recipe, "--out", own / "there", *more)
    assert there.code == 0, there.err
    weights = "students/small/distilled/weights.safetensors"
    assert (own / "here" / weights).read_bytes() == (own / "there" / weights).read_bytes()
