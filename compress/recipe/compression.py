"""The sections of a recipe that make a trained student smaller: pruning and int8."""

from typing import Literal, Self

from pydantic import Field, model_validator

from compress.recipe.mistakes import words
from compress.recipe.section import (
    Channels,
    Count,
    Name,
    NotNegative,
    Positive,
    Section,
    Share,
    Steps,
)

# All of them are held in memory at once.
MOST_BATCHES = 1024


class PruningSettings(Section):
    """Channels that leave the network until a budget is met, in rounds with training between."""

    remove: float = Field(gt=0, lt=1, description="share of `of` that goes, between 0 and 1")
    of: Literal["parameters", "multiply_adds", "bytes", "channels"] = Field(
        "parameters",
        description="what `remove` is a share of; multiply-adds of a window, bytes as int8 layers "
        "and a float first layer store them",
    )
    criterion: Literal["magnitude", "taylor", "activation"] = Field(
        "taylor",
        description="which channels of a layer go: small weights, little effect on the loss, or "
        "little energy on calibration speech",
    )
    allocation: Literal["uniform", "global", "sensitivity"] = Field(
        "sensitivity",
        description="which layers lose how much: all the same share, the lowest scores wherever "
        "they are, or where the loss on clips set aside rises least for what it saves",
    )
    multiple: Channels = Field(8, description="channels of a layer stay a multiple of this")
    rounds: Count = Field(
        2, le=100, description="cuts on the way to the budget, each with a recovery"
    )
    recovery_steps: Steps = Field(1500, description="optimiser steps after each cut")
    learning_rate: Positive = Field(1.0e-3, description="peak learning rate of the recovery")
    calibration_batches: Count = Field(
        16, le=MOST_BATCHES, description="batches of training speech by which channels are scored"
    )


class QualityGate(Section):
    """How much worse than its float student an int8 student may be on clips set aside."""

    mse: NotNegative = Field(1.05, description="largest MSE, × the float student's")
    quiet_mse: NotNegative = Field(1.05, description="the same on the clips 30 dB quieter")
    jitter: NotNegative = Field(1.10, description="largest jitter, × the float student's")
    pbm_loss: Share = Field(0.01, description="largest loss of PBM accuracy, 0.01 is one point")
    false_rise: Share = Field(
        0.005,
        description="largest rise of F, the share of other speech with closed lips; 0.005 is half a point",
    )


class QuantizationSettings(Section):
    """int8 weights, one scale a channel, and int8 activations, one scale a tensor."""

    method: Literal["ptq", "qat"] = Field(
        "ptq", description="calibrate only, or go on training with rounding in place"
    )
    observer: Literal["histogram", "minmax"] = Field(
        "histogram", description="how the ranges of activations are found"
    )
    calibration_batches: Count = Field(
        32, le=MOST_BATCHES, description="batches of training speech that the ranges are found on"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the draw of calibration speech")
    keep_float: Literal["auto"] | tuple[Name, ...] = Field(
        "auto",
        description="layers left in float (first, conv1 …, head1, head2, rig), or auto: the fewest "
        "with which `gate` holds",
    )
    float_activations: tuple[Name, ...] = Field(
        (), description="layers with int8 weights that compute in float; auto finds its own"
    )
    scan: bool = Field(
        True,
        description="try each layer in int8 alone, for the report's table; auto does it in any case",
    )
    gate: QualityGate = Field(default_factory=QualityGate, description="what auto must keep")
    qat_steps: Steps = Field(1000, description="optimiser steps with rounding in place")
    qat_learning_rate: Positive = Field(1.0e-4, description="their peak learning rate")
    freeze_share: Share = Field(
        0.5, description="share of these steps after which the ranges stay as they are"
    )

    @model_validator(mode="after")
    def _one_choice_each(self) -> Self:
        if self.keep_float == "auto" and self.float_activations:
            raise ValueError(
                "`float_activations` names layers, but `keep_float: auto` chooses for all; give "
                "`keep_float` a list too"
            )
        if self.keep_float != "auto" and (
            both := sorted(set(self.keep_float) & set(self.float_activations))
        ):
            raise ValueError(
                f"`keep_float` and `float_activations` both name {words(both)}; a layer is in one"
            )
        return self
