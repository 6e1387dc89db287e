"""Stage report: everything that was measured, as one document."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from compress.judge.held_out import HeldOut
from compress.labels.store import Labels
from compress.prove import gates
from compress.prove.verify_stage import NOT_KEPT
from compress.report import clips as report_clips
from compress.report.chain import hops, unsupported
from compress.report.clips import ShownClips
from compress.report.compression import pruning_of, quantization_of
from compress.report.rows import baseline_row, student_rows, teacher_row
from compress.rig.notes import rig_notes
from compress.run.results import Facts, StudentResult, TierResult
from compress.speech.gathering import Speech
from compress.store import content_key, kept, tool_versions
from exporters.machine import machine_facts
from exporters.proof.checks import Check
from exporters.report.records import document as doc
from exporters.report.records.chain import Hop
from exporters.report.records.clips import Clips
from exporters.report.records.document import ReportDocument, read_report
from exporters.report.writer import write_report

TOOLS = (
    *("lipstill", "torch", "numpy", "scipy", "onnx", "onnxruntime", "onnxscript", "onnxsim"),
    *("lhotse", "lightning-fabric", "torch-pruning", "torchao"),
)
# Terms of the loss that a training log may hold.
TERMS = ("reconstruction", "velocity", "closure", "feature")


def run(
    facts: Facts, students: list[StudentResult], heldout: Callable[[], HeldOut]
) -> ReportDocument:
    """Write the report, or find it: ``report.json``, Markdown and pictures."""

    def make() -> tuple[ReportDocument, ShownClips]:
        shown = report_clips.run(facts.plan.clips, heldout)
        return build_document(facts, students, heldout(), shown.clips), shown

    def write(folder: Path, made: tuple[ReportDocument, ShownClips]) -> str | None:
        document, shown = made
        write_report(document, folder, shown.clips, shown.audio)
        agree = all(v.sound for tier in _tiers(students) for v in tier.verified.values())
        return None if agree else NOT_KEPT

    def read(folder: Path) -> ReportDocument:
        return read_report(folder / "report.json")

    return kept(facts.plan.report_folder, facts.plan.report_key, make, write, read)


def _tiers(students: list[StudentResult]) -> Iterator[TierResult]:
    for student in students:
        yield from student.tiers


def build_document(
    facts: Facts, students: list[StudentResult], heldout: HeldOut, clips: Clips
) -> ReportDocument:
    """The report of a run."""
    teacher, labels, versions = facts.inputs.teacher, facts.labels, tool_versions(*TOOLS)
    own = [student for student in students if not student.jobs.reference]
    rows = [
        teacher_row(facts),
        *(row for student in students for row in student_rows(facts, student)),
        *(baseline_row(baseline) for baseline in facts.baselines[1:]),
    ]
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
        speech=_speech(facts.inputs.speech, facts.labels),
        machine=machine_facts(),
        versions={name: found or "not installed" for name, found in versions.items()},
        licence=facts.licence,
        commits=facts.inputs.commits,
        tiers=tuple(rows),
        parity=tuple(
            doc.FileParity(file=facts.relative(tier.exported.files[target]), result=v.parity)
            for tier in _tiers(students)
            for target, v in tier.verified.items()
        ),
        checks=tuple(_checks(facts, students)),
        chain=tuple(_chain(students)),
        gates=tuple(_gates(facts, own, rows)),
        training=tuple(_training(s) for s in own if s.distilled.log),
        pruning=tuple(pruning_of(s.jobs, s.pruned) for s in own if s.pruned),
        quantization=tuple(quantization_of(s.jobs, s.integers) for s in own if s.integers),
        clips=tuple(
            doc.ShownClip(
                clip=clip.clip,
                text=clip.text,
                audio=clip.audio,
                image=clip.image,
                tier=clip.tiers[0].tier,
            )
            for clip in clips.clips
            if clip.tiers
        ),
    )


def _rig(labels: Labels) -> doc.RigFacts:
    rig, rule = labels.rig, labels.rig.closure_of(labels.driven)
    return doc.RigFacts(
        name=rig.name,
        closed_lips=None if rule is None else rule.in_words(labels.driven),
        aperture={}
        if rule is None
        else {n: w for n, w in rule.weights.items() if n in labels.driven},
        closed_below=None if rule is None else rule.closed_below,
        scale=labels.scale,
        notes=rig_notes(labels),
        labels={name: rig.label(name) for name in labels.driven if rig.label(name) != name},
    )


def _chain(students: list[StudentResult]) -> Iterator[Hop]:
    for student in students:
        files = [(tier.jobs, tier.verified) for tier in student.tiers]
        yield from hops(student.name, student.sources, files)


def _checks(facts: Facts, students: list[StudentResult]) -> Iterator[Check]:
    if facts.costs.not_run:
        yield Check(
            file=facts.inputs.teacher.name,
            what="time and memory beside the files",
            status="not run",
            detail=facts.costs.not_run,
        )
    for tier in _tiers(students):
        yield from unsupported(tier.jobs)
        for verified in tier.verified.values():
            yield from verified.checks


def _speech(speech: Speech, labels: Labels) -> doc.Speech:
    """Speech that has labels; what has none is left out, whatever the reason."""
    seconds = {
        side: sum(clip.seconds for clip in labels.clips if clip.side == side)
        for side in ("train", "heldout")
    }
    left_out = [*speech.left_out, *((clip.id, clip.reason) for clip in labels.missing)]
    folders = {s.clip.id.split("/")[0] for s in speech.spoken if "/" in s.clip.id}
    return doc.Speech(
        train_minutes=round(seconds["train"] / 60, 2),
        held_out_minutes=round(seconds["heldout"] / 60, 2),
        clips=len(labels.clips),
        languages=tuple(sorted(name for name in folders if len(name) == 2)),
        skipped=tuple(doc.SkippedClip(clip=name, reason=why) for name, why in left_out),
        train_key=_key(speech, "train"),
        held_out_key=_key(speech, "heldout"),
    )


def _key(speech: Speech, side: str) -> str:
    return content_key(**{s.clip.id: s.clip.sha256 for s in speech.spoken if s.side == side})


def _gates(facts: Facts, students: list[StudentResult], rows: list[doc.Tier]) -> Iterator[doc.Gate]:
    """Of each file that the run made, as it ships."""
    teacher, ridge = rows[0], baseline_row(facts.baselines[1])
    shipped: dict[str, doc.Tier] = {}
    for row in rows:
        if row.path is not None:
            shipped.setdefault(row.path, row)  # with smoothing, where there is some
    for tier in _tiers(students):
        for target, verified in tier.verified.items():
            row = shipped[facts.relative(tier.exported.files[target])]
            yield from gates.judge(facts.gates, row, verified.parity, teacher, ridge)


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
