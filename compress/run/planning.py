"""What a run will do, known before anything heavy is loaded.

Every stage's job, and whether its result is there already.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from compress.errors import UsageError
from compress.labels.rest_pose import FOLDER as REST
from compress.labels.rest_stage import RestJob
from compress.labels.stage import LabelJob
from compress.prove.cost_stage import CostJob
from compress.prove.source_stage import BaselineJob
from compress.recipe.recipe import Recipe, StudentSettings, recipe_hash
from compress.report.clips import ClipsJob
from compress.rig.rig_file import find_rig
from compress.run.commits import commits
from compress.run.criteria import criteria_of
from compress.run.jobs import Inputs, Plan, StudentJobs
from compress.run.run_folder import check_run_folder
from compress.run.student_jobs import StudentPlanner
from compress.speech.alignments import read_alignments
from compress.speech.gathering import gather
from compress.students.reference import reference_students
from compress.teachers.loading import find_teacher

# Of the held-out clip that teacher and files are timed on, in seconds.
COST_CLIP_S = 4.0


def find_inputs(recipe: Recipe) -> Inputs:
    """Find and hash the teacher and all speech; read the rig's file, if the recipe names one.

    Raises `TeacherError`, `AudioError` and `RigFileError`.
    """
    teacher = find_teacher(recipe.teacher.checkpoint, recipe.folder, recipe.teacher.depends_on)
    speech = gather(recipe.speech, recipe.folder)
    rig = find_rig(recipe.teacher.rig, recipe.folder)
    alignments = read_alignments(speech.folders)
    return Inputs(teacher, speech, alignments, rig, commits(recipe.folder))


def plan(recipe: Recipe, inputs: Inputs, folder: Path, students: Sequence[str] = ()) -> Plan:
    """The jobs of a recipe in a run folder, for all its students or those named.

    Raises `UsageError` for a name that the recipe lacks, and for a folder of other things: stages
    replace what stands in their place.
    """
    references = reference_students(recipe, inputs.teacher)
    known = {student.name: student for student in recipe.students}
    _require_names(known, students, [student.name for student in references])
    check_run_folder(folder)
    chosen = tuple(name for name in known if not students or name in students)
    if not students:
        known |= {student.name: student for student in references}
    label, rest = _labelled(recipe, inputs, folder)
    criteria = criteria_of(recipe, inputs, rest)
    planner = StudentPlanner(recipe, inputs, folder, label, rest, criteria, known, chosen)
    # In the recipe's order, where a guide stands before its students; then what ships.
    shown = (*chosen, *(student.name for student in references if student.name in known))
    jobs = tuple(planner.jobs(name) for name in shown)
    _require_own_folders(jobs)
    made = {student.name: student.distill for student in jobs}
    return Plan(
        folder=folder,
        recipe_hash=recipe_hash(recipe),
        label=label,
        rest=rest,
        distills=tuple(
            made[name] if name in made else planner.distilled(name)
            for name in _with_guides(known, shown)
        ),
        students=jobs,
        baselines=BaselineJob(folder / "checks" / "baselines", label.key, criteria.judged),
        cost=_cost(recipe, inputs, folder, jobs),
        clips=ClipsJob(
            folder=folder / "checks" / "clips",
            count=recipe.report.clips,
            files={t.name: next(iter(t.export.files.values())) for s in jobs for t in s.tiers},
            labels_key=label.key,
            criteria_key=criteria.held_out,
        ),
        shown={"skipped": inputs.speech.left_out},
    )


def _require_names(
    known: Collection[str], students: Sequence[str], references: Collection[str]
) -> None:
    if unknown := [name for name in students if name not in known]:
        raise UsageError(
            f"The recipe has no student {', '.join(unknown)}; it has {', '.join(known)}. Correct "
            f"--student."
        )
    if taken := sorted(set(known) & set(references)):
        raise UsageError(
            f"The recipe's {', '.join(taken)} has the name of a reference student that the report "
            f"shows beside it. Choose another name, or show none: --set report.reference_targets=[]."
        )


def _require_own_folders(students: Sequence[StudentJobs]) -> None:
    names = [tier.name for student in students for tier in student.tiers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"Two students would write the folder models/{twice[0]}. Rename one of them: files lie in "
            f"a folder of student and precision."
        )


def _labelled(recipe: Recipe, inputs: Inputs, folder: Path) -> tuple[LabelJob, RestJob]:
    """The job of the labels, and that of the rest pose, which is part of it."""
    rest = RestJob(
        folder / REST,
        inputs.teacher,
        recipe.teacher,
        recipe.threads,
        clips=inputs.speech.rest,
        most_share=recipe.speech.rest_share,
    )
    label = LabelJob(
        folder / "labels",
        inputs.teacher,
        inputs.speech,
        recipe.labels,
        recipe.teacher,
        recipe.threads,
        recipe.folder,
        inputs.rig,
    )
    if recipe.teacher.mesh is not None:
        rest = replace(rest, mesh_key=label.mesh_key)
    return replace(label, rest=rest), rest


def _cost(recipe: Recipe, inputs: Inputs, folder: Path, students: Sequence[StudentJobs]) -> CostJob:
    """Teacher and files in turns, on the held-out clip that is nearest to `COST_CLIP_S`."""
    heldout = [spoken.clip for spoken in inputs.speech.spoken if spoken.side == "heldout"]
    clip = min(heldout, key=lambda clip: (abs(clip.seconds - COST_CLIP_S), clip.id))
    files = [job.file for s in students for t in s.tiers for job in t.benchmark.values()]
    return CostJob(
        folder=folder / "checks" / "teacher-cost",
        teacher=inputs.teacher,
        settings=recipe.teacher,
        base=recipe.folder,
        clip=clip,
        clip_key=clip.sha256,
        files={file.relative_to(folder).as_posix(): file for file in files},
    )


def _with_guides(known: Mapping[str, StudentSettings], chosen: Sequence[str]) -> list[str]:
    """The chosen students and all that guide them, in the recipe's order: a guide comes first."""
    needed = set(chosen)
    for name in reversed(list(known)):
        student = known[name]
        if name in needed and student.guided_within and student.guide is not None:
            needed.add(student.guide)
    return [name for name in known if name in needed]
