"""Stages verify and benchmark: what each file lost, and what it costs to run.

Numeric parity (file against its PyTorch source) and quality (file against the teacher, run in its
own runtime through the code of ``lipstill animate``) are two results, kept apart. Both are of the
file as it lies there: its hash is in the key, so a file that was changed is checked again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.animation import curves_by_smoothing, frame_times
from compress.audio import SAMPLE_RATE
from compress.evaluation import Floats, HeldOut, Measures, Quality, quality, silence
from compress.metrics import Share
from compress.progress import bar
from compress.smoothing import NONE
from compress.stages.exporting import window_form
from compress.store import atomic_folder, atomic_write, content_key, seal, stage, tool_versions
from exporters import records
from exporters.benchmark import Benchmark, measure
from exporters.files import describe_file
from exporters.parity import ParityResult, check_parity, probe_windows
from exporters.targets import load_target, target_of

if TYPE_CHECKING:
    from compress.stretches import Example
    from compress.students.integers import Quantization
    from exporters.runtime import Runtime

FORMAT = 3
# Sealed under this instead of a key, a failed parity and its report are made again.
NOT_KEPT = "parity-failed"
PARITY_WINDOWS = 64
RUNTIMES = ("numpy", "onnxruntime", "torch")
# A file's quality as `lipstill animate` runs it, and, where that smooths, that of bare predictions.
QUALITY, UNSMOOTHED = "quality.json", "unsmoothed.json"


@dataclass(frozen=True)
class VerifyJob:
    """Everything that a file's parity and quality depend on.

    `export_key` stands for its source, `labels_key` for the teacher.
    """

    folder: Path
    file: Path
    export_key: str
    student_folder: Path
    labels_key: str
    alignments_key: str
    max_abs: float
    max_lsb: int

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            export=self.export_key,
            file=_hash(self.file),
            labels=self.labels_key,
            alignments=self.alignments_key,
            max_abs=self.max_abs,
            max_lsb=self.max_lsb,
            versions=tool_versions(*RUNTIMES),
        )


@dataclass(frozen=True)
class Verified:
    """A file's two results; quality is that of its curves as `lipstill animate` gives them.

    `unsmoothed` is that of its bare predictions, None where nothing smooths them.
    """

    parity: ParityResult
    quality: Quality
    unsmoothed: Quality | None


def verify(job: VerifyJob, heldout: Callable[[], HeldOut]) -> Verified:
    """Parity and quality of a file, measured now or found.

    A failed parity is never taken from an earlier run.
    """
    if not stage(job.folder, job.key).hit:
        runtime = load_target(target_of(job.file)).open_runtime(job.file)
        module, _, card = window_form(job.student_folder)
        speech = heldout()
        window = runtime.signature.window
        sets = {"held-out speech": speech_windows(speech, window), **probe_windows(window, seed=0)}
        limit = _limit(job, card.quantization)
        parity = check_parity(runtime, module, sets, max_abs=limit, max_lsb=job.max_lsb)
        weightings = {QUALITY: runtime.signature.smoothing}
        if weightings[QUALITY] != NONE:
            weightings[UNSMOOTHED] = NONE
        curves = predicted(runtime, speech, list(weightings.values()))
        still = at_rest(runtime, speech.rate_hz, list(weightings.values()))
        with atomic_folder(job.folder) as folder:
            atomic_write(folder / "parity.json", records.to_json(parity))
            for name, clips, quiet in zip(weightings, curves, still, strict=True):
                judged = quality(clips, speech, on_silence=quiet)
                atomic_write(folder / name, _to_text(quality_to_json(judged)))
            seal(folder, job.key if parity.status == "passed" else NOT_KEPT)
    return Verified(
        records.from_json(ParityResult, (job.folder / "parity.json").read_text()),
        _read_quality(job.folder / QUALITY),
        _read_quality(job.folder / UNSMOOTHED) if (job.folder / UNSMOOTHED).exists() else None,
    )


def _limit(job: VerifyJob, integers: "Quantization | None") -> float:
    """The recipe's, or what its codes may differ by where the rig itself is made of codes."""
    if integers is None or integers.layers["rig"] != "int8":
        return job.max_abs
    # The float32 products of neighbouring codes and their scale lie a little more than it apart.
    return max(job.max_abs, 1.001 * job.max_lsb * integers.tensors["rig"].scale)


def predicted(
    runtime: "Runtime", heldout: HeldOut, weightings: Sequence[Sequence[float]]
) -> list[list[Floats]]:
    """A file's driven curves of all held-out clips, at the teacher's frame times.

    For each weighting one list of clips.
    """
    clips = []
    with bar("verify", len(heldout.clips)) as progress:
        for i, samples in enumerate(heldout.samples):
            clips.append(curves_by_smoothing(runtime, samples, heldout.times_s(i), weightings))
            progress(i + 1)
    return [[curves[i] for curves in clips] for i in range(len(weightings))]


def at_rest(
    runtime: "Runtime", rate_hz: float, weightings: Sequence[Sequence[float]]
) -> list[list[Floats]]:
    """A file's driven curves on silence at the teacher's rate; for each weighting two clips."""
    clips = [
        curves_by_smoothing(
            runtime, samples, frame_times(len(samples), rate_hz, SAMPLE_RATE), weightings
        )
        for samples in silence()
    ]
    return [[curves[i] for curves in clips] for i in range(len(weightings))]


def speech_windows(heldout: HeldOut, window: int) -> Floats:
    """Windows spread evenly over all held-out speech, float32 `[n, 1, window]`."""
    speech = np.concatenate([*heldout.samples, np.zeros(window, np.float32)])
    starts = np.linspace(0, len(speech) - window, PARITY_WINDOWS).astype(int)
    return np.stack([speech[start : start + window] for start in starts])[:, None]


@dataclass(frozen=True)
class BaselineJob:
    """Everything that the two baselines' quality depends on."""

    folder: Path
    labels_key: str
    alignments_key: str

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            labels=self.labels_key,
            alignments=self.alignments_key,
            versions=tool_versions("numpy", "lhotse", "torch"),
        )


@dataclass(frozen=True)
class Baseline:
    """A predictor to compare with. `name` for people, `parameters` its fitted numbers."""

    name: str
    parameters: int
    quality: Quality


def baselines(
    job: BaselineJob, train: Callable[[], "Sequence[Example]"], heldout: Callable[[], HeldOut]
) -> tuple[Baseline, ...]:
    """The teacher itself against the truth, and ridge regression and mean curve, in this order."""
    from compress.baselines import fit_mean, fit_ridge

    if not stage(job.folder, job.key).hit:
        speech, clips = heldout(), list(train())
        rows = {"the teacher": (0, list(speech.teacher))}
        for name, model in (
            ("ridge on 40 log-mels × 512 ms", fit_ridge(clips)),
            ("mean curve", fit_mean(clips)),
        ):
            hops = [model.hops(samples) for samples in speech.samples]
            rows[name] = (model.parameters, [speech.at_frames(*pair) for pair in enumerate(hops)])
        with atomic_folder(job.folder) as folder:
            for i, (name, (parameters, curves)) in enumerate(rows.items()):
                judged = quality_to_json(quality(curves, speech))
                fields = {"name": name, "parameters": parameters, **judged}
                atomic_write(folder / f"{i}.json", _to_text(fields))
            seal(folder, job.key)
    found = [json.loads(path.read_text()) for path in sorted(job.folder.glob("[0-9].json"))]
    return tuple(Baseline(row["name"], row["parameters"], quality_from_json(row)) for row in found)


@dataclass(frozen=True)
class BenchmarkJob:
    """What a file's size and latency depend on.

    They are of this machine and this moment, and live apart from results.
    """

    folder: Path
    file: Path
    export_key: str

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            export=self.export_key,
            file=_hash(self.file),
            versions=tool_versions(*RUNTIMES),
        )


def _hash(file: Path) -> str | None:
    return describe_file(file, target_of(file)).sha256 if file.exists() else None


def benchmark(job: BenchmarkJob) -> Benchmark:
    """Size and latency of a file, one thread, in a fresh process; measured once for each file."""
    if not stage(job.folder, job.key).hit:
        result = measure(job.file)
        with atomic_folder(job.folder) as folder:
            atomic_write(folder / "benchmark.json", records.to_json(result))
            seal(folder, job.key)
    return records.from_json(Benchmark, (job.folder / "benchmark.json").read_text())


def quality_to_json(result: Quality) -> dict[str, Any]:
    """Metrics as JSON has them; a share as an object with its interval."""
    return asdict(result)


def quality_from_json(fields: dict[str, Any]) -> Quality:
    """What `quality_to_json` made; keys beside the metrics are left alone."""

    def read(measures: dict[str, Any]) -> Measures:
        return {
            name: Share(**value) if isinstance(value, dict) else value
            for name, value in measures.items()
        }

    return Quality(
        read(fields["against_teacher"]),
        read(fields["against_truth"]),
        fields["by_region"],
        fields["by_control"],
    )


def _read_quality(path: Path) -> Quality:
    return quality_from_json(json.loads(path.read_text()))


def _to_text(fields: dict[str, Any]) -> str:
    return json.dumps(fields, indent=1, allow_nan=False) + "\n"
