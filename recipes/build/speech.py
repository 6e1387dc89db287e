"""Builds the speech that ships inside the package, and fetches the full sets for longer runs.

    python -m recipes.build.speech pack              writes compress/assets/speech/
    python -m recipes.build.speech fetch FOLDER      every usable prompt as FLAC, 16 kHz, with alignments.json
    python -m recipes.build.speech synthesize FOLDER synthetic voices as FLAC, 16 kHz, with alignments.json

Needs the extra ``lipstill[build]`` and Debian's packages (docs/data.md): ``apt-get install`` names them when they are missing.
"""

import argparse
import hashlib
import json
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import numpy as np

from compress.speech.audio import SAMPLE_RATE
from compress.speech.split import Side, split
from recipes.build import corpus
from recipes.build.alignment import align
from recipes.build.corpus import Prompt
from recipes.build.dataset import synthetic_clips

ASSET = Path(__file__).parents[2] / "compress" / "assets" / "speech"
MIN_S, MAX_S = 0.7, 14.0
# Minutes to pack; every held-out English sentence goes in, since PBM accuracy needs cases.
TRAIN_MINUTES = {"en": 8.0, "es": 5.0, "it": 5.0}
HELD_OUT_MINUTES = {"en": 60.0, "es": 1.2, "it": 1.2}
# Of what the demo teacher never heard: other sentences by its voices to train on, other voices to judge on.
SYNTHETIC_MINUTES = {"espeak": 24.0, "flite": 8.0, "festival": 8.0}
SYNTHETIC_HELD_OUT_MINUTES = {"espeak": 6.0, "flite": 4.0, "festival": 4.0}
SYNTHETIC_SEED = 40
OPUS_LEVEL = 0.926  # libsndfile: 6 to 256 kb/s, falling; this is 24 kb/s


def chosen(language: str) -> list[tuple[Prompt, np.ndarray]]:
    """Prompts to pack, in an order that looks random and is always the same, until the minutes are full."""
    prompts = sorted(corpus.prompts(language), key=lambda p: hashlib.sha256(p.id.encode()).digest())
    left = {"train": 60 * TRAIN_MINUTES[language], "heldout": 60 * HELD_OUT_MINUTES[language]}
    picked = []
    for prompt in prompts:
        audio = corpus.read_g722(prompt.path)
        seconds = len(audio) / SAMPLE_RATE
        if MIN_S <= seconds <= MAX_S and np.abs(audio).max() > 0.02 and left[prompt.side] > 0:
            left[prompt.side] -= seconds
            picked.append((prompt, audio))
    return sorted(picked, key=lambda p: p[0].id)


def aligned(prompts: Iterable[tuple[Prompt, np.ndarray]]) -> dict[str, dict[str, object]]:
    """Phones with their times for each prompt that the aligner manages: clip id → text and phones."""
    found: dict[str, dict[str, object]] = {}
    for prompt, audio in prompts:
        phones = align(prompt, audio)
        if phones:
            rounded = [[name, round(start, 3), round(end, 3)] for name, start, end in phones]
            voice = corpus.SPEAKERS[prompt.language]  # its folders are topics, and no voices
            found[prompt.id] = {"text": prompt.text, "voice": voice, "phones": rounded}
    return found


def write_alignments(folder: Path, alignments: dict[str, dict[str, object]]) -> None:
    lines = ",\n".join(
        f" {json.dumps(clip)}: {json.dumps(entry, ensure_ascii=False)}"
        for clip, entry in alignments.items()
    )
    (folder / "alignments.json").write_text("{\n" + lines + "\n}\n", encoding="utf-8")


def pack() -> None:
    """Writes Opus files by language, the held-out English alignments, and prints the minutes of each side."""
    import soundfile

    alignments: dict[str, dict[str, object]] = {}
    for language in corpus.LANGUAGES:
        picked = chosen(language)
        for prompt, audio in picked:
            path = ASSET / f"{prompt.id}.opus"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(
                path, audio, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=OPUS_LEVEL
            )
        if language == "en":
            alignments = aligned((p, a) for p, a in picked if p.side == "heldout")
        for side in ("train", "heldout"):
            members = [(p, a) for p, a in picked if p.side == side]
            print(
                f"{language} {side}: {len(members)} clips, {sum(len(a) for _, a in members) / SAMPLE_RATE / 60:.2f} min"
            )
    write_alignments(ASSET, alignments)
    size = sum(path.stat().st_size for path in ASSET.rglob("*") if path.is_file())
    print(f"{len(alignments)} held-out English clips aligned; {size / 1e6:.2f} MB in all")


def fetch(folder: Path) -> None:
    """Writes every usable prompt as FLAC by language, and alignments of the English ones.

    Those of training prompts serve comparisons with training on rules (docs/results.md); distillation does not read them.
    """
    import soundfile

    for language in corpus.LANGUAGES:
        for prompt in corpus.prompts(language):
            path = folder / f"{prompt.id}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, corpus.read_g722(prompt.path), SAMPLE_RATE)
    write_alignments(folder, aligned((p, corpus.read_g722(p.path)) for p in corpus.prompts("en")))


def synthesize(folder: Path) -> None:
    """Writes synthetic speech as FLAC by synthesizer and language, and the visemes of each clip.

    A clip is numbered so that the split function puts its id on the side whose voices and texts it has.
    """
    import soundfile

    alignments: dict[str, dict[str, object]] = {}
    sides: dict[Side, tuple[dict[str, float], int]] = {
        "train": (SYNTHETIC_MINUTES, SYNTHETIC_SEED),
        "heldout": (SYNTHETIC_HELD_OUT_MINUTES, SYNTHETIC_SEED + 1),
    }
    number = 0
    for side, (minutes, seed) in sides.items():
        seconds = 0.0
        for clip in synthetic_clips(side, minutes, seed):
            place = f"{clip.group}/{clip.language[:2]}"
            number = next(n for n in count(number + 1) if split(f"{place}/{n:05d}") == side)
            name = f"{place}/{number:05d}"
            path = folder / f"{name}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, clip.audio, SAMPLE_RATE)
            visemes = [[s.viseme, round(s.start, 3), round(s.end, 3)] for s in clip.segments]
            alignments[name] = {"text": clip.text, "visemes": visemes}
            seconds += clip.seconds
        print(f"{side}: {seconds / 60:.1f} min", flush=True)
    write_alignments(folder, alignments)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pack")
    commands.add_parser("fetch").add_argument("folder", type=Path)
    commands.add_parser("synthesize").add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "pack":
        pack()
    elif arguments.command == "fetch":
        fetch(arguments.folder)
    else:
        synthesize(arguments.folder)


if __name__ == "__main__":
    main()
