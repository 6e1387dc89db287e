"""What a run will do, known before anything heavy is loaded.

Every stage's job, and whether its result is there already.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from compress.alignments import Alignment, read_alignments
from compress.errors import UsageError
from compress.recipe import Recipe, StudentSettings, recipe_hash
from compress.rig_file import RigFile, find_rig
from compress.stages.checking import BenchmarkJob, VerifyJob
from compress.stages.exporting import ExportJob
from compress.stages.judging import BaselineJob, SourceJob
from compress.stages.labelling import LabelJob
from compress.stages.shrinking import ShrinkJob, Step
from compress.stages.speech import Speech, gather
from compress.stages.training import DistillJob, KnownStudent, find_student
from compress.store import content_key, stage, storage_errors
from compress.teachers.loading import TeacherFile, find_teacher
from exporters.signature import Precision

STAGES = ("label", "distill", "prune", "quantize", "export", "verify", "benchmark", "report")


@dataclass(frozen=True)
class Inputs:
    """What a recipe's names stand for on this machine, found and hashed."""

    teacher: TeacherFile
    speech: Speech
    alignments: dict[str, Alignment]
    rig: RigFile | None = None


@dataclass(frozen=True)
class TierJobs:
    """The jobs of one student at one precision; verify and benchmark have one for each target.

    Its files are made of the student as it is after `step`: `source` judges that in PyTorch.
    """

    student: str
    step: str
    source: SourceJob
    export: ExportJob
    verify: dict[str, VerifyJob]
    benchmark: dict[str, BenchmarkJob]

    @property
    def name(self) -> str:
        """Of its folder too: student and precision."""
        return f"{self.student}-{self.export.precision}"


@dataclass(frozen=True)
class StudentJobs:
    """The jobs of one student: trained, made smaller where the recipe wants it, in its tiers.

    `sources` are its steps in PyTorch by name, in the order in which they are made.
    """

    name: str
    distill: DistillJob
    prune: ShrinkJob | None
    quantize: ShrinkJob | None
    sources: dict[str, SourceJob]
    tiers: tuple[TierJobs, ...]


@dataclass(frozen=True)
class Plan:
    """All jobs of a run.

    `distills` are in the recipe's order and may hold guides, trained for others' sake, that go no
    further; `shown` is what the report depends on beside their results.
    """

    folder: Path
    recipe_hash: str
    label: LabelJob
    distills: tuple[DistillJob, ...]
    students: tuple[StudentJobs, ...]
    baselines: BaselineJob
    shown: Mapping[str, object]

    @property
    def tiers(self) -> Iterator[TierJobs]:
        """Of all students, in their order."""
        for student in self.students:
            yield from student.tiers

    @property
    def report_folder(self) -> Path:
        return self.folder / "report"

    @property
    def report_key(self) -> str:
        """Key of the report: of every check, as the files are now, and of what is shown."""
        checks: list[SourceJob | VerifyJob | BenchmarkJob] = []
        for student in self.students:
            checks += student.sources.values()
        for tier in self.tiers:
            checks += [*tier.verify.values(), *tier.benchmark.values()]
        return content_key(
            checks=[job.key for job in checks], baselines=self.baselines.key, **self.shown
        )

    def steps(self) -> Iterator[tuple[str, str, Path, str]]:
        """Each step in order: stage, what it is about, folder, key."""
        yield "label", "", self.label.folder, self.label.key
        for job in self.distills:
            yield "distill", job.settings.name, job.folder, job.key
        for student in self.students:
            if student.prune is not None:
                yield "prune", student.name, student.prune.folder, student.prune.key
            if student.quantize is not None:
                yield "quantize", student.name, student.quantize.folder, student.quantize.key
        for tier in self.tiers:
            yield "export", tier.name, tier.export.folder, tier.export.key
            for target, verify in tier.verify.items():
                yield "verify", f"{tier.name} {target}", verify.folder, verify.key
            for target, benchmark in tier.benchmark.items():
                yield "benchmark", f"{tier.name} {target}", benchmark.folder, benchmark.key
        for student in self.students:
            for step, source in student.sources.items():
                yield "verify", f"{student.name} {step}", source.folder, source.key
        yield "verify", "baselines", self.baselines.folder, self.baselines.key
        yield "report", "", self.report_folder, self.report_key

    def outlook(self, until: str) -> list[tuple[str, str, str]]:
        """For each step up to a stage: stage, what it is about, and why it would run.

        The reason is empty when its result is there.
        """
        last = STAGES.index(until)
        return [
            (name, what, stage(folder, key).reason)
            for name, what, folder, key in self.steps()
            if STAGES.index(name) <= last
        ]


def find_inputs(recipe: Recipe) -> Inputs:
    """Find and hash the teacher and all speech; read the rig's file, if the recipe names one.

    Raises `TeacherError`, `AudioError` and `RigFileError`.
    """
    teacher = find_teacher(recipe.teacher.checkpoint, recipe.folder, recipe.teacher.depends_on)
    speech = gather(recipe.speech, recipe.folder)
    rig = find_rig(recipe.teacher.rig, recipe.folder)
    return Inputs(teacher, speech, read_alignments(speech.folders), rig)


def plan(recipe: Recipe, inputs: Inputs, folder: Path, students: Sequence[str] = ()) -> Plan:
    """The jobs of a recipe in a run folder, for all its students or those named.

    Raises `UsageError` for a name that the recipe lacks, and for a folder of other things: stages
    replace what stands in their place.
    """
    known = {student.name: student for student in recipe.students}
    if unknown := [name for name in students if name not in known]:
        raise UsageError(
            f"The recipe has no student {', '.join(unknown)}; it has {', '.join(known)}. Correct "
            f"--student."
        )
    _check_folder(folder)
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
    closed = recipe.teacher.lips_closed
    by_vertices = closed and closed.model_dump(mode="json")
    # A name for people that changes trains nothing again.
    closure = content_key(file=inputs.rig and inputs.rig.closure_key, mesh=by_vertices)
    alignments = {clip: asdict(a) for clip, a in inputs.alignments.items()}
    choices = content_key(alignments=alignments, closure=closure)
    criteria = content_key(choices=choices, rig=inputs.rig and inputs.rig.key)

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
        )

    def tier(name: str, precision: Precision, step: str, source: SourceJob) -> TierJobs:
        tier_name = f"{name}-{precision}"
        export = ExportJob(
            folder=folder / "models" / tier_name,
            precision=precision,
            student_folder=source.student_folder,
            student_key=source.student_key,
            settings=recipe.export,
            limits=recipe.parity,
            smoothing=known[name].smoothing,
            recipe_hash=recipe_hash(recipe),
            teacher=f"{inputs.teacher.name} {inputs.teacher.hash}",
            labels_key=label.key,
        )
        checks = folder / "checks" / tier_name
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
                criteria_key=criteria,
                limits=recipe.parity,
            )
            for target, file in files.items()
        }
        benchmark = {
            target: BenchmarkJob(checks / f"{target}-benchmark", file, export.key)
            for target, file in files.items()
        }
        return TierJobs(name, step, source, export, verify, benchmark)

    def jobs(name: str) -> StudentJobs:
        """The float tiers are of the student as it was made last, pruned or not.

        One that starts from an int8 student has no other tier.
        """
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
                criteria_key=criteria,
            )
            for step, job in ((first, distill), ("pruned", prune), ("int8", quantize))
            if job is not None
        }
        in_float = "pruned" if prune else first
        made_of: dict[Precision, str] = {"fp32": in_float, "fp16": in_float}
        if distill.start is not None and distill.start.step == "int8":
            made_of = {"int8": first}
        elif quantize is not None:
            made_of["int8"] = "int8"
        tiers = tuple(
            tier(name, precision, made_of[precision], sources[made_of[precision]])
            for precision in recipe.export.precisions
            if precision in made_of
        )
        if not tiers:
            raise UsageError(
                f"The recipe asks for files in {', '.join(recipe.export.precisions)}, but student "
                f"{name} can be had in {', '.join(made_of)}. Add one of these to export.precisions"
                f"{'' if 'int8' in made_of else ', or a quantization to the student'}."
            )
        return StudentJobs(name, distill, prune, quantize, sources, tiers)

    # In the recipe's order, where a guide stands before its students.
    chosen = tuple(name for name in known if not students or name in students)
    return Plan(
        folder=folder,
        recipe_hash=recipe_hash(recipe),
        label=label,
        distills=tuple(distilled(name) for name in _with_guides(known, chosen)),
        students=tuple(jobs(name) for name in chosen),
        baselines=BaselineJob(folder / "checks" / "baselines", label.key, criteria),
        shown={
            "gates": recipe.gates.model_dump(mode="json"),
            "clips": recipe.report.clips,
            "skipped": inputs.speech.left_out,
        },
    )


def _with_guides(known: Mapping[str, StudentSettings], chosen: Sequence[str]) -> list[str]:
    """The chosen students and all that guide them, in the recipe's order: a guide comes first."""
    needed = set(chosen)
    for name in reversed(list(known)):
        student = known[name]
        if name in needed and student.guided_within and student.guide is not None:
            needed.add(student.guide)
    return [name for name in known if name in needed]


def _check_folder(folder: Path) -> None:
    with storage_errors(folder):
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if "run.json" not in names and any(not name.startswith(".") for name in names):
        raise UsageError(
            f"{folder} is not empty, and no run of lipstill: it has no run.json. Choose an empty "
            f"folder with --out, or one that does not exist yet."
        )
