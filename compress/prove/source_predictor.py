"""A student in PyTorch, asked as its files are: window by window, with a signature."""

from typing import TYPE_CHECKING

import numpy as np

from exporters.signature import Signature
from exporters.targets.runtime import Floats, check_audio

if TYPE_CHECKING:
    from torch import nn

_BATCH = 64  # windows at once; of 8192 samples they are 2 MB


class SourcePredictor:
    """The window form of a student, `[batch, 1, window]` → `[batch, driven]`, many at once."""

    def __init__(self, module: "nn.Module", signature: Signature) -> None:
        self.signature = signature
        self._module = module

    def run(self, audio: Floats) -> Floats:
        """float32 `[n, 1, window]` → float32 `[n, driven]`."""
        import torch

        check_audio(audio, self.signature)
        rigs = [np.zeros((0, len(self.signature.driven)), np.float32)]
        with torch.inference_mode():
            for at in range(0, len(audio), _BATCH):
                part = np.ascontiguousarray(audio[at : at + _BATCH])
                rigs.append(self._module(torch.from_numpy(part)).numpy())
        return np.concatenate(rigs)
