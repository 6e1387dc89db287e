"""What a run will do, known before anything heavy is loaded: every stage's job, and whether its result is there already."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from compress.alignments import Alignment, read_alignments
from compress.errors import UsageError
from compress.recipe import Recipe, recipe_hash
from compress.stages.checking import BaselineJob, BenchmarkJob, VerifyJob
from compress.stages.exporting import PRECISION, ExportJob
from compress.stages.labelling import LabelJob
from compress.stages.speech import Speech, gather
from compress.stages.training import DistillJob
from compress.store import content_key, stage
from compress.teachers.loading import TeacherFile, find_teacher

STAGES = ("label", "distill", "export", "verify", "benchmark", "report")


@dataclass(frozen=True)
class Inputs:
    """What a recipe's names stand for on this machine, found and hashed."""

    teacher: TeacherFile
    speech: Speech
    alignments: dict[str, Alignment]


@dataclass(frozen=True)
class StudentJobs:
    """The jobs of one student; verify and benchmark have one for each target."""

    name: str
    distill: DistillJob
    export: ExportJob
    verify: dict[str, VerifyJob]
    benchmark: dict[str, BenchmarkJob]


@dataclass(frozen=True)
class Plan:
    """All jobs of a run. `report_key` covers everything that the report is made of."""

    folder: Path
    recipe_hash: str
    label: LabelJob
    students: tuple[StudentJobs, ...]
    baselines: BaselineJob
    report_key: str

    @property
    def report_folder(self) -> Path:
        return self.folder / "report"

    def steps(self) -> Iterator[tuple[str, str, Path, str]]:
        """Each step in order: stage, what it is about, folder, key."""
        yield "label", "", self.label.folder, self.label.key
        for student in self.students:
            yield "distill", student.name, student.distill.folder, student.distill.key
            yield "export", student.name, student.export.folder, student.export.key
            for target, verify in student.verify.items():
                yield "verify", f"{student.name} {target}", verify.folder, verify.key
            for target, benchmark in student.benchmark.items():
                yield "benchmark", f"{student.name} {target}", benchmark.folder, benchmark.key
        yield "verify", "baselines", self.baselines.folder, self.baselines.key
        yield "report", "", self.report_folder, self.report_key

    def outlook(self, until: str) -> list[tuple[str, str, str]]:
        """For each step up to a stage: stage, what it is about, and why it would run (empty when its result is there)."""
        last = STAGES.index(until)
        return [
            (name, what, stage(folder, key).reason) for name, what, folder, key in self.steps() if STAGES.index(name) <= last
        ]


def find_inputs(recipe: Recipe) -> Inputs:
    """Find and hash the teacher and all speech. Raises `TeacherError` and `AudioError`."""
    teacher = find_teacher(recipe.teacher.checkpoint, recipe.folder)
    speech = gather(recipe.speech, recipe.folder)
    return Inputs(teacher, speech, read_alignments(speech.folders))


def plan(recipe: Recipe, inputs: Inputs, folder: Path, students: Sequence[str] = ()) -> Plan:
    """The jobs of a recipe in a run folder, for all its students or those named. Raises `UsageError` for a name it lacks."""
    known = {student.name: student for student in recipe.students}
    if unknown := [name for name in students if name not in known]:
        raise UsageError(f"The recipe has no student {', '.join(unknown)}; it has {', '.join(known)}. Correct --student.")
    label = LabelJob(folder / "labels", inputs.teacher, inputs.speech, recipe.labels, recipe.teacher, recipe.threads)
    alignments = json.loads(json.dumps({clip: asdict(a) for clip, a in inputs.alignments.items()}))
    alignments_key = content_key(alignments=alignments)

    def jobs(name: str) -> StudentJobs:
        distill = DistillJob(
            folder=folder / "students" / name / "distilled",
            log=folder / "logs" / f"{name}-distilled.jsonl",
            work=folder / ".work" / name,
            labels_key=label.key,
            settings=known[name],
            seed=recipe.seed,
            threads=recipe.threads,
        )
        export = ExportJob(
            folder=folder / "models" / f"{name}-{PRECISION}",
            student_folder=distill.folder,
            student_key=distill.key,
            settings=recipe.export,
            recipe_hash=recipe_hash(recipe),
            teacher=f"{inputs.teacher.name} {inputs.teacher.hash}",
        )
        checks = folder / "checks" / f"{name}-{PRECISION}"
        files = export.files
        verify = {
            target: VerifyJob(
                folder=checks / f"{target}-verify",
                file=file,
                file_key=content_key(export=export.key, target=target),
                student_folder=distill.folder,
                labels_key=label.key,
                alignments_key=alignments_key,
                max_abs=recipe.parity.max_abs,
            )
            for target, file in files.items()
        }
        benchmark = {t: BenchmarkJob(checks / f"{t}-benchmark", files[t], verify[t].file_key) for t in files}
        return StudentJobs(name, distill, export, verify, benchmark)

    made = tuple(jobs(name) for name in (students or known))
    baselines = BaselineJob(folder / "checks" / "baselines", label.key, alignments_key)
    report_key = content_key(
        checks=[[v.key for v in s.verify.values()] + [b.key for b in s.benchmark.values()] for s in made],
        baselines=baselines.key,
        gates=recipe.gates.model_dump(mode="json"),
        clips=recipe.report.clips,
        skipped=[str(skipped.path) for skipped in inputs.speech.skipped],
    )
    return Plan(folder, recipe_hash(recipe), label, made, baselines, report_key)
