"""Reports made of a few words: rows of a file each, with all that is measured of it."""

from typing import Any

from hypothesis import strategies as st

from exporters.measuring.figures import Arena, Benchmark, Latency, Memory, Pace, Size
from exporters.proof.checks import Status, overall
from exporters.proof.parity import ParityResult, SetParity
from exporters.report.records.chain import Proportion
from exporters.report.records.document import (
    Cost,
    FileParity,
    Made,
    ReportDocument,
    Speech,
    Teacher,
    Tier,
)
from exporters.report.records.not_speech import Moved, NotSpeech, OnSound

MACHINE = {"cpu": "Example 9000", "cores": "2", "runtime": "ONNX Runtime 1.31"}
TEACHER_BYTES = 36_000_000


def share(value: float, n: int = 100) -> Proportion:
    """A share with Wilson's interval, as if each case were a clip of its own."""
    z = 1.96
    middle = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (value * (1 - value) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = min(value, middle - half), max(value, middle + half)
    return Proportion(value=value, n=n, low=max(0.0, low), high=min(1.0, high))


OF_PHONES = ("pbm", "pbm_at_1pct", "closed_outside", "phone_f1")


def beside_phones(
    pbm: float | None, at_1pct: float | None, false: float | None, f1: float | None
) -> dict[str, Proportion | float | None]:
    """Of a hundred /p b m/, and 10,000 frames of other speech; nothing is known without `pbm`."""
    if pbm is None:
        return dict.fromkeys(OF_PHONES)
    return {
        "pbm": share(pbm),
        "pbm_at_1pct": None if at_1pct is None else share(at_1pct),
        "closed_outside": None if false is None else share(false, 10_000),
        "phone_f1": f1,
    }


def latency(median_ms: float) -> Latency:
    return Latency(
        median_ms=median_ms,
        p95_ms=median_ms,
        p99_ms=median_ms,
        runs=100,
        frame_share=median_ms / 16,
    )


def benchmark(
    *,
    size: int = 187_201,
    download: int | None = 150_000,
    ms: float | None = 0.2,
    ratio: float | None = 0.8,
    memory: int | None = 2_000_000,
    arena: Arena | None = None,
) -> Benchmark:
    """What a file costs; `ms` None is a file that its runtime only evaluates."""
    paces: tuple[Pace, ...] = ()
    if ms is not None:
        paces = (
            Pace(
                threads=1,
                latency=latency(ms),
                reference=None if ratio is None else "the fp32 file",
                reference_latency=None if ratio is None else latency(ms / ratio),
                ratio=ratio,
                ratio_low=ratio,
                ratio_high=ratio,
            ),
        )
    return Benchmark(
        file="model",
        sha256="cd" * 32,
        size=Size(bytes=size, download_bytes=download or size, weight_bytes=None),
        paces=paces,
        memory=None if memory is None else Memory(peak_bytes=memory, how="VmHWM"),
        arena=arena,
        machine=MACHINE,
    )


def row(name: str, **given: Any) -> Tier:
    """Any row; what is not given was not measured."""
    nothing: dict[str, Any] = dict.fromkeys(
        (
            *("parameters", "bytes", "sha256", "path", "made", "benchmark", "cost"),
            *("future_ms", "smoothing", "algorithmic_latency_ms"),
        )
    )
    kinds = {"kind": "student", "provenance": "trained in this run"}
    parts: dict[str, Any] = {
        part: {} for part in ("against_teacher", "against_truth", "by_region", "by_control")
    }
    return Tier(name=name, **{**nothing, **kinds, **parts, **given})


def not_speech(movement: float, distance: float) -> NotSpeech:
    """On noise as lively as asked, relative to the teacher in speech, and twice as lively on hum.

    The teacher moves half as much on noise as in speech, and as far from rest.
    """

    def on(sound: str, times: float) -> OnSound:
        moved = Moved(movement=0.8 * movement * times, distance=0.05 * distance * times)
        return OnSound(sound=sound, seconds=4.0, moved=moved, farthest=0.3, lips_changed=0.25)

    sounds = (on("silence", 0.1), on("noise", 1.0), on("hum", 2.0))
    moved = Moved(movement=0.4, distance=0.05)
    of_teacher = OnSound(sound="noise", seconds=4.0, moved=moved, farthest=0.2, lips_changed=None)
    return NotSpeech(
        sounds=sounds,
        in_speech=Moved(movement=0.8, distance=0.05),
        of_teacher=(of_teacher,),
    )


def teacher_row(*, pbm: float | None = 0.9, size: int | None = TEACHER_BYTES) -> Tier:
    return row(
        "demo teacher",
        kind="teacher",
        provenance="the teacher itself",
        bytes=size,
        against_truth=beside_phones(pbm, pbm, 0.01, 0.9),
    )


def ridge_row(r2: float = 0.35) -> Tier:
    return row(
        "ridge",
        kind="baseline",
        provenance="baseline, fitted in this run",
        against_teacher={"r2": r2, "mse": 0.01},
        against_truth={"pbm": share(0.05)},
    )


def file_row(
    student: str = "tiny",
    precision: Any = "int8",
    target: str = "onnx",
    *,
    size: int | None = 187_201,
    costs: Benchmark | str | None = "as the size says",
    faster: float | None = 40.0,
    future_ms: float | None = 80.0,
    elsewhere: NotSpeech | None = None,
    **measured: float | None,
) -> Tier:
    """A file as it ships. Metrics are keywords: r2, mse, jitter_ratio, closure_f1, lag_ms and pbm.

    What is said of the phones beside it is the same unless `pbm_at_1pct`, `closed_outside` (F) or
    `phone_f1` is given.
    """
    copies: dict[str, Any] = {
        "r2": 0.65,
        "mse": 0.004,
        "jitter_ratio": 1.5,
        "closure_f1": 0.8,
        "lag_ms": -2.0,
        **{name: value for name, value in measured.items() if name not in OF_PHONES},
    }
    pbm = measured.get("pbm", 0.81)
    if isinstance(costs, str):
        costs = None if size is None else benchmark(size=size, download=size * 4 // 5)
    cost = None
    if faster is not None:
        cost = Cost(
            ms_per_second=12.0,
            faster=faster,
            faster_low=faster,
            faster_high=faster,
            smaller=None if size is None else TEACHER_BYTES / size,
        )
    tier = f"{student}-{precision}"
    suffix = {"onnx": "onnx", "tflite": "tflite", "coreml": "mlpackage"}[target]
    return row(
        f"student {student}, {precision}, {target}",
        parameters=171_610,
        bytes=size,
        sha256=None if size is None else "cd" * 32,
        path=f"models/{tier}/model.{suffix}",
        made=Made(tier=tier, student=student, precision=precision, target=target),
        benchmark=costs,
        cost=cost,
        future_ms=None if future_ms is None else future_ms,
        smoothing=(1.0,),
        algorithmic_latency_ms=future_ms,
        against_teacher=copies,
        against_truth=beside_phones(
            pbm,
            measured.get("pbm_at_1pct", pbm),
            measured.get("closed_outside", 0.02),
            measured.get("phone_f1", 0.7),
        ),
        not_speech=elsewhere,
    )


def parity_of(
    *sets: float | None, limit: float = 2e-3, status: Status | None = None
) -> ParityResult:
    """Of sets that have such largest differences; `status` is that of each, where it is no number."""
    made = tuple(
        SetParity(
            name=f"set {index}",
            windows=4,
            status=("passed" if value <= limit else "failed")
            if value is not None
            else status or "not run",
            max_abs=value,
            mse=value,
            max_lsb=None,
            worst_control=None,
            worst_window=None,
            reason="" if value is not None and value <= limit else "for a test",
        )
        for index, value in enumerate(sets)
    )
    return ParityResult(
        student="tiny",
        precision="int8",
        runtime={"runtime": "ONNX Runtime"},
        max_abs_limit=limit,
        max_lsb_limit=None,
        sets=made,
        status=overall(item.status for item in made),
    )


def document(*tiers: Tier, **given: Any) -> ReportDocument:
    """A report of these rows, each file in parity with its source."""
    fields: dict[str, Any] = {
        "name": "demo",
        "recipe_hash": "c0ffee",
        "created": "2025-11-22T08:00:00+00:00",
        "teacher": Teacher(
            name="demo teacher",
            sha256="ab" * 32,
            description="Small.",
            controls=52,
            driven=26,
            parameters=None,
            frame_rate_hz=60.0,
        ),
        "speech": Speech(
            train_minutes=20.0,
            held_out_minutes=3.0,
            clips=30,
            languages=("en",),
            skipped=(),
            train_key="11" * 32,
            held_out_key="22" * 32,
        ),
        "machine": MACHINE,
        "licence": "of their own",
        "versions": {"torch": "2.13.0"},
        "commits": {},
        "tiers": tiers,
        "parity": tuple(
            FileParity(file=tier.path, result=parity_of(5e-4))
            for tier in tiers
            if tier.path is not None
        ),
    }
    empty = ("checks", "chain", "gates", "training", "pruning", "quantization", "clips")
    return ReportDocument(**{**dict.fromkeys(empty, ()), **fields, **given})


TARGETS = ("onnx", "tflite", "coreml")


def measured(low: float, high: float) -> st.SearchStrategy[float | None]:
    return st.one_of(st.none(), st.floats(low, high))


@st.composite
def file_rows(draw: st.DrawFn, student: str, precision: str, target: str) -> Tier:
    """A file of which anything may be missing."""
    evaluated = target == "coreml"
    size = draw(st.integers(1, 10_000_000))
    ms, memory = (None if evaluated else draw(st.floats(0.01, 50)), draw(st.integers(1, 10**8)))
    return file_row(
        student,
        precision,
        target,
        size=size,
        costs=draw(
            st.sampled_from(
                (
                    None,
                    benchmark(
                        size=size,
                        download=draw(st.integers(1, size)),
                        ms=ms,
                        ratio=draw(measured(0.1, 3)),
                        memory=None if evaluated else memory,
                    ),
                )
            )
        ),
        faster=None if evaluated else draw(measured(0.1, 500)),
        future_ms=draw(st.sampled_from((None, 32.0, 80.0, 256.0))),
        r2=draw(measured(-1, 1)),
        mse=draw(measured(1e-6, 1)),
        jitter_ratio=draw(measured(0.1, 10)),
        closure_f1=draw(measured(0, 1)),
        lag_ms=draw(measured(-50, 50)),
        pbm=draw(measured(0, 1)),
    )


@st.composite
def documents(draw: st.DrawFn) -> ReportDocument:
    """A report of one to five files of two students, in any order."""
    names = [(s, p, t) for s in ("small", "tiny") for p in ("fp32", "int8") for t in TARGETS]
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=5, unique=True))
    rows = [draw(file_rows(*name)) for name in chosen]
    teacher = teacher_row(pbm=draw(measured(0, 1)))
    return document(teacher, *rows)
