"""The commands of ``lipstill`` about finished runs: make reports again, compare two, choose a tier."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.commands.figures import asked_for, asking
from compress.commands.options import AsJson, write_beside
from compress.errors import GateBroken, UsageError

if TYPE_CHECKING:
    from exporters.report.decide.choice import By
    from exporters.report.figure import Allowance, Context
    from exporters.report.records.document import ReportDocument

report_app = typer.Typer()

# A report of another version has hundreds, which say nothing more.
_MISTAKES = 4
_RUN = "A run folder, its report folder, or a report.json."


@report_app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder.", metavar="RUN")]) -> None:
    """Make a run's page, Markdown and pictures again from its report.json and clips.json."""
    from compress.report.provenance import write_sums
    from compress.store import run_lock, storage_errors
    from exporters.report.writer import render

    if not (run / "report" / "report.json").is_file():
        raise UsageError(
            f"{run} holds no report/report.json. Give a run folder that `lipstill compress` "
            f"finished."
        )
    with run_lock(run), storage_errors(run):
        files = render(run / "report")
        write_sums(run)
    typer.echo(f"report: {files.markdown}\npage:   {files.page}")


@report_app.command()
def compare(
    old: Annotated[Path, typer.Argument(help=_RUN, metavar="OLD")],
    new: Annotated[Path, typer.Argument(help="The same, of the new release.", metavar="NEW")],
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, as for a pull request.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the Markdown here too.", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
    noise: Annotated[
        list[str] | None,
        typer.Option(
            "--noise",
            help="What counts as the same: bytes=1% of the value, or r2=0.01. May be repeated.",
            metavar="METRIC=VALUE",
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            help="What a figure may get worse by, where that is more than its noise.",
            metavar="METRIC=VALUE",
        ),
    ] = None,
    allow_gone: Annotated[
        bool, typer.Option("--allow-gone", help="A tier or file that is gone is no regression.")
    ] = False,
    across_speech: Annotated[
        bool,
        typer.Option(
            "--across-speech", help="Judge quality on other held-out speech all the same."
        ),
    ] = False,
    across_teachers: Annotated[
        bool,
        typer.Option("--across-teachers", help="Judge what is measured by another teacher too."),
    ] = False,
) -> None:
    """Compare two reports; ends with 1 on a regression beyond the stated noise or limit, with 2
    where quality cannot be compared.
    """
    from exporters.report.decide import comparison, comparison_text

    if markdown and as_json:
        raise UsageError("--markdown and --json both want the output. Give one of them.")
    across: list[Context] = ["speech"] if across_speech else []
    across += ["teacher"] if across_teachers else []
    noises, limits = _allowances("--noise", noise), _allowances("--limit", limit)
    found = comparison.compare(
        _read(old),
        _read(new),
        noise=noises,
        limits=limits,
        across=across,
        allow_gone=allow_gone,
    )
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=1, allow_nan=False))
    elif markdown and out is None:
        typer.echo(comparison_text.to_markdown(found), nl=False)
    else:
        typer.echo("\n".join(comparison_text.to_lines(found)))
    code = 0
    if out is not None:
        code = write_beside(out, comparison_text.to_markdown(found), "--out")
    if found.regressions:
        raise GateBroken(f"{new} against {old}: {comparison_text.verdict(found)}.")
    if found.incomparable:
        raise UsageError(
            f"{new} was judged on other held-out speech or by another teacher than {old}, so that "
            f"{found.incomparable} figures are shown but not compared. Run both recipes on the same, "
            f"or say --across-speech or --across-teachers to compare them all the same."
        )
    raise typer.Exit(code)


@report_app.command()
@asking
def choose(
    run: Annotated[Path, typer.Argument(help=_RUN, metavar="RUN_OR_REPORT")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", help="Only files of this target; may be repeated.", metavar="NAME"
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", help="Only of this precision; may be repeated."),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="What is best: quality, closures, size, speed or wait.")
    ] = "quality",
    as_json: AsJson = False,
    **asked: float | None,
) -> None:
    """Choose the best tier that keeps all limits; ends with 1 and the nearest miss if none does."""
    from typing import cast, get_args

    from exporters.report.decide import choice, choice_text

    accepted = get_args(choice.By)
    if by not in accepted:
        raise UsageError(f"--by {by}: expected one of {', '.join(accepted)}.")
    limits = [choice.Limit(name, value) for name, value in asked_for(asked).items()]
    order: By = cast("By", by)
    document = _read(run)
    try:
        ranking = choice.rank(
            document, limits, by=order, targets=target or (), precisions=precision or ()
        )
    except ValueError as error:
        raise UsageError(
            f"{run} has no file of what --target and --precision name. It has {error}."
        ) from error
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(ranking), indent=1))
    else:
        typer.echo("\n".join(choice_text.to_lines(ranking)))
    if not ranking.fitting:
        raise GateBroken(choice_text.miss_in_words(ranking))


def _allowances(option: str, texts: list[str] | None) -> dict[str, "Allowance"]:
    from exporters.report.decide.noise import read_allowance

    try:
        return dict(read_allowance(text) for text in texts or ())
    except ValueError as error:
        raise UsageError(f"{option} {error}.") from error


def _read(path: Path) -> "ReportDocument":
    """The report of a run, of a report folder, or of a file.

    Raises ModelFileError if there is none, it cannot be read, or it has no file of a student.
    """
    from exporters.errors import ModelFileError
    from exporters.report.records.document import read_report

    file = path
    if path.is_dir():
        places = (path / "report" / "report.json", path / "report.json")
        file = next((place for place in places if place.is_file()), places[0])
        if not file.is_file():
            raise ModelFileError(
                f"{path} holds neither report/report.json nor report.json. Give a run folder that "
                f"`lipstill compress` finished, or a report.json."
            )
    try:
        document = read_report(file)
    except ModelFileError as error:
        first, *mistakes = str(error).splitlines()
        if len(mistakes) <= _MISTAKES:
            raise
        said = "\n".join((first, *mistakes[:_MISTAKES]))
        raise ModelFileError(
            f"{said}\nand {len(mistakes) - _MISTAKES} more. So many are those of a report that another "
            f"version of lipstill wrote: make it again from its recipe."
        ) from error
    if not any(row.made for row in document.tiers):
        raise ModelFileError(
            f"{file} lists no model file of a student, so there is nothing to compare or to choose. "
            f"Give the report of a run that exported some."
        )
    return document
