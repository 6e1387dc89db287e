"""The chain from teacher to file, as the report has it: what each hop cost."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from compress.prove.verify_stage import mse_ratio
from exporters.proof.checks import Check
from exporters.report.records import chain
from exporters.report.records.quality import Quality

if TYPE_CHECKING:
    from compress.prove.verify_stage import Verified
    from compress.run.jobs import TierJobs


def hops(
    student: str,
    sources: Mapping[str, Quality],
    tiers: "Iterable[tuple[TierJobs, Mapping[str, Verified]]]",
) -> Iterator[chain.Hop]:
    """One student's: its steps in PyTorch as they were made of each other, then its files."""
    before, judged_before = chain.TEACHER, None
    for step, judged in sources.items():
        yield chain.Hop(
            student=student,
            name=step,
            made_of=before,
            runs_in="PyTorch",
            max_abs=None,
            mse_ratio=None if judged_before is None else mse_ratio(judged, judged_before),
            against_teacher=judged.against_teacher,
            against_truth=judged.against_truth,
        )
        before, judged_before = step, judged
    for jobs, files in tiers:
        for target, verified in files.items():
            parity, judged = verified.parity, verified.quality
            known = [item.max_abs for item in parity.sets if item.max_abs is not None]
            yield chain.Hop(
                student=student,
                name=jobs.verify[target].name,
                made_of=jobs.step,
                runs_in=f"{parity.runtime['runtime']} {parity.runtime.get('version', '')}".strip(),
                max_abs=max(known) if len(known) == len(parity.sets) else None,
                mse_ratio=mse_ratio(judged, sources[jobs.step]),
                against_teacher=judged.against_teacher,
                against_truth=judged.against_truth,
            )


def unsupported(tier: "TierJobs") -> Iterator[Check]:
    """What the recipe asks for and a target cannot write: said, never left out in silence."""
    for target in tier.export.unsupported:
        yield Check(
            file=f"models/{tier.name}",
            what=f"export, {target}",
            status="not run",
            detail=f"{target} writes no {tier.export.precision} files",
        )
