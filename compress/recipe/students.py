"""The sections of a recipe about a student: its shape, and how it is trained."""

import math
from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from compress.recipe.compression import PruningSettings, QuantizationSettings
from compress.recipe.mistakes import one_of, show, words
from compress.recipe.section import (
    Channels,
    Count,
    Name,
    NotNegative,
    Positive,
    Range,
    Section,
    Share,
    Steps,
    Text,
)
from compress.speech.audio import HOP, SAMPLE_RATE

# In steps of a layer's input, or samples for the first one.
MOST_KERNEL = 8192
# In one step of the optimiser: about an hour of speech.
MOST_FRAMES = 250_000


class LayerSettings(Section):
    kernel: Count = Field(
        le=MOST_KERNEL, description="kernel length, in steps of the layer's input"
    )
    stride: Count = Field(1, le=HOP, description="stride, in steps of the layer's input")
    channels: Channels = Field(description="output channels, before the student's `width`")


# What a microphone, a voice or a room can do, and more. A room's echo is as long in memory.
_BOUNDS = {
    "gain_db": (-120.0, 60.0),
    "snr_db": (-60.0, 120.0),
    "speed": (0.25, 4.0),
    "decay_s": (0.001, 10.0),
}


class AugmentationSettings(Section):
    """What happens to a stretch of speech before the student hears it; labels follow `speed`."""

    gain_db: Range = Field((-36.0, 6.0), description="lowest and highest gain, in dB")
    noise_share: Share = Field(0.6, description="share of stretches with noise")
    snr_db: Range = Field(
        (8.0, 45.0), description="lowest and highest signal-to-noise ratio, in dB"
    )
    speed_share: Share = Field(
        0.5, description="share of stretches played faster or slower, as a tape is"
    )
    speed: Range = Field((0.85, 1.2), description="lowest and highest speed")
    room_share: Share = Field(0.25, description="share of stretches in a room")
    decay_s: Range = Field(
        (0.05, 0.3), description="shortest and longest reverberation time (60 dB), in seconds"
    )

    @field_validator("gain_db", "snr_db", "speed", "decay_s")
    @classmethod
    def _in_order(cls, value: Range) -> Range:
        if value[0] > value[1]:
            raise ValueError(f"found {show(value)}, expected the lower one first")
        return value

    @field_validator("gain_db", "snr_db", "speed", "decay_s")
    @classmethod
    def _possible(cls, value: Range, info: ValidationInfo) -> Range:
        lowest, highest = _BOUNDS[str(info.field_name)]
        if value[0] < lowest or value[1] > highest:
            raise ValueError(f"found {show(value)}, expected values from {lowest:g} to {highest:g}")
        return value


class TrainingSettings(Section):
    steps: Steps = Field(2000, description="optimiser steps")
    batch: Count = Field(12, le=65_536, description="stretches of speech in a step")
    frames: int = Field(
        96,
        ge=2,
        le=10_000,
        description="consecutive frames in a stretch (the velocity loss needs 2)",
    )
    learning_rate: Positive = Field(3.0e-3, description="peak learning rate")
    warmup_steps: int = Field(
        60, ge=0, le=100_000_000, description="steps in which the learning rate rises to its peak"
    )
    weight_decay: NotNegative = Field(0.01, description="decoupled weight decay")
    velocity_weight: NotNegative = Field(
        12.0, description="weight of the velocity loss beside reconstruction"
    )
    control_weights: dict[Text, NotNegative] = Field(
        {}, description="weight of single controls in reconstruction; 1 for those not named"
    )
    closure_weight: NotNegative = Field(
        0.0,
        description="weight of the lip aperture's squared error in the frames in which lips are "
        "closed, the teacher's or the student's own",
    )
    feature_weight: NotNegative = Field(
        0.01, description="weight of the feature loss, for a student with a guide"
    )
    feature_falls_to: Share = Field(
        1.0,
        description="share of feature_weight that is left at the last step, to which it falls in a "
        "straight line; 1 keeps it",
    )
    feature_scale: Literal["layer", "channel"] = Field(
        "layer",
        description="whether the feature loss is in units of the variance of the guide's whole "
        "layer, or of each of its channels, of which the quiet ones then count as much as the loud",
    )
    feature_layers: dict[Text, Text] = Field(
        {"conv4": "conv4", "head2": "head2"},
        min_length=1,
        description="layers that the feature loss compares: this student's → its guide's",
    )
    augmentation: AugmentationSettings = Field(
        default_factory=AugmentationSettings, description="variety of voices, levels and rooms"
    )
    precision: Literal["fp32", "bf16", "auto"] = Field(
        "fp32",
        description="of the convolutions between waveform and rig; bf16 is faster where the "
        "processor has it and many times slower elsewhere, auto takes it where it is fast",
    )
    accelerator: Literal["cpu", "cuda", "mps", "auto"] = Field(
        "cpu", description="where training runs; only the cpu ends in the same bytes twice"
    )
    devices: Count = Field(
        1,
        le=256,
        description="processes or accelerators, each with an equal share of every batch (DDP)",
    )
    validate_every: Steps = Field(200, description="steps between two validations")
    patience: int = Field(
        0,
        ge=0,
        le=100_000_000,
        description="validations without improvement after which training ends; 0 is never",
    )
    checkpoint_every: Steps = Field(
        200, description="steps between two checkpoints from which a run goes on"
    )
    grad_clip: Positive = Field(1.0, description="largest norm of the gradient")
    ema: float = Field(
        0.999, ge=0, lt=1, description="decay of the averaged weights a step; 0 takes the last ones"
    )

    @model_validator(mode="after")
    def _fits_memory(self) -> Self:
        if self.batch * self.frames > MOST_FRAMES:
            raise ValueError(
                f"`batch` × `frames` is {self.batch} × {self.frames} = {self.batch * self.frames}, "
                f"expected at most {MOST_FRAMES} frames in a step"
            )
        return self

    @model_validator(mode="after")
    def _shared(self) -> Self:
        if self.batch % self.devices:
            fitting = [n for n in range(1, self.batch + 1) if self.batch % n == 0]
            raise ValueError(
                f"`batch` = {self.batch} stretches cannot be shared equally by `devices` = "
                f"{self.devices}; of the devices, {words(fitting)} would do"
            )
        return self


# The family's plan. With the other defaults it sees 8192 samples, the paper's 512 ms.
LAYERS = (
    LayerSettings(kernel=5, stride=1, channels=144),
    LayerSettings(kernel=4, stride=2, channels=208),
    LayerSettings(kernel=3, stride=1, channels=288),
    LayerSettings(kernel=3, stride=1, channels=288),
)


# What a student that is given by `start` has already.
SHAPE = frozenset(
    (
        *("first_layer", "past_ms", "future_ms", "filters", "first_kernel", "first_stride"),
        *("energy_kernel", "energy_stride", "activation", "layers", "head_channels"),
        *("head_kernel", "width"),
    )
)


class StudentSettings(Section):
    name: Name = Field(
        description="name of the student's folder: lower case letters, digits, and . _ -"
    )
    architecture: str = Field("conv_fc", description="a module of compress/students")
    guide: Text | None = Field(
        None,
        description="stage 2: an earlier student of this recipe, builtin:NAME, or the folder of a "
        "distilled student",
    )
    start: Text | None = Field(
        None,
        description="a trained student to make smaller instead of training one: builtin:NAME or "
        "its folder; its shape is its own",
    )
    first_layer: Literal["gabor_log", "conv"] = Field(
        "gabor_log",
        description="starts as mel-spaced Gabor pairs with log energy, or as a plain convolution",
    )
    past_ms: NotNegative = Field(256.0, le=10_000, description="context before the frame, in ms")
    future_ms: NotNegative = Field(256.0, le=10_000, description="context after the frame, in ms")
    filters: Channels = Field(
        80, description="Gabor pairs or channels of the first layer, before `width`"
    )
    first_kernel: Count = Field(
        160, le=MOST_KERNEL, description="kernel of the first layer, in samples"
    )
    first_stride: Count = Field(32, le=HOP, description="stride of the first layer, in samples")
    energy_kernel: Count = Field(
        8,
        le=MOST_KERNEL,
        description="steps of the first layer over which its energies are averaged",
    )
    energy_stride: Count = Field(
        4, le=HOP, description="steps of the first layer between two averages"
    )
    activation: Literal["relu", "leaky_relu", "silu"] = Field(
        "relu", description="after each convolution; int8 files are fastest with relu"
    )
    layers: tuple[LayerSettings, ...] = Field(
        LAYERS, max_length=64, description="the convolutions after the first layer, in order"
    )
    head_channels: Channels = Field(
        288, description="channels of the fully connected head, before `width`"
    )
    head_kernel: Count = Field(
        9,
        le=MOST_KERNEL,
        description="kernel of the head's first convolution, in steps of its input",
    )
    width: Positive = Field(1.0, le=64, description="multiplies all channels but the controls")
    smoothing: tuple[NotNegative, ...] = Field(
        (1.0,),
        max_length=99,
        description="weights of predictions 16 ms apart around the moment that clients average; "
        "[1, 1, 1] is a third each, [1] is none",
    )
    training: TrainingSettings = Field(
        default_factory=TrainingSettings, description="how the student is distilled"
    )
    pruning: PruningSettings | None = Field(
        None, description="channels taken out of the trained student; null leaves them all"
    )
    quantization: QuantizationSettings | None = Field(
        None, description="an int8 tier beside the float one; null makes none"
    )

    @property
    def guided_within(self) -> bool:
        """Whether the guide is a student of the same recipe."""
        return self.guide is not None and not set(self.guide) & set(":/")

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        from compress.students import ARCHITECTURES

        # Half of one is refused when it is imported to be built, since it may need PyTorch.
        return one_of(value, ARCHITECTURES.names())

    @field_validator("past_ms", "future_ms")
    @classmethod
    def _whole_samples(cls, value: float) -> float:
        samples = value * SAMPLE_RATE / 1000
        if not samples.is_integer():
            nearest = [1000 * n / SAMPLE_RATE for n in (math.floor(samples), math.ceil(samples))]
            raise ValueError(
                f"{value:g} ms is {samples:g} samples at {SAMPLE_RATE} Hz, expected a whole "
                f"number; the nearest are {words(nearest)} ms"
            )
        return value

    @field_validator("smoothing")
    @classmethod
    def _mean(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        """Weights that sum to 1; those that do are kept to the bit, so that a hash is stable."""
        if len(value) % 2 == 0:
            raise ValueError(
                f"found {len(value)} weights, expected an odd number: the middle one is of the "
                f"prediction at the moment itself"
            )
        total = sum(value)
        if not 0 < total < math.inf:
            raise ValueError(f"found {show(value)}, expected weights with a sum above 0 and finite")
        if len(value) > 1 and not value[0] and not value[-1]:
            raise ValueError(
                f"found {show(value)}, expected the first or the last weight above 0: leave out "
                f"both where they are 0"
            )
        if math.isclose(total, 1, rel_tol=1e-9):
            return value
        return tuple(weight / total for weight in value)

    @model_validator(mode="after")
    def _shape_of_its_own(self) -> Self:
        if self.start is not None and (given := sorted(self.model_fields_set & SHAPE)):
            default = {name: type(self).model_fields[name].get_default() for name in given}
            if changed := [name for name in given if getattr(self, name) != default[name]]:
                raise ValueError(
                    f"`start` brings a trained student with a shape of its own, so {words(changed)} "
                    f"must be left out"
                )
        return self

    @model_validator(mode="after")
    def _fits_the_hop(self) -> Self:
        stride = self.first_stride * math.prod(layer.stride for layer in self.layers)
        pooled = "`first_stride`"
        if self.first_layer == "gabor_log":
            stride *= self.energy_stride
            pooled += ", `energy_stride`"
        if HOP % stride:
            raise ValueError(
                f"{pooled} and the strides of `layers` multiply to {stride} samples, "
                f"expected a divisor of the hop, {HOP} samples"
            )
        if self.past_ms + self.future_ms == 0:
            raise ValueError(
                "`past_ms` and `future_ms` are both 0, expected a window longer than nothing"
            )
        return self
