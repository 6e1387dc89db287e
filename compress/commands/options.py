"""Arguments and options that several commands of ``lipstill`` share."""

from pathlib import Path
from typing import Annotated

import typer

RecipeName = Annotated[
    str, typer.Argument(help="A recipe file, or the name of a shipped recipe.", metavar="RECIPE")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Run folder; artifacts/NAME by default.", metavar="DIR")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override a value, e.g. students.0.training.steps=500.", metavar="KEY=VALUE"
    ),
]
Student = Annotated[
    list[str] | None,
    typer.Option("--student", help="Only this student; may be repeated.", metavar="NAME"),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine", help="What labels the speech: local, or ray (Ray Data).", metavar="NAME"
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        help="Processes that label, each with its teacher and the recipe's threads; local: 1 is "
        "this one.",
        metavar="N",
    ),
]
Devices = Annotated[
    int | None,
    typer.Option(
        "--devices",
        help="Processes or accelerators that share each batch of every student's training; as "
        "students.*.training.devices does.",
        metavar="N",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run and why, and stop.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print for machines.")]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Load a teacher that could run code; as teacher.trust=true does."),
]


def sharing(devices: int | None) -> list[str]:
    """What ``--devices`` means, as overrides of a recipe."""
    return [] if devices is None else [f"students.*.training.devices={devices}"]


def trusting(trust: bool) -> list[str]:
    """What ``--trust`` means, as overrides of a recipe."""
    return ["teacher.trust=true"] if trust else []


def asked(overrides: list[str] | None, trust: bool, devices: int | None = None) -> list[str]:
    """All that options say of a recipe, as overrides of it."""
    return [*(overrides or ()), *trusting(trust), *sharing(devices)]


def write_beside(path: Path, content: bytes | str, option: str) -> int:
    """Write a file beside an answer that is on the screen already; `option` chose its place.

    An answer is not lost for a file: where that cannot be written, this says so on stderr and gives
    the exit code for a command that has nothing worse to say. 0 where it is written.
    """
    from compress.errors import StorageError
    from compress.store import atomic_write

    try:
        atomic_write(path, content)
    except StorageError as error:
        said = getattr(error.__cause__, "strerror", None) or error
        typer.echo(
            f"Could not write {path}: {said}. Free some space, or choose another place with {option}.",
            err=True,
        )
        return error.exit_code
    return 0
