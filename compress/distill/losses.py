"""Losses of distillation. Curves are `[batch, controls, frames]`, one hop between frames."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from compress.errors import UsageError
from compress.recipe.mistakes import words
from compress.rig.rig import ARKIT_RIG, Rig

if TYPE_CHECKING:
    from compress.recipe.recipe import TrainingSettings


def reconstruction(predicted: Tensor, label: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    """Mean squared error against the pseudo-label; `weights` of the controls are `[controls, 1]`."""
    return (weights * (predicted - label) ** 2).mean()


def velocity(predicted: Tensor, label: Tensor) -> Tensor:
    """Mean squared error of frame-to-frame differences: against a mouth that trembles or lags."""
    return ((predicted.diff(dim=-1) - label.diff(dim=-1)) ** 2).mean()


def require_known(settings: "TrainingSettings", driven: Sequence[str], rig: Rig) -> None:
    """Raise `UsageError` for losses of controls that are not among the driven ones.

    Those that a teacher can move are enough to ask, before it is known which ones it does.
    """
    if unknown := sorted(set(settings.control_weights) - set(driven)):
        raise UsageError(
            f"training.control_weights names {', '.join(unknown)}, which the teacher does not "
            f"move. It moves {', '.join(driven)}."
        )
    if settings.closure_weight and rig.closure_of(driven) is None:
        needed = sorted(rig.closure.needed) if rig.closure else []
        raise UsageError(
            f"training.closure_weight is {settings.closure_weight:g}, but it is not known when "
            f"the lips of this rig ({rig.name}) are closed: "
            + (f"that needs {words(needed)}, all of them moving" if needed else "it says nothing")
            + ". Set it to 0, or say in a rig file (teacher.rig) which controls close them."
        )


class Criterion(nn.Module):
    """The loss on the labels, term by term; `weights` says what each counts for in the sum.

    reconstruction, with a weight for each control; velocity; and closure: the squared error of the
    lip aperture in the frames in which the lips are closed, the teacher's or the student's. Those
    frames are few, and reconstruction alone lets the lips stay a little apart where it is not sure
    of the moment. The student's own count too, or it would learn to mumble with closed lips. Raises
    `UsageError` for a weight of a control that the rig lacks or does not move, and for a closure
    weight on a rig whose lips are not known. Curves and rig are in the units of training.
    """

    control_weights: Tensor
    aperture: Tensor

    def __init__(
        self,
        settings: "TrainingSettings",
        driven: Sequence[str],
        rig: Rig = ARKIT_RIG,
    ) -> None:
        super().__init__()
        require_known(settings, driven, rig)
        rule = rig.closure_of(driven)
        weight = [settings.control_weights.get(name, 1.0) for name in driven]
        self.register_buffer("control_weights", torch.tensor(weight)[:, None], persistent=False)
        self.weights = {"reconstruction": 1.0, "velocity": settings.velocity_weight}
        if settings.closure_weight and rule is not None:
            self.weights["closure"] = settings.closure_weight
            self.closed_below = rule.closed_below
            aperture = rule.aperture(np.eye(len(driven)), driven)  # it is linear
            self.register_buffer(
                "aperture", torch.tensor(aperture, dtype=torch.float32)[:, None], persistent=False
            )

    def forward(self, predicted: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Each term, not yet weighted."""
        terms = {
            "reconstruction": reconstruction(predicted, label, self.control_weights),
            "velocity": velocity(predicted, label),
        }
        if "closure" in self.weights:
            wanted, found = ((self.aperture * curves).sum(1) for curves in (label, predicted))
            closed = torch.minimum(wanted, found.detach()) < self.closed_below
            terms["closure"] = ((found - wanted) ** 2 * closed).mean()
        return terms
