"""The section `gates` of a recipe: limits that fail a run, for all files, a target's, or a tier's."""

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, create_model, model_serializer

from compress.recipe.section import Section, Text
from exporters.report.figure import Figure
from exporters.report.figures import FIGURES, limit_names

# Each limit of a recipe, `max_X` or `min_X`, and the figure X that it asks.
ASKED = {limit: FIGURES[name] for limit, name in limit_names().items()}


def _field(figure: Figure) -> Any:
    """The type of a figure's limit and its field."""
    gate = figure.gate
    assert gate is not None
    bounds = gate.bounds
    number: Any = int if bounds.whole else float
    kind: Any = Annotated[number, Field(ge=bounds.least, le=bounds.most, gt=bounds.above)]
    return kind | None, Field(None, description=gate.help)


_OfFigures: type[Section] = create_model(
    "Limits", __base__=Section, **{limit: _field(figure) for limit, figure in ASKED.items()}
)


class Limits(_OfFigures):  # type: ignore[misc, valid-type]
    """Limits of one file; null is no gate. Their fields are made of the table of figures."""


class Override(Limits):
    """Limits that take the place of the general ones; null lifts one."""

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A null that nobody wrote would lift a general limit when the recipe is read back.
        written = self.model_fields_set
        return {name: value for name, value in handler(self).items() if name in written}


class GateSettings(Limits):
    """Limits that fail a run; null is no gate."""

    targets: dict[Text, Override] = Field(
        {}, description="target → limits that take the place of those above for its files"
    )
    tiers: dict[Text, Override] = Field(
        {}, description="STUDENT-PRECISION → limits that take the place of both for its files"
    )

    def of(self, tier: str, target: str) -> dict[str, float]:
        """The limits that are set for a tier's file: the tier's over the target's over the general."""
        limits: dict[str, float | None] = {
            name: getattr(self, name) for name in Limits.model_fields
        }
        for override in (self.targets.get(target), self.tiers.get(tier)):
            if override is not None:
                limits |= {name: getattr(override, name) for name in override.model_fields_set}
        in_order = ((name, limits[name]) for name in Limits.model_fields)
        return {name: limit for name, limit in in_order if limit is not None}
