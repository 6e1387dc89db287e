"""Which input of a program takes audio, and how it is laid out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import TeacherError
from compress.teachers import Port

if TYPE_CHECKING:
    from compress.recipe.teacher import InterfaceSettings, Layout

Array = NDArray[Any]
Floats = NDArray[np.float32]

# A dimension of which the file does not even say a name.
ANY = "?"
_LAYOUTS: "dict[int, Layout]" = {1: "samples", 2: "batch,samples", 3: "batch,1,samples"}


def in_words(port: Port) -> str:
    """Such as ``emotion float32 [batch, 26]``."""
    shape = "of any shape" if port.shape is None else f"[{', '.join(map(str, port.shape))}]"
    return f"{port.name} {port.dtype} {shape}"


def listed(ports: Sequence[Port]) -> str:
    return "; ".join(map(in_words, ports)) or "none that it names"


def dtype_of(port: Port) -> np.dtype[Any]:
    """What NumPy calls the type; float32 for one that it lacks, or that the file does not say."""
    try:
        return np.dtype(port.dtype)
    except TypeError:
        return np.dtype(np.float32)


@dataclass(frozen=True)
class AudioInput:
    """The input that takes audio. `batch` and `samples` are None where any number fits."""

    port: Port
    layout: "Layout"

    @property
    def batched(self) -> bool:
        return self.layout != "samples"

    @property
    def batch(self) -> int | None:
        first = self.port.shape[0] if self.port.shape and self.batched else None
        return first if isinstance(first, int) else None

    @property
    def samples(self) -> int | None:
        last = self.port.shape[-1] if self.port.shape else None
        return last if isinstance(last, int) else None

    def laid_out(self, audio: Floats) -> Array:
        """float32 `[batch, samples]` in the input's layout and type."""
        if self.layout == "samples":
            audio = audio[0]
        elif self.layout == "batch,1,samples":
            audio = audio[:, None]
        return np.ascontiguousarray(audio, dtype_of(self.port))

    def sizes(self, audio: Floats) -> dict[str, int]:
        """What the names of dimensions stand for with this audio, float32 `[batch, samples]`."""
        shape = self.port.shape or ()
        found = [*zip(shape[-1:], audio.shape[-1:], strict=True)] if shape else []
        found += [(shape[0], len(audio))] if shape and self.batched else []
        return {name: size for name, size in found if isinstance(name, str) and name != ANY}


def audio_input(
    name: str, inputs: Sequence[Port], interface: "InterfaceSettings"
) -> tuple[AudioInput, tuple[Port, ...]]:
    """The input for audio, and those for constants. Raises `TeacherError` where one has nothing."""
    ports = {port.name: port for port in inputs}
    if unknown := [key for key in (interface.audio, *interface.inputs) if key and key not in ports]:
        raise TeacherError(
            f"Teacher {name} has no input {', '.join(unknown)}; its inputs are: {listed(inputs)}. "
            f"Correct teacher.interface.audio and teacher.interface.inputs."
        )
    free = [port for port in inputs if port.name not in interface.inputs]
    audio = ports[interface.audio] if interface.audio else free[0] if len(free) == 1 else None
    if audio is None:
        raise TeacherError(
            f"Teacher {name} has {len(free)} inputs without a constant ({listed(free)}), expected "
            f"one, which takes the audio. Name it in teacher.interface.audio, and give each other "
            f"input a constant in teacher.interface.inputs."
        )
    if missing := [port for port in free if port is not audio]:
        raise TeacherError(
            f"Teacher {name} needs a constant for {listed(missing)}; the recipe has none. Give it "
            f"in teacher.interface.inputs: a number, a list, or {{file: NAME.npy}}."
        )
    if not np.issubdtype(dtype_of(audio), np.floating):
        raise TeacherError(
            f"Teacher {name} takes audio as {in_words(audio)}, expected floating-point numbers from "
            f"−1 to 1. Is it the input for audio? teacher.interface.audio names it."
        )
    constants = tuple(port for port in inputs if port is not audio)
    return AudioInput(audio, _layout(name, audio, interface)), constants


def _layout(name: str, port: Port, interface: "InterfaceSettings") -> "Layout":
    if port.shape is None:
        return interface.layout or "batch,samples"
    found = _LAYOUTS.get(len(port.shape))
    if found is None or interface.layout not in (None, found):
        expected = f"[{interface.layout}]" if interface.layout else "1, 2 or 3 dimensions"
        raise TeacherError(
            f"Teacher {name} takes audio as {in_words(port)}, expected {expected}. Correct "
            f"teacher.interface.layout or teacher.interface.audio, or wrap the program."
        )
    if found == "batch,1,samples" and isinstance(port.shape[1], int) and port.shape[1] != 1:
        raise TeacherError(
            f"Teacher {name} takes audio as {in_words(port)}, expected one channel: "
            f"[batch, 1, samples]. Wrap the program so that it takes mono."
        )
    return found
