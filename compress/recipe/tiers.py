"""Tiers: one student at one precision each. What they are called, and which ones a recipe makes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from compress.errors import InputError, UsageError
from compress.recipe.gates import ASKED
from compress.recipe.mistakes import nearest, show, words
from compress.students.finding import find_student

if TYPE_CHECKING:
    from pathlib import Path

    from compress.recipe.gates import Override
    from compress.recipe.recipe import Recipe
    from compress.recipe.students import StudentSettings
    from exporters.signature import Precision


def tier_name(student: str, precision: "Precision") -> str:
    """The name of a tier and of its folder: student and precision, which is not written twice."""
    return student if student.endswith(f"-{precision}") else f"{student}-{precision}"


def steps_of(student: "StudentSettings", start_step: str | None) -> "dict[Precision, str]":
    """The precisions that a student can have, each with the step of it that its files are made of.

    The float tiers are made of the student as it was made last, pruned or not. A student that
    starts from an int8 one has no other tier; `start_step` is what its start says of itself, None
    without a start.
    """
    first = "distilled" if student.start is None else "start"
    if start_step == "int8":
        return {"int8": first}
    in_float = "pruned" if student.pruning else first
    steps: dict[Precision, str] = {"fp32": in_float, "fp16": in_float}
    return steps | ({"int8": "int8"} if student.quantization else {})


def require_tier(
    student: str, precisions: "Sequence[Precision]", steps: "Mapping[Precision, str]"
) -> None:
    """Raise `UsageError` for a student of which a recipe's precisions make no file."""
    if not set(precisions) & steps.keys():
        raise UsageError(
            f"The recipe asks for files in {', '.join(precisions)}, but student "
            f"{student} can be had in {', '.join(steps)}. Add one of these to export.precisions"
            f"{'' if 'int8' in steps else ', or a quantization to the student'}."
        )


def start_step(student: "StudentSettings", base: "Path") -> str | None:
    """What the start of a student says of itself, None without one. Raises `InputError`."""
    if student.start is None:
        return None
    return find_student(f"The start of {student.name}", student.start, base).step


def gate_mistakes(recipe: "Recipe") -> list[str]:
    """A sentence for each limit, by target or tier, that no file of the recipe would be asked."""
    gates, targets = recipe.gates, recipe.export.targets
    tiers = dict(_tiers(recipe))
    mistakes = [
        f"gates.{kind}.{name}: found {show(name)}{nearest(name, made)}, which this recipe does not "
        f"make; accepted: {words(made)}"
        for kind, named, made in (
            ("targets", gates.targets, targets),
            ("tiers", gates.tiers, list(tiers)),
        )
        for name in named
        if name not in made
    ]
    for target, limits in gates.targets.items():
        if target in targets:
            found = _unasked(limits, set(tiers.values()), {target})
            mistakes += [f"gates.targets.{target}.{text}" for text in found]
    for tier, limits in gates.tiers.items():
        if tier in tiers:
            found = _unasked(limits, {tiers[tier]}, set(targets))
            mistakes += [f"gates.tiers.{tier}.{text}" for text in found]
    return mistakes


def _unasked(limits: "Override", precisions: "set[Precision]", targets: set[str]) -> Iterator[str]:
    """What is wrong with limits that are asked of none of these files; null lifts a limit."""
    for name, figure in ASKED.items():
        gate = figure.gate
        if gate is None or not gate.precisions or getattr(limits, name) is None:
            continue
        if not gate.precisions & precisions or (gate.targets and not gate.targets & targets):
            of = words([*sorted(gate.precisions), *sorted(gate.targets)])
            yield f"{name}: no file here is asked this limit, which is for {of} files"


def tier_names(recipe: "Recipe") -> list[str]:
    """Names of the tiers that a recipe makes, in its order, each as often as it is made."""
    return [name for name, _ in _tiers(recipe)]


def _tiers(recipe: "Recipe") -> "Iterator[tuple[str, Precision]]":
    """Each tier's name and precision."""
    for student in recipe.students:
        try:
            possible = set(steps_of(student, start_step(student, recipe.folder)))
        except InputError:  # a start that is not there is a mistake of its own
            possible = set(recipe.export.precisions)
        for precision in recipe.export.precisions:
            if precision in possible:
                yield tier_name(student.name, precision), precision
