"""Puts the reference students into compress/assets, and writes their cards.

lipstill distill reference --out RUN             hours; recipes/reference.yaml says on what
python -m recipes.build.students pack RUN …      float16 weights, student.json and training log of each
python -m recipes.voices run … --parts shipped; python -m recipes.voices table …
python -m recipes.build.students cards           README.md of each, with the figures of docs/voices.json
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file, save

from compress.judge import playback
from compress.students.storing import load_student
from recipes.ablation.table import of, share, share_short

REPOSITORY = Path(__file__).parents[2]
ASSETS = REPOSITORY / "compress" / "assets"
RECIPE = REPOSITORY / "recipes" / "reference.yaml"
SHIPPED = ("small", "tiny", "realtime", "tiny-realtime", "realtime-32", "nano")
GROUPS = {
    "natural": "natural voices never heard",
    "english": "real English, speaker known, sentences held out",
    "spanish and italian": "real Spanish and Italian, speakers known, sentences held out",
    "synthetic": "formant voices never heard",
    "english at -30 dB": "real English, 30 dB quieter",
}
HEARD = (
    "38 minutes of real English, Spanish and Italian prompts, 102 minutes of natural synthetic voices in nine languages, 40 minutes of "
    "formant voices, and 20 minutes of sound that is not speech"
)


def pack(runs: Sequence[Path]) -> None:
    """Copies what runs distilled; half the bytes, since float16 holds a weight to three digits."""
    for name in SHIPPED:
        run = next((run for run in runs if (run / "students" / name / "distilled").exists()), None)
        if run is None:
            print(f"{name}: not distilled in {', '.join(map(str, runs))}")
            continue
        source, target = run / "students" / name / "distilled", ASSETS / name
        target.mkdir(exist_ok=True)
        weights = load_file(source / "weights.safetensors")
        halves = {key: value.half().contiguous() for key, value in weights.items()}
        (target / "weights.safetensors").write_bytes(save(halves))
        (target / "student.json").write_bytes((source / "student.json").read_bytes())
        log = (run / "logs" / name / "distilled.jsonl").read_text("utf-8")
        (target / "training-log.jsonl").write_text(log, "utf-8")
        print(f"{name}: {(target / 'weights.safetensors').stat().st_size / 1e6:.2f} MB")


def cards() -> None:
    """Writes README.md of each student that is there."""
    results = json.loads((REPOSITORY / "docs" / "voices.json").read_text("utf-8"))
    settings = {s["name"]: s for s in yaml.safe_load(RECIPE.read_text("utf-8"))["students"]}
    for name in SHIPPED:
        if (ASSETS / name).exists():
            text = card(name, settings[name], results[name], results["teacher"])
            (ASSETS / name / "README.md").write_text(text, "utf-8")


def card(
    name: str, settings: dict[str, Any], judged: list[dict[str, Any]], teacher: list[dict[str, Any]]
) -> str:
    """A student's card: what it is, what it learned from, and what it scores."""
    student, facts = load_student(ASSETS / name)
    config = student.config
    log = (ASSETS / name / "training-log.jsonl").read_text("utf-8").splitlines()
    last = json.loads(log[-1])
    weights = settings.get("smoothing", [1])
    waits = config.future / 16 + playback.latency_ms([w / sum(weights) for w in weights])
    guide = (
        "guided by `builtin:small` (stage 2)"
        if "guide" in settings
        else "from the teacher's labels alone (stage 1)"
    )
    text = f"""# Model card: {name}

A reference student, `builtin:{name}`: {facts.parameters:,} parameters, {config.past / 16:g} ms of past and {config.future / 16:g} ms of future; a pose waits {waits:g} ms.
It copies `builtin:voice2face-demo`, {guide}; what that teacher is and is not holds here too ([its card](../voice2face-demo/README.md)).

**Made by** `lipstill distill reference`: {last["step"]:,} steps in {last["seconds"] / 60:.0f} minutes on one busy CPU core, weights of the best validation
(`training-log.jsonl`), stored as float16 by `python -m recipes.build.students pack`. **Trained on** the training side of the full sets that
[docs/data.md](../../../docs/data.md) describes, all of it labelled by the teacher: {HEARD}.

## Held-out figures

By `python -m recipes.voices run --parts shipped`; definitions and more of them in [docs/voices.md](../../../docs/voices.md). Read PBM with F,
the share of other speech in which the lips are closed too; *PBM at F = 1 %* is the figure to rank by.

| speech | R² to teacher | PBM at F = 1 % (n, 95 % interval) | the teacher's | PBM (F) | closure F1, phones | jitter, × teacher's |
|---|--:|--:|--:|--:|--:|--:|
"""
    for group, title in GROUPS.items():
        if not judged:
            text += f"| {title} | not run | | | | | |\n"
            continue
        found, of_teacher = judged[0]["groups"][group], teacher[0]["groups"][group]
        close, said = found["against_teacher"], found["against_truth"]
        text += (
            f"| {title} | {close['r2']:.3f} | {share([said['pbm_at_1pct']])} "
            f"| {share_short([of_teacher['against_truth']['pbm_at_1pct']])} | {_with_false(said)} "
            f"| {of([found], 'against_truth', 'phone_f1', '.2f')} | {close['jitter_ratio']:.2f} |\n"
        )
    return (
        text
        + "\nWeights under Apache-2.0, as lipstill; the speech it heard in training: docs/data.md.\n"
    )


def _with_false(said: dict[str, Any]) -> str:
    pbm, outside = said["pbm"], said["closed_outside"]
    return "–" if pbm is None else f"{pbm['value']:.1%} ({100 * outside['value']:.2f} %)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pack").add_argument("runs", type=Path, nargs="+", metavar="RUN")
    commands.add_parser("cards")
    arguments = parser.parse_args()
    if arguments.command == "pack":
        pack(arguments.runs)
    else:
        cards()


if __name__ == "__main__":
    main()
