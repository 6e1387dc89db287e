"""Depthwise-separable convolutions in the plan of `conv_fc`, with the same window arithmetic.

Each convolution behind the first one is two: ``depthN`` moves over the steps, every channel by
itself, and ``convN``, ``head1`` or ``head2`` of one step mixes the channels. Far fewer weights and
multiply-adds for the same context; most of what a student has of either lies in its head's long
convolution.

A. G. Howard et al., *MobileNets*, 2017, arXiv:1704.04861: a norm and an activation behind both.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compress.speech.audio import HOP
from compress.students import conv_fc
from compress.students.contract import Convolution, Student
from compress.students.conv_fc import ACTIVATIONS, ConvFCConfig, Layer, Walk
from compress.students.gabor import LogEnergy, gabor_pairs
from exporters import records

if TYPE_CHECKING:
    from compress.recipe.recipe import StudentSettings


@records.strict
@dataclass(frozen=True)
class SeparableConfig(ConvFCConfig):
    """The plan of `ConvFCConfig`; each of its layers but ``first`` and ``rig`` is a pair."""

    @property
    def layer_names(self) -> tuple[str, ...]:
        """``first``, ``depth1``, ``conv1`` …, ``head2``, ``rig``."""
        pairs = ((f"depth{i}", name) for i, name in enumerate(self.compared, 1))
        return ("first", *(name for pair in pairs for name in pair), "rig")

    def convolutions(self) -> Iterator[Convolution]:
        walk = Walk(self.window)
        filters = self.first.channels * (2 if self.log_energy else 1)
        yield walk.over("first", self.first, filters, bias=not self.log_energy)
        if self.log_energy:
            walk.pool(self.energy, self.first.channels)
        for i, (name, layer) in enumerate(self.pairs.items(), 1):
            alone = Layer(layer.kernel, layer.stride, walk.channels)
            yield walk.over(f"depth{i}", alone, groups=walk.channels)
            yield walk.over(name, Layer(1, 1, layer.channels))
        yield walk.over("rig", Layer(1, 1, self.outputs))

    @property
    def pairs(self) -> dict[str, Layer]:
        """By the name of its second half, what each pair is together; in the dense form."""
        heads = (
            Layer(self.head_kernel, 1, self.head_channels[0]),
            Layer(self.long_kernel, HOP // self.total_stride, self.head_channels[1]),
        )
        return dict(zip(self.compared, (*self.layers, *heads), strict=True))


class Separable(Student):
    """The student in its dense form."""

    config: SeparableConfig

    def __init__(self, config: SeparableConfig) -> None:
        super().__init__(config)
        steps: OrderedDict[str, nn.Module] = OrderedDict()

        def add(name: str, convolution: nn.Conv1d) -> int:
            steps[name] = convolution
            if config.batch_norm:
                steps[f"{name}_norm"] = nn.BatchNorm1d(convolution.out_channels)
            steps[f"{name}_{config.activation}"] = ACTIVATIONS[config.activation]()
            return convolution.out_channels

        channels, first = config.first.channels, config.first
        if config.log_energy:
            # No bias: a pair's energy is a quadrature energy only around zero.
            pairs = nn.Conv1d(1, 2 * channels, first.kernel, first.stride, bias=False)
            with torch.no_grad():
                pairs.weight.copy_(gabor_pairs(channels, first.kernel))
            steps["first"] = pairs
            steps["first_log"] = LogEnergy(config.energy.kernel, config.energy.stride)
            if config.batch_norm:
                steps["first_norm"] = nn.BatchNorm1d(channels)
        else:
            add("first", nn.Conv1d(1, channels, first.kernel, first.stride))
        for i, (name, layer) in enumerate(config.pairs.items(), 1):
            add(
                f"depth{i}",
                nn.Conv1d(channels, channels, layer.kernel, layer.stride, groups=channels),
            )
            channels = add(name, nn.Conv1d(channels, layer.channels, 1))
        steps["rig"] = nn.Conv1d(channels, config.outputs, 1)
        self.steps = nn.Sequential(steps)


def build(
    settings: "StudentSettings", outputs: int, limits: tuple[float, float] | None
) -> Separable:
    """An untrained student of the settings that `conv_fc` takes."""
    return Separable(SeparableConfig(**vars(conv_fc.planned(settings, outputs, limits))))


def from_config(fields: dict[str, Any]) -> Separable:
    """A student of the shape that its ``student.json`` records, weights not yet loaded."""
    return Separable(SeparableConfig.from_json(fields))
