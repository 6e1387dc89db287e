"""What makes a student an int8 one: each layer's choice, and the scales behind the codes."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from exporters import records

if TYPE_CHECKING:
    from torch import Tensor

# int8: weights and activations. int8_weights: stored as int8, computed in float. float: as it was.
Choice = Literal["int8", "int8_weights", "float"]
WEIGHT_MAX = 127  # symmetric: −128 is not used


@records.strict
@dataclass(frozen=True)
class Range:
    """One tensor's affine code: value = scale · (code − zero_point), code int8 −128 to 127."""

    scale: float
    zero_point: int


@records.strict
@dataclass(frozen=True)
class Quantization:
    """The int8 half of a student, beside its float weights.

    `layers` has each convolution's choice, ``first`` to ``rig``. `tensors` has the code of every
    quantized activation, named after the layer that gives it (``audio`` is the input); where what
    is behind a convolution is no ReLU, ``LAYER.conv`` is before it and ``LAYER`` after (log
    energies, where the first layer has some). `weights` has the scale of each output channel, for
    layers that are not float. `made_by` says how: method, observer, calibration batches, seed, steps.
    """

    layers: dict[str, Choice]
    tensors: dict[str, Range]
    weights: dict[str, tuple[float, ...]]
    made_by: dict[str, str | int | float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def in_brief(self) -> dict[str, Any]:
        """What a model file says beside its graph: all but the scales of weights, which are in it."""
        fields = self.to_json()
        del fields["weights"]
        return fields


def to_codes(weight: "Tensor", scales: tuple[float, ...]) -> "Tensor":
    """Float weight `[out, …]` → int8 codes, one scale for each output channel."""
    import torch

    by_channel = torch.tensor(scales, dtype=torch.float32).view(-1, *[1] * (weight.dim() - 1))
    # As the graph does it: a division may round to the other side of a half.
    return torch.round(weight * (1 / by_channel)).clamp(-WEIGHT_MAX, WEIGHT_MAX).to(torch.int8)


def from_codes(codes: "Tensor", scales: tuple[float, ...]) -> "Tensor":
    """The float weight that int8 codes stand for; its codes are the same again."""
    import torch

    by_channel = torch.tensor(scales, dtype=torch.float32).view(-1, *[1] * (codes.dim() - 1))
    return codes.float() * by_channel
