"""The real-time ensemble: a pose as the weighted mean of predictions around its moment.

A student that hears little of the future trembles. The pose at time t is then the mean of its
predictions one hop (256 samples, 16 ms) before t, at t and one hop after, at whatever rate the
animation runs; more weights reach more hops to both sides. Han et al. (2025, arXiv:2507.18352) take
three predictions 16.7 ms apart, 1/3 each. The client does it, as `lipstill animate` does; a model
file only says in its signature with which weights.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from compress.speech.audio import HOP, SAMPLE_RATE
from exporters.signature import hops_awaited

Floats = NDArray[np.float32]
Moments = NDArray[np.int64]
# An odd number of weights of at least 0 that sum to 1: for each hop from as many before the moment
# to as many after it.
Weights = Sequence[float]

NONE = (1.0,)


def latency_ms(weights: Weights) -> float:
    """How long a pose waits for predictions after its moment, in ms; 16 for three weights."""
    return 1000 * HOP * hops_awaited(weights) / SAMPLE_RATE


def smoothed_at(
    predict: Callable[[Moments], Floats],
    moments: Moments,
    weightings: Sequence[Weights],
    hop: int = HOP,
) -> list[Floats]:
    """Curves `[frames, controls]` at each moment, a whole sample, for each of several weightings.

    `predict` gives `[n, controls]` for n different moments in ascending order, which may lie up to
    the reach of the weights outside of those asked. Each is predicted once, however many poses and
    weightings it is a part of, and none for a weight of 0.
    """
    taps = [_taps(weights) for weights in weightings]
    offsets = sorted({offset for pairs in taps for offset, _ in pairs})
    asked = np.stack([moments + offset * hop for offset in offsets])
    distinct, places = np.unique(asked, return_inverse=True)
    place_of = dict(zip(offsets, places.reshape(asked.shape), strict=True))
    predictions = predict(distinct)

    def mean(pairs: list[tuple[int, float]]) -> Floats:
        # Summed in double precision, so that a face at rest rests.
        total = np.zeros((len(moments), predictions.shape[1]))
        for offset, weight in pairs:
            total += weight * predictions[place_of[offset]].astype(np.float64)
        return total.astype(np.float32)

    return [mean(pairs) for pairs in taps]


def _taps(weights: Weights) -> list[tuple[int, float]]:
    """Offset in hops and weight of each prediction that counts."""
    reach = len(weights) // 2
    return [(i - reach, weight) for i, weight in enumerate(weights) if weight]
