"""The one thing that parity, benchmarks and players know of a runtime."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from exporters.signature import Signature

Floats = NDArray[np.float32]
Codes = NDArray[np.int8]


class Predictor(Protocol):
    """Whatever gives a pose for a window: a file in its runtime, or its source."""

    @property
    def signature(self) -> Signature:
        """What a client must know of it; a file carries its own."""
        ...

    def run(self, audio: Floats) -> Floats:
        """Predict one pose for each window: float32 [n, 1, window] -> float32 [n, driven].

        A file holds one window, so it is called n times. Raises ValueError for another shape or
        dtype.
        """
        ...


class Runtime(Predictor, Protocol):
    """A model file, opened in the runtime that a product would use."""

    def codes(self, audio: Floats) -> Codes | None:
        """Codes of the last quantized tensor before the output, for each window.

        float32 [n, 1, window] -> int8 [n, channels, steps], or None if the file quantizes no
        activation. Raises ValueError as ``run`` does.
        """
        ...

    def tensors(self, audio: Floats) -> dict[str, Floats]:
        """What the file computes on the way for one window, float32 [1, 1, window], in order.

        Name in the file -> float32, codes as the values they stand for; constants left out. Axes of
        length 1 stand where the format has them, and channels may come last: whoever compares needs
        to know neither. Computed without the runtime's own rearrangements of the graph, so the last
        of them may differ from `run` by a rounding. Raises ValueError as ``run`` does.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Name, version and settings of the runtime, for the record beside each figure."""
        ...


def check_audio(audio: Floats, signature: Signature) -> None:
    """Raise ValueError unless ``audio`` is float32 [n, 1, window] with the signature's window."""
    expected = ("n", 1, signature.window)
    if audio.ndim != 3 or audio.shape[1:] != expected[1:] or audio.dtype != np.float32:
        raise ValueError(
            f"audio is {audio.dtype} {list(audio.shape)}, "
            f"expected float32 [n, 1, {signature.window}]"
        )
