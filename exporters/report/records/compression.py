"""What made a student smaller than it was trained: channels that left, and int8.

All figures here are of clips set aside from training speech. Choices were made by them, so they say
less than those of held-out speech, which stand in the tiers.
"""

import math
from dataclasses import dataclass
from typing import Literal

from exporters import records

Budget = Literal["parameters", "multiply_adds", "bytes", "channels"]
Choice = Literal["int8", "int8_weights", "float"]

# `removed` follows from the counts; writers may round it to a tenth of a percent.
_ROUNDING = 1e-3


@records.strict
@dataclass(frozen=True, kw_only=True)
class Quality:
    """How good a student is at one moment, on clips set aside from training speech."""

    loss: float
    """The loss that it is trained by, weighted sum of all terms."""
    r2: float | None
    """R² against the teacher, or null if not measured."""
    pbm: float | None
    """Share of /p b m/ with closed lips, 0 to 1, or null if their times are not known."""
    false_closures: float | None = None
    """F, the share of other speech with closed lips, 0 to 1, or null like that."""

    def __post_init__(self) -> None:
        if self.pbm is not None and not 0 <= self.pbm <= 1:
            raise ValueError(f"pbm is a share between 0 and 1, found {self.pbm}")


@records.strict
@dataclass(frozen=True, kw_only=True)
class PruningRound:
    """One cut, and the training after it."""

    round: int
    """Number of the round, from 1."""
    parameters: int
    """Parameters after the cut."""
    before_cut: Quality
    """The student as it went into the round."""
    after_cut: Quality
    """The same without the channels, not yet trained again."""
    after_recovery: Quality
    """After the training that follows."""
    recovery_steps: int
    """Optimiser steps of that training."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class PrunedLayer:
    """Channels that one layer gives, before and after."""

    name: str
    """Which layer."""
    channels_before: int
    """Channels of the layer as it was trained."""
    channels_after: int
    """Channels that are left."""

    def __post_init__(self) -> None:
        if not 1 <= self.channels_after <= self.channels_before:
            raise ValueError(
                f"layer {self.name!r} cannot go from {self.channels_before} to "
                f"{self.channels_after} channels"
            )


@records.strict
@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Channels that left one student until a budget was met."""

    student: str
    """Which student."""
    criterion: str
    """What told which channels of a layer go: magnitude, taylor, activation, ..."""
    allocation: str
    """What told how many go in which layer: uniform, global, sensitivity, ..."""
    budget_of: Budget
    """What `asked` and `removed` are shares of."""
    asked: float
    """Share that the recipe wants removed, 0 to 1."""
    removed: float
    """Share that was removed, 0 to 1."""
    layers: tuple[PrunedLayer, ...]
    """Each layer, in the order of the network."""
    parameters_before: int
    """Parameters as it was trained."""
    parameters_after: int
    """Parameters that are left."""
    multiply_adds_before: int
    """Multiplications with an addition for one window, as it was trained."""
    multiply_adds_after: int
    """The same for what is left."""
    bytes_before: int
    """Bytes of its weights, were it stored with int8 layers, as it was trained."""
    bytes_after: int
    """The same for what is left."""
    rounds: tuple[PruningRound, ...]
    """The cuts on the way."""

    def __post_init__(self) -> None:
        counts = {
            "parameters": (self.parameters_before, self.parameters_after),
            "multiply_adds": (self.multiply_adds_before, self.multiply_adds_after),
            "bytes": (self.bytes_before, self.bytes_after),
        }
        mistakes = [
            f"{name} cannot go from {before} to {after}"
            for name, (before, after) in counts.items()
            if not 1 <= after <= before
        ]
        if not (0 < self.asked < 1 and 0 <= self.removed < 1):
            mistakes.append(f"asked {self.asked} and removed {self.removed} must be shares below 1")
        elif not mistakes and self.budget_of in counts:
            before, after = counts[self.budget_of]
            if not math.isclose(self.removed, 1 - after / before, abs_tol=_ROUNDING):
                mistakes.append(
                    f"{self.removed} of {self.budget_of} removed is not {before} to {after}"
                )
        numbers = [step.round for step in self.rounds]
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            mistakes.append(f"rounds are numbered {numbers}, expected 1, 2, ...")
        elif self.rounds[-1].parameters != self.parameters_after:
            mistakes.append(
                f"the last round leaves {self.rounds[-1].parameters} parameters, "
                f"not {self.parameters_after}"
            )
        if mistakes:
            raise ValueError(f"pruning of {self.student!r} cannot be: " + "; ".join(mistakes))


@records.strict
@dataclass(frozen=True, kw_only=True)
class ScanRow:
    """A trial of the sensitivity scan, against the float student."""

    what: str
    """Name of a layer, or `everything`."""
    choice: Choice
    """What was tried for it."""
    mse_ratio: float
    """MSE against the teacher, × the float student's."""
    quiet_mse_ratio: float
    """The same on the same clips 30 dB quieter."""
    jitter_ratio: float | None
    """Jitter, × the float student's; null if the teacher's curves or the student's do not move."""
    pbm_points: float | None
    """Change of the share of /p b m/ with closed lips in percentage points, negative for a loss;
    null if their times are not known."""
    chosen: bool
    """Whether the int8 student has this choice."""
    false_points: float | None = None
    """Change of F, the share of other speech with closed lips, in percentage points, positive for more
    of it; null if it was not measured."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class KeptLimit:
    """A limit on what int8 may cost, and what it costs."""

    value: float | None
    """What was measured, or null."""
    limit: float
    """The largest value with which it holds."""
    held: bool | None
    """Whether it holds; null if it was not measured."""

    def __post_init__(self) -> None:
        # NaN compares false with everything and so never holds.
        held = None if self.value is None else self.value <= self.limit
        if self.held is not held:
            raise ValueError(
                f"{self.value} against a limit of {self.limit}: held is {held}, not {self.held}"
            )


@records.strict
@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How one student became an int8 one."""

    student: str
    """Which student."""
    method: Literal["ptq", "qat"]
    """`ptq`: ranges are found and that is all; `qat`: and it was trained on with rounding."""
    observer: str
    """How the ranges of activations were found: histogram, minmax, ..."""
    calibration_batches: int
    """Batches of training speech that they were found on."""
    seed: int
    """Seed of the draw of that speech."""
    layers: dict[str, Choice]
    """Each layer's choice. `int8`: weights and activations; `int8_weights`: stored as int8 and
    computed in float; `float`: as it was."""
    chosen_by: Literal["recipe", "auto"]
    """`recipe`: it names the layers; `auto`: the fewest left in float with which the gate holds."""
    gate: dict[str, KeptLimit]
    """What `auto` must keep: mse, quiet_mse and jitter, × the float student's, and pbm_loss and
    false_rise, as shares (0.01 is one percentage point); empty if the recipe names the layers."""
    scan: tuple[ScanRow, ...]
    """The sensitivity scan; empty if there was none."""

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError(f"quantization of {self.student!r} names no layer")
        if bool(self.gate) != (self.chosen_by == "auto"):
            raise ValueError(
                f"quantization of {self.student!r} is chosen by {self.chosen_by!r} with "
                f"{len(self.gate)} limits; auto has some, a recipe none"
            )
