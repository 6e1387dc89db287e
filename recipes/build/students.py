"""Puts the reference students into compress/assets, and writes their cards.

lipstill distill reference --out RUN             hours; recipes/reference.yaml says on what
python -m recipes.build.students pack RUN        float16 weights, student.json and training log of each
python -m recipes.ablation run … --rows small tiny realtime tiny-realtime; python -m recipes.ablation table …
python -m recipes.build.students cards           README.md of each, with the figures of docs/results.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file, save

from compress import smoothing
from compress.students.storing import load_student

REPOSITORY = Path(__file__).parents[2]
ASSETS = REPOSITORY / "compress" / "assets"
RECIPE = REPOSITORY / "recipes" / "reference.yaml"
SHIPPED = ("small", "tiny", "realtime", "tiny-realtime")
GROUPS = {
    "english": "real English, speaker known, sentences held out",
    "synthetic": "synthetic voices never trained on",
    "spanish and italian": "real Spanish and Italian, sentences held out",
    "english at -30 dB": "real English, 30 dB quieter",
}


def pack(run: Path) -> None:
    """Copies what a run distilled; half the bytes, since float16 holds a weight to three digits."""
    for name in SHIPPED:
        source, target = run / "students" / name / "distilled", ASSETS / name
        if not source.exists():
            print(f"{name}: not distilled in {run}")
            continue
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
    results = json.loads((REPOSITORY / "docs" / "results.json").read_text("utf-8"))
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
    waits = config.future / 16 + smoothing.latency_ms([w / sum(weights) for w in weights])
    guide = (
        "guided by `builtin:small` (stage 2)"
        if "guide" in settings
        else "from the teacher's labels alone (stage 1)"
    )
    text = f"""# Model card: {name}

A reference student, `builtin:{name}`: {facts.parameters:,} parameters, {config.past / 16:g} ms of past and {config.future / 16:g} ms of future; a pose waits {waits:g} ms.
It copies `builtin:voice2face-demo`, {guide}; what that teacher is and is not holds here too ([its card](../voice2face-demo/README.md)).
**It has not yet learned from natural voices**: it was distilled before the teacher's head had heard them.

**Made by** `lipstill distill reference`: {last["step"]:,} steps in {last["seconds"] / 60:.0f} minutes on one busy CPU core, weights of the best validation
(`training-log.jsonl`), stored as float16 by `python -m recipes.build.students pack`. **Trained on** the training side of the full sets that
[docs/data.md](../../../docs/data.md) describes, all of it labelled by the teacher: real English, Spanish and Italian prompts and two hours of synthetic voices.

## Held-out figures

By `python -m recipes.ablation run --rows {name}`; definitions in [docs/results.md](../../../docs/results.md).

| speech | R² to teacher | correlation | PBM (n, 95 % interval) | teacher's PBM | closure F1 | jitter, × teacher's |
|---|--:|--:|--:|--:|--:|--:|
"""
    for group, title in GROUPS.items():
        if not judged:
            text += f"| {title} | not run | | | | | |\n"
            continue
        found, of_teacher = judged[0]["groups"][group], teacher[0]["groups"][group]
        close = found["against_teacher"]
        pbm, best = found["against_truth"]["pbm"], of_teacher["against_truth"]["pbm"]
        closed = (
            "–"
            if pbm is None
            else f"{pbm['value']:.1%} ({pbm['n']}, {pbm['low']:.1%} to {pbm['high']:.1%})"
        )
        ceiling = "–" if best is None else f"{best['value']:.1%}"
        text += f"| {title} | {close['r2']:.3f} | {close['correlation']:.3f} | {closed} | {ceiling} | {close['closure_f1']:.2f} | {close['jitter_ratio']:.2f} |\n"
    return (
        text
        + "\nWeights under Apache-2.0, as lipstill; the speech it heard in training: docs/data.md.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("pack").add_argument("run", type=Path)
    commands.add_parser("cards")
    arguments = parser.parse_args()
    if arguments.command == "pack":
        pack(arguments.run)
    else:
        cards()


if __name__ == "__main__":
    main()
