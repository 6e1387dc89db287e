"""Two predictors that a student has to beat: the mean curve, and ridge regression on log-mels."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.audio import HOP, SAMPLE_RATE
from compress.stretches import Example

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]

MELS = 40
CONTEXT_FRAMES = 32  # 512 ms of hops, centred like the small student's window
FRAME_LENGTH_S = 0.025
# Quiet stretches of clean audio are digital zeros; a floor keeps their log from ruling the fit.
ENERGY_FLOOR = 1e-5
PENALTIES = (1e1, 1e2, 1e3, 1e4)
# The penalty is judged on every so many-th clip.
JUDGED_ONE_IN = 10


@dataclass(frozen=True)
class MeanCurve:
    """Always the mean pose of the training labels, float32 `[driven]`."""

    pose: Floats

    @property
    def parameters(self) -> int:
        return self.pose.size

    def hops(self, samples: Floats) -> Floats:
        """Curves on the hop grid: `[samples]` → `[hops, driven]`."""
        return np.tile(self.pose, (-(-len(samples) // HOP), 1))


@dataclass(frozen=True)
class Ridge:
    """Linear in log-mels: weights float32 `[CONTEXT_FRAMES · MELS, driven]`, bias `[driven]`."""

    weights: Floats
    bias: Floats
    penalty: float

    @property
    def parameters(self) -> int:
        return self.weights.size + self.bias.size

    def hops(self, samples: Floats) -> Floats:
        """Curves on the hop grid: `[samples]` → `[hops, driven]`."""
        return np.asarray(windows(log_mels(samples)) @ self.weights + self.bias, np.float32)


def log_mels(samples: Floats) -> Floats:
    """40 log-mel energies by Lhotse's Kaldi-compatible filter bank, `[ceil(samples / HOP), MELS]`.

    Frame i is centred on the sample i · HOP.
    """
    import torch

    hops = -(-len(samples) // HOP)
    # Kaldi centres frame i half a shift after i shifts: half a hop of silence goes before.
    padded = np.pad(samples, (HOP // 2, (hops + 1) * HOP - len(samples)))
    with torch.inference_mode():
        energies = _filter_bank()(torch.from_numpy(padded)[None])[0].numpy()
    return np.asarray(np.maximum(energies[:hops], np.log(ENERGY_FLOOR)), np.float32)


@cache
def _filter_bank() -> "Callable[[Tensor], Tensor]":
    from lhotse.features.kaldi.layers import Wav2LogFilterBank

    with warnings.catch_warnings():
        # Lhotse asks NumPy for the exponential of a tensor, which NumPy 2 does with a warning.
        warnings.filterwarnings("ignore", "__array_wrap__", DeprecationWarning)
        bank: Callable[[Tensor], Tensor] = Wav2LogFilterBank(
            sampling_rate=SAMPLE_RATE,
            frame_length=FRAME_LENGTH_S,
            frame_shift=HOP / SAMPLE_RATE,
            num_filters=MELS,
            snip_edges=False,
            dither=0.0,
            energy_floor=ENERGY_FLOOR,
        )
    return bank


def windows(features: Floats) -> Floats:
    """Each hop with its context, `[hops, CONTEXT_FRAMES · MELS]`.

    As many frames before the moment as from it on.
    """
    half = CONTEXT_FRAMES // 2
    padded = np.pad(features, ((half, CONTEXT_FRAMES - half - 1), (0, 0)), mode="edge")
    view = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT_FRAMES, axis=0)
    return np.ascontiguousarray(view.transpose(0, 2, 1)).reshape(len(features), -1)


def fit_mean(clips: Sequence[Example]) -> MeanCurve:
    """Fit on training clips."""
    return MeanCurve(np.concatenate([clip.curves for clip in clips]).mean(0))


def fit_ridge(clips: Sequence[Example]) -> Ridge:
    """Fit on training clips; the penalty is the one that does best on a tenth left out for that."""
    features = [windows(log_mels(clip.samples)) for clip in clips]
    curves = [clip.curves for clip in clips]
    last = slice(JUDGED_ONE_IN - 1, None, JUDGED_ONE_IN)
    judged = list(zip(features[last], curves[last], strict=True))
    del features[last], curves[last]
    sums = _Sums(features, curves)
    if not judged:
        return sums.solve(PENALTIES[1])

    def error(ridge: Ridge) -> float:
        squares = [((x @ ridge.weights + ridge.bias - y) ** 2).sum() for x, y in judged]
        return float(np.sum(squares))

    best = min((sums.solve(penalty) for penalty in PENALTIES), key=error)
    features += [x for x, _ in judged]
    curves += [y for _, y in judged]
    return _Sums(features, curves).solve(best.penalty)


class _Sums:
    """All that least squares needs of features `[hops, n]` and curves `[hops, driven]`.

    Kept as float64 sums over clips, so that the clips are never copied into one array.
    """

    def __init__(self, features: Sequence[Floats], curves: Sequence[Floats]) -> None:
        hops = sum(len(x) for x in features)
        self._x = np.sum([x.sum(0, np.float64) for x in features], axis=0) / hops
        self._y = np.sum([y.sum(0, np.float64) for y in curves], axis=0) / hops
        pairs = zip(features, curves, strict=True)
        n, driven = len(self._x), len(self._y)
        self._xx, self._xy = np.zeros((n, n)), np.zeros((n, driven))
        for x, y in pairs:
            centred = x - self._x.astype(np.float32)
            self._xx += centred.T @ centred
            self._xy += centred.T @ (y - self._y.astype(np.float32))
        self._scale = np.sqrt(self._xx.diagonal() / hops) + 1e-6

    def solve(self, penalty: float) -> Ridge:
        """Ridge regression on standardized features."""
        gram = self._xx / np.outer(self._scale, self._scale) + penalty * np.eye(len(self._scale))
        standardized = np.linalg.solve(gram, self._xy / self._scale[:, None])
        weights = standardized / self._scale[:, None]
        bias = self._y - self._x @ weights
        return Ridge(weights.astype(np.float32), bias.astype(np.float32), penalty)
