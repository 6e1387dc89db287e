"""Stages verify and benchmark: what each file lost, and what it costs to run.

Numeric parity (file against its PyTorch source) and quality (file against the teacher, run in its
own runtime through the code of ``lipstill animate``) are two results, kept apart. Both are of the
file as it lies there: its hash is in the key, so a file that was changed is checked again.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.export.stage import evening_of, largest_difference, window_form
from compress.judge.held_out import HeldOut, speech_windows
from compress.judge.playback import NONE
from compress.judge.quality import LEAST_LAG_S
from compress.labels.on_demand import lengths_of
from compress.prove.latency_proof import latency_checks
from compress.prove.source_stage import QUALITY, animated, read_quality
from compress.store import UNREADABLE, atomic_write, content_key, kept, stage, tool_versions
from exporters import records
from exporters.files import hash_of
from exporters.measuring import measure
from exporters.measuring.figures import Benchmark
from exporters.proof.checks import Check, Status, overall
from exporters.proof.parity import ParityResult, check_parity, probe_windows
from exporters.report.records.quality import Quality
from exporters.signature import Precision
from exporters.targets.contract import load_target, target_of
from exporters.targets.structure import judge_structure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from compress.recipe.recipe import ParitySettings
    from exporters.targets.runtime import Floats

FORMAT = 9
BENCHMARK_FORMAT = 4
# Sealed under this instead of a key, a failed check and its report are made again.
NOT_KEPT = "parity-failed"
PARITY_WINDOWS = 64
# Quality of bare predictions, where `lipstill animate` smooths them.
UNSMOOTHED = "unsmoothed.json"
BENCHMARK = "benchmark.json"


@dataclass(frozen=True)
class VerifyJob:
    """Everything that a file's parity and quality depend on.

    `export_key` stands for its source, `labels_key` for the teacher. `name` is the file's in
    reports.
    """

    name: str
    folder: Path
    file: Path
    precision: Precision
    export_key: str
    student_folder: Path
    labels_key: str
    criteria_key: str
    limits: "ParitySettings"

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            export=self.export_key,
            file=hash_of(self.file),
            labels=self.labels_key,
            criteria=self.criteria_key,
            limits=self.limits.model_dump(mode="json"),
            versions=_versions(self.file, "scipy"),
        )


@dataclass(frozen=True)
class Verified:
    """A file's results; quality is that of its curves as `lipstill animate` gives them.

    `unsmoothed` is that of its bare predictions, None where nothing smooths them.
    """

    parity: ParityResult
    checks: tuple[Check, ...]
    quality: Quality
    unsmoothed: Quality | None

    @property
    def sound(self) -> bool:
        """Its parity passed, and no check failed; what can run elsewhere only may be missing."""
        failed = any(check.status == "failed" for check in self.checks)
        return self.parity.status == "passed" and not failed


@dataclass(frozen=True, kw_only=True)
class _Checks:
    """A file's checks as they are kept."""

    checks: tuple[Check, ...]


def verify(job: VerifyJob, heldout: Callable[[], HeldOut], source: Quality) -> Verified:
    """Parity, checks and quality of a file, measured now or found.

    `source` is the quality of the student in PyTorch that it was made of. What failed is never
    taken from an earlier run.
    """

    def write(folder: Path, result: Verified) -> str | None:
        atomic_write(folder / "parity.json", records.to_json(result.parity))
        atomic_write(folder / "checks.json", records.to_json(_Checks(checks=result.checks)))
        atomic_write(folder / QUALITY, records.to_json(result.quality))
        if result.unsmoothed is not None:
            atomic_write(folder / UNSMOOTHED, records.to_json(result.unsmoothed))
        return None if result.sound else NOT_KEPT

    return kept(job.folder, job.key, lambda: _verify(job, heldout(), source), write, _read_verified)


def verified_before(jobs: Mapping[str, VerifyJob]) -> dict[str, Verified]:
    """The results of those jobs, by target, that are there already; nothing is measured."""
    found = {}
    for target, job in jobs.items():
        if stage(job.folder, job.key).hit:
            with contextlib.suppress(*UNREADABLE):  # `verify` makes it again
                found[target] = _read_verified(job.folder)
    return found


def _read_verified(folder: Path) -> Verified:
    return Verified(
        records.from_json(ParityResult, (folder / "parity.json").read_text("utf-8")),
        records.from_json(_Checks, (folder / "checks.json").read_text("utf-8")).checks,
        read_quality(folder / QUALITY),
        read_quality(folder / UNSMOOTHED) if (folder / UNSMOOTHED).exists() else None,
    )


def _verify(job: VerifyJob, speech: HeldOut, source: Quality) -> Verified:
    target = load_target(target_of(job.file))
    runtime = target.open_runtime(job.file)
    module, _, card = window_form(job.student_folder)
    signature = runtime.signature
    sets = {
        "held-out speech": speech_windows(speech, signature.window, PARITY_WINDOWS),
        **probe_windows(signature.window, seed=0),
    }
    max_abs = largest_difference(job.limits, job.precision, card.quantization, card.scale)
    max_lsb = job.limits.int8_max_lsb
    evening = evening_of(job.limits, job.precision, card)
    parity = check_parity(runtime, module, sets, max_abs=max_abs, max_lsb=max_lsb, evening=evening)
    weightings = [signature.smoothing, NONE] if signature.smoothing != NONE else [NONE]
    judged = animated(runtime, speech, weightings)
    structure = judge_structure(target.structure(job.file), signature)
    checks = (
        Check(
            file=job.name,
            what="structure",
            status=structure.status,
            detail=structure.detail,
        ),
        *latency_checks(runtime, job.name),
        _lag(job, judged[0], sum(lengths_of(speech.teacher)) / speech.rate_hz),
        *([_loss(job, judged[0], source)] if job.precision == "fp16" else []),
        *_elsewhere(job, module, sets, max_abs, evening),
    )
    return Verified(parity, checks, judged[0], judged[1] if len(judged) > 1 else None)


def _lag(job: VerifyJob, judged: Quality, speech_s: float) -> Check:
    lag, limit = judged.against_teacher["lag_ms"], job.limits.max_lag_ms
    status: Status = "not run"
    detail = f"not measured: nothing in it moves as the teacher does; limit {limit:g} ms"
    if speech_s < LEAST_LAG_S:
        detail = (
            f"not measured: {speech_s:.1f} s of speech are held out, expected {LEAST_LAG_S:g} s or more, "
            f"since chance moves the lag of less speech by more than the limit of {limit:g} ms"
        )
    elif isinstance(lag, float):
        status = "passed" if abs(lag) <= limit else "failed"
        detail = f"{lag:.1f} ms behind the teacher, limit {limit:g} ms"
    return Check(file=job.name, what="lag", status=status, detail=detail)


def _loss(job: VerifyJob, judged: Quality, source: Quality) -> Check:
    ratio, limit = mse_ratio(judged, source), job.limits.fp16_max_mse_ratio
    status: Status = "not run"
    if ratio is not None:
        status = "passed" if ratio <= limit else "failed"
    found = "not measured" if ratio is None else f"{ratio:.4f} times"
    return Check(
        file=job.name,
        what="MSE to the teacher",
        status=status,
        detail=f"{found} that of the student in PyTorch, where {limit:g} may be",
    )


def mse_ratio(judged: Quality, before: Quality) -> float | None:
    """MSE to the teacher by that of the hop before; None if one is not known, or the latter 0."""
    mse, was = (quality.against_teacher["mse"] for quality in (judged, before))
    return mse / was if isinstance(mse, float) and isinstance(was, float) and was else None


def _elsewhere(
    job: VerifyJob,
    module: "nn.Module",
    sets: "dict[str, Floats]",
    max_abs: float,
    evening: "NDArray[np.float64] | None",
) -> Iterator[Check]:
    """The same numeric parity in each further runtime that the target has, where it can run."""
    further = load_target(target_of(job.file)).further_runtimes(job.file)
    for name, runtime in further.items():
        what = f"parity, {name}"
        if isinstance(runtime, str):
            yield Check(file=job.name, what=what, status="not run", detail=runtime)
            continue
        result = check_parity(
            runtime,
            module,
            sets,
            max_abs=max_abs,
            max_lsb=job.limits.int8_max_lsb,
            evening=evening,
        )
        missed = [f"{item.name}: {item.reason}" for item in result.sets if item.status != "passed"]
        worst = max((item.max_abs or 0.0 for item in result.sets), default=0.0)
        detail = "; ".join(missed) or f"at most {worst:.2g} from PyTorch, {max_abs:.2g} may be"
        status = overall(item.status for item in result.sets)
        yield Check(file=job.name, what=what, status=status, detail=detail)


@dataclass(frozen=True)
class BenchmarkJob:
    """What a file's size, latency and memory depend on.

    They are of this machine and this moment, and live apart from results.
    """

    folder: Path
    file: Path
    export_key: str
    reference: Path | None

    @property
    def key(self) -> str:
        return content_key(
            format=BENCHMARK_FORMAT,
            export=self.export_key,
            file=hash_of(self.file),
            reference=None if self.reference is None else hash_of(self.reference),
            versions=_versions(self.file),
        )


def _versions(file: Path, *further: str) -> dict[str, str | None]:
    return tool_versions("numpy", "torch", *further, *load_target(target_of(file)).RUNTIMES)


def _in_run(file: Path) -> str:
    """``models/tiny-int8/model.onnx``: files of one run are all called model."""
    return "/".join(file.parts[-3:])


def benchmark(job: BenchmarkJob) -> Benchmark:
    """Size, latency and memory of a file, in fresh processes; measured once for each file.

    Its `reference` takes turns with it, or where there is none a second one of itself.
    """

    def make() -> Benchmark:
        measured = measure(job.file, reference=job.reference)
        beside = _in_run(job.reference or job.file)
        paces = tuple(replace(pace, reference=beside) for pace in measured.paces)
        return replace(measured, file=_in_run(job.file), paces=paces)

    def write(folder: Path, result: Benchmark) -> None:
        atomic_write(folder / BENCHMARK, records.to_json(result))

    def read(folder: Path) -> Benchmark:
        return records.from_json(Benchmark, (folder / BENCHMARK).read_text("utf-8"))

    return kept(job.folder, job.key, make, write, read)
