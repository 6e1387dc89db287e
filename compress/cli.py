"""The command ``lipstill``.

Nothing heavy is imported before a command needs it, so that help appears at once.
"""

import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from compress.cli_options import AsJson, DryRun, Out, RecipeName, Set, Student
from compress.cli_recipe import recipe_app
from compress.errors import GateBroken, LipstillError, MissingError, UsageError

if TYPE_CHECKING:
    from compress.planning import Plan


class Commands(TyperGroup):
    """Where every expected error becomes one paragraph on stderr, and its exit code.

    The codes are those of `compress.errors`. What the system refuses beside writing a result, such
    as a file that may not be read, counts as something that this machine lacks.
    """

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        from exporters.errors import ExporterError

        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            said = "Interrupted. What was finished is kept; the same command goes on from there."
            typer.echo(said, err=True)
            raise typer.Exit(130) from None
        except (LipstillError, ExporterError) as error:
            if ctx.params["debug"]:
                raise
            typer.echo(str(error), err=True)
            raise typer.Exit(error.exit_code) from error
        except ModuleNotFoundError as error:
            if ctx.params["debug"]:
                raise
            typer.echo(
                f"The Python package {error.name} is missing on this machine. Install lipstill with "
                f"all that it needs: pip install lipstill (in a checkout: make check).",
                err=True,
            )
            raise typer.Exit(MissingError.exit_code) from error
        except OSError as error:
            if ctx.params["debug"] or error.errno == errno.EPIPE:  # a reader such as `head` is gone
                raise
            typer.echo(
                f"The system refused: {error}. With `lipstill --debug` it says where.", err=True
            )
            raise typer.Exit(MissingError.exit_code) from error


app = typer.Typer(
    name="lipstill",
    cls=Commands,
    help="Distil a speech-driven facial animation teacher into students small enough for a game.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(recipe_app, name="recipe")


def _print_version(asked: bool) -> None:
    if asked:
        from compress.store import tool_versions

        typer.echo(f"lipstill {tool_versions('lipstill')['lipstill']}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Options of every command."""


@app.command()
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
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe from teacher to report."""
    _run(recipe, out, overrides, until, student, dry_run, as_json)


@app.command()
def label(
    recipe: RecipeName,
    out: Out = None,
    overrides: Set = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run the teacher once over all speech and keep its curves."""
    _run(recipe, out, overrides, "label", None, dry_run, as_json)


@app.command()
def distill(
    recipe: RecipeName,
    out: Out = None,
    overrides: Set = None,
    student: Student = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Train the recipe's students on the teacher's curves (labels them first if need be)."""
    _run(recipe, out, overrides, "distill", student, dry_run, as_json)


@app.command()
def prune(
    recipe: RecipeName,
    out: Out = None,
    overrides: Set = None,
    student: Student = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take channels out of the students that have a pruning section (trains them first if need be)."""
    _run(recipe, out, overrides, "prune", student, dry_run, as_json)


@app.command()
def quantize(
    recipe: RecipeName,
    out: Out = None,
    overrides: Set = None,
    student: Student = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make int8 twins of the students that have a quantization section (trains and prunes first)."""
    _run(recipe, out, overrides, "quantize", student, dry_run, as_json)


@app.command()
def export(
    recipe: RecipeName,
    out: Out = None,
    overrides: Set = None,
    student: Student = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write the students as model files (labels and trains first if need be)."""
    _run(recipe, out, overrides, "export", student, dry_run, as_json)


def _run(
    source: str,
    out: Path | None,
    overrides: list[str] | None,
    until: str,
    students: list[str] | None,
    dry: bool,
    as_json: bool,
) -> None:
    from compress.planning import STAGES, find_inputs, plan
    from compress.recipe import load_recipe

    if until not in STAGES:
        raise UsageError(f"There is no stage {until!r}; --until takes {', '.join(STAGES)}.")
    recipe = load_recipe(source, overrides or ())
    folder = (out or Path("artifacts") / recipe.name).absolute()
    planned = plan(recipe, inputs := find_inputs(recipe), folder, students or ())
    if dry:
        _print_outlook(planned, until, as_json)
        return
    from compress import pipeline

    try:
        pipeline.run(recipe, inputs, planned, until, _silent if as_json else typer.echo)
    except GateBroken:
        _print_end(planned, until, as_json)
        raise
    _print_end(planned, until, as_json)


def _silent(line: str) -> None:
    """Say nothing: the output is for machines."""


def _print_end(planned: "Plan", until: str, as_json: bool) -> None:
    folder = planned.report_folder if until == "report" else None
    if as_json:
        report = None if folder is None else str(folder / "report.json")
        typer.echo(json.dumps({"run": str(planned.folder), "report": report}))
    else:
        if folder is None:
            typer.echo(f"{until} is done: {planned.folder}")
            return
        from exporters.report import read_report
        from exporters.report.markdown import summary

        typer.echo("\n" + "\n".join(summary(read_report(folder / "report.json"))))
        typer.echo(f"\nreport: {folder / 'report.md'}")


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


@app.command()
def animate(
    model: Annotated[
        Path, typer.Argument(help="A model file that lipstill exported.", metavar="MODEL")
    ],
    audio: Annotated[
        Path, typer.Argument(help="Speech: wav, flac, ogg, opus or mp3.", metavar="AUDIO")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Where to write; .csv (Live Link Face for ARKit rigs) or .json."
        ),
    ],
    fps: Annotated[float, typer.Option(help="Frames a second.", min=1, max=1000)] = 60.0,
) -> None:
    """Run a model file on speech and write its rig curves."""
    from compress import animation
    from compress.audio import SAMPLE_RATE, read
    from compress.store import atomic_write
    from exporters.targets import load_target, target_of

    writers = {".csv": animation.to_csv, ".json": animation.to_json}
    if out.suffix not in writers:
        raise UsageError(f"--out {out} ends in {out.suffix!r}; expected {' or '.join(writers)}.")
    runtime = load_target(target_of(model)).open_runtime(model)
    samples = read(audio)
    driven = animation.driven_curves(
        runtime, samples, animation.frame_times(len(samples), fps, SAMPLE_RATE)
    )
    curves = animation.whole_rig(runtime.signature, driven)
    atomic_write(out, writers[out.suffix](curves, runtime.signature.controls, fps))
    typer.echo(
        f"{len(curves)} frames, {len(runtime.signature.controls)} controls, {fps:g} fps: {out}"
    )


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]) -> None:
    """Make a run's Markdown and pictures again from its report.json."""
    from compress.provenance import write_sums
    from compress.store import run_lock, storage_errors
    from exporters.report import render

    if not (run / "report" / "report.json").is_file():
        raise UsageError(
            f"{run} holds no report/report.json. Give a run folder that `lipstill compress` "
            f"finished."
        )
    with run_lock(run), storage_errors(run):
        files = render(run / "report")
        write_sums(run)
    typer.echo(f"report: {files.markdown}")


@app.command()
def inspect(
    file: Annotated[
        str,
        typer.Argument(
            help="A teacher checkpoint (builtin:NAME too), a student folder, a model file or a run."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a checkpoint, a model file, a student or a run is."""
    from compress.assets import resolve
    from compress.inspection import inspect as describe

    facts = describe(resolve(file, Path.cwd()))
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
        return
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")


@app.command()
def verify(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A run folder, or a folder of models from one.", metavar="RUN_OR_MODEL_DIR"
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", help="Only files of this target; may be repeated.", metavar="NAME"
        ),
    ] = None,
    as_json: AsJson = False,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", help="Write the checks as JUnit XML too.", metavar="FILE"),
    ] = None,
) -> None:
    """Check model files again from the files alone: checksums, graph, golden windows, latency."""
    from compress import verification
    from compress.store import atomic_write

    found = verification.verify(folder, target or (), hidden=as_json)
    if junit is not None:
        atomic_write(junit, found.to_junit())
    typer.echo(found.to_json() if as_json else "\n".join(found.lines))
    found.conclude()


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what works on this machine: exporters, runtimes, devices; each is tried on a tiny network."""
    from compress.doctor import examine

    found = examine(hidden=as_json)
    typer.echo(found.to_json() if as_json else "\n".join(found.lines))
    found.conclude()


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
