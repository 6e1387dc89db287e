"""Teachers: what one must answer, and how one is found. One file a format.

A format is a module of this package that defines `find`, `open_checkpoint` and `describe` as
`Format` says. A new format is a new module; nothing is registered. It is imported to look at files:
what it needs to open one it imports then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from exporters.contracts import Kind

if TYPE_CHECKING:
    from torch import Tensor

    from compress.recipe.teacher import InterfaceSettings


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


@dataclass(frozen=True)
class Found:
    """Where a checkpoint lies, and the files whose bytes make it what it is.

    `weights` is false where its weights lie elsewhere, such as those that code reads or makes.
    """

    path: Path
    files: tuple[Path, ...]
    weights: bool = True


@dataclass(frozen=True)
class Opening:
    """What a recipe says about a checkpoint beside its name; `base` is where its paths start.

    `device` is one that is here, by PyTorch's name for it; `precision` fp32, bf16 or fp16.
    """

    trust: bool = False
    download: bool = False
    interface: "InterfaceSettings | None" = None
    base: Path = field(default_factory=Path)
    device: str = "cpu"
    precision: str = "fp32"


@dataclass(frozen=True)
class Port:
    """An input or output of a program. A dimension is a number, or a name where any size fits.

    `shape` is None where the file does not say it.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True)
class Description:
    """What can be said of a checkpoint without running anything that it holds.

    `interface` is true for a program that needs a recipe's `teacher.interface`, None where only
    running it would tell; `facts` has what else there is to say, by name; what is not `complete`
    is no teacher yet, such as weights alone. `controls` are its own, and `driven` those
    that it can move; None where it does not say so.
    """

    kind: str
    parameters: int | None
    trust: bool
    interface: bool | None
    inputs: Sequence[Port] = ()
    outputs: Sequence[Port] = ()
    facts: dict[str, str] = field(default_factory=dict)
    complete: bool = True
    controls: tuple[str, ...] | None = None
    driven: tuple[str, ...] | None = None


class Format(Protocol):
    """What a module of this package defines to be a format of teachers."""

    __name__: str

    def find(self, name: str, base: Path) -> Found | None:
        """The checkpoint that a recipe calls `name`, relative to `base`; None if it is of another
        format. Opens nothing that could run code, and recognises what no other format does.
        """

    def open_checkpoint(self, path: Path, opening: Opening) -> Teacher:
        """The teacher that was found, ready to animate, on the device that is asked.

        Raises `TeacherError` for what is damaged, does not fit, could run code untrusted, or cannot
        be had on that device or in that precision.
        """

    def devices(self) -> tuple[str, ...]:
        """The devices of this machine that it can use, the fastest first and ``cpu`` last."""

    def describe(self, path: Path) -> Description:
        """What was found is; trusts nothing. Raises `TeacherError` for what is damaged."""


FORMATS: Kind[Format] = Kind("format of teachers", f"{__name__}.formats", Format)
