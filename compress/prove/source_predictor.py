"""A student in PyTorch with a signature, asked for all hops of a stretch at once."""

from typing import TYPE_CHECKING

import numpy as np

from exporters.signature import Signature
from exporters.targets.runtime import Floats, check_audio

if TYPE_CHECKING:
    from compress.students.contract import DenseStudent

_HOPS = 1024  # of a stretch at once, so that memory does not grow with the clip


class SourcePredictor:
    """A student in its dense form: what its windows give to float rounding, in a tenth of the time."""

    def __init__(self, student: "DenseStudent", signature: Signature) -> None:
        self.signature = signature
        self._student = student

    def run(self, audio: Floats) -> Floats:
        """float32 `[n, 1, window]` → float32 `[n, driven]`."""
        check_audio(audio, self.signature)
        nothing = np.zeros((0, len(self.signature.driven)), np.float32)
        return np.concatenate([nothing, *map(self.stretch, audio[:, 0])])

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
