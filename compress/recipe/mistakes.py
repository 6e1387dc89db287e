"""What is wrong with a recipe, in words: where, what was found, what is accepted, what was meant."""

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from compress.recipe.section import PATTERNS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "BLANK",
    "blanks",
    "distinct",
    "emptied",
    "explain",
    "nearest",
    "one_of",
    "show",
    "words",
]


# What stands in a recipe that `lipstill inspect` wrote for what only its user can know.
BLANK = "???"


def blanks(tree: object, path: str = "") -> Iterator[str]:
    """A sentence for each value that is yet to be filled in."""
    if tree == BLANK:
        yield f"{path}: found {BLANK}, which stands for what is yet to be filled in"
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield from blanks(value, f"{path}.{key}".lstrip("."))
    elif isinstance(tree, list | tuple):
        for i, value in enumerate(tree):
            yield from blanks(value, f"{path}.{i}")


def explain(detail: "ErrorDetails", root: type[BaseModel]) -> str:
    """One of pydantic's errors, found in a `root`, as a sentence that begins with the dotted path."""
    *above, last = detail["loc"] or (root.__name__,)
    path = ".".join(map(str, (*above, last)))
    fields = _section(above, root).model_fields
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown key{nearest(str(last), fields)}; accepted here: {words(fields)}"
    meaning = fields[str(last)].description if str(last) in fields else None
    about = f" ({meaning})" if meaning else ""
    if detail["type"] == "missing":
        return f"{path}: missing{about}"
    if detail["type"] == "value_error":  # one of our own validators, which says it all
        return f"{path}: {detail['ctx']['error']}"
    if detail["type"] == "model_type":
        keys = words(_section((*above, last), root).model_fields)
        return f"{path}: found {show(detail['input'])}, expected a mapping with keys of {keys}"
    if detail["type"] == "string_pattern_mismatch":
        meant = PATTERNS[detail["ctx"]["pattern"]]
        return f"{path}: found {show(detail['input'])}, expected {meant}{about}"
    wanted = detail["msg"].replace("Input should", "should").replace("valid tuple", "list")
    return f"{path}: found {show(detail['input'])}, {wanted[0].lower()}{wanted[1:]}{about}"


def emptied(detail: "ErrorDetails") -> bool:
    """Whether a list is too short only without the entries that pydantic reports by themselves."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _section(location: Sequence[int | str], root: type[BaseModel]) -> type[BaseModel]:
    """The section that the path of an error leads to."""
    here = root
    for part in location:
        if isinstance(part, str) and part in here.model_fields:
            here = _model_in(here.model_fields[part].annotation) or here
    return here


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def show(value: object) -> str:
    """A found value: JSON, at most 60 characters."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(word: str, known: Iterable[str]) -> str:
    """A question for the known word most like `word`, to append; empty when none is alike."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def words(items: Iterable[object]) -> str:
    """Items with commas between, `none` for no item."""
    return ", ".join(map(str, items)) or "none"


def one_of(value: str, known: Sequence[str]) -> str:
    """`value` if it is a known word; otherwise ValueError with those that are."""
    if value not in known:
        raise ValueError(f"found {show(value)}{nearest(value, known)}; accepted: {words(known)}")
    return value


def distinct(values: Sequence[str]) -> None:
    """Raise ValueError with the values that are there more than once."""
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{words(twice)} is there more than once, expected different names")
