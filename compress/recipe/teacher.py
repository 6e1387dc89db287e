"""The section of a recipe about the teacher: where it lies, and what its file does not say itself."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from compress.recipe.mistakes import distinct, show
from compress.recipe.section import Count, DeviceName, Index, Positive, Range, Section, Text

# Of one stretch: ten minutes at 48 kHz.
MOST_SAMPLES = 28_800_000
MOST_RATE_HZ = 10_000
# How a program takes audio: how many dimensions its input has.
Layout = Literal["samples", "batch,samples", "batch,1,samples"]


class FileSettings(Section):
    """A constant that lies in a file."""

    file: Text = Field(description="a .npy file of the whole array, relative to the recipe file")


def _one_mistake(value: object, read: ValidatorFunctionWrapHandler) -> object:
    """One sentence for a value that is none of three things, where each of them would have one."""
    try:
        return read(tuple(value) if isinstance(value, list) else value)  # JSON has no tuples
    except ValidationError:
        raise ValueError(
            f"found {show(value)}, expected a number, a list of numbers, or {{file: NAME.npy}}"
        ) from None


Value = float | tuple[float, ...]
Constant = Annotated[Value | FileSettings, WrapValidator(_one_mistake)]


class WindowSettings(Section):
    """A teacher that hears a stretch of fixed length and gives the pose at one moment of it."""

    samples: Count = Field(
        le=MOST_SAMPLES, description="length of the stretch, at the teacher's sample rate"
    )
    moment: Index = Field(description="sample of the stretch that its pose stands for")
    frame: Index = Field(
        0, description="which of the poses is meant, where a stretch gives several"
    )
    stride: Positive | None = Field(
        None, description="samples between two stretches; instead of interface.rate_hz"
    )

    @model_validator(mode="after")
    def _moment_inside(self) -> Self:
        if self.moment > self.samples:
            raise ValueError(
                f"moment is {self.moment}, expected at most the {self.samples} samples of the stretch"
            )
        return self


class ColumnsSettings(Section):
    """Some columns of one output, and what they are called."""

    output: Text | None = Field(None, description="name of the output; null for the only one")
    start: Index = Field(0, description="first column")
    stop: Count | None = Field(
        None, description="column after the last; null for all that are left"
    )
    names: Literal["arkit"] | tuple[Text, ...] | None = Field(
        None, description="of the controls, in order; `arkit` for ARKit's 52 in Apple's order"
    )
    prefix: Text | None = Field(
        None, description="instead of names: PREFIX_000, PREFIX_001 and so on"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"start is {self.start} and stop {self.stop}, expected start < stop")
        if self.names is not None and self.prefix is not None:
            raise ValueError("found names and prefix, expected one of them")
        return self


class InterfaceSettings(Section):
    """What a program takes and gives, where its file does not say so itself."""

    rate_hz: Positive | None = Field(None, le=MOST_RATE_HZ, description="poses a second")
    sample_rate_hz: Count = Field(16_000, le=768_000, description="of the audio that it takes")
    offset_s: float = Field(
        0.0, ge=-60, le=60, description="the time that its first pose stands for, in seconds"
    )
    limits: Range | None = Field(None, description="range that every control keeps to, if any")
    audio: Text | None = Field(
        None, description="name of the input for audio; null for the only one without a constant"
    )
    layout: Layout | None = Field(
        None, description="how audio is laid out; null asks the file, or takes batch,samples"
    )
    max_batch: Count | None = Field(
        None, le=65_536, description="clips or windows in one call; 1 for a program without a batch"
    )
    time_last: bool = Field(
        False, description="outputs are [batch, values, frames], not [batch, frames, values]"
    )
    inputs: dict[Text, Constant] = Field(
        {}, description="constants for the other inputs: a number, a list, or {file: NAME.npy}"
    )
    window: WindowSettings | None = Field(
        None, description="for a teacher of fixed-length input; null for one of whole clips"
    )
    columns: tuple[ColumnsSettings, ...] = Field(
        (), description="columns of the outputs that are controls, in order; none for all of them"
    )

    @field_validator("limits")
    @classmethod
    def _in_order(cls, value: Range | None) -> Range | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError(f"found {show(value)}, expected the lower one first")
        return value

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        stride = None if self.window is None else self.window.stride
        if (self.rate_hz is None) == (stride is None):
            raise ValueError(
                "found {}, expected {}".format(
                    "rate_hz and window.stride" if stride else "neither rate_hz nor window.stride",
                    "one of them" if stride else "rate_hz, or for a window its stride",
                )
            )
        if self.frames_hz > MOST_RATE_HZ:
            raise ValueError(
                f"window.stride is {stride:g} samples, which is {self.frames_hz:g} poses a second; "
                f"expected at most {MOST_RATE_HZ}"
            )
        if self.audio in self.inputs:
            raise ValueError(f"input {self.audio} is for audio, and has a constant in inputs too")
        return self

    @property
    def frames_hz(self) -> float:
        """Poses a second, by either way of saying it."""
        if self.window is not None and self.window.stride is not None:
            return self.sample_rate_hz / self.window.stride
        assert self.rate_hz is not None
        return self.rate_hz

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that constants lie in."""
        found = [value.file for value in self.inputs.values() if isinstance(value, FileSettings)]
        return tuple(dict.fromkeys(found))


class MeshClosureSettings(Section):
    """When the lips of a mesh are closed: where one lip's middle is near the other's."""

    upper: tuple[Index, ...] = Field(min_length=1, description="vertices of the upper lip's middle")
    lower: tuple[Index, ...] = Field(min_length=1, description="vertices of the lower lip's middle")
    axis: Literal["x", "y", "z"] = Field("y", description="which way is up")
    below: float = Field(
        description="closed where the upper ones are less than this above the lower ones on "
        "average, in the mesh's units"
    )


class MeshSettings(Section):
    """For a teacher whose values are vertices, x y z each: students learn their PCA coefficients."""

    components: Count | None = Field(
        None, le=4096, description="how many; null for what `variance` needs"
    )
    variance: float = Field(
        0.999, gt=0, le=1, description="share of the variance to keep, where `components` is null"
    )
    max_components: Count = Field(
        128,
        le=4096,
        description="most components, where `components` is null; memory grows with it",
    )
    fit_minutes: Positive = Field(
        10.0, le=600, description="training speech to fit on at most, spread evenly, in minutes"
    )
    lips: Text | tuple[Index, ...] | None = Field(
        None,
        description="vertices of the lips, by number, or a .npy or .txt file of numbers, or of 0 "
        "and 1 for each vertex",
    )
    lips_closed: MeshClosureSettings | None = Field(
        None, description="when its lips are closed; null where that is not judged"
    )

    @field_validator("lips")
    @classmethod
    def _vertices(cls, value: str | Sequence[int] | None) -> str | Sequence[int] | None:
        if isinstance(value, tuple):
            distinct([str(number) for number in value])
            if not value:
                raise ValueError("found no vertex, expected some, or null")
        return value


class TeacherSettings(Section):
    checkpoint: Text = Field(
        description="builtin:NAME, a path relative to the recipe file, or MODULE:FUNCTION"
    )
    trust: bool = Field(
        False, description="load a checkpoint that could run code (TorchScript, .pt2, Python)"
    )
    download: bool = Field(
        False, description="fetch weights that the checkpoint names on the Hugging Face hub"
    )
    depends_on: tuple[Text, ...] = Field(
        (), description="other files that the teacher reads, relative to the recipe file"
    )
    interface: InterfaceSettings | None = Field(
        None, description="what the file takes and gives, where it does not say so itself"
    )
    mesh: MeshSettings | None = Field(
        None, description="for a teacher of vertices: how they are reduced"
    )
    rig: Text | None = Field(
        None, description="a YAML file on the rig's regions and closed lips; null for ARKit's names"
    )
    device: DeviceName = Field(
        "cpu",
        description="where it runs: cpu, which gives the same curves on every machine of a kind; "
        "cuda, cuda:1, mps; or auto for the fastest that is there",
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="what it computes in; the curves are float32 always"
    )
    max_chunk_s: Positive = Field(
        30.0, ge=0.01, le=3600, description="longest audio the teacher sees at once, in seconds"
    )
    overlap_s: Positive | None = Field(
        None,
        le=1800,
        description="audio that two pieces of a longer clip share, in seconds; null for 2, or a "
        "quarter of max_chunk_s where that is less",
    )
    time_limit_s: Positive = Field(
        600.0,
        le=604_800,
        description="longest time that one call of the teacher may take, in seconds",
    )

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.rig is not None and self.lips_closed is not None:
            raise ValueError(
                "found rig and mesh.lips_closed, expected one of them: both say when lips are closed"
            )
        return self

    @model_validator(mode="after")
    def _precision_there(self) -> Self:
        if (self.device, self.precision) == ("cpu", "fp16"):
            raise ValueError(
                "precision is fp16, which PyTorch does not have for all layers on the CPU; expected "
                "bf16, fp32, or another device"
            )
        return self

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if self.overlap_s is not None and self.overlap_s > self.max_chunk_s / 2:
            raise ValueError(
                f"overlap_s is {self.overlap_s:g}, expected at most half of max_chunk_s, "
                f"{self.max_chunk_s / 2:g}: no moment should be in three pieces"
            )
        return self

    @property
    def key_parts(self) -> dict[str, object]:
        """What the curves depend on, beside the bytes of the checkpoint.

        Which of a machine's devices of one kind it is has no part in them.
        """
        ways = {"checkpoint", "trust", "download", "rig", "time_limit_s", "depends_on"}
        without = dict.fromkeys({*ways, "device", "precision"}, True) | {"mesh": {"lips_closed"}}
        parts = self.model_dump(mode="json", exclude=without)
        if (self.device, self.precision) != ("cpu", "fp32"):  # as it was before there was a choice
            parts |= {"device": self.device.partition(":")[0], "precision": self.precision}
        return parts

    @property
    def lips_closed(self) -> MeshClosureSettings | None:
        """When a mesh's lips are closed, where there is a mesh and that is known."""
        return None if self.mesh is None else self.mesh.lips_closed
