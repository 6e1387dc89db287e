"""Stage quantize: a float student in, its int8 twin out: codes, scales and zero points."""

from dataclasses import replace
from typing import TYPE_CHECKING

from compress.distill.shrinking import ShrinkJob, Shrunk, lesson_of, shrunk
from compress.labels.store import Labels
from compress.students.storing import load_student

if TYPE_CHECKING:
    from compress.distill.shrinking import Made


def run(job: ShrinkJob, labels: Labels) -> Shrunk:
    """The int8 student, made now or found."""
    return shrunk(job, lambda: _quantize(job, labels))


def _quantize(job: ShrinkJob, labels: Labels) -> "Made":
    from compress.quantize.quantizing import quantize

    settings = job.settings.quantization
    assert settings is not None
    student, card = load_student(job.source.folder)
    quantized, codes, record = quantize(
        student,
        lesson_of(job, labels),
        settings,
        job.checkpoints,
        job.events,
        labels.own_units,
    )
    steps = settings.qat_steps if settings.method == "qat" else 0
    card = replace(
        card,
        step="int8",
        training_steps=card.training_steps + steps,
        quantization=codes,
    )
    return quantized, card, record.to_json()
