"""What labelling found of a rig that its user should know, in sentences."""

from collections.abc import Iterator, Sequence, Sized

from compress.labels.store import Labels

NAMED = 8  # of controls for which one sentence is true; ``index.json`` of the labels has all


def rig_notes(labels: Labels) -> tuple[str, ...]:
    """Which controls are no output of a student and why, and which are learned in other units."""
    return tuple(_notes(labels))


def _notes(labels: Labels) -> Iterator[str]:
    total = len(labels.controls)
    still = [name for name in labels.constants if name not in labels.slight]
    if still:
        yield (
            f"{len(still)} of {total} controls never {_verb(still, 'move')} in training speech. "
            f"Students do not predict {_them(still)}: {_listed(still, labels.constants)}."
        )
    if labels.slight:
        slight = list(labels.slight)
        moved = {name: labels.slight[name] for name in slight}
        yield (
            f"{len(slight)} of {total} controls {_verb(slight, 'move')} too little to be learned "
            f"beside a rig of scale {labels.scale:g}. Students do not predict {_them(slight)}, and "
            f"clients keep one value: "
            + _named(
                [f"{n} at {labels.constants[n]:.6g} (it moves by {moved[n]:.2g})" for n in slight]
            )
            + "."
        )
    if labels.rests:
        yield (
            f"{len(labels.rests)} of {total} controls {_verb(labels.rests, 'stay')} far from 0. "
            f"Students learn how {'it moves' if len(labels.rests) == 1 else 'they move'} around a "
            f"rest value: {_listed(list(labels.rests), labels.rests)}."
        )
    if labels.units:
        yield (
            f"{len(labels.units)} of {total} controls {_verb(labels.units, 'move')} far less than "
            f"the others, as in another unit. Students learn {_them(labels.units)} in a unit of "
            f"{'its' if len(labels.units) == 1 else 'their'} own, in which errors are counted too: "
            f"{_listed(list(labels.units), labels.units, 'in units of')}. To make one count for "
            f"less, lower its training.control_weights."
        )
    if not labels.own_units.alike:
        yield (
            "One step of codes cannot serve all these controls. The last layer of int8 students "
            "has int8 weights, but gives floats."
        )


def _verb(names: Sized, verb: str) -> str:
    return verb if len(names) != 1 else f"{verb}s"


def _them(names: Sized) -> str:
    return "them" if len(names) != 1 else "it"


def _listed(names: Sequence[str], values: dict[str, float], at: str = "at") -> str:
    """``a, b at 0; c at 0.25``: names by their value, which is written once."""
    by_value: dict[str, list[str]] = {}
    for name in names[:NAMED]:
        by_value.setdefault(f"{values[name]:.6g}", []).append(name)
    parts = [f"{', '.join(of)} {at} {value}" for value, of in by_value.items()]
    return "; ".join(parts) + _more(names)


def _named(items: Sequence[str]) -> str:
    return ", ".join(items[:NAMED]) + _more(items)


def _more(items: Sequence[str]) -> str:
    return f"; and {len(items) - NAMED} more" if len(items) > NAMED else ""
