"""The torch module that a file is made of, and that it is compared with."""

import copy
import warnings
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn


@runtime_checkable
class LayeredSource(Protocol):
    """A source that also tells what each of its layers gives."""

    def layers(self, audio: "Tensor") -> "dict[str, Tensor]":
        """Name of a layer → what it gives after its activation, in the order of computation.

        float32 [n, 1, window] -> float32 [n, channels, steps] each; values, where a layer gives codes.
        """
        ...


@runtime_checkable
class IntegerSource(Protocol):
    """A source that also tells the integers it computes with."""

    def codes(self, audio: "Tensor") -> "Tensor | None":
        """Codes of the last quantized tensor before the output.

        float32 [n, 1, window] -> int8 [n, channels, steps], or None if no activation is quantized.
        """
        ...

    def unfolded(self) -> "nn.Module":
        """The same graph for one window with float weights that it quantizes itself.

        float32 [1, 1, window] -> float32 [1, driven], for converters that store the codes of weights
        by themselves. The rest of the source's graphs holds these codes.
        """
        ...


def frozen_copy(module: "nn.Module") -> "nn.Module":
    """A copy of ``module`` on the CPU, in evaluation mode; the caller's stays as it is."""
    with warnings.catch_warnings():
        # An exported graph inside holds specs of its arguments, and torch cannot copy these without
        # telling that it will call them otherwise one day.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        return copy.deepcopy(module).cpu().eval()
