"""Options that ask for figures of a report: one for each row of the table that has one."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from exporters.report.figures import FIGURES

Command = Callable[..., None]


def asking(command: Command) -> Command:
    """The command with the table's options, which arrive as its last argument's keywords."""
    own = inspect.signature(command, eval_str=True)
    *first, last = own.parameters.values()
    assert last.kind is last.VAR_KEYWORD
    options = sorted([*first, *_options()], key=lambda one: one.default is not one.empty)
    command.__signature__ = own.replace(parameters=options)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in options} | {"return": None}
    return command


def asked_for(given: Mapping[str, float | None]) -> dict[str, float]:
    """The limits that were given, in the figures' own units, by their names."""
    return {
        name: value * figure.option.factor
        for name, figure in FIGURES.items()
        if figure.option is not None and (value := given[figure.option.name]) is not None
    }


def _options() -> Iterator[inspect.Parameter]:
    for figure in FIGURES.values():
        if figure.option is not None:
            bounds = figure.option.bounds
            said: Any = typer.Option(help=figure.option.help, min=bounds.least, max=bounds.most)
            yield inspect.Parameter(
                figure.option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[float | None, said],
            )
