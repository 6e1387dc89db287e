"""What every section of a recipe is made of: strict and frozen, with types that say their range."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Names become folder and file names, also where upper and lower case are the same.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=64)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]


class Section(BaseModel):
    """Strict (no "7" for 7), frozen, and no key that is not a field."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )
