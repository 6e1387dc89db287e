"""Two predictors that a student has to beat: the mean curve, and ridge regression on log-mels."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.labels.examples import Example, hops_of
from compress.speech.audio import HOP, SAMPLE_RATE

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
# Of more speech than this every so many-th clip is fit on: 1306 numbers ask for no more, and the
# log-mels of each hour are 36 MB.
HOURS = 10.0


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
    """Fit on training clips, at most `HOURS` of them."""
    chosen = fitted_on(clips)
    total, hops = _total(clips[i].curves for i in chosen), hops_of(clips)
    return MeanCurve((total / sum(hops[i] for i in chosen)).astype(np.float32))


def fit_ridge(clips: Sequence[Example], evening: NDArray[np.float64] | None = None) -> Ridge:
    """Fit on training clips, at most `HOURS` of them, one after the other.

    The penalty is the one that does best on a tenth left out for that, each control's error
    multiplied by `evening` where there is some. What is kept of a clip is its log-mels and its
    curves.
    """
    kept = [_Heard(log_mels(clips[i].samples), clips[i].curves) for i in fitted_on(clips)]
    judged = kept[JUDGED_ONE_IN - 1 :: JUDGED_ONE_IN]
    del kept[JUDGED_ONE_IN - 1 :: JUDGED_ONE_IN]
    sums = _Sums(kept)
    if not judged:
        return sums.solve(PENALTIES[1])
    tried = [sums.solve(penalty) for penalty in PENALTIES]
    errors = np.zeros(len(tried))
    for clip in judged:
        x = windows(clip.mels)
        for i, ridge in enumerate(tried):
            apart = x @ ridge.weights + ridge.bias - clip.curves
            errors[i] += ((apart if evening is None else apart * evening) ** 2).sum()
    return _Sums(kept + judged).solve(tried[int(errors.argmin())].penalty)


def fitted_on(clips: Sequence[Example], hours: float = HOURS) -> range:
    """Every so many-th clip, so that there are at most about so many hours; all, where there are less."""
    heard = sum(hops_of(clips)) * HOP / SAMPLE_RATE / 3600
    return range(0, len(clips), max(1, math.ceil(heard / hours)))


@dataclass(frozen=True)
class _Heard:
    """A clip's log-mels `[hops, MELS]` and its curves `[hops, driven]`."""

    mels: Floats
    curves: Floats


class _Sums:
    """All that least squares needs of clips: float64 sums, over one clip at a time.

    Features `[hops, CONTEXT_FRAMES · MELS]` are made of a clip's log-mels whenever they are needed.
    """

    def __init__(self, clips: Sequence[_Heard]) -> None:
        hops = sum(len(clip.curves) for clip in clips)
        self._x = _total(windows(clip.mels) for clip in clips) / hops
        self._y = _total(clip.curves for clip in clips) / hops
        n, driven = len(self._x), len(self._y)
        self._xx, self._xy = np.zeros((n, n)), np.zeros((n, driven))
        for clip in clips:
            centred = windows(clip.mels) - self._x.astype(np.float32)
            self._xx += centred.T @ centred
            self._xy += centred.T @ (clip.curves - self._y.astype(np.float32))
        self._scale = np.sqrt(self._xx.diagonal() / hops) + 1e-6

    def solve(self, penalty: float) -> Ridge:
        """Ridge regression on standardized features."""
        gram = self._xx / np.outer(self._scale, self._scale) + penalty * np.eye(len(self._scale))
        standardized = np.linalg.solve(gram, self._xy / self._scale[:, None])
        weights = standardized / self._scale[:, None]
        bias = self._y - self._x @ weights
        return Ridge(weights.astype(np.float32), bias.astype(np.float32), penalty)


def _total(rows: Iterable[Floats]) -> NDArray[np.float64]:
    """The sums of columns over all rows of arrays `[rows, columns]`."""
    return np.asarray(sum((each.sum(0, np.float64) for each in rows), np.float64(0)))
