"""The commands ``lipstill recipe``."""

import json

import typer

from compress.commands.options import AsJson, RecipeName, Set

recipe_app = typer.Typer(help="List, show and check recipes.", no_args_is_help=True)


@recipe_app.command("list")
def recipe_list(as_json: AsJson = False) -> None:
    """Name the recipes that ship with lipstill."""
    from compress.recipe.recipe import load_recipe, shipped_recipes

    rows = {name: load_recipe(path).description for name, path in shipped_recipes().items()}
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for name, description in rows.items():
        typer.echo(f"{name:<16} {description}")


@recipe_app.command("show")
def recipe_show(recipe: RecipeName, overrides: Set = None) -> None:
    """Print a recipe with every default filled in."""
    from compress.recipe.recipe import dump_yaml, load_recipe

    typer.echo(dump_yaml(load_recipe(recipe, overrides or ())), nl=False)


@recipe_app.command("check")
def recipe_check(recipe: RecipeName, overrides: Set = None) -> None:
    """Check a recipe and build its students' shapes; all mistakes are listed together."""
    from compress.recipe.recipe import load_recipe, recipe_hash

    loaded = load_recipe(recipe, overrides or ())
    from compress.run.beforehand import check_recipe
    from compress.speech.audio import HOP, SAMPLE_RATE
    from exporters.signature import hops_awaited, latency_in_words

    facts = check_recipe(loaded)
    typer.echo(f"{loaded.name} is in order, hash {recipe_hash(loaded)[:16]}")
    for student in loaded.students:
        own = facts[student.name]  # a student to start from has a future of its own
        hop_ms = 1000 * HOP / SAMPLE_RATE
        smoothing_ms = hop_ms * hops_awaited(student.smoothing)
        waits = latency_in_words(own.future_ms, hop_ms, smoothing_ms)
        millions = own.parameters / 1e6
        typer.echo(f"  student {student.name}: about {millions:.2f} M parameters, waits: {waits}")


@recipe_app.command("schema")
def recipe_schema() -> None:
    """Print the JSON Schema of a recipe."""
    from compress.recipe import recipe

    typer.echo(json.dumps(recipe.recipe_schema(), indent=1))
