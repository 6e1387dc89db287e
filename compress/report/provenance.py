"""What a run folder says about itself: ``run.json`` and ``SHA256SUMS``."""

import json
from pathlib import Path
from typing import Any

from compress.labels.store import read_index
from compress.recipe.recipe import Recipe
from compress.report.stage import TOOLS
from compress.run.jobs import Inputs, Plan
from compress.store import atomic_write, tool_versions
from exporters.bundle import sums

SUMS = sums.SUMS
RESULTS = ("labels", "rest", "students", "models", "logs", "checks", "report")


def write_run(recipe: Recipe, inputs: Inputs, plan: Plan) -> None:
    """``run.json``: the resolved recipe, versions, input hashes and every stage's key.

    No time of day and no path of this machine, so it repeats.
    """
    fields = {
        "recipe": recipe.model_dump(mode="json"),
        "recipe_hash": plan.recipe_hash,
        "teacher": {"name": inputs.teacher.name, "hash": inputs.teacher.hash},
        "speech": {
            spoken.clip.id: {"side": spoken.side, "sha256": spoken.clip.sha256}
            for spoken in inputs.speech.spoken
        },
        "rest": {
            sound.clip.id: {"side": sound.side, "sha256": sound.clip.sha256}
            for sound in inputs.speech.rest
        },
        "skipped": [{"file": name, "reason": why} for name, why in inputs.speech.left_out],
        "passed_over": [
            {"source": passed.source, "endings": passed.endings, "links": passed.links}
            for passed in inputs.speech.passed_over
        ],
        "commits": inputs.commits,
        "rig": _rig(plan),
        "seed": recipe.seed,
        "versions": tool_versions(*TOOLS),
        "keys": {
            " ".join(filter(None, (stage, what))): key for stage, what, _, key in plan.steps()
        },
    }
    atomic_write(plan.folder / "run.json", json.dumps(fields, indent=1) + "\n")


def _rig(plan: Plan) -> dict[str, Any] | None:
    """What labelling made of the rig's controls; None before it is done. See `labels.store.Labels`."""
    if plan.label.to_do:
        return None
    index = read_index(plan.label.folder)
    return {
        "driven": index.driven,
        "constants": index.constants,
        "slight": index.slight,
        "scale": index.scale,
        "rests": index.rests,
        "units": index.units,
    }


def write_sums(folder: Path) -> None:
    """``SHA256SUMS`` over all results, in the format that ``sha256sum --check`` reads."""
    results = ("run.json", *(f"{name}/" for name in RESULTS))
    sums.write_sums(folder, (n for n in sums.visible_files(folder) if n.startswith(results)))
