"""A report that has a little of everything, and one clip of it."""

import math
from typing import Any

from exporters.proof.parity import ParityResult, SetParity
from exporters.report.records.chain import Proportion
from exporters.report.records.clips import Clip, Clips, Moment, Span, TierCurves
from exporters.report.records.document import (
    FileParity,
    Gate,
    Made,
    ReportDocument,
    ShownClip,
    SkippedClip,
    Speech,
    Teacher,
    Training,
    TrainingPoint,
)
from tests.exporters.documents import benchmark, row

PBM = Proportion(value=0.931, n=212, low=0.89, high=0.962)
FILE = "models/demo-fp32/model.onnx"
TIMES = tuple(index * 0.016 for index in range(20))
AUDIO = {"clip-7.flac": b"fLaC"}


def clip(**given: Any) -> Clip:
    """One clip of twenty frames, with one tier that leaves the jaw shut."""
    fields: dict[str, Any] = {
        "clip": "clip-7",
        "text": "Pay $5, then $6 for | the map",
        "audio": "clip-7.flac",
        "image": "curves-7.png",
        "rate_hz": 62.5,
        "offset_s": 0.0,
        "teacher": {"mouthClose": TIMES, "jawOpen": tuple(math.sin(t) for t in TIMES)},
        "tiers": (tier_curves(),),
        "shown": ("mouthClose", "jawOpen"),
        "sealed": (Span(label="p", start_s=0.05, end_s=0.1),),
        "phones": (Span(label="p", start_s=0.05, end_s=0.1),),
    }
    return Clip(**{**fields, **given})


def tier_curves(**given: Any) -> TierCurves:
    """Of the tier demo-fp32."""
    fields: dict[str, Any] = {
        "tier": "demo-fp32",
        "values": {"mouthClose": TIMES, "jawOpen": (0.0,) * 20},
        "worst": Moment(time_s=0.25, error=0.2, control="jawOpen"),
    }
    return TierCurves(**{**fields, **given})


def clips() -> Clips:
    return Clips(clips=(clip(),))


def shown(**given: Any) -> ShownClip:
    """The same clip as the report names it."""
    made = clip()
    fields: dict[str, Any] = {
        "clip": made.clip,
        "text": made.text,
        "audio": made.audio,
        "image": made.image,
        "tier": "demo-fp32",
    }
    return ShownClip(**{**fields, **given})


def training() -> Training:
    points = [
        TrainingPoint(step=0, losses={"reconstruction": 0.1, "velocity": 0.0}, validation_r2=None),
        TrainingPoint(
            step=50, losses={"reconstruction": 0.01, "velocity": 0.001}, validation_r2=0.5
        ),
    ]
    return Training(
        student="demo",
        steps=50,
        seconds=1.5,
        final_losses={"reconstruction": 0.01},
        curve=tuple(points),
        image="training-demo.png",
    )


def told_report() -> ReportDocument:
    """One student's file beside a baseline, half of its gates passed."""
    compared = SetParity(
        name="held-out speech",
        windows=256,
        status="passed",
        max_abs=3e-7,
        mse=1e-15,
        max_lsb=None,
        worst_control="jawOpen",
        worst_window=17,
        reason="",
    )
    return ReportDocument(
        name="demo",
        recipe_hash="c0ffee",
        created="2025-11-22T08:00:00+00:00",
        teacher=Teacher(
            name="demo teacher",
            sha256="ab" * 32,
            description="Small.",
            controls=52,
            driven=26,
            parameters=12_345_678,
            frame_rate_hz=60.0,
        ),
        speech=Speech(
            train_minutes=121.4,
            held_out_minutes=9.7,
            clips=1830,
            languages=("en", "de"),
            skipped=(SkippedClip(clip="c-19", reason="silent"),),
            train_key="0" * 16,
            held_out_key="1" * 16,
        ),
        machine={"cpu": "Example 9000", "threads": "1"},
        versions={"torch": "2.13.0"},
        licence="of their own",
        commits={"lipstill": "c0ffee" * 6 + "c0de"},
        tiers=(
            row(
                "mean curve",
                kind="baseline",
                provenance="baseline, fitted in this run",
                against_teacher={"mse": 0.021, "r2": 0.0},
                against_truth={"pbm": None},
            ),
            row(
                "student demo, fp32",
                parameters=162_000,
                bytes=655_360,
                sha256="cd" * 32,
                path=FILE,
                made=Made(tier="demo-fp32", student="demo", precision="fp32", target="onnx"),
                benchmark=benchmark(size=655_360, download=600_000, ms=0.432, ratio=1.0),
                future_ms=256.0,
                smoothing=(0.25, 0.5, 0.25),
                algorithmic_latency_ms=272.0,
                against_teacher={
                    "mse": 0.0031,
                    "r2": 0.812,
                    "jitter_ratio": 1.37,
                    "closure_f1": 0.875,
                    "lag_ms": -2.5,
                    "velocity_error": 0.0123,
                },
                against_truth={"pbm_at_1pct": 0.84, "pbm": PBM, "closed_outside": 0.045},
                by_region={
                    "lips": {"mse": 0.0021, "correlation": 0.9},
                    "brows": {"mse": 0.0, "correlation": None},
                },
                by_control={"jawOpen": {"mse": 0.001, "correlation": 0.95}},
            ),
        ),
        parity=(
            FileParity(
                file=FILE,
                result=ParityResult(
                    student="demo",
                    precision="fp32",
                    runtime={"runtime": "ONNX Runtime"},
                    max_abs_limit=1e-4,
                    max_lsb_limit=None,
                    sets=(compared,),
                    status="passed",
                ),
            ),
        ),
        checks=(),
        chain=(),
        gates=(
            Gate(name="R² to teacher", value=0.812, limit=0.7, comparison=">=", status="passed"),
            Gate(name="median (ms)", value=None, limit=4.0, comparison="<=", status="not run"),
        ),
        training=(training(),),
        pruning=(),
        quantization=(),
        clips=(shown(),),
    )
