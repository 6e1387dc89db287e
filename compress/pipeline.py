"""A recipe from teacher to report: one call a stage, in the README's order."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Protocol, TypeVar

from compress.distill import stage as training
from compress.errors import GateBroken
from compress.export import stage as exporting
from compress.judge.held_out import HeldOut, load_heldout
from compress.labels import stage as labelling
from compress.labels.engines import Engine
from compress.labels.examples import examples
from compress.prove import cost_stage as costing
from compress.prove import gates
from compress.prove import source_stage as judging
from compress.prove import verify_stage as checking
from compress.prune import stage as pruning
from compress.quantize import stage as quantizing
from compress.recipe.recipe import Recipe
from compress.report import card as bundling
from compress.report import stage as reporting
from compress.report.provenance import SUMS, write_run, write_sums
from compress.rig.notes import rig_notes
from compress.run.beforehand import check_run
from compress.run.jobs import Inputs, Plan
from compress.run.results import Facts, StudentResult, TierResult
from compress.run.steps import Say, Steps, steps
from compress.speech.sources.folder import SUFFIXES
from compress.store import run_lock, stage, storage_errors
from exporters.report.records.document import ReportDocument

Call = Callable[[str], None]
Made = TypeVar("Made")

# Clips without labels that a run names; the index has all.
NAMED = 20


def run(
    recipe: Recipe,
    inputs: Inputs,
    plan: Plan,
    until: str = "report",
    say: Say = print,
    engine: Engine | None = None,
    call: Call | None = None,
) -> None:
    """Run a plan up to a stage; what is there already is not made again.

    `engine` labels the speech; where there is none, this process does. `call` has other processes
    join a training.

    Raises `LockedError` while another run is at work in the folder, and `GateBroken` at the very
    end, everything written, when a file is not its source's equal or a limit of the recipe is
    broken.
    """
    import torch

    check_run(recipe, inputs, plan, until)
    torch.set_num_threads(recipe.threads)
    with run_lock(plan.folder), storage_errors(plan.folder):
        (plan.folder / SUMS).unlink(missing_ok=True)  # until they are true again
        outlook = plan.outlook(until)
        to_do = sum(bool(reason) for *_, reason in outlook)
        say(
            f"{recipe.name}: {to_do} of {len(outlook)} steps to do, {len(outlook) - to_do} done "
            f"before; --dry-run lists them. In {plan.folder}"
        )
        for passed in inputs.speech.passed_over:
            say(f"passed over in {passed}. Audio ends in {', '.join(SUFFIXES)}.")
        write_run(recipe, inputs, plan)
        with steps(len(outlook), say) as told:
            report = _stages(recipe, inputs, plan, until, engine, told, call)
        write_run(recipe, inputs, plan)  # the keys of checks follow from the files
        write_sums(plan.folder)
    if report is not None and (lines := gates.broken(report)):
        page = plan.report_folder / "report.html"
        said = "".join(f"\n  - {line}" for line in lines)
        raise GateBroken(f"What the recipe asks is not met; all is written, see {page}:{said}")


class _Job(Protocol):
    """What every stage of a run works from."""

    @property
    def folder(self) -> Path: ...
    @property
    def key(self) -> str: ...


def _stages(
    recipe: Recipe,
    inputs: Inputs,
    plan: Plan,
    until: str,
    engine: Engine | None,
    told: Steps,
    call: Call | None,
) -> ReportDocument | None:
    """Every stage up to `until`; None when that is not the last."""

    def step(name: str, what: str, job: _Job, carry_out: Callable[[], Made]) -> Made:
        with told.step(name, what, stage(job.folder, job.key).hit):
            return carry_out()

    with told.step("label", "", not plan.label.to_do, of=2):  # and the rest pose
        labels = labelling.run(plan.label, engine, partial(training.check_losses, recipe.students))
    for clip in labels.missing[:NAMED]:
        told.tell(f"no labels  {clip.id}: {clip.reason}")
    if len(labels.missing) > NAMED:
        more = len(labels.missing) - NAMED
        told.tell(f"no labels  and {more} more, all in {plan.label.folder}/index.json")
    for note in rig_notes(labels):
        told.tell(f"rig        {note}")
    if until == "label":
        return None
    training.check_labels(plan.distills, recipe.folder, labels)
    trained = {
        job.settings.name: step(
            "distill", job.settings.name, job, partial(training.run, job, labels, call)
        )
        for job in plan.distills
    }
    if until == "distill":
        return None
    pruned = {
        s.name: step("prune", s.name, s.prune, partial(pruning.run, s.prune, labels))
        for s in plan.students
        if s.prune
    }
    if until == "prune":
        return None
    integers = {
        s.name: step("quantize", s.name, s.quantize, partial(quantizing.run, s.quantize, labels))
        for s in plan.students
        if s.quantize
    }
    if until == "quantize":
        return None

    @cache  # one for all stages, and only when something has to be measured
    def heldout() -> HeldOut:
        return load_heldout(labels, inputs.alignments, recipe.speech.kinds)

    exported = {
        tier.name: step(
            "export", tier.name, tier.export, partial(exporting.run, tier.export, heldout)
        )
        for tier in plan.tiers
    }
    parameters = {name: made.parameters for name, made in (trained | pruned).items()}
    for tier in plan.tiers:
        before = checking.verified_before(tier.verify)
        bundling.run(recipe, inputs, tier, parameters[tier.student], before)
    if until == "export":
        return None
    sources = {
        student.name: {
            name: step(
                "verify", f"{student.name} {name}", job, partial(judging.source, job, heldout)
            )
            for name, job in student.sources.items()
        }
        for student in plan.students
    }
    verified = {
        tier.name: {
            target: step(
                "verify",
                f"{tier.name} {target}",
                job,
                partial(checking.verify, job, heldout, sources[tier.student][tier.step]),
            )
            for target, job in tier.verify.items()
        }
        for tier in plan.tiers
    }
    for tier in plan.tiers:
        bundling.run(recipe, inputs, tier, parameters[tier.student], verified[tier.name])
    learned = partial(examples, labels, labels.side("train"))
    baselines = step(
        "verify",
        "baselines",
        plan.baselines,
        partial(judging.baselines, plan.baselines, learned, heldout),
    )
    if until == "verify":
        return None
    timed = {
        tier.name: {
            target: step(
                "benchmark", f"{tier.name} {target}", job, partial(checking.benchmark, job)
            )
            for target, job in tier.benchmark.items()
        }
        for tier in plan.tiers
    }
    costs = step("benchmark", "teacher", plan.cost, partial(costing.run, plan.cost))
    if until == "benchmark":
        return None
    rows = [
        StudentResult(
            jobs,
            trained[jobs.name],
            pruned.get(jobs.name),
            integers.get(jobs.name),
            sources[jobs.name],
            tuple(
                TierResult(tier, exported[tier.name], verified[tier.name], timed[tier.name])
                for tier in jobs.tiers
            ),
        )
        for jobs in plan.students
    ]
    facts = Facts(
        name=recipe.name,
        plan=plan,
        inputs=inputs,
        labels=labels,
        baselines=baselines,
        costs=costs,
        clips=recipe.report.clips,
        gates=recipe.gates,
        licence=recipe.export.license,
    )
    hit = stage(plan.report_folder, plan.report_key).hit
    with told.step("report", "", hit, of=2):  # and its clips
        return reporting.run(facts, rows, heldout)
