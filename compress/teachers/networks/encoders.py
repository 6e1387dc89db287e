"""Speech encoders under a Voice2Face head: what one must answer, and how one is found. One file each.

An encoder is a module of this package that defines `read_encoder` and `pretrained_fields` as
`EncoderModule` says; its name is the `encoder` of a config.json, and the `model_type` of a Hugging
Face folder. A new encoder is a new module; nothing is registered.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from exporters.contracts import Kind

if TYPE_CHECKING:
    from torch import Tensor, nn

# What the config.json that names an encoder says of itself.
FORMAT, VERSION = "lipstill-voice2face", 1
SAMPLE_RATE_HZ = 16_000


class EncoderConfig(Protocol):
    """Everything about an encoder but its weights. Frozen; compares by value."""

    @property
    def name(self) -> str:
        """Of the module that defines it."""

    @property
    def dim(self) -> int:
        """Channels of a frame."""

    @property
    def layers(self) -> int:
        """Transformer layers; the encoder gives one output more than these."""

    @property
    def stride(self) -> int:
        """Samples from one frame to the next."""

    @property
    def first_centre(self) -> float:
        """The sample that frame 0 stands for: the middle of what its convolutions see."""

    @property
    def least_samples(self) -> int:
        """The shortest clip that has a frame."""

    def to_json(self) -> dict[str, object]:
        """The `encoder_config` that `read_encoder` reads."""

    def build(self) -> "nn.Module":
        """The encoder with random weights, to which a clip's company in a batch makes no difference.

        Its forward takes float32 `[batch, samples]` at 16 kHz and gives a list of float32
        `[batch, frames, dim]`: what goes into the first layer, then each layer's output.
        """

    def rename(self, state: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
        """The weights under the names that `build` has, where files call them otherwise."""


class EncoderModule(Protocol):
    """What a module defines to be an encoder."""

    def read_encoder(self, fields: Mapping[str, object]) -> EncoderConfig:
        """What an `encoder_config` says; what it leaves out has a default.

        Raises `ValueError` or `TypeError` for what is unknown or cannot be.
        """

    def pretrained_fields(
        self, config: Mapping[str, object], preprocessor: Mapping[str, object]
    ) -> dict[str, object]:
        """The `encoder_config` that a Hugging Face folder's config.json and
        preprocessor_config.json amount to. Raises `ValueError` where that cannot be.
        """


ENCODERS: Kind[EncoderModule] = Kind("speech encoder", __package__, EncoderModule)


def encoder_names() -> tuple[str, ...]:
    """Of all encoders, sorted."""
    return ENCODERS.names()


def encoder_module(name: str) -> EncoderModule:
    """The encoder called `name`, one of `encoder_names()`. Raises ContractError for half of one."""
    return ENCODERS.load(name)


def receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """Samples that a frame of stacked convolutions sees, and samples from one frame to the next."""
    samples, stride = 1, 1
    for kernel, step in zip(kernels, strides, strict=True):
        samples += (kernel - 1) * stride
        stride *= step
    return samples, stride


def check_counts(name: str, *values: object) -> None:
    """Raises `ValueError` unless all are whole numbers above 0."""
    for value in values:
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}, expected a number above 0")


def check_positive(name: str, value: object) -> None:
    """Raises `ValueError` unless it is a finite number above 0."""
    if type(value) not in (int, float) or not 0 < cast(float, value) < math.inf:
        raise ValueError(f"{name} is {value!r}, expected a number above 0")
