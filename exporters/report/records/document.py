"""The report as frozen dataclasses: everything that Markdown, pictures and CI are made from.

``report.schema.json`` in this folder is the same in JSON Schema, for readers in other languages.
A value that was not measured is null. NaN is refused: what was measured and is NaN is a failure,
and belongs into a gate or a parity result with status "failed".
"""

import operator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Literal

from exporters import records
from exporters.errors import ModelFileError
from exporters.measuring.figures import Benchmark, Latency
from exporters.mesh import MeshFacts
from exporters.proof.checks import Check, Status
from exporters.proof.parity import ParityResult
from exporters.regular import check_regular
from exporters.report.records.chain import Hop
from exporters.report.records.compression import Pruning, Quantization
from exporters.report.records.quality import Quality
from exporters.signature import Precision

Comparison = Literal["<=", "<", ">=", ">"]
Kind = Literal["teacher", "student", "baseline"]
Provenance = Literal[
    "trained in this run", "reference weights", "baseline, fitted in this run", "the teacher itself"
]

_COMPARE = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}


@records.strict
@dataclass(frozen=True, kw_only=True)
class RigFacts:
    """What is known of a rig beside its curves."""

    name: str
    """Who says it: ARKit's names, or the rig file's own name."""
    closed_lips: str | None
    """When its lips are closed, or null where that is not known and closures are not judged."""
    aperture: dict[str, float]
    """Control to its weight in how far the lips are apart; empty where that is not known."""
    closed_below: float | None
    """The aperture below which lips are closed."""
    scale: float
    """The power of ten nearest to how far its controls move."""
    labels: dict[str, str]
    """What people call a control, where it is not its name."""
    notes: tuple[str, ...] = ()
    """Which controls are not predicted and why, which have a rest value far from 0, and which a unit
    of their own: errors of these are counted in it, so that MSE, R² and jitter are of all controls."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Teacher:
    """The model whose animation the students learn."""

    name: str
    """Its name."""
    sha256: str
    """Hash of its checkpoint."""
    description: str
    """What it is, in one sentence."""
    controls: int
    """Controls of its rig."""
    driven: int
    """Those that move; students predict these and all figures average over them."""
    parameters: int | None
    """Its parameters, if they can be counted."""
    frame_rate_hz: float
    """Frames of animation in one second."""
    rig: RigFacts | None = None
    """What is known of its rig, or null in reports from before that was said."""
    mesh: MeshFacts | None = None
    """How its vertices became coefficients, or null for a rig."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class SkippedClip:
    """Audio that was not used."""

    clip: str
    """Which."""
    reason: str
    """Why."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Speech:
    """The audio that the run learned from and was judged on."""

    train_minutes: float
    """Minutes of speech to learn from."""
    held_out_minutes: float
    """Minutes of speech to be judged on, never learned from."""
    clips: int
    """Clips in both together."""
    languages: tuple[str, ...]
    """Languages spoken."""
    skipped: tuple[SkippedClip, ...]
    """Audio that was left out, with the reason."""
    train_key: str
    """Hash of the clips to learn from."""
    held_out_key: str
    """Hash of the held-out clips: figures of two reports with the same one are of the same speech."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Made:
    """What a model file was made of, and for what."""

    tier: str
    """Student and precision: the folder of the file. Rows of one tier differ in their target."""
    student: str
    """Its student."""
    precision: Precision
    """fp32, fp16 or int8."""
    target: str
    """The format: onnx, tflite, coreml."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one second of animation takes, teacher and files in turns in one process with one thread.

    At the teacher's frame rate: of a file so many windows, of the teacher its share of a clip.
    """

    ms_per_second: float
    """Milliseconds of computing for one second of animation, median."""
    faster: float
    """The teacher's time by this; 1 for the teacher itself."""
    faster_low: float
    """The lowest such ratio among all turns."""
    faster_high: float
    """The highest."""
    smaller: float | None
    """The teacher's bytes by this file's, or null where the teacher is no file."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Tier(Quality):
    """One model at one precision, or something to compare it with, and how good it is."""

    name: str
    """For example `student demo, fp32`."""
    kind: Kind
    """What the row is."""
    provenance: Provenance
    """Where its weights come from."""
    parameters: int | None
    """Parameters, or null."""
    bytes: int | None
    """Size of the file, or null if there is none."""
    sha256: str | None
    """Hash of the file, or null."""
    path: str | None
    """The file, relative to the folder of the run, or null."""
    made: Made | None
    """Of a file: its student, precision and target."""
    benchmark: Benchmark | None
    """What the file costs; null where there is none."""
    cost: Cost | None
    """What it costs beside the teacher, or null where that was not measured."""
    future_ms: float | None
    """Milliseconds of audio after the moment that it needs, or null."""
    smoothing: tuple[float, ...] | None
    """Weights by which predictions around a moment are averaged for this row, [1.0] for none, or
    null where there is no file."""
    algorithmic_latency_ms: float | None
    """Milliseconds that a pose waits for future audio, one hop and smoothing, or null."""

    @property
    def latency(self) -> Latency | None:
        """Time for one window with one thread, or None if not timed."""
        pace = None if self.benchmark is None else self.benchmark.single
        return None if pace is None else pace.latency


@records.strict
@dataclass(frozen=True, kw_only=True)
class FileParity:
    """Parity of one model file."""

    file: str
    """The file, relative to the folder of the run."""
    result: ParityResult
    """How far it is from its torch source."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Gate:
    """A limit of the recipe that fails the run when it is broken."""

    name: str
    """What is limited, for example `student demo: R² against the teacher`."""
    value: float | None
    """What was measured, or null."""
    limit: float
    """What the recipe asks."""
    comparison: Comparison
    """How value must stand to limit."""
    status: Status
    """`passed` only if the value was measured and keeps the limit."""
    beside: str = ""
    """What must be read with the value: of PBM accuracy, its false closures."""

    def __post_init__(self) -> None:
        if self.status == "passed":
            # NaN compares false with everything and so can never pass.
            kept = self.value is not None and _COMPARE[self.comparison](self.value, self.limit)
            if not kept:
                raise ValueError(
                    f"gate {self.name!r} cannot have passed: {self.value} {self.comparison} "
                    f"{self.limit} does not hold"
                )


@records.strict
@dataclass(frozen=True, kw_only=True)
class TrainingPoint:
    """The state of training at one step."""

    step: int
    """Optimiser steps done."""
    losses: dict[str, float]
    """Terms of the loss on training speech, not weighted: reconstruction, velocity, feature, ..."""
    validation_r2: float | None
    """R² against the teacher on clips set aside from training speech, or null where not computed."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Training:
    """How one student was trained."""

    student: str
    """Which student."""
    steps: int
    """Optimiser steps."""
    seconds: float
    """Wall time."""
    final_losses: dict[str, float]
    """Loss terms at the end."""
    curve: tuple[TrainingPoint, ...]
    """Losses along the way."""
    image: str
    """PNG made of the curve, relative to the report's folder."""

    def __post_init__(self) -> None:
        if not self.curve:
            raise ValueError(f"training of {self.student!r} has no point in its curve")


@records.strict
@dataclass(frozen=True, kw_only=True)
class ShownClip:
    """A held-out clip that the report shows; its curves are in ``clips.json`` beside it."""

    clip: str
    """Name of the clip."""
    text: str
    """What is said, or the clip's name where that is not known."""
    audio: str
    """FLAC, relative to the report's folder."""
    image: str
    """PNG of the curves, relative to the report's folder."""
    tier: str
    """The tier that the picture shows beside the teacher."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class ReportDocument:
    """What a run of lipstill made, and what it lost."""

    name: str
    """Name of the run."""
    recipe_hash: str
    """Hash of its recipe."""
    created: str
    """When, in ISO 8601, UTC."""
    teacher: Teacher
    """The teacher."""
    speech: Speech
    """The audio."""
    machine: dict[str, str]
    """What the figures were taken on."""
    versions: dict[str, str]
    """Versions of the tools."""
    licence: str
    """Of the model files, and of the held-out speech that lies beside them and beside the report."""
    commits: dict[str, str]
    """Git commits of lipstill and of the recipe, of what lies in a checkout."""
    tiers: tuple[Tier, ...]
    """The rows of the main table."""
    parity: tuple[FileParity, ...]
    """Each file against its torch source."""
    checks: tuple[Check, ...]
    """What else was asked of each file: structure, latency, lag, further runtimes."""
    chain: tuple[Hop, ...]
    """What each hop from the teacher to a file cost, student by student."""
    gates: tuple[Gate, ...]
    """The limits of the recipe."""
    training: tuple[Training, ...]
    """How each student was trained; empty if none was trained in this run."""
    pruning: tuple[Pruning, ...]
    """How channels left students; empty if none did."""
    quantization: tuple[Quantization, ...]
    """How students became int8 ones; empty if none did."""
    clips: tuple[ShownClip, ...]
    """Held-out clips to look at and to listen to."""

    def __post_init__(self) -> None:
        if datetime.fromisoformat(self.created).utcoffset() != timedelta(0):
            raise ValueError(f"created is {self.created!r}, expected a time in UTC (+00:00)")
        images = [item.image for item in self.training] + [item.image for item in self.clips]
        for suffix, names in ((".png", images), (".flac", [item.audio for item in self.clips])):
            for name in names:
                if not _is_inside(name, suffix):
                    raise ValueError(f"{name!r} must be a {suffix} inside the report's folder")
            if len(set(names)) != len(names):
                raise ValueError(f"two files of the report share a name: {', '.join(names)}")


def read_report(path: Path) -> ReportDocument:
    """Read a ``report.json``. Raises ModelFileError that lists every mistake in it."""
    try:
        check_regular(path)
        return records.from_json(ReportDocument, path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read as a report: {error}.") from error
    except ValueError as error:
        raise ModelFileError(f"{path} is not a report that this version reads:\n{error}") from error


def _is_inside(name: str, suffix: str) -> bool:
    path = PurePosixPath(name)
    inside = not path.is_absolute() and ".." not in path.parts and "\\" not in name
    return inside and path.suffix == suffix
