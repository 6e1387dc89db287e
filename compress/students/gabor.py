"""The first layer `gabor_log`: pairs of filters on raw audio, and the log of their energy."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.speech.audio import SAMPLE_RATE

# The energy at which the log begins to rise: 80 dB below a full-scale sine in one filter, so −30 dB
# speech stands clear of it.
LOG_FLOOR = 1e-8
# A sine needs two taps.
SHORTEST_GABOR = 2


def gabor_pairs(pairs: int, kernel: int) -> Tensor:
    """Cosine and sine Gabor filters of unit norm, float32 `[2 · pairs, 1, kernel]`, cosines first.

    Centre frequencies are equally spaced in mel from 90 Hz to 7.2 kHz. Bandwidths grow with
    frequency as hearing's do, 60 Hz at the least.
    """

    def mel(hz: float) -> float:
        return 2595 * math.log10(1 + hz / 700)

    centre_hz = 700 * (10 ** (np.linspace(mel(90), mel(7200), pairs) / 2595) - 1)
    time_s = (np.arange(kernel) - (kernel - 1) / 2) / SAMPLE_RATE
    bandwidth_hz = np.maximum(centre_hz * 0.12, 60)
    taper = np.hanning(kernel + 2)[1:-1]  # without its zeros: every tap counts
    envelope = np.exp(-0.5 * (np.pi * bandwidth_hz[:, None] * time_s) ** 2) * taper
    phase = 2 * np.pi * centre_hz[:, None] * time_s
    filters = np.concatenate([envelope * np.cos(phase), envelope * np.sin(phase)])
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    return torch.from_numpy(filters[:, None].astype(np.float32))


class LogEnergy(nn.Module):
    """Log of each quadrature pair's energy, averaged over `kernel` steps every `stride` steps.

    `[batch, 2 · pairs, steps]` → `[batch, pairs, (steps − kernel) // stride + 1]`. Averaging keeps
    the pulses of the voice out of the features: sampled every few ms without it, a pitch of 100 to
    250 Hz shakes the curves (docs/decisions.md). As in N. Zeghidour et al., *LEAF: A learnable
    frontend for audio classification*, 2021, with a box in place of its learned Gaussians.
    """

    def __init__(self, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        cosine, sine = x.chunk(2, dim=1)
        energy = cosine * cosine + sine * sine
        if self.kernel * self.stride > 1:
            energy = F.avg_pool1d(energy, self.kernel, self.stride)
        # Not log(energy + floor): a graph optimizer takes an addend of 1e-8 for zero and removes
        # it, and then silence is log 0. Adding 1 to the scaled energy differs by a constant and
        # maps silence to 0.
        return torch.log(energy * (1 / LOG_FLOOR) + 1.0)
