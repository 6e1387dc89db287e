"""A student in PyTorch with a signature, asked as its files are, or for all hops of a stretch."""

from typing import TYPE_CHECKING

import numpy as np

from exporters.signature import Signature
from exporters.targets.runtime import Floats, check_audio

if TYPE_CHECKING:
    from torch import nn

    from compress.students.contract import DenseStudent

_BATCH = 64  # windows at once; of 8192 samples they are 2 MB
_HOPS = 1024  # of a stretch at once, so that memory does not grow with the clip


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


class DensePredictor:
    """A float student in its dense form: what its windows give to float rounding, in a tenth of the time."""

    def __init__(self, student: "DenseStudent", signature: Signature) -> None:
        self.signature = signature
        self._student = student

    def run(self, audio: Floats) -> Floats:
        """float32 `[n, 1, window]` → float32 `[n, driven]`."""
        check_audio(audio, self.signature)
        return np.concatenate(
            [np.zeros((0, len(self.signature.driven)), np.float32), *map(self.stretch, audio[:, 0])]
        )

    def stretch(self, samples: Floats) -> Floats:
        """float32 `[(n − 1) · hop + window]` → `[n, driven]`, a pose for each hop."""
        import torch

        hop, window = self.signature.hop, self.signature.window
        count = (len(samples) - window) // hop + 1
        poses = []
        with torch.inference_mode():
            for at in range(0, count, _HOPS):
                end = (min(at + _HOPS, count) - 1) * hop + window
                part = torch.from_numpy(np.ascontiguousarray(samples[at * hop : end]))
                rig = self._student.limited(self._student(part[None, None]))
                poses.append(rig[0].T.numpy())
        return np.concatenate(poses)
