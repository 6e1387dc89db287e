"""Which channels leave a student so that what is left fits a budget.

Layers shrink in blocks, from one multiple of `multiple` channels to the next one below; a layer
that is no wider than `multiple` stays whole. Within a layer the lowest scores go first.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from compress.errors import UsageError
from compress.prune.channels import Criterion, pruned
from compress.students.contract import Convolution, Plan, Student

Quantity = Literal["parameters", "multiply_adds", "bytes", "channels"]
Allocation = Literal["uniform", "global", "sensitivity"]
# A scan of a layer judges no more cuts than this; those between are interpolated.
MOST_CUTS = 8


def measure(config: Plan, of: Quantity) -> int:
    """What a student has of something, batch norm folded.

    multiply_adds are those of one window; bytes those of weights, biases and scales in an int8 tier
    whose first layer and rig stay float; channels those that `Plan.prunable` counts.
    """
    return sum(_parts(config, of).values())


def _parts(config: Plan, of: Quantity) -> dict[str, int]:
    """The same, layer by layer."""
    if of == "channels":
        return config.prunable()
    count: dict[str, Callable[[Convolution], int]] = {
        "parameters": lambda c: c.weights + c.biases,
        "multiply_adds": lambda c: c.weights * c.steps_window,
        "bytes": _bytes,
    }
    return {layer.name: count[of](layer) for layer in config.convolutions()}


def _bytes(layer: Convolution) -> int:
    if layer.name in ("first", "rig"):
        return 4 * (layer.weights + layer.biases)
    # An int32 bias and a float32 scale for each output channel.
    return layer.weights + 8 * layer.biases


def allocate(
    config: Plan,
    scores: Mapping[str, Tensor],
    of: Quantity,
    remove: float,
    how: Allocation,
    multiple: int,
    rise: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, list[int]]:
    """The channels that stay, sorted, of every layer: at most 1 − `remove` of what there is `of`.

    - uniform: the smallest share that reaches the budget is taken from every layer, each rounded to
      the nearest width that it may have.
    - global: the blocks of the lowest mean score go first, wherever they are; `scores` are
      `comparable` ones.
    - sensitivity: next goes the block for which the loss rises least for each unit saved; needs
      `rise` (of `loss_rises`).

    The last two then put back every block that turns out not to be needed. Raises `UsageError` for
    a budget that cannot be reached, with the largest `remove` that can.
    """
    # Exact: 1 − 0.9 is less than 0.1 in floating point.
    budget = math.floor((1 - Fraction(str(remove))) * measure(config, of))
    if how == "uniform":
        widths = _uniform(config, of, budget, multiple)
    elif how == "global":
        widths = _greedy(config, of, budget, multiple, _block_scores(config, scores, multiple))
    else:
        if rise is None:
            raise ValueError("an allocation by sensitivity needs the rises of the loss")
        widths = _greedy(config, of, budget, multiple, _block_rises(rise), per_unit=True)
    if measure(config.narrowed(widths), of) > budget:
        raise _unreachable(config, widths, of, remove, how, multiple)
    return {
        name: sorted(scores[name].argsort(descending=True, stable=True)[:width].tolist())
        for name, width in widths.items()
    }


def require_reachable(
    config: Plan, of: Quantity, remove: float, how: Allocation, multiple: int
) -> None:
    """Raise the `UsageError` of `allocate` for a budget that cannot be reached, before any score.

    How narrow layers may get depends on none.
    """
    scores = {name: torch.zeros(channels) for name, channels in config.prunable().items()}
    rises = {name: [0.0] * channels for name, channels in config.prunable().items()}
    allocate(config, scores, of, remove, how, multiple, rises)


def comparable(scores: Mapping[str, Tensor], criterion: Criterion) -> dict[str, Tensor]:
    """Scores that may be compared across layers: each divided by its layer's mean.

    Norms and variances have no common unit; those of taylor are all changes of the loss and stay.
    """
    if criterion == "taylor":
        return dict(scores)
    return {name: score / score.mean().clamp(min=1e-30) for name, score in scores.items()}


def loss_rises(
    student: Student,
    scores: Mapping[str, Tensor],
    means: Mapping[str, Tensor] | None,
    multiple: int,
    judge: Callable[[Student], float],
) -> dict[str, list[float]]:
    """How much the judged loss rises when one layer alone loses its 1, 2, … lowest blocks."""
    whole = judge(student)
    rises = {}
    for name, widths in _all_widths(student.config, multiple).items():
        order = scores[name].argsort(descending=True, stable=True)
        cuts = len(widths) - 1
        judged = sorted({round(cut) for cut in np.linspace(1, cuts, min(cuts, MOST_CUTS))})
        found = [
            judge(pruned(student, {name: order[: widths[cut]].tolist()}, means)) - whole
            for cut in judged
        ]
        rises[name] = np.interp(range(1, cuts + 1), [0, *judged], [0.0, *found]).tolist()
    return rises


def _all_widths(config: Plan, multiple: int) -> dict[str, list[int]]:
    """Every width that a layer may have, its own first, then down to `multiple`."""
    return {
        name: [channels, *range((channels - 1) // multiple * multiple, 0, -multiple)]
        for name, channels in config.prunable().items()
    }


def _uniform(config: Plan, of: Quantity, budget: int, multiple: int) -> dict[str, int]:
    """The widths that fit, or the narrowest ones before a layer would be rounded to none."""
    every = _all_widths(config, multiple)
    # The shares from which on each narrower width, and in the end none, is the nearest.
    turns = {
        name: [1 - Fraction(a + b, 2 * widths[0]) for a, b in itertools.pairwise([*widths, 0])]
        if len(widths) > 1
        else []
        for name, widths in every.items()
    }
    emptied = min((own[-1] for own in turns.values() if own), default=Fraction(0))
    widths = config.prunable()
    for share in sorted({turn for own in turns.values() for turn in own if turn < emptied}):
        if measure(config.narrowed(widths), of) <= budget:
            break
        widths = {
            name: every[name][sum(turn <= share for turn in own)] for name, own in turns.items()
        }
    return widths


def _greedy(
    config: Plan,
    of: Quantity,
    budget: int,
    multiple: int,
    costs: Mapping[str, Sequence[float]],
    per_unit: bool = False,
) -> dict[str, int]:
    """Cheapest block first, until the widths fit or all are at their least.

    `costs` of each layer's blocks in the order in which they go; `per_unit` divides them by what
    their going saves at that moment, which falls as neighbours get narrower.
    """
    every = _all_widths(config, multiple)
    at = dict.fromkeys(every, 0)

    def left() -> int:
        return measure(config.narrowed({name: every[name][k] for name, k in at.items()}), of)

    def price(name: str) -> tuple[float, int]:
        before = left()
        at[name] += 1
        saved = before - left()
        at[name] -= 1
        cost = costs[name][at[name]]
        return (cost / saved if per_unit else cost), -saved

    taken = []
    while left() > budget:
        open_ = [name for name in every if at[name] + 1 < len(every[name])]
        if not open_:
            break
        taken.append(min(open_, key=price))
        at[taken[-1]] += 1
    for name in reversed(taken):
        at[name] -= 1
        if left() > budget:
            at[name] += 1
    return {name: every[name][k] for name, k in at.items()}


def _block_scores(
    config: Plan, scores: Mapping[str, Tensor], multiple: int
) -> dict[str, list[float]]:
    """The mean score of each block's channels, the lowest block first."""
    found = {}
    for name, widths in _all_widths(config, multiple).items():
        ascending = scores[name].sort().values
        found[name] = [
            ascending[widths[0] - a : widths[0] - b].mean().item()
            for a, b in itertools.pairwise(widths)
        ]
    return found


def _block_rises(rise: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """What each further block costs; that a loss falls again with more cut is taken for chance."""
    return {
        name: np.diff(np.maximum.accumulate([0.0, *own])).tolist() for name, own in rise.items()
    }


def _unreachable(
    config: Plan,
    widths: Mapping[str, int],
    of: Quantity,
    remove: float,
    how: Allocation,
    multiple: int,
) -> UsageError:
    """`widths` are the narrowest that this allocation can do."""
    total, parts = measure(config, of), _parts(config.narrowed(widths), of)
    least, name = sum(parts.values()), max(parts, key=lambda name: parts[name])
    quantity = of.replace("_", "-")
    largest = 100 * (total - least) // total / 100
    can_shrink = {name: own for name, own in config.prunable().items() if own > multiple}
    if how == "uniform" and can_shrink:
        name = min(can_shrink, key=lambda name: can_shrink[name])
        why = (
            f"taken evenly from all layers, that would empty {name}, which has {can_shrink[name]} "
            f"channels"
        )
    else:
        why = (
            f"with every layer at its least, {multiple} channels or what it has if that is fewer, "
            f"{least:,} of {total:,} are left, most of them, {parts[name]:,}, in {name}"
        )
    return UsageError(
        f"pruning.remove is {remove:g} of the {quantity}, but {why}. "
        + (
            f"The largest pruning.remove that works here is {largest:.2f}; a smaller "
            f"pruning.multiple (now {multiple}) or another pruning.allocation (now {how}) may "
            f"allow more."
            if largest
            else f"No whole hundredth can go: leave pruning out, or lower pruning.multiple (now "
            f"{multiple})."
        )
    )
