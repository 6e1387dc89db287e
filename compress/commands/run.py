"""The commands of ``lipstill`` that run a recipe: all of it, or as far as one stage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.commands.options import (
    AsJson,
    Devices,
    DryRun,
    EngineName,
    Out,
    RecipeName,
    Set,
    Student,
    Trust,
    Workers,
    asked,
    sharing,
)
from compress.distill.many import torchrun
from compress.errors import GateBroken, UsageError

if TYPE_CHECKING:
    from compress.recipe.recipe import Recipe
    from compress.run.jobs import Inputs, Plan

run_app = typer.Typer()


@run_app.command()
def compress(
    recipe: RecipeName,
    out: Out = None,
    overrides: Set = None,
    until: Annotated[
        str,
        typer.Option(
            help="Stop after this stage: label, distill, prune, quantize, export, verify, benchmark, "
            "report.",
            metavar="STAGE",
        ),
    ] = "report",
    student: Student = None,
    trust: Trust = False,
    devices: Devices = None,
    engine: EngineName = "local",
    workers: Workers = 1,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe from teacher to report."""
    given = asked(overrides, trust, devices)
    _run(recipe, out, given, until, student, dry_run, as_json, (engine, workers))


@run_app.command()
def label(
    recipe: RecipeName,
    out: Out = None,
    overrides: Set = None,
    trust: Trust = False,
    engine: EngineName = "local",
    workers: Workers = 1,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run the teacher once over all speech and keep its curves."""
    from compress.labels.work import keep_few_shapes

    keep_few_shapes()
    given = asked(overrides, trust)
    _run(recipe, out, given, "label", None, dry_run, as_json, (engine, workers))


def _as_far_as(stage: str, text: str) -> None:
    """A command that runs a recipe up to a stage and stops there."""

    def command(
        recipe: RecipeName,
        out: Out = None,
        overrides: Set = None,
        student: Student = None,
        trust: Trust = False,
        devices: Devices = None,
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        given = asked(overrides, trust, devices)
        _run(recipe, out, given, stage, student, dry_run, as_json)

    run_app.command(stage, help=text)(command)


_as_far_as(
    "distill", "Train the recipe's students on the teacher's curves (labels them first if need be)."
)
_as_far_as(
    "prune",
    "Take channels out of the students that have a pruning section (trains them first if need be).",
)
_as_far_as(
    "quantize",
    "Make int8 twins of the students that have a quantization section (trains and prunes first).",
)
_as_far_as("export", "Write the students as model files (labels and trains first if need be).")


def _run(
    source: str,
    out: Path | None,
    given: list[str],
    until: str,
    students: list[str] | None,
    dry: bool,
    as_json: bool,
    labellers: tuple[str, int] = ("local", 1),
) -> None:
    from compress.labels.engines import engine_of
    from compress.run.jobs import STAGES

    if until not in STAGES:
        raise UsageError(f"There is no stage {until!r}; --until takes {', '.join(STAGES)}.")
    engine = engine_of(*labellers)

    def carry_out(call: Callable[[str], None] | None = None) -> None:
        recipe, inputs, planned = _prepared(source, out, given, students)
        if dry:
            _print_outlook(planned, until, as_json)
            return
        from compress import pipeline

        say = _silent if as_json else typer.echo
        try:
            pipeline.run(recipe, inputs, planned, until, say, engine, call)
        except GateBroken:
            _print_end(planned, until, as_json)
            raise
        _print_end(planned, until, as_json)

    if (place := torchrun.place()) is None:
        carry_out()
        return
    if until != "distill":
        if place.rank:
            torchrun.stand_back()
            raise typer.Exit(UsageError.exit_code)
        raise UsageError(
            f"torchrun is for the command distill alone, found {until}. Run `lipstill distill` "
            f"with torchrun and then `lipstill compress --devices {place.world}` with neither, or "
            f"that one from the start: it makes its own {place.world} processes of this machine."
        )
    given = [*given, *sharing(place.world)]
    with torchrun.calls() as calls:
        if place.rank == 0:
            with calls.leading():
                carry_out(calls.call)
            return
        from compress.run.helping import help_out

        try:
            help_out(calls, lambda: _prepared(source, out, given, students)[2])
        except torchrun.LeaderLost:
            torchrun.stand_back()
            raise typer.Exit(1) from None


def _prepared(
    source: str, out: Path | None, overrides: list[str], students: list[str] | None
) -> "tuple[Recipe, Inputs, Plan]":
    from compress.recipe.recipe import load_recipe
    from compress.run.planning import find_inputs, plan

    recipe = load_recipe(source, overrides)
    folder = (out or Path("artifacts") / recipe.name).absolute()
    inputs = find_inputs(recipe)
    return recipe, inputs, plan(recipe, inputs, folder, students or ())


def _silent(line: str) -> None:
    """Say nothing: the output is for machines."""


def _print_end(planned: "Plan", until: str, as_json: bool) -> None:
    folder = planned.report_folder if until == "report" else None
    if as_json:
        report = None if folder is None else str(folder / "report.json")
        page = None if folder is None else str(folder / "report.html")
        typer.echo(json.dumps({"run": str(planned.folder), "report": report, "page": page}))
    elif folder is None:
        typer.echo(f"{until} is done: {planned.folder}")
    else:
        _print_report(planned, folder)


def _print_report(planned: "Plan", folder: Path) -> None:
    """The best tiers, where all of it is to be read, and a command to try on a recording."""
    from exporters.report.records.document import read_report
    from exporters.report.sections.terminal import summary

    typer.echo("\n" + "\n".join(summary(read_report(folder / "report.json"))))
    typer.echo(f"\nreport: {folder / 'report.md'}\npage:   {folder / 'report.html'}")
    here = ("onnx", "tflite")  # Core ML's run on Apple's machines alone
    for tier in planned.tiers:
        if file := next((tier.export.files[t] for t in here if t in tier.export.files), None):
            typer.echo(f"next:   lipstill animate {file} your-speech.wav --out curves.csv")
            break


def _print_outlook(planned: "Plan", until: str, as_json: bool) -> None:
    rows = planned.outlook(until)
    if as_json:
        typer.echo(
            json.dumps(
                [{"stage": stage, "what": what, "to_do": reason} for stage, what, reason in rows]
            )
        )
        return
    width = max(len(what) for _, what, _ in rows)
    for stage, what, reason in rows:
        typer.echo(f"{stage:<10} {what:<{width}} {'would run: ' + reason if reason else 'is done'}")
