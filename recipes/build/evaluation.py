"""Judges the demo teacher as it ships, by voice and by language, real and synthetic apart.

    python -m recipes.build.evaluation --natural FOLDER [--checkpoint FOLDER]

FOLDER is one that ``recipes.build.natural`` filled. Writes evaluation.json beside the checkpoint, and prints it as the card's table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from compress.store import atomic_write
from compress.teachers import Opening
from compress.teachers.formats.reference import open_checkpoint
from compress.teachers.networks.voice2face import Voice2Face
from recipes.build.dataset import natural_clips, real_clips, synthetic_clips
from recipes.build.examples import judged, made_ready
from recipes.build.teacher import ASSET, SEED

HELD_OUT_MINUTES = {"espeak": 9.0, "flite": 4.0, "festival": 4.0}


def groups(teacher: Voice2Face, natural: Path) -> dict[str, dict[str, Any]]:
    """Metrics of each group of held-out clips, by the group's name."""
    real = {
        "real English, speaker heard, sentences held out": "en",
        "real Spanish, speaker heard in English only, sentences held out": "es",
        "real Italian, speaker and language never trained on": "it",
    }
    found = {}
    for name, language in real.items():
        found[name] = judged(teacher, made_ready(list(real_clips(language, "heldout")), teacher))
    clips = list(synthetic_clips("heldout", HELD_OUT_MINUTES, SEED + 1))
    synthetic = made_ready(clips, teacher)
    for voice in HELD_OUT_MINUTES:
        members = [e for e in synthetic if e.clip.group == voice]
        found[f"{voice}, voices never trained on"] = judged(teacher, members)
    for language in sorted({e.clip.language[:2] for e in synthetic}):
        members = [e for e in synthetic if e.clip.language[:2] == language]
        found[f"synthetic {language}, voices never trained on"] = judged(teacher, members)
    never = made_ready(list(natural_clips(natural, "heldout")), teacher)
    found["natural voices never heard"] = judged(teacher, never)
    for language in sorted({e.clip.language for e in never}):
        members = [e for e in never if e.clip.language == language]
        found[f"natural {language}, voices never heard"] = judged(teacher, members)
    return found


def as_table(results: dict[str, dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    rows = [
        "| held-out set | minutes | voices | R² | PBM at F = 1 % (n, 95 % interval) | PBM | F | closure F1, phones | jitter ratio |"
    ]
    rows.append("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, row in results.items():
        at = row["pbm_at_1pct"]
        rows.append(
            f"| {name} | {row['minutes']:.1f} | {row['voices']} | {row['r2']:.3f} "
            f"| {at['value']:.1%} ({at['n']}, {at['low']:.1%} to {at['high']:.1%}) | {row['pbm']['value']:.1%} "
            f"| {row['closed_outside']['value']:.2%} | {row['phone_f1']:.2f} | {row['jitter_ratio']:.2f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--natural", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=ASSET)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.checkpoint
    # Unguarded, since its encoder and its head are called by themselves.
    teacher = open_checkpoint(folder, Opening())
    assert isinstance(teacher, Voice2Face)
    results = groups(teacher, arguments.natural)
    atomic_write(folder / "evaluation.json", json.dumps(results, indent=1) + "\n")
    print(as_table(results))


if __name__ == "__main__":
    main()
