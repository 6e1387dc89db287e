"""A rig that is not ARKit's, in a small YAML file: regions, closed lips, names for people."""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from compress.errors import RigFileError
from compress.recipe.mistakes import explain, nearest, show
from compress.recipe.section import Section, Text
from compress.recipe.yaml_files import frozen, parse
from compress.rig.rig import ARKIT, ARKIT_RIG, ClosureRule, Rig
from compress.store import content_key
from compress.texts import read_text
from exporters.files import user_path


class LipsClosedSettings(Section):
    """When lips are closed: a weighted sum of controls is below or above a limit."""

    weights: dict[Text, float] = Field(min_length=1, description="control → its weight in the sum")
    below: float | None = Field(None, description="closed where the sum is less than this")
    above: float | None = Field(None, description="closed where the sum is more than this")
    optional: tuple[Text, ...] = Field(
        (), description="controls that count as 0 where the rig lacks them"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.below is None) == (self.above is None):
            raise ValueError(
                "found {}, expected one of them".format(
                    "neither below nor above" if self.below is None else "below and above"
                )
            )
        self.rule()
        return self

    def rule(self) -> ClosureRule:
        """The same as a rule; a sum that has to be above a limit is turned round."""
        sign = 1.0 if self.above is None else -1.0
        limit = self.below if self.above is None else self.above
        assert limit is not None
        weights = {name: sign * weight for name, weight in self.weights.items()}
        return ClosureRule(weights, sign * limit, frozenset(self.optional))


class RigSettings(Section):
    """What a rig file says. Names may be patterns such as ``lip_*``, but for those of weights."""

    name: Text = Field(description="of the rig, for reports")
    regions: dict[Text, tuple[Text, ...]] = Field(
        {}, description="region of the face → its controls"
    )
    lips_closed: LipsClosedSettings | None = Field(
        None, description="which control or combination means that the lips are closed"
    )
    labels: dict[Text, Text] = Field({}, description="control → what people call it")
    shown: tuple[Text, ...] = Field((), description="controls that tell most, for pictures")


def read_rig(path: Path) -> "RigFile":
    """A rig file. Raises `RigFileError` with every mistake in it."""
    try:
        tree = parse(read_text(path))
        settings = RigSettings.model_validate(frozen(tree))
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise RigFileError(path, [explain(detail, RigSettings) for detail in details]) from error
    except ValueError as error:
        raise RigFileError(path, [f"it is not readable as YAML: {error}"]) from error
    except OSError as error:
        raise RigFileError(
            path, [f"teacher.rig names it, and it cannot be read: {error.strerror}"]
        ) from error
    return RigFile(path, settings)


@dataclass(frozen=True)
class RigFile:
    """A rig file whose names are not yet held against a teacher's."""

    path: Path
    settings: RigSettings

    @property
    def key(self) -> str:
        """Of what it says, however it is laid out."""
        return content_key(**self.settings.model_dump(mode="json"))

    @property
    def closure_key(self) -> str:
        """Of when lips are closed alone: what training and its choices go by."""
        closed = self.settings.lips_closed
        return content_key(lips_closed=closed and closed.model_dump(mode="json"))

    def rig(self, controls: Sequence[str]) -> Rig:
        """What it says of a rig with these controls.

        Raises `RigFileError` for names that the rig lacks, and for a control in two regions.
        """
        settings: RigSettings = self.settings
        mistakes: list[str] = []

        def named(where: str, patterns: Iterable[str]) -> tuple[str, ...]:
            found: list[str] = []
            for pattern in patterns:
                own = fnmatch.filter(controls, pattern) or [c for c in controls if c == pattern]
                if not own:
                    near = nearest(pattern, controls)
                    mistakes.append(
                        f"{where}: found {show(pattern)}, which no control of the teacher is"
                        f"{near}; its controls are {_some(controls)}"
                    )
                found += [name for name in own if name not in found]
            return tuple(found)

        parts = {
            region: named(f"regions.{region}", patterns)
            for region, patterns in settings.regions.items()
        }
        mistakes += [
            f"regions: {control} is in {' and in '.join(own)}, expected one"
            for control in controls
            if len(own := [region for region, names in parts.items() if control in names]) > 1
        ]
        closed = settings.lips_closed
        if closed is not None:
            named("lips_closed.weights", set(closed.weights) - set(closed.optional))
        named("labels", settings.labels)
        shown = named("shown", settings.shown)
        if mistakes:
            raise RigFileError(self.path, mistakes)
        return Rig(
            settings.name,
            parts,
            None if closed is None else closed.rule(),
            dict(settings.labels),
            shown,
        )


def find_rig(name: str | None, base: Path) -> "RigFile | None":
    """The rig file that a recipe names, read; None where it names none."""
    return None if name is None else read_rig(user_path(name, base).absolute())


def rig_of(file: RigFile | None, controls: Sequence[str]) -> Rig:
    """What is known of a teacher's controls: what the file says, or ARKit of those with its names."""
    if file is not None:
        return file.rig(controls)
    return ARKIT_RIG if set(controls) & set(ARKIT) else Rig()


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
