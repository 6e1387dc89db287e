"""Playback: what a face shows at any time, from poses that are one hop apart.

A student is asked on the hop grid alone, every 256 samples (16 ms), and a pose between two of them
is the linear interpolation of both. The strides of its convolutions then always lie the same way
over the audio: asked at any moment, it trembles with where the moment falls between two steps. A
pose waits one hop for the second of them.

A student may be smoothed too, by the real-time ensemble of Han et al. (2025, arXiv:2507.18352): each
pose of the grid is then the weighted mean of its neighbours', as many hops to both sides as there
are weights. The client does both, as `lipstill animate` does; a model file only says in its
signature with which weights.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from compress.speech.audio import HOP, SAMPLE_RATE
from exporters.signature import hops_awaited

Floats = NDArray[np.float32]
Hops = NDArray[np.int64]
# An odd number of weights of at least 0 that sum to 1: for each hop from as many before the moment
# to as many after it.
Weights = Sequence[float]

NONE = (1.0,)
# A time so near to a hop is the hop's own: times are floats, and 1/60 s has no last digit.
_NEAR = 1e-6


def latency_ms(weights: Weights) -> float:
    """How long a pose waits for predictions after its moment, in ms: one hop, or two if smoothed."""
    return 1000 * HOP * (1 + hops_awaited(weights)) / SAMPLE_RATE


def played(
    predict: Callable[[Hops], Floats], times: NDArray[np.float64], weightings: Sequence[Weights]
) -> list[Floats]:
    """Curves `[frames, controls]` at each time, in hops, for each of several weightings.

    `predict` gives `[n, controls]` for n different hops in ascending order; some may lie before the
    clip or after it. Each is predicted once, however many poses it is a part of, and none for a
    weight of 0.
    """
    before = np.floor(times + _NEAR).astype(np.int64)
    share = np.where(times - before < _NEAR, 0.0, times - before)[:, None]
    after = before + (share[:, 0] > 0)
    taps = [_taps(weights) for weights in weightings]
    offsets = sorted({offset for pairs in taps for offset, _ in pairs})
    asked = np.unique([np.stack([before, after]) + offset for offset in offsets])
    poses = predict(asked).astype(np.float64)  # so that a face at rest rests

    def at(hops: Hops, pairs: list[tuple[int, float]]) -> NDArray[np.float64]:
        smoothed = np.zeros((len(hops), poses.shape[1]))
        for offset, weight in pairs:
            smoothed += weight * poses[np.searchsorted(asked, hops + offset)]
        return smoothed

    def curves(pairs: list[tuple[int, float]]) -> Floats:
        first, second = at(before, pairs), at(after, pairs)
        return (first + share * (second - first)).astype(np.float32)

    return [curves(pairs) for pairs in taps]


def _taps(weights: Weights) -> list[tuple[int, float]]:
    """Offset in hops and weight of each prediction that counts."""
    reach = len(weights) // 2
    return [(i - reach, weight) for i, weight in enumerate(weights) if weight]
