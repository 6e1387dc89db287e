"""Teachers: what one must answer, and how one is found. One file a format.

A format is a module of this package that defines ``open_checkpoint(path, trust) -> Teacher |
None``: None when the file is not of its format. A new format is a new module; nothing is
registered.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Teacher(Protocol):
    """The teacher contract.

    A clip's curves must not depend on what it was batched with; only clips of equal length are
    batched.
    """

    @property
    def controls(self) -> tuple[str, ...]:
        """Names of the rig's controls, in the order of the curves' columns."""

    @property
    def rate_hz(self) -> float:
        """Frames a second."""

    @property
    def offset_s(self) -> float:
        """The time that frame 0 stands for; frame i stands for offset_s + i / rate_hz."""

    @property
    def sample_rate_hz(self) -> int:
        """Sample rate of the audio that `animate` takes."""

    @property
    def limits(self) -> tuple[float, float] | None:
        """Range that every control keeps to, or None where the rig has none."""

    @property
    def description(self) -> str:
        """What the teacher is, in one sentence."""

    @property
    def parameters_count(self) -> int:
        """Number of weights."""

    def animate(self, audio: "Tensor") -> "Tensor":
        """float32 `[batch, samples]`, −1..1 → float32 `[batch, frames, controls]`."""
