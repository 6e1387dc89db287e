"""Natural synthetic voices to train and to judge on, with visemes.

    python -m recipes.build.natural FOLDER [--minutes 240] [--held-out-minutes 26] [--part 1/2]

A clip's voice, text, speed, pauses and level follow from its number alone, so a run that was stopped goes on, two processes
share the work (``--part 1/2``, ``--part 2/2``), and any machine makes the same set. Clips are FLAC at 16 kHz in
FOLDER/natural/LANGUAGE; alignments.json holds their texts, voices and visemes.
"""

import argparse
import json
import random
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from compress.speech.audio import SAMPLE_RATE
from compress.speech.split import Side, split
from compress.store import atomic_write
from recipes.build import sentences
from recipes.build.kokoro import Kokoro, fetch
from recipes.build.natural_voices import Cast, Voice

SEED = 60
SPEEDS = (0.8, 1.25)
PACKAGES = Path(__file__).parents[1] / "speech" / "packages"
# Mean length of a clip, for sharing the minutes out over numbers before a clip is made.
CLIP_S = 5.0


@dataclass(frozen=True)
class Plan:
    """All that makes a clip: who says what, how fast, between which pauses (s), and how loud (peak, dBFS)."""

    name: str
    side: Side
    voice: Voice
    text: str
    speed: float
    pause_before_s: float
    pause_after_s: float
    peak_db: float


def plan(number: int, side: Side, cast: Cast) -> Plan:
    """The clip of that number on that side of the split."""
    rng = random.Random(f"{SEED}/{side}/{number}")
    voice = cast.drawn(rng, side)
    text = sentences.sentence(rng, voice.language, side)
    place = f"{cast.folder}/{voice.language[:2].replace('cm', 'zh')}"
    # The split function knows a clip's name only, so the name is chosen to lie on the side of its voice.
    suffix = next(c for c in count() if split(f"{place}/{number:05d}-{c}") == side)
    return Plan(
        f"{place}/{number:05d}-{suffix}",
        side,
        voice,
        text,
        rng.uniform(*SPEEDS),
        rng.uniform(0.0, 0.5),
        rng.uniform(0.0, 0.5) if rng.random() < 0.8 else rng.uniform(0.5, 1.5),
        rng.uniform(-24.0, -1.0),
    )


def made(clip: Plan, kokoro: Kokoro) -> np.ndarray:
    """Audio of a planned clip, float32 `[samples]` at 16 kHz."""
    letters = kokoro.letters_of(clip.text, clip.voice.language)
    audio = kokoro.speak(letters, clip.voice.style(kokoro.styles), clip.speed)
    audio = audio / max(1e-3, float(np.abs(audio).max(initial=0))) * 10 ** (clip.peak_db / 20)
    pauses = int(clip.pause_before_s * SAMPLE_RATE), int(clip.pause_after_s * SAMPLE_RATE)
    return np.pad(audio, pauses).astype(np.float32)


def facts_of(clip: Plan, audio: np.ndarray, kokoro: Kokoro) -> dict[str, object]:
    """The clip's entry of alignments.json: text, voice, speed and timed visemes."""
    letters = kokoro.letters_of(clip.text, clip.voice.language)
    before = int(clip.pause_before_s * SAMPLE_RATE)
    style = clip.voice.style(kokoro.styles)
    # Levels of pauses are judged by those of a clip at its full level.
    loud = audio[before:] / max(1e-3, float(np.abs(audio).max(initial=0)))
    segments = kokoro.times(letters, style, clip.speed, loud)
    moved_s = before / SAMPLE_RATE
    visemes = [[s.viseme, round(s.start + moved_s, 3), round(s.end + moved_s, 3)] for s in segments]
    voice = clip.voice.name
    return {
        "text": clip.text,
        "voice": voice,
        "speed": round(clip.speed, 3),
        "visemes": visemes,
    }


def make(
    folder: Path,
    minutes: dict[Side, float],
    part: tuple[int, int],
    packages: Path,
    times_again: bool = False,
    few: int | None = None,
) -> None:
    """Makes the clips that are not there yet, then writes alignments.json of all that are.

    With `times_again` it makes no clip, and times anew those that are there; with `few` so many voices speak, in English.
    """
    import soundfile

    fetch(packages)
    kokoro = Kokoro(packages)
    cast = Cast(tuple(sorted(kokoro.styles)), few)
    began, spoken_s = time.monotonic(), 0.0
    for side in ("heldout", "train"):
        for number in range(part[0] - 1, int(minutes[side] * 60 / CLIP_S), part[1]):
            clip = plan(number, side, cast)
            path = folder / f"{clip.name}.flac"
            facts = path.with_suffix(".json")
            if facts.exists() != times_again:
                continue
            if times_again:
                audio = soundfile.read(path, dtype="float32")[0]
            else:
                audio = made(clip, kokoro)
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, audio, SAMPLE_RATE)
            found = facts_of(clip, audio, kokoro)
            facts.write_text(json.dumps(found, ensure_ascii=False), "utf-8")
            spoken_s += len(audio) / SAMPLE_RATE
            if number // part[1] % 20 == 0:
                rate = spoken_s / (time.monotonic() - began)
                print(
                    f"{side} {number}: {spoken_s / 60:.1f} min, {rate:.2f} x real time", flush=True
                )
    alignments(folder)


def alignments(folder: Path) -> None:
    """Writes alignments.json from the facts beside the clips."""
    lines = []
    for facts in sorted(folder.glob("natural*/**/*.json")):
        name = facts.relative_to(folder).with_suffix("").as_posix()
        lines.append(f" {json.dumps(name)}: {facts.read_text('utf-8')}")
    atomic_write(folder / "alignments.json", "{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=240)
    parser.add_argument("--held-out-minutes", type=float, default=26)
    parser.add_argument("--part", default="1/1")
    parser.add_argument(
        "--times", action="store_true", help="time the clips that are there again, and make none"
    )
    parser.add_argument("--voices", type=int, help="so few of those heard, in English")
    parser.add_argument("--packages", type=Path, default=PACKAGES)
    arguments = parser.parse_args()
    this, parts = map(int, arguments.part.split("/"))
    minutes: dict[Side, float] = {"train": arguments.minutes, "heldout": arguments.held_out_minutes}
    make(
        arguments.folder,
        minutes,
        (this, parts),
        arguments.packages,
        arguments.times,
        arguments.voices,
    )


if __name__ == "__main__":
    main()
