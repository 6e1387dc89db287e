"""From a float student to an int8 one: what the layers cost, a choice for each, and its codes."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compress.distill.distilling import distill
from compress.distill.watching import judge
from compress.progress import bar
from compress.prune.rounds import Lesson
from compress.quantize.calibration import calibrate, choosing
from compress.quantize.graph import IntegerDense, with_integer_biases
from compress.quantize.qat import FakeQuantized
from compress.quantize.sensitivity import Cost, Scan, against, scan
from compress.rig.units import PLAIN, Units
from compress.students.contract import Student
from compress.students.folding import in_own_units, in_rig_units
from compress.students.integers import Choice, Quantization

if TYPE_CHECKING:
    from compress.recipe.compression import QuantizationSettings


@dataclass(frozen=True)
class Quantized:
    """How a student became int8: the scan of its float form, and what it costs in the end.

    Both on clips set aside; `chosen_by` is ``auto`` or ``recipe``.
    """

    scan: Scan
    chosen_by: str
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def quantize(
    student: Student,
    lesson: Lesson,
    settings: "QuantizationSettings",
    work: Path,
    events: Path | None = None,
    units: Units = PLAIN,
) -> tuple[Student, Quantization, Quantized]:
    """The float twin, its codes, and how they were found; `student` has its batch norm folded.

    Both students are of the rig's units, the lesson is in its own `units`. Where those differ from
    control to control, the last layer gives floats: `sensitivity.with_float_rig`. With ``qat`` it is trained with rounding in place under the losses that it was distilled by; the
    state of that is kept in `work`.
    """
    limits = student.config.limits
    student = in_own_units(student, units)
    pairs = lesson.batches(student.config, settings.calibration_batches, settings.seed)
    batches = [audio for audio, _ in pairs]
    fixed = _named(student, settings)
    with bar("scan", None, unit="tries") as progress:
        scanned = scan(
            student,
            batches,
            settings.observer,
            lesson.watched,
            settings.gate,
            fixed,
            progress,
            alone=settings.scan,
            float_rig=not units.alike,
        )
    made_by: dict[str, str | int | float] = {
        "method": settings.method,
        "observer": settings.observer,
        "calibration_batches": settings.calibration_batches,
        "seed": settings.seed,
    }
    if settings.method == "qat":
        made_by |= {"steps": settings.qat_steps}
        twin, codes = _trained(
            student, lesson, settings, scanned.choices, batches, made_by, work, events
        )
    else:
        twin, every = student, calibrate(student, batches, settings.observer)
        codes = choosing(every, student.config, scanned.choices, made_by)
    twin, codes = in_rig_units(twin, units, limits), codes_in_rig_units(codes, units)
    twin = with_integer_biases(twin, codes)
    animate = IntegerDense(twin, codes).animate
    if not units.plain:
        animate = partial(_in_own_units, animate, units)
    cost = against(judge(animate, lesson.watched), scanned.whole)
    return twin, codes, Quantized(scanned, "recipe" if fixed else "auto", cost)


def codes_in_rig_units(codes: Quantization, units: Units) -> Quantization:
    """What codes of own values stand for in the rig's units; the codes stay what they are.

    A last layer that gives codes has one unit for all controls and no rests.
    """
    if units.plain:
        return codes
    weights, tensors = dict(codes.weights), dict(codes.tensors)
    if "rig" in weights:
        pairs = zip(weights["rig"], units.units, strict=True)
        weights["rig"] = tuple(scale * unit for scale, unit in pairs)
    if "rig" in tensors:
        tensors["rig"] = replace(tensors["rig"], scale=tensors["rig"].scale * units.scale)
    return replace(codes, weights=weights, tensors=tensors)


def _in_own_units(animate: Callable[[Tensor], Tensor], units: Units, audio: Tensor) -> Tensor:
    return torch.from_numpy(units.own(animate(audio).numpy()))


def _named(student: Student, settings: "QuantizationSettings") -> dict[str, Choice] | None:
    """The recipe's choices, or None where it leaves them to the scan."""
    if settings.keep_float == "auto":
        return None
    choices: dict[str, Choice] = dict.fromkeys(student.config.layer_names, "int8")
    choices |= dict.fromkeys(settings.float_activations, "int8_weights")
    return choices | dict.fromkeys(settings.keep_float, "float")


def _trained(
    student: Student,
    lesson: Lesson,
    settings: "QuantizationSettings",
    choices: Mapping[str, Choice],
    batches: list[Any],
    made_by: Mapping[str, str | int | float],
    work: Path,
    events: Path | None,
) -> tuple[Student, Quantization]:
    training = lesson.training
    guided = lesson.guide is not None and training.feature_weight
    taps = tuple(training.feature_layers) if guided else ()
    build = partial(
        FakeQuantized,
        student,
        choices,
        batches,
        observer=settings.observer,
        taps=taps,
        freeze_after=round(settings.qat_steps * settings.freeze_share),
    )
    # In float32: bfloat16 has no more digits than the codes whose rounding it is to feel.
    schedule = lesson.schedule(settings.qat_steps, settings.qat_learning_rate, precision="fp32")
    trained, _ = distill(
        build, lesson.material, schedule, lesson.seed, work, guide=lesson.guide, events=events
    )
    return trained.quantized(made_by)
