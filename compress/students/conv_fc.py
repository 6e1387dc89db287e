"""The paper's student: unpadded strided convolutions on raw audio, and a fully connected head.

The head is made of convolutions too, so that the dense form has it as well (`contract`).

D. Han et al., *Tiny is not small enough*, 2025, arXiv:2507.18352; its exact layer table was not at
hand, so the plan is ours.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from compress.speech.audio import HOP, SAMPLE_RATE
from compress.students.contract import Convolution, Student
from compress.students.gabor import SHORTEST_GABOR, LogEnergy, gabor_pairs
from exporters import records

if TYPE_CHECKING:
    from compress.recipe.recipe import StudentSettings

CHANNEL_MULTIPLE = 8  # what int8 kernels like
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
}


@records.strict
@dataclass(frozen=True)
class Layer:
    """One convolution: kernel and stride in steps of its input, and its output channels."""

    kernel: int
    stride: int
    channels: int


@dataclass
class Walk:
    """Goes through a plan's convolutions, and counts what each has and how many steps it makes."""

    window: int
    hop: int = HOP
    channels: int = 1

    def over(
        self, name: str, layer: Layer, out: int | None = None, bias: bool = True, groups: int = 1
    ) -> Convolution:
        """The next convolution, of `out` channels if that is not the layer's own number."""
        out = layer.channels if out is None else out
        weights = layer.kernel * (self.channels // groups) * out
        self.pool(layer, out)
        return Convolution(name, weights, out if bias else 0, self.window, self.hop)

    def pool(self, layer: Layer, out: int) -> None:
        """Whatever else moves over the steps and leaves so many channels."""
        self.window = (self.window - layer.kernel) // layer.stride + 1
        self.hop, self.channels = self.hop // layer.stride, out


@records.strict
@dataclass(frozen=True)
class ConvFCConfig:
    """A plan that works: every number absolute, no multiplier left.

    `first` is the raw-audio convolution; with `gabor_log` it has `channels` Gabor pairs, hence
    twice as many filters, and their energies are averaged over `energy.kernel` steps every
    `energy.stride` steps (1 and 1: not at all). The head is a convolution of `head_kernel`, one as long as what remains
    of the window, of `head_channels` each, and a 1×1 to the outputs. Raises `ValueError` with the arithmetic for a plan that
    cannot work.
    """

    first_layer: str
    first: Layer
    layers: tuple[Layer, ...]
    head_kernel: int
    head_channels: tuple[int, int]
    past: int
    future: int
    outputs: int
    limits: tuple[float, float] | None = None
    batch_norm: bool = True
    energy: Layer = Layer(1, 1, 0)
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.first_layer != "gabor_log" and self.energy.kernel * self.energy.stride > 1:
            raise ValueError(
                f"a first layer `{self.first_layer}` has no energies to average, but its energy "
                f"kernel is {self.energy.kernel} and its energy stride {self.energy.stride}, "
                f"expected 1 and 1"
            )
        if self.first_layer == "gabor_log" and self.first.kernel < SHORTEST_GABOR:
            raise ValueError(
                f"a first layer of Gabor pairs has a kernel of {self.first.kernel} samples, "
                f"expected at least {SHORTEST_GABOR}"
            )
        if HOP % self.total_stride:
            strides = " × ".join(str(layer.stride) for layer in self._strided)
            raise ValueError(
                f"the strides {strides} = {self.total_stride} samples do not divide the hop of "
                f"{HOP} samples, so no frame would fall on every hop"
            )
        steps, rest = divmod(self.past + self.future - self._receptive_field(1), self.total_stride)
        if steps < 0:
            raise ValueError(
                f"the convolutions and the head's first kernel of {self.head_kernel} see "
                f"{self._receptive_field(1)} samples, more than the window of {self.past} + "
                f"{self.future} = {self.past + self.future}"
            )
        if rest:
            raise ValueError(
                f"the window of {self.past} + {self.future} samples leaves {rest} samples that no "
                f"kernel sees: receptive fields near it are {self._receptive_field(steps + 1)} and "
                f"{self._receptive_field(steps + 2)}; change a kernel or the context so that they "
                f"are equal"
            )

    @property
    def _strided(self) -> tuple[Layer, ...]:
        """All that moves over the audio in strides, in order; channels aside."""
        pooled = (self.energy,) if self.first_layer == "gabor_log" else ()
        return (self.first, *pooled, *self.layers)

    def _receptive_field(self, long_kernel: int) -> int:
        field, stride = 1, 1
        for layer in self._strided:
            field += (layer.kernel - 1) * stride
            stride *= layer.stride
        return field + (self.head_kernel - 1 + long_kernel - 1) * stride

    @property
    def log_energy(self) -> bool:
        """Whether the first layer's channels are pairs of filters."""
        return self.first_layer == "gabor_log"

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Every convolution in order: ``first``, ``conv1`` …, ``head1``, ``head2``, ``rig``."""
        return ("first", *self.compared, "rig")

    @property
    def compared(self) -> tuple[str, ...]:
        """The layers that `grid` knows."""
        return (*(f"conv{i}" for i in range(1, len(self.layers) + 1)), "head1", "head2")

    @property
    def total_stride(self) -> int:
        """Samples between two steps of the last convolution before the head."""
        return math.prod(layer.stride for layer in self._strided)

    @property
    def long_kernel(self) -> int:
        """Steps that the head's long convolution spans: all that is left of the window."""
        return (self.past + self.future - self._receptive_field(1)) // self.total_stride + 1

    def grid(self, name: str) -> tuple[int, float]:
        """When the steps of a layer (``conv1`` …, ``head1``, ``head2``) stand in time.

        Samples between two steps, and where step 0 lies from the frame 0 of the dense form, in
        samples. A convolution's step stands for the middle of what it sees; the head's long
        convolution, which sees the window of one frame, for the time of that frame. Raises
        `KeyError` for another name.
        """
        if name == "head2":
            return HOP, 0.0
        field, stride = 1, 1
        before = len(self._strided) - len(self.layers)
        named = {f"conv{i}": layer for i, layer in enumerate(self.layers, 1)}
        named["head1"] = Layer(self.head_kernel, 1, self.head_channels[0])
        layers = [*self._strided[:before], *named.values()]
        last = before + list(named).index(name) if name in named else -1
        if last < 0:
            raise KeyError(name)
        for layer in layers[: last + 1]:
            field += (layer.kernel - 1) * stride
            stride *= layer.stride
        return stride, (field - 1) / 2 - self.past

    def channels(self, name: str) -> int:
        """Channels of a layer that `grid` knows."""
        if name.startswith("conv"):
            return self.layers[int(name.removeprefix("conv")) - 1].channels
        return self.head_channels[("head1", "head2").index(name)]

    @property
    def window(self) -> int:
        """Samples that one frame sees; also the receptive field, exactly."""
        return self.past + self.future

    @property
    def behind(self) -> dict[str, Layer]:
        """The layers of `compared` by name; the dense form makes one step of ``head2`` a hop."""
        heads = (
            Layer(self.head_kernel, 1, self.head_channels[0]),
            Layer(self.long_kernel, HOP // self.total_stride, self.head_channels[1]),
        )
        return dict(zip(self.compared, (*self.layers, *heads), strict=True))

    def convolutions(self) -> Iterator[Convolution]:
        """Every convolution in order."""
        walk = Walk(self.window)
        filters = self.first.channels * (2 if self.log_energy else 1)
        yield walk.over("first", self.first, filters, bias=not self.log_energy)
        if self.log_energy:
            walk.pool(self.energy, self.first.channels)
        yield from self._behind(walk)
        yield walk.over("rig", Layer(1, 1, self.outputs))

    def _behind(self, walk: Walk) -> Iterator[Convolution]:
        for name, layer in self.behind.items():
            yield walk.over(name, layer)

    def prunable(self) -> dict[str, int]:
        """Channels of each layer that may lose some: all but ``rig``; of pairs each is one."""
        own = (self.first.channels, *(layer.channels for layer in self.layers), *self.head_channels)
        return dict(zip(("first", *self.compared), own, strict=True))

    def narrowed(self, widths: Mapping[str, int]) -> Self:
        """The plan with other channel counts; layers that are not named keep theirs."""
        channels = self.prunable() | dict(widths)
        return replace(
            self,
            first=replace(self.first, channels=channels["first"]),
            layers=tuple(
                replace(layer, channels=channels[f"conv{i}"])
                for i, layer in enumerate(self.layers, 1)
            ),
            head_channels=(channels["head1"], channels["head2"]),
        )

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """The plan that `to_json` wrote. Raises ValueError with all that is wrong."""
        return records.from_json(cls, json.dumps(fields))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class ConvFC(Student):
    """The student in its dense form."""

    config: ConvFCConfig

    def __init__(self, config: ConvFCConfig) -> None:
        super().__init__(config)
        self.steps = chain(config, self._behind)

    def _behind(self, channels: int) -> Iterator[tuple[str, nn.Conv1d]]:
        for name, layer in self.config.behind.items():
            yield name, nn.Conv1d(channels, layer.channels, layer.kernel, layer.stride)
            channels = layer.channels


def chain(
    config: ConvFCConfig, behind: Callable[[int], Iterator[tuple[str, nn.Conv1d]]]
) -> nn.Sequential:
    """The steps of a student: its first layer, the convolutions `behind` so many channels, its rig.

    Each has its norm and its activation behind it, but for the rig.
    """
    steps: OrderedDict[str, nn.Module] = OrderedDict()
    first, folded = config.first, not config.batch_norm

    def add(name: str, convolution: nn.Conv1d) -> int:
        steps[name] = convolution
        if not folded:
            steps[f"{name}_norm"] = nn.BatchNorm1d(convolution.out_channels)
        steps[f"{name}_{config.activation}"] = ACTIVATIONS[config.activation]()
        return convolution.out_channels

    channels = first.channels
    if config.log_energy:
        # No bias: a pair's energy is a quadrature energy only around zero.
        pairs = nn.Conv1d(1, 2 * channels, first.kernel, first.stride, bias=False)
        with torch.no_grad():
            pairs.weight.copy_(gabor_pairs(channels, first.kernel))
        steps["first"] = pairs
        steps["first_log"] = LogEnergy(config.energy.kernel, config.energy.stride)
        if not folded:
            steps["first_norm"] = nn.BatchNorm1d(channels)
    else:
        add("first", nn.Conv1d(1, channels, first.kernel, first.stride))
    for name, convolution in behind(channels):
        channels = add(name, convolution)
    steps["rig"] = nn.Conv1d(channels, config.outputs, 1)
    return nn.Sequential(steps)


def build(settings: "StudentSettings", outputs: int, limits: tuple[float, float] | None) -> ConvFC:
    """An untrained student. Raises `ValueError` for a plan that cannot work, with the arithmetic."""
    return ConvFC(planned(settings, outputs, limits))


def planned(
    settings: "StudentSettings", outputs: int, limits: tuple[float, float] | None
) -> ConvFCConfig:
    """The plan of a recipe's settings. `width` scales every channel count, rounded to a multiple of 8."""

    def scaled(channels: int) -> int:
        return max(
            CHANNEL_MULTIPLE, round(channels * settings.width / CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE
        )

    return ConvFCConfig(
        first_layer=settings.first_layer,
        first=Layer(settings.first_kernel, settings.first_stride, scaled(settings.filters)),
        layers=tuple(
            Layer(layer.kernel, layer.stride, scaled(layer.channels)) for layer in settings.layers
        ),
        head_kernel=settings.head_kernel,
        head_channels=(scaled(settings.head_channels),) * 2,
        past=round(settings.past_ms * SAMPLE_RATE / 1000),
        future=round(settings.future_ms * SAMPLE_RATE / 1000),
        outputs=outputs,
        limits=limits,
        energy=Layer(settings.energy_kernel, settings.energy_stride, 0)
        if settings.first_layer == "gabor_log"
        else Layer(1, 1, 0),
        activation=settings.activation,
    )


def from_config(fields: dict[str, Any]) -> ConvFC:
    """A student of the shape that its ``student.json`` records, weights not yet loaded."""
    return ConvFC(ConvFCConfig.from_json(fields))
