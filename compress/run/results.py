"""What the stages of a run found, as the report takes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.distill.shrinking import Shrunk
from compress.distill.stage import Distilled
from compress.export.stage import Exported
from compress.labels.store import Labels
from compress.prove.cost_stage import Costs
from compress.prove.source_stage import Baseline
from compress.prove.verify_stage import Verified
from compress.run.jobs import Inputs, Plan, StudentJobs, TierJobs
from exporters.measuring.figures import Benchmark
from exporters.report.records.quality import Quality

if TYPE_CHECKING:
    from compress.recipe.recipe import GateSettings


@dataclass(frozen=True)
class TierResult:
    """All that the run knows of one student at one precision."""

    jobs: TierJobs
    exported: Exported
    verified: dict[str, Verified]
    benchmarks: dict[str, Benchmark]

    @property
    def name(self) -> str:
        return self.jobs.name


@dataclass(frozen=True)
class StudentResult:
    """All that the run knows of one student."""

    jobs: StudentJobs
    distilled: Distilled
    pruned: Shrunk | None
    integers: Shrunk | None
    sources: dict[str, Quality]
    tiers: tuple[TierResult, ...]

    @property
    def name(self) -> str:
        return self.jobs.name


@dataclass(frozen=True)
class Facts:
    """All that the run knows beside its students."""

    name: str
    plan: Plan
    inputs: Inputs
    labels: Labels
    baselines: tuple[Baseline, ...]
    costs: Costs
    clips: int
    gates: "GateSettings"
    licence: str

    def relative(self, path: Path) -> str:
        """A file's name in the report."""
        return path.relative_to(self.plan.folder).as_posix()
