"""Stage report: everything that was measured, as one document."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress import visemes
from compress.animation import driven_curves
from compress.chain_report import hops, measurements, unsupported
from compress.compression_report import pruning_of, quantization_of
from compress.evaluation import HeldOut, Quality
from compress.labels import Labels
from compress.planning import Inputs, Plan, StudentJobs, TierJobs
from compress.smoothing import NONE
from compress.stages import gates
from compress.stages.checking import NOT_KEPT, Verified
from compress.stages.exporting import Exported
from compress.stages.judging import Baseline
from compress.stages.shrinking import Shrunk
from compress.stages.speech import Speech
from compress.stages.training import Distilled
from compress.store import atomic_folder, seal, stage, tool_versions
from exporters.benchmark import Benchmark
from exporters.checks import Check
from exporters.machine import machine_facts
from exporters.report import ReportDocument, read_report, write_report
from exporters.report import document as doc
from exporters.report.chain import Hop
from exporters.signature import Signature
from exporters.targets import load_target, target_of

if TYPE_CHECKING:
    from compress.recipe import GateSettings

TOOLS = (
    *("lipstill", "torch", "numpy", "onnx", "onnxruntime", "onnxscript", "onnxsim"),
    *("lhotse", "lightning-fabric", "torch-pruning", "torchao"),
)
# Terms of the loss that a training log may hold.
TERMS = ("reconstruction", "velocity", "closure", "feature")


@dataclass(frozen=True)
class StudentResult:
    """All that the run knows of one student."""

    jobs: StudentJobs
    distilled: Distilled
    pruned: Shrunk | None
    integers: Shrunk | None
    sources: dict[str, Quality]
    tiers: tuple["TierResult", ...]

    @property
    def name(self) -> str:
        return self.jobs.name


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
class Facts:
    """All that the run knows beside its students."""

    name: str
    plan: Plan
    inputs: Inputs
    labels: Labels
    baselines: tuple[Baseline, ...]
    clips: int
    gates: "GateSettings"


def run(
    facts: Facts, students: list[StudentResult], heldout: Callable[[], HeldOut]
) -> ReportDocument:
    """Write the report, or find it: ``report.json``, Markdown and pictures."""
    folder = facts.plan.report_folder
    if not stage(folder, facts.plan.report_key).hit:
        with atomic_folder(folder) as made:
            write_report(build_document(facts, students, heldout()), made)
            agree = all(
                verified.sound for tier in _tiers(students) for verified in tier.verified.values()
            )
            seal(made, facts.plan.report_key if agree else NOT_KEPT)
    return read_report(folder / "report.json")


def _tiers(students: list[StudentResult]) -> Iterator[TierResult]:
    for student in students:
        yield from student.tiers


def build_document(facts: Facts, students: list[StudentResult], heldout: HeldOut) -> ReportDocument:
    """The report of a run."""
    teacher, labels, versions = facts.inputs.teacher, facts.labels, tool_versions(*TOOLS)
    tiers = [_teacher_row(facts)]
    for s in students:
        for tier in s.tiers:
            for target in tier.exported.files:
                tiers += _student_rows(facts, s, tier, target)
    tiers += [_baseline_row(baseline) for baseline in facts.baselines[1:]]
    return ReportDocument(
        name=facts.name,
        recipe_hash=facts.plan.recipe_hash,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        teacher=doc.Teacher(
            name=teacher.name,
            sha256=teacher.hash,
            description=labels.teacher_description,
            controls=len(labels.controls),
            driven=len(labels.driven),
            parameters=labels.teacher_parameters,
            frame_rate_hz=labels.rate_hz,
            rig=_rig(labels),
            mesh=None if heldout.mesh is None else heldout.mesh.facts,
        ),
        speech=_speech(facts.inputs.speech),
        machine=machine_facts(),
        versions={name: found or "not installed" for name, found in versions.items()},
        tiers=tuple(tiers),
        parity=tuple(
            doc.FileParity(file=_relative(facts, tier.exported.files[target]), result=v.parity)
            for tier in _tiers(students)
            for target, v in tier.verified.items()
        ),
        checks=tuple(_checks(students)),
        chain=tuple(_chain(students)),
        gates=tuple(_gates(facts, students)),
        training=tuple(_training(s) for s in students if s.distilled.log),
        pruning=tuple(pruning_of(s.jobs, s.pruned) for s in students if s.pruned),
        quantization=tuple(quantization_of(s.jobs, s.integers) for s in students if s.integers),
        curves=tuple(c for s in students[:1] for c in _curves(facts.clips, s, heldout)),
    )


def _rig(labels: Labels) -> doc.RigFacts:
    rig, rule = labels.rig, labels.rig.closure_of(labels.driven)
    return doc.RigFacts(
        name=rig.name,
        closed_lips=None if rule is None else rule.in_words(labels.driven),
        labels={name: rig.label(name) for name in labels.driven if rig.label(name) != name},
    )


def _chain(students: list[StudentResult]) -> Iterator[Hop]:
    for student in students:
        files = [(tier.jobs, tier.verified) for tier in student.tiers]
        yield from hops(student.name, student.sources, files)


def _checks(students: list[StudentResult]) -> Iterator[Check]:
    for tier in _tiers(students):
        yield from unsupported(tier.jobs)
        for verified in tier.verified.values():
            yield from verified.checks


def _relative(facts: Facts, path: Path) -> str:
    return path.relative_to(facts.plan.folder).as_posix()


def _speech(speech: Speech) -> doc.Speech:
    seconds = {
        side: sum(s.clip.seconds for s in speech.spoken if s.side == side)
        for side in ("train", "heldout")
    }
    folders = {s.clip.id.split("/")[0] for s in speech.spoken if "/" in s.clip.id}
    return doc.Speech(
        train_minutes=round(seconds["train"] / 60, 2),
        held_out_minutes=round(seconds["heldout"] / 60, 2),
        clips=len(speech.spoken),
        languages=tuple(sorted(name for name in folders if len(name) == 2)),
        skipped=tuple(doc.SkippedClip(clip=name, reason=why) for name, why in speech.left_out),
    )


def _teacher_row(facts: Facts) -> doc.Tier:
    """The teacher against the truth; against itself there is nothing to measure."""
    return doc.Tier(
        name=facts.inputs.teacher.name,
        kind="teacher",
        provenance="the teacher itself",
        parameters=facts.labels.teacher_parameters,
        bytes=facts.inputs.teacher.bytes,
        sha256=facts.inputs.teacher.hash,
        path=None,
        latency=None,
        future_ms=None,
        smoothing=None,
        algorithmic_latency_ms=None,
        against_teacher={},
        against_truth=measurements(facts.baselines[0].quality.against_truth),
        by_region={},
        by_control={},
    )


def _student_rows(
    facts: Facts, student: StudentResult, tier: TierResult, target: str
) -> list[doc.Tier]:
    """A file as `lipstill animate` runs it; where that smooths, its bare predictions beside it."""
    signature = Signature.read(tier.exported.folder / "signature.json")
    verified, timed = tier.verified[target], tier.benchmarks[target]
    parameters = (student.pruned or student.distilled).parameters
    settings = student.jobs.distill.settings
    # Ranges that are found on speech train nothing.
    integers = settings.quantization if signature.precision == "int8" else None
    trained = settings.start is None or settings.pruning or (integers and integers.method == "qat")
    name = f"student {student.name}, {signature.precision}, {target}"

    def row(name: str, signature: Signature, judged: Quality) -> doc.Tier:
        return doc.Tier(
            name=name,
            kind="student",
            provenance="trained in this run" if trained else "reference weights",
            parameters=parameters,
            bytes=timed.bytes,
            sha256=timed.sha256,
            path=_relative(facts, tier.exported.files[target]),
            latency=timed.latency,
            future_ms=signature.future_ms,
            smoothing=signature.smoothing,
            algorithmic_latency_ms=signature.latency_ms,
            against_teacher=measurements(judged.against_teacher),
            against_truth=measurements(judged.against_truth),
            by_region=judged.by_region,
            by_control=judged.by_control,
        )

    if verified.unsmoothed is None:
        return [row(name, signature, verified.quality)]
    bare = replace(signature, smoothing=NONE)
    return [
        row(f"{name}, with smoothing", signature, verified.quality),
        row(f"{name}, without smoothing", bare, verified.unsmoothed),
    ]


def _baseline_row(baseline: Baseline) -> doc.Tier:
    return doc.Tier(
        name=baseline.name,
        kind="baseline",
        provenance="baseline, fitted in this run",
        parameters=baseline.parameters,
        bytes=None,
        sha256=None,
        path=None,
        latency=None,
        future_ms=None,
        smoothing=None,
        algorithmic_latency_ms=None,
        against_teacher=measurements(baseline.quality.against_teacher),
        against_truth=measurements(baseline.quality.against_truth),
        by_region=baseline.quality.by_region,
        by_control=baseline.quality.by_control,
    )


def _gates(facts: Facts, students: list[StudentResult]) -> list[doc.Gate]:
    ridge = facts.baselines[1].quality
    return [
        gate
        for tier in _tiers(students)
        for target, verified in tier.verified.items()
        for gate in gates.judge(
            facts.gates,
            f"{tier.name} {target}",
            verified.quality,
            tier.benchmarks[target].bytes,
            ridge,
        )
    ]


def _training(student: StudentResult) -> doc.Training:
    rows = student.distilled.log
    terms = [name for name in rows[0] if name in TERMS]
    return doc.Training(
        student=student.name,
        steps=int(rows[-1]["step"]),
        seconds=rows[-1]["seconds"],
        final_losses={name: rows[-1][name] for name in terms},
        curve=tuple(
            doc.TrainingPoint(
                step=int(row["step"]),
                losses={name: row[name] for name in terms},
                validation_r2=row.get("validation_r2"),
            )
            for row in rows
        ),
        image=f"training-{student.name}.png",
    )


def _curves(count: int, student: StudentResult, heldout: HeldOut) -> list[doc.ClipCurves]:
    """A few held-out clips as teacher and student animate them.

    Those with a known text and of middling length come first.
    """
    file = next(iter(student.tiers[0].exported.files.values()))
    runtime = load_target(target_of(file)).open_runtime(file)
    order = sorted(
        range(len(heldout.clips)),
        key=lambda i: (
            heldout.alignments[i] is None,
            abs(heldout.clips[i].seconds - 3.5),
            heldout.clips[i].id,
        ),
    )
    shown = []
    for number, i in enumerate(order[:count], 1):
        alignment, teacher = heldout.alignments[i], heldout.teacher[i]
        predicted = driven_curves(runtime, heldout.samples[i], heldout.times_s(i))
        if not np.isfinite(predicted).all():  # its parity failed, and says so
            continue
        columns = _shown_columns(heldout)
        segments = alignment.segments if alignment else []
        shown.append(
            doc.ClipCurves(
                clip=heldout.clips[i].id,
                text=alignment.text if alignment else heldout.clips[i].id,
                student=student.name,
                times_s=tuple(round(float(t), 4) for t in heldout.times_s(i)),
                teacher_values={heldout.driven[c]: _rounded(teacher[:, c]) for c in columns},
                student_values={heldout.driven[c]: _rounded(predicted[:, c]) for c in columns},
                sealed=tuple(
                    doc.Span(label="p b m", start_s=start, end_s=end)
                    for start, end in visemes.bilabials(segments)
                ),
                phones=tuple(
                    doc.Span(label=phone, start_s=start, end_s=end)
                    for phone, start, end in (alignment.phones if alignment else ())
                ),
                image=f"curves-{number}.png",
            )
        )
    return shown


def _shown_columns(heldout: HeldOut) -> list[int]:
    """Those that the rig says, or the three that move most."""
    if shown := [name for name in heldout.rig.shown if name in heldout.driven]:
        return [heldout.driven.index(name) for name in shown]
    spread = np.concatenate(heldout.teacher).std(0)
    return sorted(int(c) for c in np.argsort(-spread)[:3])


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(v), 4) for v in values)
