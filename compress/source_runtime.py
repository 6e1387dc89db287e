"""A student in PyTorch behind the interface of a runtime: what its files are compared with."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from exporters.runtime import Codes, Floats, check_audio
from exporters.signature import Signature
from exporters.source import IntegerSource, LayeredSource

if TYPE_CHECKING:
    from torch import Tensor, nn

_BATCH = 64  # windows at once; of 8192 samples they are 2 MB


class SourceRuntime:
    """The window form of a student, `[batch, 1, window]` → `[batch, driven]`, many at once."""

    def __init__(self, module: "nn.Module", signature: Signature) -> None:
        self.signature = signature
        self._module = module

    def run(self, audio: Floats) -> Floats:
        """float32 `[n, 1, window]` → float32 `[n, driven]`."""
        import torch

        with torch.inference_mode():
            rigs = [self._module(part).numpy() for part in self._batches(audio)]
        return np.concatenate([np.zeros((0, len(self.signature.driven)), np.float32), *rigs])

    def codes(self, audio: Floats) -> Codes | None:
        """Codes of the last quantized tensor, int8 `[n, channels, steps]`; None without one."""
        import torch

        if not isinstance(self._module, IntegerSource):
            return None
        with torch.inference_mode():
            found = [self._module.codes(part) for part in self._batches(audio)]
        parts = [codes.numpy() for codes in found if codes is not None]
        return np.concatenate(parts) if parts else None

    def tensors(self, audio: Floats) -> dict[str, Floats]:
        """What each layer gives for one window, if the student tells."""
        import torch

        if not isinstance(self._module, LayeredSource):
            return {}
        with torch.inference_mode():
            (batch,) = self._batches(audio)
            return {name: given.numpy() for name, given in self._module.layers(batch).items()}

    def describe(self) -> dict[str, str]:
        """Name and version of PyTorch."""
        import torch

        return {"runtime": "PyTorch", "version": torch.__version__}

    def _batches(self, audio: Floats) -> "Iterator[Tensor]":
        import torch

        check_audio(audio, self.signature)
        for at in range(0, len(audio), _BATCH):
            yield torch.from_numpy(np.ascontiguousarray(audio[at : at + _BATCH]))
