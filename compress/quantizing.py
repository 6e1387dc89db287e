"""From a float student to an int8 one: what the layers cost, a choice for each, and its codes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.calibration import calibrate, choosing
from compress.distillation import distill
from compress.fake_quantized import FakeQuantized
from compress.progress import bar
from compress.pruning_rounds import Lesson
from compress.quantization import IntegerDense, with_integer_biases
from compress.sensitivity import Cost, Scan, against, scan
from compress.students.conv_fc import ConvFC
from compress.students.integers import Choice, Quantization
from compress.watching import judge

if TYPE_CHECKING:
    from compress.recipe_compression import QuantizationSettings


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
    student: ConvFC,
    lesson: Lesson,
    settings: "QuantizationSettings",
    work: Path,
    events: Path | None = None,
) -> tuple[ConvFC, Quantization, Quantized]:
    """The float twin, its codes, and how they were found; `student` has its batch norm folded.

    With ``qat`` it is trained with rounding in place under the losses that it was distilled by; the
    state of that is kept in `work`.
    """
    pairs = lesson.batches(student.config, settings.calibration_batches, settings.seed)
    batches = [audio for audio, _ in pairs]
    fixed = _named(student, settings)
    with bar("scan", None) as progress:
        scanned = scan(
            student,
            batches,
            settings.observer,
            lesson.watched,
            settings.gate,
            fixed,
            progress,
            alone=settings.scan,
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
    twin = with_integer_biases(twin, codes)
    cost = against(judge(IntegerDense(twin, codes).animate, lesson.watched), scanned.whole)
    return twin, codes, Quantized(scanned, "recipe" if fixed else "auto", cost)


def _named(student: ConvFC, settings: "QuantizationSettings") -> dict[str, Choice] | None:
    """The recipe's choices, or None where it leaves them to the scan."""
    if settings.keep_float == "auto":
        return None
    choices: dict[str, Choice] = dict.fromkeys(student.config.layer_names, "int8")
    choices |= dict.fromkeys(settings.float_activations, "int8_weights")
    return choices | dict.fromkeys(settings.keep_float, "float")


def _trained(
    student: ConvFC,
    lesson: Lesson,
    settings: "QuantizationSettings",
    choices: Mapping[str, Choice],
    batches: list[Any],
    made_by: Mapping[str, str | int | float],
    work: Path,
    events: Path | None,
) -> tuple[ConvFC, Quantization]:
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
