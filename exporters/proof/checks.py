"""One question asked of a model file, and its answer. What did not run has not passed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from exporters import records

Status = Literal["passed", "failed", "not run"]


@records.strict
@dataclass(frozen=True, kw_only=True)
class Check:
    """The answer to one question."""

    file: str
    """The file it was asked of, relative to the folder that was checked."""
    what: str
    """The question, for example `structure` or `golden windows, LiteRT`."""
    status: Status
    """The answer; an evaluation elsewhere is no run on a device, and `not run` is never green."""
    detail: str
    """What was found; where it failed also what was expected, where it did not run why."""


@dataclass(frozen=True)
class Outcome:
    """An answer by itself, before it is said what was asked of which file."""

    status: Status
    detail: str


def overall(states: Iterable[Status]) -> Status:
    """`failed` if one is, `passed` if there are some and all passed, else `not run`."""
    found = set(states)
    if "failed" in found:
        return "failed"
    return "passed" if found == {"passed"} else "not run"
