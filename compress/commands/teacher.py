"""The commands ``lipstill teacher``."""

from pathlib import Path
from typing import Annotated

import typer

from compress.commands.options import AsJson, RecipeName, Set, Trust, trusting, write_beside

teacher_app = typer.Typer(help="Look at a recipe's teacher.", no_args_is_help=True)


@teacher_app.callback()
def _group() -> None:
    """One command alone would lose its name."""


@teacher_app.command("check")
def teacher_check(
    recipe: RecipeName,
    overrides: Set = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            help="Where the picture goes; artifacts/NAME-teacher.png by default.",
            metavar="PNG",
        ),
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Run the teacher on ten seconds of speech and say what it is, and what it breaks."""
    from compress.recipe.recipe import load_recipe

    loaded = load_recipe(recipe, [*(overrides or ()), *trusting(trust)])
    import torch

    from compress.teachers.check import check, conclude
    from compress.teachers.plot import plot_liveliest

    torch.set_num_threads(loaded.threads)
    found, excerpt = check(loaded, hidden=as_json)
    path = plot or Path("artifacts") / f"{loaded.name}-teacher.png"
    if as_json:
        typer.echo(found.to_json())
    else:
        facts = found.facts() | {"picture": str(path)}
        width = max(map(len, facts))
        typer.echo("\n".join(f"{name:<{width}}  {said}" for name, said in facts.items()))
    code = write_beside(path, plot_liveliest(found, excerpt), "--plot")
    conclude(found)
    raise typer.Exit(code)
