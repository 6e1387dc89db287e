"""The section `gates` of a recipe: limits that fail a run, for all files, a target's, or a tier's."""

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from compress.recipe.section import NotNegative, Positive, Section, Share, Text

# Limits that are asked of some files only: of which precisions, and of which targets if not all.
ASKED_OF: dict[str, tuple[frozenset[str], frozenset[str] | None]] = {
    "max_latency_ratio": (frozenset({"fp16", "int8"}), None),
    "max_arena_bytes": (frozenset({"int8"}), frozenset({"tflite"})),
}
Bytes = Annotated[int, Field(ge=1, le=10**15)]


class Limits(Section):
    """Limits of one file; null is no gate. `max_X` and `min_X` ask the figure X of
    `exporters.report.figures`.
    """

    min_r2: float | None = Field(
        None, le=1, description="lowest R² against the teacher on held-out speech"
    )
    min_pbm: Share | None = Field(
        None, description="lowest PBM accuracy, 0 to 1; say max_false_closures with it"
    )
    min_pbm_at_1pct: Share | None = Field(
        None,
        description="lowest PBM accuracy with the aperture's limit moved to where 1 % of other speech "
        "lies below it, 0 to 1",
    )
    max_false_closures: Share | None = Field(
        None, description="largest share of speech outside of /p b m/ with closed lips, 0 to 1"
    )
    min_phone_f1: Share | None = Field(
        None, description="lowest F1 of lip closures against the phones, 0 to 1"
    )
    min_r2_over_ridge: float | None = Field(
        None, description="least by which R² exceeds that of a ridge regression"
    )
    max_bytes: Bytes | None = Field(None, description="largest model file, in bytes")
    max_parity: NotNegative | None = Field(
        None, description="largest difference of a file from its PyTorch source, in rig units"
    )
    max_download_bytes: Bytes | None = Field(
        None, description="largest model file as a download, compressed, in bytes"
    )
    max_latency_ratio: Positive | None = Field(
        None,
        description="longest time of one prediction with one thread, by that of the fp32 file of the "
        "same student and target, which is not asked itself",
    )
    max_frame_share: Positive | None = Field(
        None,
        description="longest median time of one prediction with one thread, by a frame of 16 ms; of "
        "the machine that runs the recipe",
    )
    max_memory_bytes: Bytes | None = Field(
        None, description="most memory by which a process grows that loads and runs the file"
    )
    max_arena_bytes: Bytes | None = Field(
        None, description="largest arena of TensorFlow Lite Micro; asked of int8 TFLite files only"
    )
    max_mse: NotNegative | None = Field(
        None, description="largest MSE against the teacher, in rig units squared"
    )
    min_pbm_of_teacher: NotNegative | None = Field(
        None, description="lowest PBM accuracy by the teacher's own; 1 is as good as it"
    )
    min_closure_f1: Share | None = Field(
        None, description="lowest F1 of lip closures against the teacher's, 0 to 1"
    )
    max_jitter_ratio: Positive | None = Field(
        None, description="largest jitter by the teacher's; 1 is as calm as it"
    )
    max_rest_movement: NotNegative | None = Field(
        None,
        description="most movement on noise, hum, typing and music, relative to the teacher's in "
        "speech; 0.1 is a tenth, at 1 the face is as lively as in speech",
    )
    max_rest_distance: NotNegative | None = Field(
        None,
        description="largest mean distance from the teacher's rest pose on the same sounds, relative "
        "to the teacher's in speech; a mouth that stays open is far from rest without moving",
    )
    max_lag_ms: NotNegative | None = Field(
        None, description="largest lag behind the teacher, or lead before it"
    )
    max_future_ms: NotNegative | None = Field(
        None, description="longest algorithmic latency: future audio and smoothing together"
    )
    min_times_smaller: Positive | None = Field(
        None, description="least by which a file is smaller than the teacher's; 50 is a fiftieth"
    )
    min_times_faster: Positive | None = Field(
        None,
        description="least by which a second of animation is computed faster than by the teacher, in "
        "turns with it, one thread",
    )


class Override(Limits):
    """Limits that take the place of the general ones; null lifts one."""

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A null that nobody wrote would lift a general limit when the recipe is read back.
        written = self.model_fields_set
        return {name: value for name, value in handler(self).items() if name in written}


class GateSettings(Limits):
    """Limits that fail a run; null is no gate."""

    targets: dict[Text, Override] = Field(
        {}, description="target → limits that take the place of those above for its files"
    )
    tiers: dict[Text, Override] = Field(
        {}, description="STUDENT-PRECISION → limits that take the place of both for its files"
    )

    def of(self, tier: str, target: str) -> dict[str, float]:
        """The limits that are set for a tier's file: the tier's over the target's over the general."""
        limits: dict[str, float | None] = {
            name: getattr(self, name) for name in Limits.model_fields
        }
        for override in (self.targets.get(target), self.tiers.get(tier)):
            if override is not None:
                limits |= {name: getattr(override, name) for name in override.model_fields_set}
        in_order = ((name, limits[name]) for name in Limits.model_fields)
        return {name: limit for name, limit in in_order if limit is not None}
