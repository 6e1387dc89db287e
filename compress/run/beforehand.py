"""What can be known to fail before hours of labelling and training, and is said then.

`recipe check` asks what follows from the recipe and the files that it names; a run asks that too,
and whether this machine and this speech can do what is left to be done.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from compress.distill import stage as training
from compress.distill.accelerators import require_accelerator
from compress.errors import InputError, UsageError
from compress.export import stage as exporting
from compress.recipe.tiers import require_tier, start_step, steps_of, tier_names
from compress.rig.rig import ARKIT
from compress.rig.rig_file import find_rig, rig_of
from compress.run.jobs import STAGES, Inputs, Plan
from compress.store import stage
from compress.students.facts import StudentFacts
from compress.teachers.loading import describe, device_of, find_teacher

if TYPE_CHECKING:
    from compress.recipe.recipe import Recipe


def check_recipe(recipe: "Recipe") -> dict[str, StudentFacts]:
    """The facts of a recipe's students, where nothing in it is known to fail later.

    Raises as `check_students` does, and `UsageError` for a student of which no file is made, and
    for two that would make the same files.
    """
    facts = check_students(recipe)
    for student in recipe.students:
        steps = steps_of(student, start_step(student, recipe.folder))
        require_tier(student.name, recipe.export.precisions, steps)
    names = tier_names(recipe)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"Two students would write the folder models/{twice[0]}. Rename one of them: files lie in "
            f"a folder of student and precision."
        )
    return facts


def check_students(recipe: "Recipe") -> dict[str, StudentFacts]:
    """The facts of a recipe's students, where nothing about them is known to fail later.

    Raises `UsageError` and `ModelError` as the stages would, with all mistakes of one kind. Whether
    teacher and speech are there is not asked; a teacher that says which controls it moves, or a
    recipe that does, is held against what students say of them.
    """
    rig_file = find_rig(recipe.teacher.rig, recipe.folder)
    known = _controls(recipe)
    outputs = len(ARKIT if known is None else known[1])
    facts = training.check_students(recipe.students, recipe.folder, outputs)
    if known is not None:
        controls, driven = known
        training.check_losses(recipe.students, driven, rig_of(rig_file, controls))
        training.check_others(recipe.students, recipe.folder, driven)
    return facts


def check_run(recipe: "Recipe", inputs: Inputs, plan: Plan, until: str) -> None:
    """Raise what a run up to a stage would raise later, as far as it is known now.

    As `check_students` does, and `MissingError` for tools and devices that this machine lacks, and
    `AudioError` for speech that is too short. What is there already needs neither.
    """
    check_students(recipe)
    last = STAGES.index(until)
    if last >= STAGES.index("export"):
        exporting.check_tools(recipe.export.targets)
    jobs = (plan.label, plan.rest)
    if not all(stage(job.folder, job.key).hit for job in jobs):
        device_of(inputs.teacher, recipe.teacher)
    learning = _learning(plan, last)
    for job in learning:
        require_accelerator(job.settings.name, job.settings.training)
    if learning:
        clips = [spoken.clip for spoken in inputs.speech.spoken if spoken.side == "train"]
        rest = [sound.clip for sound in inputs.speech.rest if sound.side == "train"]
        training.check_speech([job.settings for job in learning], clips, rest)


def _learning(plan: Plan, last: int) -> list[training.DistillJob]:
    """The students that are trained, or trained on, in the stages up to the last one."""
    todo = {
        job.settings.name
        for job in plan.distills
        if job.start is None
        and last >= STAGES.index("distill")
        and not stage(job.folder, job.key).hit
    }
    for student in plan.students:
        settings = student.distill.settings
        qat = settings.quantization is not None and settings.quantization.method == "qat"
        for name, job, trains in (
            ("prune", student.prune, True),
            ("quantize", student.quantize, qat),
        ):
            wanted = trains and job is not None and last >= STAGES.index(name)
            if wanted and job is not None and not stage(job.folder, job.key).hit:
                todo.add(student.name)
    return [job for job in plan.distills if job.settings.name in todo]


def _controls(recipe: "Recipe") -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """A teacher's controls, and those that it can move, as far as both are known before it is opened.

    All that will move are among them. None where only the teacher itself will tell.
    """
    teacher = recipe.teacher
    if teacher.mesh is not None:
        return None
    if teacher.interface is not None:
        named = [column.names for column in teacher.interface.columns]
        if not named or None in named:
            return None
        controls = tuple(name for names in named for name in _spelled(names))
        return controls, controls
    try:
        found = describe(find_teacher(teacher.checkpoint, recipe.folder))
    except InputError:
        return None  # not there, or damaged: a run says so before it does anything
    if found.controls is None or found.driven is None:
        return None
    return found.controls, found.driven


def _spelled(names: "Literal['arkit'] | tuple[str, ...] | None") -> Iterator[str]:
    yield from ARKIT if names == "arkit" else names or ()
