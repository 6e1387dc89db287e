"""Which layer of a file is the first that does not say what its source says."""

from typing import TYPE_CHECKING, Any

import numpy as np

from exporters.errors import MissingToolError
from exporters.signature import Signature
from exporters.targets.runtime import Floats, Runtime
from exporters.targets.source import LayeredSource

if TYPE_CHECKING:
    from torch import nn


def first_departure(
    runtime: Runtime, source: "nn.Module", audio: Floats, max_abs: float, max_lsb: int
) -> str:
    """Name the first layer that leaves its tolerance for one window, float32 [1, 1, window].

    Each layer of the source is looked for among the file's tensors behind that of the layer before:
    the one of its shape, channels first or last, that comes nearest. Its tolerance is `max_abs`
    times its largest value, or where the layer gives codes `max_lsb` steps of these. A layer that
    no tensor of its shape stands for is left out: a runtime may compute two at once. Empty for a
    source that does not tell its layers.
    """
    if not isinstance(source, LayeredSource):
        return ""
    import torch

    with torch.inference_mode():
        layers = {name: x[0].numpy() for name, x in source.layers(torch.from_numpy(audio)).items()}
    try:
        tensors = list(runtime.tensors(audio).items())
    except MissingToolError as error:
        return f"layers were not compared: {error}"
    begin = 0
    for layer, expected in layers.items():
        found = [
            (difference, place, name)
            for place, (name, values) in enumerate(tensors[begin:], begin)
            if (difference := _difference(values, expected)) is not None
        ]
        if not found:
            continue
        difference, place, name = min(found)
        tolerance = _tolerance(layer, expected, runtime.signature, max_abs, max_lsb)
        if not difference <= tolerance:
            return (
                f"the first layer to depart is {layer}: tensor {name} of the file differs from it "
                f"by {difference:.3g}, where {tolerance:.3g} may be"
            )
        begin = place + 1
    return "no layer departs by itself: each is within its tolerance on the worst window"


def _difference(values: Floats, expected: Floats) -> float | None:
    """Largest difference from [channels, steps], whichever the axes' order; None if none fits.

    A value that is not a number is infinitely far away.
    """
    flat = values.reshape([length for length in values.shape if length > 1] or [1])
    wanted = expected.reshape([length for length in expected.shape if length > 1] or [1])
    forms = [form for form in (flat, flat.T) if form.shape == wanted.shape]
    if not forms:
        return None
    with np.errstate(invalid="ignore"):
        each = [np.abs(form.astype(np.float64) - wanted).max() for form in forms]
    return min(float(value) if np.isfinite(value) else np.inf for value in each)


def _tolerance(
    layer: str, expected: Floats, signature: Signature, max_abs: float, max_lsb: int
) -> float:
    codes: Any = signature.quantization.get("tensors", {})
    largest = max(1.0, float(np.abs(expected).max()))
    # The products of neighbouring codes and their scale lie a little more than it apart in float32.
    steps = 1.001 * max_lsb * codes[layer]["scale"] if layer in codes else 0.0
    return max(max_abs * largest, steps)
