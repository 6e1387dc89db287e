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
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np

from compress.audio import SAMPLE_RATE
from compress.split import Side, split
from compress.visemes import Segment
from recipes.build import natural_voices, sentences
from recipes.build.kokoro import Kokoro, fetch
from recipes.build.natural_voices import Voice

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


def plan(number: int, side: Side, voices: list[str]) -> Plan:
    """The clip of that number on that side of the split."""
    rng = random.Random(f"{SEED}/{side}/{number}")
    voice = natural_voices.drawn(rng, voices, side)
    text = sentences.sentence(rng, voice.language, side)
    place = f"natural/{voice.language[:2].replace('cm', 'zh')}"
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


def made(clip: Plan, kokoro: Kokoro) -> tuple[np.ndarray, list[Segment]]:
    """Audio, float32 `[samples]` at 16 kHz, and the visemes of a planned clip."""
    letters = kokoro.letters_of(clip.text, clip.voice.language)
    audio, segments = kokoro.speak(letters, clip.voice.style(kokoro.styles), clip.speed)
    audio = audio / max(1e-3, float(np.abs(audio).max(initial=0))) * 10 ** (clip.peak_db / 20)
    before = int(clip.pause_before_s * SAMPLE_RATE)
    padded = np.pad(audio, (before, int(clip.pause_after_s * SAMPLE_RATE)))
    moved = before / SAMPLE_RATE
    shifted = [replace(s, start=s.start + moved, end=s.end + moved) for s in segments]
    return padded.astype(np.float32), shifted


def make(folder: Path, minutes: dict[Side, float], part: tuple[int, int], packages: Path) -> None:
    """Makes the clips that are not there yet, then writes alignments.json of all that are."""
    import soundfile

    fetch(packages)
    kokoro = Kokoro(packages)
    voices = sorted(kokoro.styles)
    began, spoken_s = time.monotonic(), 0.0
    for side in ("heldout", "train"):
        for number in range(part[0] - 1, int(minutes[side] * 60 / CLIP_S), part[1]):
            clip = plan(number, side, voices)
            path = folder / f"{clip.name}.flac"
            facts = path.with_suffix(".json")
            if facts.exists():
                continue
            audio, segments = made(clip, kokoro)
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, audio, SAMPLE_RATE)
            visemes = [[s.viseme, round(s.start, 3), round(s.end, 3)] for s in segments]
            entry = {
                "text": clip.text,
                "voice": clip.voice.name,
                "speed": round(clip.speed, 3),
                "visemes": visemes,
            }
            facts.write_text(json.dumps(entry, ensure_ascii=False), "utf-8")
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
    for facts in sorted((folder / "natural").rglob("*.json")):
        name = facts.relative_to(folder).with_suffix("").as_posix()
        lines.append(f" {json.dumps(name)}: {facts.read_text('utf-8')}")
    (folder / "alignments.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=240)
    parser.add_argument("--held-out-minutes", type=float, default=26)
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--packages", type=Path, default=PACKAGES)
    arguments = parser.parse_args()
    this, parts = map(int, arguments.part.split("/"))
    minutes: dict[Side, float] = {"train": arguments.minutes, "heldout": arguments.held_out_minutes}
    make(arguments.folder, minutes, (this, parts), arguments.packages)


if __name__ == "__main__":
    main()
