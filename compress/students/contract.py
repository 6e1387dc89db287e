"""What a student is to everything that trains, shrinks, exports and judges it.

An architecture is a plan (`Plan`) and a network of that plan (`Student`): a chain of named
convolutions on raw audio. Whoever keeps this contract is distilled, pruned, made int8, exported and
proved without another line. Both forms of a student have the same weights and agree to float
rounding:

- dense: `[batch, 1, samples]` → `[batch, controls, frames]`, one frame a hop, for training and bulk
  inference;
- window: `[batch, 1, past + future]` → `[batch, controls]`, stateless, what ships (`Window`).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from compress.speech.audio import HOP


@dataclass(frozen=True)
class Convolution:
    """One of a student's convolutions, as large as it is, and how many steps it makes.

    `steps_window` for one frame of the window form, `steps_hop` for one more frame of the dense form.
    """

    name: str
    weights: int
    biases: int
    steps_window: int
    steps_hop: int


class Plan(Protocol):
    """The shape of a student, without weights: a frozen dataclass that JSON can hold."""

    @property
    def past(self) -> int:
        """Samples before the moment of a frame that it hears."""

    @property
    def future(self) -> int:
        """And after it."""

    @property
    def outputs(self) -> int:
        """Driven controls."""

    @property
    def limits(self) -> tuple[float, float] | None:
        """What values are kept within."""

    @property
    def batch_norm(self) -> bool:
        """Whether norms stand behind the convolutions; in students that ship they are folded."""

    @property
    def activation(self) -> str:
        """What stands behind each convolution but the last: relu, leaky_relu or silu."""

    @property
    def first_layer(self) -> str:
        """What the first convolution is: gabor_log or conv."""

    @property
    def window(self) -> int:
        """Samples that one frame sees; also the receptive field, exactly."""

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Every convolution in order, ``rig`` last; no name has an underscore."""

    @property
    def log_energy(self) -> bool:
        """Whether the first convolution's outputs are pairs whose energy's log goes on."""

    def convolutions(self) -> Iterator[Convolution]:
        """What each of them has and does, in their order."""

    def grid(self, name: str) -> tuple[int, float]:
        """When the steps of a layer stand in time; `KeyError` for one that features do not compare.

        Samples between two steps, and where step 0 lies from frame 0 of the dense form, in samples.
        """

    def channels(self, name: str) -> int:
        """Channels of a layer that `grid` knows."""

    @property
    def compared(self) -> tuple[str, ...]:
        """The layers that `grid` knows."""

    def prunable(self) -> dict[str, int]:
        """Channels of each layer that may lose some, in order."""

    def narrowed(self, widths: Mapping[str, int]) -> Self:
        """The plan with other channel counts; layers that are not named keep theirs."""

    def to_json(self) -> dict[str, Any]:
        """What the architecture's `from_config` takes."""


class DenseStudent(nn.Module):
    """Whatever gives the curves of a student of this plan, all frames of a stretch at once.

    Its `forward` is `[batch, 1, samples]` → `[batch, outputs, frames]`, before the limits. Frame j
    sees the samples j · HOP to j · HOP + window and stands for sample j · HOP + past.
    """

    def __init__(self, config: Plan) -> None:
        super().__init__()
        self.config = config

    def limited(self, rig: Tensor) -> Tensor:
        """The rig's values kept within the teacher's limits, where it has some."""
        return rig if self.config.limits is None else rig.clamp(*self.config.limits)

    @torch.inference_mode()
    def animate(self, audio: Tensor) -> Tensor:
        """Every hop of a clip: float32 `[batch, samples]` → `[batch, hops, outputs]`.

        There are ceil(samples / HOP) hops; beyond the clip's ends the student hears zeros.
        """
        frames = math.ceil(audio.shape[-1] / HOP)
        needed = (frames - 1) * HOP + self.config.window
        padded = nn.functional.pad(
            audio, (self.config.past, max(0, needed - self.config.past - audio.shape[-1]))
        )
        return self.limited(self(padded[:, None, :needed])).transpose(1, 2)


class Trainable(DenseStudent, ABC):
    """A student whose weights training moves."""

    @abstractmethod
    def tapped(
        self, audio: Tensor, taps: Collection[str] = (), rig: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """`forward`, and what the layers named in `taps` gave after their activation.

        Without `rig`, it may stop at the last of these layers. For training.
        """


class Student(Trainable):
    """A chain of named steps: convolutions, each with its norm and its activation behind it.

    An architecture fills `steps` with modules called LAYER, ``LAYER_norm`` and ``LAYER_ACTIVATION``
    for the plan's layers in order (``first_log`` behind a first layer of pairs), and ``rig`` last.
    A convolution has one group, or as many as channels.
    """

    steps: nn.Sequential

    def forward(self, audio: Tensor) -> Tensor:
        rig: Tensor = self.steps(audio)
        return rig

    def tapped(
        self, audio: Tensor, taps: Collection[str] = (), rig: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        # What is before the log of the energies, and the last layer, stay float32 under autocast,
        # since bfloat16 has 8 bits and the waveform and the curves need more.
        found: dict[str, Tensor] = {}
        x = audio
        for name, module in self.steps.named_children():
            if name == "rig" or (self.config.log_energy and name in ("first", "first_log")):
                with torch.autocast(audio.device.type, enabled=False):
                    x = module(x.float())
            else:
                x = module(x)
            layer = name.removesuffix(f"_{self.config.activation}")
            if layer != name and layer in taps:
                found[layer] = x
                if not rig and len(found) == len(taps):
                    break
        return x, found

    @property
    def convolutions(self) -> dict[str, nn.Conv1d]:
        """The convolutions by name, in order."""
        return {
            name: module
            for name, module in self.steps.named_children()
            if isinstance(module, nn.Conv1d)
        }

    @property
    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def of(self, **changes: Any) -> Self:
        """An untrained student of the same architecture whose plan differs in some fields."""
        return self.shaped(replace(self.config, **changes))  # type: ignore[type-var]

    def shaped(self, plan: Plan) -> Self:
        """An untrained student of the same architecture and another plan."""
        return type(self)(plan)


class Window(nn.Module):
    """The student in its window form, the one that is exported."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, audio: Tensor) -> Tensor:
        """`[batch, 1, window]` → `[batch, outputs]`."""
        return self.student.limited(self.student(audio))[:, :, 0]

    def layers(self, audio: Tensor) -> dict[str, Tensor]:
        """What each layer gives the next: `[batch, channels, steps]`, the rig last."""
        found: dict[str, Tensor] = {}
        last, x = "", audio
        for name, module in self.student.steps.named_children():
            if isinstance(module, nn.Conv1d):
                if last:
                    found[last] = x
                last = name
            x = module(x)
        return {**found, last: self.student.limited(x)}
