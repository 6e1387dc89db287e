"""What every section of a recipe is made of: strict and frozen, with types that say their range."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Names become folder and file names, also where upper and lower case are the same.
NAME = r"^[a-z0-9][a-z0-9_.-]*$"
# By PyTorch's names, such as cuda or cuda:1.
DEVICE = r"^[a-z]+(:[0-9]+)?$"
# What a text that keeps to a pattern is, in words.
PATTERNS = {
    NAME: "lower case letters, digits, and . _ -, with a letter or digit at the beginning",
    DEVICE: "the name of a device in lower case, with a number behind a colon if there are several",
}

# No number is without an upper limit: one digit too many must not fill a machine's memory, nor
# start thousands of threads. Fields have narrower ones where less is plenty.
MOST = 10**9
Name = Annotated[str, Field(pattern=NAME, max_length=64)]
DeviceName = Annotated[str, Field(pattern=DEVICE, max_length=64)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=MOST)]
Index = Annotated[int, Field(ge=0, le=MOST)]
Steps = Annotated[int, Field(ge=1, le=100_000_000)]  # of an optimiser
Channels = Annotated[int, Field(ge=1, le=8192)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]


class Section(BaseModel):
    """Strict (no "7" for 7), frozen, and no key that is not a field."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )
