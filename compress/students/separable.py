"""Depthwise-separable convolutions in the plan of `conv_fc`, with the same window arithmetic.

Each convolution behind the first one is two: ``depthN`` moves over the steps, every channel by
itself, and ``convN``, ``head1`` or ``head2`` of one step mixes the channels. Far fewer weights and
multiply-adds for the same context; most of what a student has of either lies in its head's long
convolution.

A. G. Howard et al., *MobileNets*, 2017, arXiv:1704.04861: a norm and an activation behind both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from compress.students import conv_fc
from compress.students.contract import Convolution, Student
from compress.students.conv_fc import ConvFCConfig, Layer, Walk, chain
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

    def _behind(self, walk: Walk) -> Iterator[Convolution]:
        for i, (name, layer) in enumerate(self.behind.items(), 1):
            alone = Layer(layer.kernel, layer.stride, walk.channels)
            yield walk.over(f"depth{i}", alone, groups=walk.channels)
            yield walk.over(name, Layer(1, 1, layer.channels))


class Separable(Student):
    """The student in its dense form."""

    config: SeparableConfig

    def __init__(self, config: SeparableConfig) -> None:
        super().__init__(config)
        self.steps = chain(config, self._behind)

    def _behind(self, channels: int) -> Iterator[tuple[str, nn.Conv1d]]:
        for i, (name, layer) in enumerate(self.config.behind.items(), 1):
            kernel, stride = layer.kernel, layer.stride
            yield f"depth{i}", nn.Conv1d(channels, channels, kernel, stride, groups=channels)
            yield name, nn.Conv1d(channels, layer.channels, 1)
            channels = layer.channels


def build(
    settings: "StudentSettings", outputs: int, limits: tuple[float, float] | None
) -> Separable:
    """An untrained student of the settings that `conv_fc` takes."""
    return Separable(SeparableConfig(**vars(conv_fc.planned(settings, outputs, limits))))


def from_config(fields: dict[str, Any]) -> Separable:
    """A student of the shape that its ``student.json`` records, weights not yet loaded."""
    return Separable(SeparableConfig.from_json(fields))
