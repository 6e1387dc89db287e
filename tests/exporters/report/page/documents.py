"""A small made-up report with clips and their sounds, and variations of it."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import soundfile

from exporters.measuring.figures import Arena, Benchmark, Latency, Memory, Pace, Size
from exporters.proof.checks import Check
from exporters.proof.parity import ParityResult, SetParity
from exporters.report.records.chain import Hop, Proportion
from exporters.report.records.clips import Clip, Clips, Curves, Moment, Span, TierCurves
from exporters.report.records.compression import (
    PrunedLayer,
    Pruning,
    PruningRound,
    Quality,
    Quantization,
    ScanRow,
)
from exporters.report.records.document import (
    Cost,
    FileParity,
    Gate,
    Made,
    ReportDocument,
    RigFacts,
    ShownClip,
    Speech,
    Teacher,
    Tier,
    Training,
    TrainingPoint,
)
from exporters.report.records.kinds import KindFigures

RATE_HZ = 30.0
FRAMES = 61  # two seconds
CLOSED_BELOW = 0.08
APERTURE = {"jawOpen": 1.0, "mouthClose": -1.0, "mouthFunnel": 0.15}
TEACHER_BYTES = 10_000_000

RIG = RigFacts(
    name="ARKit",
    closed_lips="jawOpen − mouthClose + 0.15 mouthFunnel < 0.08",
    aperture=APERTURE,
    closed_below=CLOSED_BELOW,
    scale=1.0,
    labels={"jawOpen": "jaw open", "mouthPucker": "mouth pucker"},
)


def share(value: float) -> Proportion:
    """A share of a hundred."""
    return Proportion(value=value, n=100, low=max(value - 0.05, 0), high=min(value + 0.05, 1))


def beside_phones(closed: float) -> dict[str, Proportion | float | None]:
    """At F = 1 % the lips close a twentieth less often."""
    return {
        "pbm_at_1pct": share(closed - 0.05),
        "pbm": share(closed),
        "closed_outside": share(0.03),
        "phone_f1": 0.75,
    }


def kinds(closed: float, mse: float) -> tuple[KindFigures, ...]:
    """Real speakers, of two languages, and formant voices, on which lips close less often."""
    return tuple(
        KindFigures(
            kind=kind,
            language=language,
            clips=clips,
            voices=voices,
            against_teacher={"mse": mse, "r2": 1 - 100 * mse - less, "closure_f1": 0.7},
            against_truth=beside_phones(closed - less),
        )
        for kind, language, clips, voices, less in (
            ("known real speakers", None, 60, 4, 0.0),
            ("known real speakers", "en", 40, 3, 0.0),
            ("known real speakers", "it", 20, 1, 0.0),
            ("formant voices never heard", None, 24, 3, 0.2),
            ("formant voices never heard", "de", 24, 3, 0.2),
        )
    )


def model_row(
    student: str,
    precision: Any,
    size: int,
    wait_ms: float | None,
    mse: float | None,
    *,
    target: str = "onnx",
    closed: float | None = 0.8,
) -> Tier:
    """The row of one file."""
    latency = Latency(median_ms=0.2, p95_ms=0.3, p99_ms=0.5, runs=200, frame_share=0.0125)
    pace = Pace(
        threads=1,
        latency=latency,
        reference="model.onnx",
        reference_latency=latency,
        ratio=1.0,
        ratio_low=0.9,
        ratio_high=1.1,
    )
    arena = precision == "int8" and target == "tflite"
    benchmark = Benchmark(
        file=f"model.{target}",
        sha256="ab" * 32,
        size=Size(bytes=size, download_bytes=size * 9 // 10, weight_bytes=None),
        paces=() if target == "coreml" else (pace, replace(pace, threads=2)),
        memory=Memory(peak_bytes=3_000_000, how="VmHWM"),
        arena=Arena(bytes=104_000, detail="1.0") if arena else None,
        machine={"cpu": "made up"},
    )
    return Tier(
        name=f"student {student}, {precision}, {target}",
        kind="student",
        provenance="trained in this run" if student == "tiny" else "reference weights",
        parameters=size // 4,
        bytes=size,
        sha256="ab" * 32,
        path=f"models/{student}-{precision}/model.{target}",
        made=Made(
            tier=f"{student}-{precision}", student=student, precision=precision, target=target
        ),
        benchmark=benchmark,
        cost=Cost(
            ms_per_second=12.0,
            faster=8.0,
            faster_low=7.0,
            faster_high=9.0,
            smaller=TEACHER_BYTES / size,
        ),
        future_ms=wait_ms,
        smoothing=(1.0,),
        algorithmic_latency_ms=wait_ms,
        against_teacher={} if mse is None else {"mse": mse, "r2": 1 - 100 * mse, "closure_f1": 0.7},
        against_truth={} if closed is None else beside_phones(closed),
        by_kind=() if closed is None or mse is None else kinds(closed, mse),
        by_region={} if mse is None else {"jaw": {"mse": mse}, "lips": {"mse": 2 * mse}},
        by_control={},
    )


def teacher_row() -> Tier:
    """The teacher's own row."""
    return replace(
        model_row("x", "fp32", TEACHER_BYTES, None, None, closed=0.9),
        name="the demo teacher",
        kind="teacher",
        provenance="the teacher itself",
        path=None,
        made=None,
        benchmark=None,
        smoothing=None,
        by_kind=kinds(0.9, 0.0),
    )


def baseline_row() -> Tier:
    """Something to beat."""
    row = model_row("x", "fp32", 1, None, 0.008, closed=0.3)
    return replace(
        row,
        name="ridge",
        kind="baseline",
        provenance="baseline, fitted in this run",
        bytes=None,
        sha256=None,
        path=None,
        made=None,
        benchmark=None,
        cost=None,
        smoothing=None,
    )


# Nearest first: near is nearest, tiny smallest, quick waits least; nobody needs stale.
ROWS = (
    teacher_row(),
    model_row("near", "fp32", 1_000_000, 80.0, 0.001, closed=0.85),
    model_row("near", "fp32", 1_010_000, 80.0, 0.001, target="coreml"),
    model_row("tiny", "int8", 100_000, 80.0, 0.002),
    model_row("tiny", "int8", 110_000, 80.0, 0.002, target="tflite"),
    model_row("quick", "fp32", 500_000, 32.0, 0.003),
    model_row("stale", "fp16", 600_000, 80.0, 0.004),
    baseline_row(),
)


def curves(scale: float, late: int = 0) -> Curves:
    """A mouth that is shut for a third, opens, and purses at the end; `late` frames behind."""
    time = (np.arange(FRAMES) - late) / RATE_HZ
    jaw = np.where(time > 0.7, 0.6 * np.sin(np.clip(time - 0.7, 0, None) * 2.4) ** 2, 0.05)
    moved = {
        "jawOpen": scale * jaw,
        "mouthClose": np.where(time > 0.7, 0.0, 0.05),
        "mouthPucker": scale * np.clip(time - 1.4, 0, 0.6),
        "mouthFunnel": 0.1 * scale * np.clip(time - 1.0, 0, 1),
    }
    return {name: tuple(round(float(v), 5) for v in values) for name, values in moved.items()}


def clip(number: int, tiers: tuple[str, ...]) -> Clip:
    """Clip 1 or another, alike but for their names."""
    return Clip(
        clip=f"en/clip-{number}",
        text=f"Mama made clip number {number}.",
        audio=f"clip-{number}.flac",
        image=f"clip-{number}.png",
        rate_hz=RATE_HZ,
        offset_s=0.0,
        teacher=curves(1.0),
        tiers=tuple(
            TierCurves(
                tier=name,
                values=curves(0.9 - 0.2 * place, late=place),
                worst=Moment(time_s=1.0 + 0.1 * place, error=0.05, control="jawOpen"),
            )
            for place, name in enumerate(tiers)
        ),
        shown=("jawOpen", "mouthPucker"),
        sealed=(Span(label="p b m", start_s=0.2, end_s=0.5),),
        phones=(Span(label="M", start_s=0.2, end_s=0.5), Span(label="AA", start_s=0.5, end_s=1.5)),
    )


def names_of(rows: tuple[Tier, ...]) -> tuple[str, ...]:
    """The tiers of some rows, each once."""
    return tuple(dict.fromkeys(row.made.tier for row in rows if row.made))


def clips_of(rows: tuple[Tier, ...] = ROWS) -> Clips:
    """Two clips as all tiers of these rows animate them."""
    return Clips(clips=tuple(clip(number, names_of(rows)) for number in (1, 2)))


def sounds() -> dict[str, bytes]:
    """Two seconds of a swelling tone for each clip, as FLAC."""
    time = np.arange(int(16_000 * (FRAMES - 1) / RATE_HZ)) / 16_000
    made = {}
    for number, pitch in ((1, 220.0), (2, 330.0)):
        buffer = io.BytesIO()
        tone = 0.2 * np.sin(2 * np.pi * pitch * time) * np.sin(np.pi * time / 2)
        soundfile.write(buffer, tone.astype(np.float32), 16_000, format="FLAC")
        made[f"clip-{number}.flac"] = buffer.getvalue()
    return made


def _quality(loss: float) -> Quality:
    return Quality(loss=loss, r2=0.7, pbm=None)


def document(**changes: Any) -> ReportDocument:
    """The report, with some of its fields changed."""
    fields: dict[str, Any] = {
        "name": "made-up",
        "recipe_hash": "c0ffee" * 8,
        "created": "2026-01-02T03:04:05+00:00",
        "teacher": Teacher(
            name="builtin:demo",
            sha256="cd" * 32,
            description="A teacher that was made up.",
            controls=52,
            driven=4,
            parameters=9_000_000,
            frame_rate_hz=RATE_HZ,
            rig=RIG,
        ),
        "speech": Speech(
            train_minutes=18.0,
            held_out_minutes=4.7,
            clips=20,
            languages=("en",),
            skipped=(),
            train_key="11" * 8,
            held_out_key="22" * 8,
        ),
        "machine": {"cpu": "made up", "system": "none"},
        "licence": "of their own",
        "versions": {"lipstill": "0.1.0"},
        "commits": {"lipstill": "7bccfe1"},
        "tiers": ROWS,
        "parity": (_parity(),),
        "checks": (
            Check(
                file="models/near-fp32/model.onnx",
                what="structure",
                status="passed",
                detail="24 operations",
            ),
        ),
        "chain": (_hop(),),
        "gates": (gate("near: R²", 0.9, 0.5), gate("tiny: R²", 0.8, 0.5)),
        "training": (_training(),),
        "pruning": (_pruning(),),
        "quantization": (_quantization(),),
        "clips": tuple(
            ShownClip(clip=c.clip, text=c.text, audio=c.audio, image=c.image, tier="near-fp32")
            for c in clips_of().clips
        ),
    }
    return ReportDocument(**(fields | changes))


def gate(name: str, value: float | None, limit: float) -> Gate:
    """A value that must be at least the limit."""
    status = "not run" if value is None else "passed" if value >= limit else "failed"
    return Gate(name=name, value=value, limit=limit, comparison=">=", status=status)  # type: ignore[arg-type]


def _hop() -> Hop:
    return Hop(
        student="near",
        name="models/near-fp32/model.onnx",
        made_of="distilled",
        runs_in="ONNX Runtime",
        max_abs=1e-7,
        mse_ratio=1.0,
        against_teacher={"r2": 0.9},
        against_truth={"pbm": share(0.85)},
    )


def _parity() -> FileParity:
    compared = SetParity(
        name="held-out speech",
        windows=64,
        status="passed",
        max_abs=1e-7,
        mse=1e-15,
        max_lsb=None,
        worst_control="jawOpen",
        worst_window=3,
        reason="",
    )
    result = ParityResult(
        student="near",
        precision="fp32",
        runtime={"runtime": "ONNX Runtime"},
        max_abs_limit=1e-5,
        max_lsb_limit=None,
        sets=(compared,),
        status="passed",
    )
    return FileParity(file="models/near-fp32/model.onnx", result=result)


def _training() -> Training:
    points = tuple(
        TrainingPoint(
            step=step,
            losses={"reconstruction": 1 / step, "velocity": 0.1 / step},
            validation_r2=0.5 if step % 20 == 0 else None,
        )
        for step in range(10, 50, 10)
    )
    return Training(
        student="tiny",
        steps=40,
        seconds=12.0,
        final_losses=points[-1].losses,
        curve=points,
        image="training-tiny.png",
    )


def _pruning() -> Pruning:
    cut = PruningRound(
        round=1,
        parameters=50,
        before_cut=_quality(0.1),
        after_cut=_quality(0.4),
        after_recovery=_quality(0.12),
        recovery_steps=10,
    )
    return Pruning(
        student="tiny",
        criterion="taylor",
        allocation="global",
        budget_of="parameters",
        asked=0.5,
        removed=0.5,
        layers=(PrunedLayer(name="conv1", channels_before=8, channels_after=4),),
        parameters_before=100,
        parameters_after=50,
        multiply_adds_before=1000,
        multiply_adds_after=600,
        bytes_before=100,
        bytes_after=60,
        rounds=(cut,),
    )


def _quantization() -> Quantization:
    row = ScanRow(
        what="first",
        choice="float",
        mse_ratio=1.01,
        quiet_mse_ratio=1.02,
        jitter_ratio=None,
        pbm_points=-0.5,
        false_points=0.25,
        chosen=True,
    )
    return Quantization(
        student="tiny",
        method="ptq",
        observer="histogram",
        calibration_batches=4,
        seed=0,
        layers={"first": "float", "conv1": "int8"},
        chosen_by="recipe",
        gate={},
        scan=(row,),
    )
