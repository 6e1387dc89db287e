"""Which layers int8 costs what, and the fewest that must stay in float."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from compress.distill.watching import Judgement, Watched, judge
from compress.quantize.calibration import calibrate, choosing
from compress.quantize.graph import IntegerDense
from compress.students.contract import Student
from compress.students.integers import Choice

if TYPE_CHECKING:
    from compress.recipe.compression import QualityGate

# From what saves most to what costs nothing.
CHOICES: tuple[Choice, ...] = ("int8", "int8_weights", "float")
EVERYTHING = "everything"


@dataclass(frozen=True)
class Cost:
    """What a set of choices costs on clips set aside, against the float student.

    Ratios of MSE, of MSE at −30 dB and of jitter; the loss of PBM accuracy and the rise of F, 0.01 is
    one point. None where the clips do not allow it.
    """

    mse: float
    quiet_mse: float
    jitter: float | None
    pbm_loss: float | None
    false_rise: float | None

    def worst(self, gate: "QualityGate") -> float:
        """The largest share of what a gate allows; at most 1 where it holds.

        A ratio r against a limit of 1.05 counts as (r − 1) / 0.05.
        """
        shares = [
            _share(self.mse - 1, gate.mse - 1),
            _share(self.quiet_mse - 1, gate.quiet_mse - 1),
        ]
        if self.jitter is not None:
            shares.append(_share(self.jitter - 1, gate.jitter - 1))
        if self.pbm_loss is not None:
            shares.append(_share(self.pbm_loss, gate.pbm_loss))
        if self.false_rise is not None:
            shares.append(_share(self.false_rise, gate.false_rise))
        return max(shares)


@dataclass(frozen=True)
class Row:
    """One thing tried: `layer` in `choice`, all others in float, or `EVERYTHING` as chosen."""

    layer: str
    choice: Choice
    cost: Cost


@dataclass(frozen=True)
class Scan:
    """A student's costs layer by layer, the float student's own figures, and what was chosen."""

    whole: Judgement
    rows: tuple[Row, ...]
    choices: dict[str, Choice]
    chosen: Cost


class Costs:
    """Judges sets of choices for one student: calibrated once, each made int8 and heard once."""

    def __init__(
        self, student: Student, batches: Sequence[Tensor], observer: str, watched: Watched
    ) -> None:
        self._student, self._watched = student, watched
        self._codes = calibrate(student, batches, observer)
        self.whole = judge(student.animate, watched)
        self._known: dict[tuple[Choice, ...], Cost] = {}

    def __call__(self, choices: Mapping[str, Choice]) -> Cost:
        key = tuple(choices[layer] for layer in self._student.config.layer_names)
        if key not in self._known:
            codes = choosing(self._codes, self._student.config, choices)
            integers = IntegerDense(self._student, codes)
            self._known[key] = against(judge(integers.animate, self._watched), self.whole)
        return self._known[key]


def against(found: Judgement, whole: Judgement) -> Cost:
    """The cost of what was found beside the float student's."""
    jitter = pbm = false = None
    if found.jitter is not None and whole.jitter:
        jitter = found.jitter / whole.jitter
    if found.pbm is not None and whole.pbm is not None:
        pbm = whole.pbm - found.pbm
    if found.false_closures is not None and whole.false_closures is not None:
        false = found.false_closures - whole.false_closures
    return Cost(found.mse / whole.mse, found.quiet_mse / whole.quiet_mse, jitter, pbm, false)


def scan(
    student: Student,
    batches: Sequence[Tensor],
    observer: str,
    watched: Watched,
    gate: "QualityGate",
    fixed: Mapping[str, Choice] | None = None,
    progress: Callable[[int], None] = lambda done: None,
    *,
    alone: bool = True,
    float_rig: bool = False,
) -> Scan:
    """Quantize one layer at a time, then choose, or take the choices that are `fixed`.

    Without `alone`, which choosing needs, only the fixed choices are heard. With `float_rig` the
    last layer may have int8 weights, but gives floats: `with_float_rig`.

    Chosen are the fewest layers that are not int8 throughout with which the gate holds: layers leave
    int8 in the order of what they cost until it does, first for int8 weights and then for float;
    then each of them goes back where the gate allows it. Where it cannot hold, all in
    float would be no int8 student: the choices with the least worst share are taken, and its cost says so.
    """
    layers = student.config.layer_names
    costs = Costs(student, batches, observer, watched)
    first: Callable[[Mapping[str, Choice]], dict[str, Choice]] = (
        with_float_rig if float_rig else dict
    )
    if fixed is not None and not alone:
        fixed = first(fixed)
        return Scan(costs.whole, (), fixed, costs(fixed))
    float_all: dict[str, Choice] = dict.fromkeys(layers, "float")
    rows = []
    for layer in layers:
        for choice in CHOICES[:2]:
            tried: dict[str, Choice] = float_all | {layer: choice}
            if first(tried) == tried:
                rows.append(Row(layer, choice, costs(tried)))
                progress(len(rows))
    all_int8: dict[str, Choice] = dict.fromkeys(layers, "int8")
    hardest = first(all_int8)
    choices = _fewest(hardest, rows, costs, gate) if fixed is None else first(fixed)
    chosen = costs(choices)
    rows += [
        Row(EVERYTHING, choice, costs(first(dict.fromkeys(layers, choice))))
        for choice in CHOICES[:2]
    ]
    return Scan(costs.whole, tuple(rows), choices, chosen)


def with_float_rig(choices: Mapping[str, Choice]) -> dict[str, Choice]:
    """The same choices, but for a last layer in int8: int8 weights, and what it gives in float.

    Its codes would have one step for all controls, which is too coarse for one that moves by little
    beside others, or that stays far from 0.
    """
    return {**choices, "rig": "int8_weights" if choices["rig"] == "int8" else choices["rig"]}


def _fewest(
    hardest: Mapping[str, Choice], rows: Sequence[Row], costs: Costs, gate: "QualityGate"
) -> dict[str, Choice]:
    alone = {row.layer: row.cost.worst(gate) for row in rows if row.choice == hardest[row.layer]}
    order = sorted(hardest, key=lambda layer: -alone[layer])
    choices = dict(hardest)
    tried = [dict(choices)]
    for softer in CHOICES[1:]:
        for layer in order:
            if costs(choices).worst(gate) <= 1:
                break
            choices[layer] = softer
            tried.append(dict(choices))
    for layer in reversed(order):
        for harder in CHOICES[CHOICES.index(hardest[layer]) : CHOICES.index(choices[layer])]:
            if costs(choices | {layer: harder}).worst(gate) <= 1:
                choices[layer] = harder
                break
    if set(choices.values()) == {"float"}:  # which costs nothing, so that any gate holds
        partly = [found for found in tried if set(found.values()) != {"float"}]
        return min(partly, key=lambda found: costs(found).worst(gate))
    return choices


def _share(value: float, limit: float) -> float:
    if math.isnan(value):  # no comparison with it holds, and no gate may
        return math.inf
    if value <= 0:
        return 0.0
    return value / limit if limit > 0 else math.inf
