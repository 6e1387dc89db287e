"""A run's jobs, stage by stage: what `planning` makes of a recipe, and the pipeline carries out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from compress.distill.shrinking import ShrinkJob
from compress.distill.stage import DistillJob
from compress.export.stage import ExportJob
from compress.labels.rest_stage import RestJob
from compress.labels.stage import LabelJob
from compress.prove.cost_stage import CostJob
from compress.prove.source_stage import BaselineJob, SourceJob
from compress.prove.verify_stage import BenchmarkJob, VerifyJob
from compress.recipe.recipe import StudentSettings
from compress.report.clips import ClipsJob
from compress.rig.rig_file import RigFile
from compress.speech.alignments import Alignment
from compress.speech.gathering import Speech
from compress.store import content_key, stage, tool_versions
from compress.teachers.loading import TeacherFile

# Of report.json and all that is made from it: one more with every change of either.
REPORT_FORMAT = 4
STAGES = ("label", "distill", "prune", "quantize", "export", "verify", "benchmark", "report")


@dataclass(frozen=True)
class Inputs:
    """What a recipe's names stand for on this machine, found and hashed."""

    teacher: TeacherFile
    speech: Speech
    alignments: dict[str, Alignment]
    rig: RigFile | None = None
    commits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TierJobs:
    """The jobs of one student at one precision; verify and benchmark have one for each target.

    Its files are made of the student as it is after `step`: `source` judges that in PyTorch.
    """

    settings: StudentSettings
    step: str
    source: SourceJob
    export: ExportJob
    verify: dict[str, VerifyJob]
    benchmark: dict[str, BenchmarkJob]

    @property
    def student(self) -> str:
        return self.settings.name

    @property
    def name(self) -> str:
        """Of its folder too: student and precision."""
        return self.export.folder.name


@dataclass(frozen=True)
class StudentJobs:
    """The jobs of one student: trained, made smaller where the recipe wants it, in its tiers.

    `sources` are its steps in PyTorch by name, in the order in which they are made. A `reference`
    ships with lipstill, and is no part of what the recipe asks for.
    """

    name: str
    distill: DistillJob
    prune: ShrinkJob | None
    quantize: ShrinkJob | None
    sources: dict[str, SourceJob]
    tiers: tuple[TierJobs, ...]
    reference: bool


@dataclass(frozen=True)
class Plan:
    """All jobs of a run.

    `distills` are in the recipe's order and may hold guides, trained for others' sake, that go no
    further; `shown` is what the report depends on beside their results and the recipe.
    """

    folder: Path
    recipe_hash: str
    label: LabelJob
    rest: RestJob
    distills: tuple[DistillJob, ...]
    students: tuple[StudentJobs, ...]
    baselines: BaselineJob
    cost: CostJob
    clips: ClipsJob
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
            format=REPORT_FORMAT,
            recipe=self.recipe_hash,
            checks=[job.key for job in checks],
            baselines=self.baselines.key,
            cost=self.cost.key,
            clips=self.clips.key,
            versions=tool_versions("lipstill", "jinja2", "matplotlib"),
            **self.shown,
        )

    def steps(self) -> Iterator[tuple[str, str, Path, str]]:
        """Each step in order: stage, what it is about, folder, key."""
        yield "label", "", self.label.folder, self.label.key
        yield "label", "rest pose", self.rest.folder, self.rest.key
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
        yield "benchmark", "teacher", self.cost.folder, self.cost.key
        yield "report", "clips", self.clips.folder, self.clips.key
        yield "report", "", self.report_folder, self.report_key

    def outlook(self, until: str) -> list[tuple[str, str, str]]:
        """For each step up to a stage: stage, what it is about, and why it would run.

        The reason is empty when its result is there.
        """
        last = STAGES.index(until)
        again = not all(stage(tier.export.folder, tier.export.key).hit for tier in self.tiers)

        def reason(folder: Path, key: str) -> str:
            if folder == self.label.folder:
                return self.label.to_do
            if again and folder in (self.cost.folder, self.clips.folder):
                return "goes by files that are exported again"  # its key knows those of today only
            return stage(folder, key).reason

        return [
            (name, what, reason(folder, key))
            for name, what, folder, key in self.steps()
            if STAGES.index(name) <= last
        ]
