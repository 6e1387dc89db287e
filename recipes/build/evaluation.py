"""Judges the demo teacher as it ships, by voice and by language, real and synthetic apart.

    python -m recipes.build.evaluation

Writes evaluation.json beside the checkpoint, and prints it as the card's table.
"""

import json
from typing import Any

import torch

from compress.recipe_teacher import TeacherSettings
from compress.teachers.loading import find_teacher, open_teacher
from compress.teachers.voice2face import Voice2Face
from recipes.build.dataset import real_clips, synthetic_clips
from recipes.build.examples import judged, made_ready
from recipes.build.teacher import ASSET, SEED

HELD_OUT_MINUTES = {"espeak": 9.0, "flite": 4.0, "festival": 4.0}


def groups(teacher: Voice2Face) -> dict[str, dict[str, Any]]:
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
    return found


def as_table(results: dict[str, dict[str, Any]]) -> str:
    """The results as a Markdown table."""
    rows = [
        "| held-out set | minutes | R² | correlation | PBM (n, 95 % interval) | lips shut on vowels | jitter ratio |"
    ]
    rows.append("|---|--:|--:|--:|--:|--:|--:|")
    for name, row in results.items():
        pbm = row["pbm"]
        interval = f"{pbm['value']:.1%} ({pbm['n']}, {pbm['low']:.1%} to {pbm['high']:.1%})"
        rows.append(
            f"| {name} | {row['minutes']:.1f} | {row['r2']:.3f} | {row['correlation']:.3f} | {interval} "
            f"| {row['false_closures']['value']:.2%} | {row['jitter_ratio']:.2f} |"
        )
    return "\n".join(rows)


def main() -> None:
    torch.set_num_threads(1)
    teacher = open_teacher(
        find_teacher(str(ASSET), ASSET), TeacherSettings(checkpoint=str(ASSET)), ASSET
    )
    assert isinstance(teacher, Voice2Face)
    results = groups(teacher)
    (ASSET / "evaluation.json").write_text(json.dumps(results, indent=1) + "\n")
    print(as_table(results))


if __name__ == "__main__":
    main()
