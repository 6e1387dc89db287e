"""A recipe from teacher to report: one call a stage, in the README's order."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from compress.distillation import examples
from compress.errors import GateBroken
from compress.evaluation import load_heldout
from compress.planning import Inputs, Plan
from compress.recipe import Recipe
from compress.stages import checking, exporting, labelling, reporting, training
from compress.stages.reporting import Facts, StudentResult
from compress.store import atomic_write, file_hash, run_lock, tool_versions

Say = Callable[[str], None]


def run(recipe: Recipe, inputs: Inputs, plan: Plan, until: str = "report", say: Say = print) -> Path | None:
    """Run a plan up to a stage; what is there already is not made again. Returns the report's Markdown file, if it came to it.

    Raises `LockedError` while another run is at work in the folder, and `GateBroken` at the very end, everything written, when
    a file is not its source's equal or a limit of the recipe is broken.
    """
    import torch

    torch.set_num_threads(recipe.threads)
    with run_lock(plan.folder):
        for stage, what, reason in plan.outlook(until):
            say(f"{stage:<10} {what:<16} {'to do: ' + reason if reason else 'done before'}")
        write_run(recipe, inputs, plan)
        report = _stages(recipe, inputs, plan, until)
        write_sums(plan.folder)
    if report is not None and (lines := reporting.broken(report)):
        raise GateBroken(f"{len(lines)} of the run's limits are broken; everything is written.\n  - " + "\n  - ".join(lines))
    return None if report is None else plan.report_folder / "report.md"


def _stages(recipe: Recipe, inputs: Inputs, plan: Plan, until: str) -> reporting.ReportDocument | None:
    """Every stage up to `until`; None when that is not the last."""
    labels = labelling.run(plan.label)
    if until == "label":
        return None
    distilled = [training.run(jobs.distill, labels) for jobs in plan.students]
    if until == "distill":
        return None
    exported = [exporting.run(jobs.export) for jobs in plan.students]
    if until == "export":
        return None

    @cache  # read once, and only when something has to be measured
    def heldout() -> checking.HeldOut:
        return load_heldout(labels, inputs.alignments)

    verified = [{t: checking.verify(job, heldout) for t, job in jobs.verify.items()} for jobs in plan.students]
    baselines = checking.baselines(plan.baselines, lambda: examples(labels, "train"), heldout)
    if until == "verify":
        return None
    timed = [{t: checking.benchmark(job) for t, job in jobs.benchmark.items()} for jobs in plan.students]
    if until == "benchmark":
        return None
    rows = [StudentResult(*row) for row in zip(plan.students, distilled, exported, verified, timed, strict=True)]
    facts = Facts(recipe.name, plan, inputs, labels, baselines, recipe.report.clips, recipe.gates)
    return reporting.run(facts, rows, heldout)


def write_run(recipe: Recipe, inputs: Inputs, plan: Plan) -> None:
    """``run.json``: the resolved recipe, versions, input hashes and every stage's key. No time of day, so it repeats."""
    fields = {
        "recipe": recipe.model_dump(mode="json"),
        "recipe_hash": plan.recipe_hash,
        "teacher": {"name": inputs.teacher.name, "hash": inputs.teacher.hash},
        "speech": {s.clip.id: {"side": s.side, "sha256": s.clip.sha256} for s in inputs.speech.spoken},
        "skipped": [{"path": str(s.path), "reason": s.reason} for s in inputs.speech.skipped],
        "versions": tool_versions(*reporting.TOOLS),
        "keys": {" ".join(filter(None, (stage, what))): key for stage, what, _, key in plan.steps()},
    }
    atomic_write(plan.folder / "run.json", json.dumps(fields, indent=1) + "\n")


def write_sums(folder: Path) -> None:
    """``SHA256SUMS`` over all results, in the format that ``sha256sum --check`` reads."""
    names = sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS" and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
    atomic_write(folder / "SHA256SUMS", "".join(f"{file_hash(folder / name)}  {name.as_posix()}\n" for name in names))
