"""What a run will do, known before anything heavy is loaded.

Every stage's job, and whether its result is there already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

from compress.distill.shrinking import ShrinkJob, Step
from compress.distill.stage import DistillJob
from compress.errors import UsageError
from compress.export.stage import ExportJob
from compress.labels.rest_pose import FOLDER as REST
from compress.labels.rest_stage import RestJob
from compress.labels.stage import LabelJob
from compress.prove.cost_stage import CostJob
from compress.prove.source_stage import BaselineJob, SourceJob
from compress.prove.verify_stage import BenchmarkJob, VerifyJob
from compress.recipe.recipe import Recipe, StudentSettings, recipe_hash
from compress.recipe.tiers import require_tier, steps_of, tier_name
from compress.report.clips import ClipsJob
from compress.rig.rig_file import find_rig
from compress.run.commits import commits
from compress.run.jobs import Inputs, Plan, StudentJobs, TierJobs
from compress.run.run_folder import check_run_folder
from compress.speech.alignments import read_alignments
from compress.speech.gathering import gather
from compress.store import content_key
from compress.students.finding import KnownStudent, find_student
from compress.students.reference import float_twin, reference_students, reference_targets
from compress.teachers.loading import find_teacher
from exporters.signature import Precision

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
    if unknown := [name for name in students if name not in known]:
        raise UsageError(
            f"The recipe has no student {', '.join(unknown)}; it has {', '.join(known)}. Correct "
            f"--student."
        )
    check_run_folder(folder)
    if taken := sorted(known.keys() & {student.name for student in references}):
        raise UsageError(
            f"The recipe's {', '.join(taken)} has the name of a reference student that the report "
            f"shows beside it. Choose another name, or show none: --set report.reference_targets=[]."
        )
    chosen = tuple(name for name in known if not students or name in students)
    if not students:
        known |= {student.name: student for student in references}
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
    label = replace(label, rest=rest)
    closed = recipe.teacher.lips_closed
    by_vertices = closed and closed.model_dump(mode="json")
    # A name for people that changes trains nothing again.
    closure = content_key(file=inputs.rig and inputs.rig.closure_key, mesh=by_vertices)
    alignments = {clip: asdict(a) for clip, a in inputs.alignments.items()}
    # Who speaks is asked by those who judge, and by nobody who chooses.
    voices = {clip: found.pop("voice") for clip, found in alignments.items()}
    choices = content_key(alignments=alignments, closure=closure)
    criteria = content_key(
        choices=choices,
        rig=inputs.rig and inputs.rig.key,
        voices=voices,
        # As pairs: of two kinds that name a clip the first counts.
        kinds=[[kind, *patterns] for kind, patterns in recipe.speech.kinds.items()],
    )
    judged_by = content_key(criteria=criteria, rest=rest.key)

    @cache
    def distilled(name: str) -> DistillJob:
        return DistillJob(
            folder=folder / "students" / name / "distilled",
            logs=folder / "logs" / name,
            work=folder / ".work" / name,
            labels_key=label.key,
            settings=known[name],
            seed=recipe.seed,
            threads=recipe.threads,
            events=folder / "tensorboard" / name,
            guide=guide_of(known[name]),
            start=start_of(known[name]),
            closure_key=closure,
            rest_key=rest.training_key,
        )

    def guide_of(student: StudentSettings) -> KnownStudent | None:
        if student.guide is None:
            return None
        if student.guided_within:
            own = distilled(student.guide)
            return KnownStudent(own.folder, own.key)
        return find_student(f"The guide of {student.name}", student.guide, recipe.folder)

    def start_of(student: StudentSettings) -> KnownStudent | None:
        if student.start is None:
            return None
        return find_student(f"The start of {student.name}", student.start, recipe.folder)

    def shrunk(step: Step, name: str, source: DistillJob | ShrinkJob) -> ShrinkJob:
        return ShrinkJob(
            step=step,
            folder=folder / "students" / name / step,
            work=folder / ".work" / f"{name}-{step}",
            events=folder / "tensorboard" / f"{name}-{step}",
            source=KnownStudent(source.folder, source.key),
            labels_key=label.key,
            alignments=inputs.alignments,
            criteria_key=choices,
            settings=known[name],
            seed=recipe.seed,
            threads=recipe.threads,
            guide=guide_of(known[name]),
            rest_key=rest.training_key,
        )

    own_files = recipe.export
    shown_files = recipe.export.model_copy(
        update={"targets": reference_targets(recipe), "precisions": ("fp32", "int8")}
    )

    def tier(
        name: str, precision: Precision, step: str, source: SourceJob, twin: str | None
    ) -> TierJobs:
        """`twin` is the float tier whose files take turns with these when they are timed."""
        named = tier_name(name, precision)
        export = ExportJob(
            folder=folder / "models" / named,
            precision=precision,
            student_folder=source.student_folder,
            student_key=source.student_key,
            settings=own_files if name in chosen else shown_files,
            limits=recipe.parity,
            smoothing=known[name].smoothing,
            teacher=f"{inputs.teacher.name} {inputs.teacher.hash}",
            labels_key=label.key,
        )
        checks = folder / "checks" / named
        files = export.files
        verify = {
            target: VerifyJob(
                name=file.relative_to(folder).as_posix(),
                folder=checks / f"{target}-verify",
                file=file,
                precision=precision,
                export_key=export.key,
                student_folder=source.student_folder,
                labels_key=label.key,
                criteria_key=judged_by,
                limits=recipe.parity,
            )
            for target, file in files.items()
        }
        benchmark = {
            target: BenchmarkJob(
                folder=checks / f"{target}-benchmark",
                file=file,
                export_key=export.key,
                reference=None if twin is None else folder / "models" / twin / file.name,
            )
            for target, file in files.items()
        }
        return TierJobs(known[name], step, source, export, verify, benchmark)

    def jobs(name: str) -> StudentJobs:
        """A student's steps, and its tiers in the precisions of the recipe that it can have."""
        distill, settings = distilled(name), known[name]
        prune = shrunk("pruned", name, distill) if settings.pruning else None
        last = prune or distill
        quantize = shrunk("int8", name, last) if settings.quantization else None
        first = "distilled" if settings.start is None else "start"
        sources = {
            step: SourceJob(
                folder=folder / "checks" / f"{name}-{step}",
                student_folder=job.folder,
                student_key=job.key,
                smoothing=settings.smoothing,
                labels_key=label.key,
                criteria_key=judged_by,
            )
            for step, job in ((first, distill), ("pruned", prune), ("int8", quantize))
            if job is not None
        }
        made_of = steps_of(settings, distill.start.step if distill.start else None)
        precisions = (own_files if name in chosen else shown_files).precisions
        require_tier(name, precisions, made_of)
        in_float = name if name in chosen else float_twin(name)
        known_float = in_float != name or {"fp32"} <= made_of.keys() & set(precisions)
        tiers = tuple(
            tier(
                name,
                precision,
                made_of[precision],
                sources[made_of[precision]],
                tier_name(in_float, "fp32") if known_float and precision != "fp32" else None,
            )
            for precision in precisions
            if precision in made_of
        )
        return StudentJobs(
            name, distill, prune, quantize, sources, tiers, reference=name not in chosen
        )

    def cost(students: Sequence[StudentJobs]) -> CostJob:
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

    # In the recipe's order, where a guide stands before its students; then what ships.
    shown = (*chosen, *(student.name for student in references if student.name in known))
    students_jobs = tuple(jobs(name) for name in shown)
    names = [tier.name for student in students_jobs for tier in student.tiers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"Two students would write the folder models/{twice[0]}. Rename one of them: files lie in "
            f"a folder of student and precision."
        )
    return Plan(
        folder=folder,
        recipe_hash=recipe_hash(recipe),
        label=label,
        rest=rest,
        distills=tuple(distilled(name) for name in _with_guides(known, shown)),
        students=students_jobs,
        baselines=BaselineJob(folder / "checks" / "baselines", label.key, judged_by),
        cost=cost(students_jobs),
        clips=ClipsJob(
            folder=folder / "checks" / "clips",
            count=recipe.report.clips,
            files={
                t.name: next(iter(t.export.files.values())) for s in students_jobs for t in s.tiers
            },
            labels_key=label.key,
            criteria_key=criteria,
        ),
        shown={"skipped": inputs.speech.left_out},
    )


def _with_guides(known: Mapping[str, StudentSettings], chosen: Sequence[str]) -> list[str]:
    """The chosen students and all that guide them, in the recipe's order: a guide comes first."""
    needed = set(chosen)
    for name in reversed(list(known)):
        student = known[name]
        if name in needed and student.guided_within and student.guide is not None:
            needed.add(student.guide)
    return [name for name in known if name in needed]
