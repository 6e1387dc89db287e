"""Stage prune: a distilled student in, the same with fewer channels out."""

from dataclasses import replace
from typing import TYPE_CHECKING

from compress.distill.shrinking import ShrinkJob, Shrunk, lesson_of, shrunk
from compress.labels.store import Labels
from compress.students.storing import load_student

if TYPE_CHECKING:
    from compress.distill.shrinking import Made


def run(job: ShrinkJob, labels: Labels) -> Shrunk:
    """The pruned student, made now or found."""
    return shrunk(job, lambda: _prune(job, labels))


def _prune(job: ShrinkJob, labels: Labels) -> "Made":
    from compress.prune.rounds import prune_in_rounds
    from compress.students.folding import in_own_units, in_rig_units

    settings = job.settings.pruning
    assert settings is not None
    student, card = load_student(job.source.folder)
    units = labels.own_units
    pruned, record = prune_in_rounds(
        in_own_units(student, units),
        card,
        lesson_of(job, labels),
        settings,
        job.checkpoints,
        job.events,
    )
    pruned = in_rig_units(pruned, units, student.config.limits)
    steps = sum(row.recovery_steps for row in record.rounds)
    card = replace(
        card,
        step="pruned",
        parameters=pruned.parameters_count,
        training_steps=card.training_steps + steps,
    )
    return pruned, card, record.to_json()
