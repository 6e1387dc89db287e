"""The JSON form of this package's frozen dataclasses, written exactly and read strictly."""

import dataclasses
import functools
import json
import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Record = TypeVar("Record")

_STRICT: dict[str, Any] = {
    "extra": "forbid",
    "allow_inf_nan": False,
    "use_attribute_docstrings": True,
}

# A broken model gives NaN by the thousand; a reader needs a few places.
_SHOWN = 5

_NUMBERS_ON_LINES = re.compile(r"\[\n[\s\d.,eE+-]*\]")


def strict(record: type[Record]) -> type[Record]:
    """A dataclass that `from_json` reads strictly: unknown keys and NaN are mistakes.

    The text under a field describes it in the published JSON Schema too.
    """
    record.__pydantic_config__ = _STRICT  # type: ignore[attr-defined]
    return record


def to_json(record: Any) -> str:
    """Write a dataclass as indented JSON, keys in the order they have in the record.

    Lists of numbers stay on one line. Raises ValueError with the places of all numbers that are NaN
    or infinite, which JSON cannot hold and no reader should be shown.
    """
    value = dataclasses.asdict(record)
    if places := list(_not_finite(value, "")):
        more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
        raise ValueError(
            f"{type(record).__name__} holds numbers that are not finite: "
            f"{', '.join(places[:_SHOWN])}{more}. "
            "A value that was not measured is null; one that was and came out NaN is a failure."
        )
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    # No string in JSON holds a raw newline, so the pattern finds real lists and nothing in a text.
    return _NUMBERS_ON_LINES.sub(lambda found: " ".join(found[0].split()), text) + "\n"


def from_json(kind: type[Record], text: str | bytes) -> Record:
    """Read what ``to_json`` wrote. Raises ValueError, one line a mistake, each with its place."""
    from pydantic import ValidationError

    try:
        return cast(Record, _adapter(cast(Any, kind)).validate_json(text, strict=True))
    except ValidationError as error:
        mistakes = []
        for mistake in error.errors(include_url=False):
            place = ".".join(str(step) for step in mistake["loc"])
            mistakes.append(f"{place}: {mistake['msg']}" if place else mistake["msg"])
        raise ValueError("\n".join(mistakes)) from error


def prepare(kind: Any) -> None:
    """Have ready what ``from_json`` needs for such a record: Pydantic, and its rules."""
    _adapter(kind)


@functools.cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _not_finite(value: object, place: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{place} is {value}"
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from _not_finite(member, f"{place}.{key}" if place else str(key))
    elif isinstance(value, (list, tuple)):
        for index, member in enumerate(value):
            yield from _not_finite(member, f"{place}[{index}]")
