"""The report's rows: the teacher, every file of every student, and what they are compared with."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.judge.playback import NONE
from compress.prove.cost_stage import TEACHER
from exporters.measuring.figures import Benchmark
from exporters.report.records import document as doc
from exporters.report.records.quality import Quality
from exporters.signature import Signature

if TYPE_CHECKING:
    from compress.prove.source_stage import Baseline
    from compress.run.results import Facts, StudentResult, TierResult


def teacher_row(facts: "Facts") -> doc.Tier:
    """The teacher against the truth; against itself there is nothing to measure."""
    teacher, costs, judged = facts.inputs.teacher, facts.costs, facts.baselines[0].quality
    return doc.Tier(
        name=teacher.name,
        kind="teacher",
        provenance="the teacher itself",
        parameters=facts.labels.teacher_parameters,
        bytes=teacher.bytes,
        sha256=teacher.hash,
        path=None,
        made=None,
        benchmark=_cost_of_teacher(facts),
        cost=costs.costs.get(TEACHER),
        future_ms=None,
        smoothing=None,
        algorithmic_latency_ms=None,
        **vars(replace(judged, against_teacher={}, by_region={}, by_control={})),
    )


def _cost_of_teacher(facts: "Facts") -> Benchmark | None:
    """Its size and memory; its time stands beside the files', since it makes curves and no window."""
    teacher, costs = facts.inputs.teacher, facts.costs
    if costs.size is None:
        return None
    return Benchmark(
        file=teacher.name,
        sha256=teacher.hash,
        size=costs.size,
        paces=(),
        memory=costs.memory,
        arena=None,
        machine=costs.machine,
    )


def student_rows(facts: "Facts", student: "StudentResult") -> Iterator[doc.Tier]:
    """A student's files as `lipstill animate` runs them.

    Where that smooths, a file's bare predictions follow it.
    """
    for tier in student.tiers:
        for target, path in tier.exported.files.items():
            yield from _file_rows(facts, student, tier, target, path)


def _file_rows(
    facts: "Facts", student: "StudentResult", tier: "TierResult", target: str, path: Path
) -> Iterator[doc.Tier]:
    signature = Signature.read(tier.exported.folder / "signature.json")
    verified, benchmark = tier.verified[target], tier.benchmarks[target]
    settings = student.jobs.distill.settings
    # Ranges that are found on speech train nothing.
    integers = settings.quantization if signature.precision == "int8" else None
    trained = settings.start is None or settings.pruning or (integers and integers.method == "qat")
    file = facts.relative(path)
    # A reference is known by the name under which it ships.
    called = settings.start if student.jobs.reference and settings.start else student.name
    name = f"student {called}, {signature.precision}, {target}"

    def row(name: str, signature: Signature, judged: Quality) -> doc.Tier:
        return doc.Tier(
            name=name,
            kind="student",
            provenance="trained in this run" if trained else "reference weights",
            parameters=(student.pruned or student.distilled).parameters,
            bytes=benchmark.size.bytes,
            sha256=benchmark.sha256,
            path=file,
            made=doc.Made(
                tier=tier.name,
                student=called,
                precision=signature.precision,
                target=target,
            ),
            benchmark=benchmark,
            cost=facts.costs.costs.get(file),
            future_ms=signature.future_ms,
            smoothing=signature.smoothing,
            algorithmic_latency_ms=signature.latency_ms,
            **vars(judged),
        )

    if verified.unsmoothed is None:
        yield row(name, signature, verified.quality)
        return
    yield row(f"{name}, with smoothing", signature, verified.quality)
    yield row(f"{name}, without smoothing", replace(signature, smoothing=NONE), verified.unsmoothed)


def baseline_row(baseline: "Baseline") -> doc.Tier:
    """A simple predictor that every student should beat."""
    return doc.Tier(
        name=baseline.name,
        kind="baseline",
        provenance="baseline, fitted in this run",
        parameters=baseline.parameters,
        bytes=None,
        sha256=None,
        path=None,
        made=None,
        benchmark=None,
        cost=None,
        future_ms=None,
        smoothing=None,
        algorithmic_latency_ms=None,
        **vars(baseline.quality),
    )
