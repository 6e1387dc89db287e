"""The jobs of a recipe's students: distilled, pruned, made int8, and judged after each step."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compress.distill.shrinking import ShrinkJob, Step
from compress.distill.stage import DistillJob
from compress.export.stage import ExportJob
from compress.labels.rest_stage import RestJob
from compress.labels.stage import LabelJob
from compress.prove.source_stage import SourceJob
from compress.prove.verify_stage import BenchmarkJob, VerifyJob
from compress.recipe.recipe import ExportSettings, Recipe, StudentSettings
from compress.recipe.tiers import require_tier, steps_of, tier_name
from compress.run.criteria import Criteria
from compress.run.jobs import Inputs, StudentJobs, TierJobs
from compress.students.finding import KnownStudent, find_student
from compress.students.reference import float_twin, reference_targets
from exporters.signature import Precision


@dataclass(frozen=True)
class StudentPlanner:
    """What the jobs of all students share. `known` are the recipe's and those that ship and are shown.

    `chosen` are those that the run is about: only they have the recipe's own files.
    """

    recipe: Recipe
    inputs: Inputs
    folder: Path
    label: LabelJob
    rest: RestJob
    criteria: Criteria
    known: Mapping[str, StudentSettings]
    chosen: tuple[str, ...]

    def jobs(self, name: str) -> StudentJobs:
        """A student's steps, and its tiers in the precisions of the recipe that it can have."""
        settings, distill = self.known[name], self.distilled(name)
        prune = self._shrunk("pruned", name, distill) if settings.pruning else None
        quantize = self._shrunk("int8", name, prune or distill) if settings.quantization else None
        first = "distilled" if settings.start is None else "start"
        sources = {
            step: self._source(name, step, job)
            for step, job in ((first, distill), ("pruned", prune), ("int8", quantize))
            if job is not None
        }
        made_of = steps_of(settings, distill.start.step if distill.start else None)
        tiers = self._tiers(name, made_of, sources)
        own = name in self.chosen
        return StudentJobs(name, distill, prune, quantize, sources, tiers, reference=not own)

    def distilled(self, name: str) -> DistillJob:
        """The training of a student, or the copy of the one that it starts from."""
        settings = self.known[name]
        return DistillJob(
            folder=self.folder / "students" / name / "distilled",
            logs=self.folder / "logs" / name,
            work=self.folder / ".work" / name,
            labels_key=self.label.key,
            settings=settings,
            seed=self.recipe.seed,
            threads=self.recipe.threads,
            events=self.folder / "tensorboard" / name,
            guide=self._guide_of(settings),
            start=self._start_of(settings),
            closure_key=self.criteria.closure,
            rest_key=self.rest.training_key,
        )

    def _guide_of(self, student: StudentSettings) -> KnownStudent | None:
        if student.guide is None:
            return None
        if student.guided_within:
            own = self.distilled(student.guide)
            return KnownStudent(own.folder, own.key)
        return find_student(f"The guide of {student.name}", student.guide, self.recipe.folder)

    def _start_of(self, student: StudentSettings) -> KnownStudent | None:
        if student.start is None:
            return None
        return find_student(f"The start of {student.name}", student.start, self.recipe.folder)

    def _shrunk(self, step: Step, name: str, source: DistillJob | ShrinkJob) -> ShrinkJob:
        settings = self.known[name]
        return ShrinkJob(
            step=step,
            folder=self.folder / "students" / name / step,
            work=self.folder / ".work" / f"{name}-{step}",
            events=self.folder / "tensorboard" / f"{name}-{step}",
            source=KnownStudent(source.folder, source.key),
            labels_key=self.label.key,
            alignments=self.inputs.alignments,
            criteria_key=self.criteria.choices,
            settings=settings,
            seed=self.recipe.seed,
            threads=self.recipe.threads,
            guide=self._guide_of(settings),
            rest_key=self.rest.training_key,
        )

    def _source(self, name: str, step: str, job: DistillJob | ShrinkJob) -> SourceJob:
        return SourceJob(
            folder=self.folder / "checks" / f"{name}-{step}",
            student_folder=job.folder,
            student_key=job.key,
            smoothing=self.known[name].smoothing,
            labels_key=self.label.key,
            criteria_key=self.criteria.judged,
        )

    def _tiers(
        self, name: str, made_of: Mapping[Precision, str], sources: Mapping[str, SourceJob]
    ) -> tuple[TierJobs, ...]:
        own = name in self.chosen
        precisions = self._files_of(name).precisions
        require_tier(name, precisions, made_of)
        # Files take turns with those of the float tier when they are timed.
        in_float = name if own else float_twin(name)
        own_float = {"fp32"} <= made_of.keys() & set(precisions)
        known_float = own_float if in_float == name else in_float in self.known
        twin = tier_name(in_float, "fp32") if known_float else None
        return tuple(
            self._tier(name, one, made_of[one], sources, None if one == "fp32" else twin)
            for one in precisions
            if one in made_of
        )

    def _files_of(self, name: str) -> ExportSettings:
        """What is exported: the recipe's own, or what is shown of those that ship."""
        if name in self.chosen:
            return self.recipe.export
        shown = {"targets": reference_targets(self.recipe), "precisions": ("fp32", "int8")}
        return self.recipe.export.model_copy(update=shown)

    def _tier(
        self,
        name: str,
        precision: Precision,
        step: str,
        sources: Mapping[str, SourceJob],
        twin: str | None,
    ) -> TierJobs:
        source, named = sources[step], tier_name(name, precision)
        teacher = self.inputs.teacher
        export = ExportJob(
            folder=self.folder / "models" / named,
            precision=precision,
            student_folder=source.student_folder,
            student_key=source.student_key,
            settings=self._files_of(name),
            limits=self.recipe.parity,
            smoothing=self.known[name].smoothing,
            teacher=f"{teacher.name} {teacher.hash}",
            labels_key=self.label.key,
        )
        checks, files = self.folder / "checks" / named, export.files
        verify = {
            target: VerifyJob(
                name=file.relative_to(self.folder).as_posix(),
                folder=checks / f"{target}-verify",
                file=file,
                precision=precision,
                export_key=export.key,
                student_folder=source.student_folder,
                labels_key=self.label.key,
                criteria_key=self.criteria.judged,
                limits=self.recipe.parity,
            )
            for target, file in files.items()
        }
        benchmark = {
            target: BenchmarkJob(
                folder=checks / f"{target}-benchmark",
                file=file,
                export_key=export.key,
                reference=None if twin is None else self.folder / "models" / twin / file.name,
            )
            for target, file in files.items()
        }
        return TierJobs(self.known[name], step, source, export, verify, benchmark)
