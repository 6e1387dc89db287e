"""Noise, what a source makes of it, and how far its Core ML package may be from that."""

import numpy as np
import torch
from torch import nn

LIMITS = {"fp32": 1e-5, "fp16": 5e-3, "int8": 2e-3}


def noise(decibels: float, window: int, seed: int = 0) -> np.ndarray:
    """Four windows of white noise, so many decibels below full scale."""
    draw = np.random.default_rng(seed).standard_normal((4, 1, window))
    return (draw * 10 ** (decibels / 20)).clip(-1, 1).astype(np.float32)


def rig_of(source: nn.Module, audio: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return source(torch.from_numpy(audio)).numpy()
