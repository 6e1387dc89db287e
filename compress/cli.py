"""The command ``lipstill``.

Nothing heavy is imported before a command needs it, so that help appears at once.
"""

import errno
import os
import sys
import traceback
from typing import Annotated

import typer
from typer.core import TyperGroup

from compress.commands.benchmark import benchmark_app
from compress.commands.files import files_app
from compress.commands.labels import labels_app
from compress.commands.recipe import recipe_app
from compress.commands.reports import report_app
from compress.commands.run import run_app
from compress.commands.teacher import teacher_app
from compress.errors import LipstillError, MissingError
from compress.surroundings import (
    home,
    replace_what_cannot_be_written,
    wait_without_spinning,
)


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
for commands in (
    run_app,
    files_app,
    benchmark_app,
    report_app,
):  # without a name: their commands are ours
    app.add_typer(commands)
app.add_typer(labels_app, name="labels")
app.add_typer(recipe_app, name="recipe")
app.add_typer(teacher_app, name="teacher")


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


def main() -> None:
    """Run the command line.

    A teacher that never comes back is left behind in its thread. Where that runs native code, the
    interpreter's own end would bring the process down with another exit code.
    """
    replace_what_cannot_be_written()
    wait_without_spinning()
    try:
        with home():
            app()
    except BaseException as end:
        from compress.teachers.guarded import at_work

        if not at_work():
            raise
        code = end.code if isinstance(end, SystemExit) else None
        if not isinstance(code, int):  # with --debug
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
