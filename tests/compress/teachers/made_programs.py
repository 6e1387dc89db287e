"""Small programs whose answers NumPy computes by hand."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from compress.teachers import Opening, Port
from compress.teachers.programs.program import Program

Opens: TypeAlias = Callable[[str], Opening]
Run: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any]]

AUDIO = Port("audio", "float32", ("batch", "samples"))


class Heard:
    """A program that notes the shapes of what it is fed."""

    def __init__(self, run: Run, *inputs: Port) -> None:
        self.calls: list[dict[str, np.ndarray]] = []
        self._run = run
        self.program = Program("p", "a program", 7, inputs or (AUDIO,), (), self.run)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append(dict(feeds))
        return self._run(feeds)


def energies(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Sum of squares, first and last sample of a window: `[batch, 3]`."""
    x = feeds["audio"].reshape(len(feeds["audio"]), -1)
    return {"out": np.stack([np.square(x).sum(1), x[:, 0], x[:, -1]], 1)}


def hops(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Mean of every 160 samples, and that minus 1: `[batch, frames, 2]`."""
    x = feeds["audio"].reshape(len(feeds["audio"]), -1)
    means = x[:, : x.shape[1] // 160 * 160].reshape(len(x), -1, 160).mean(2)
    return {"out": np.stack([means, means - 1], 2)}
