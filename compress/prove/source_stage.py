"""Quality of what is no file: students in PyTorch, the teacher itself and simple predictors.

Students in PyTorch are the hops of the chain from teacher to file, run through the code of
``lipstill animate`` as the files are, so that a reader sees which hop cost what.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compress.export.stage import dense_form, signature_of
from compress.judge.animation import curves_by_smoothing, frame_times
from compress.judge.held_out import Floats, HeldOut, silence
from compress.judge.quality import Judge, quality
from compress.progress import bar
from compress.speech.audio import SAMPLE_RATE
from compress.store import atomic_write, content_key, kept, tool_versions
from exporters import records
from exporters.report.records.not_speech import Moved
from exporters.report.records.quality import Quality
from exporters.signature import Precision

if TYPE_CHECKING:
    from compress.labels.examples import Example
    from exporters.targets.runtime import Predictor

FORMAT = 9
QUALITY = "quality.json"


@dataclass(frozen=True)
class SourceJob:
    """Everything that a student's quality in PyTorch depends on; keys stand for what they name."""

    folder: Path
    student_folder: Path
    student_key: str
    smoothing: tuple[float, ...]
    labels_key: str
    criteria_key: str

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            student=self.student_key,
            smoothing=self.smoothing,
            labels=self.labels_key,
            criteria=self.criteria_key,
            versions=tool_versions("numpy", "scipy", "torch", "torchao"),
        )


def source(job: SourceJob, heldout: Callable[[], HeldOut]) -> Quality:
    """Quality of a student in PyTorch, measured now or found."""

    def make() -> Quality:
        from compress.prove.source_predictor import SourcePredictor

        student, dense, card = dense_form(job.student_folder)
        precision: Precision = "fp32" if card.quantization is None else "int8"
        signature = signature_of(student, card, precision, job.smoothing)
        return animated(SourcePredictor(dense, signature), heldout(), [job.smoothing])[0]

    def write(folder: Path, judged: Quality) -> None:
        atomic_write(folder / QUALITY, records.to_json(judged))

    return kept(job.folder, job.key, make, write, lambda folder: read_quality(folder / QUALITY))


def animated(
    predictor: "Predictor", heldout: HeldOut, weightings: Sequence[Sequence[float]]
) -> list[Quality]:
    """Quality of a file, or of a student in PyTorch, on all held-out speech.

    Through the code of ``lipstill animate``, at the teacher's frame times; one for each weighting.
    """
    judges = [Judge(heldout) for _ in weightings]
    with bar("verify", len(heldout.clips), unit="clips") as progress:
        for i, samples in enumerate(heldout.samples):
            curves = curves_by_smoothing(predictor, samples, heldout.times_s(i), weightings)
            for judge, clip in zip(judges, curves, strict=True):
                judge.add(clip)
            progress(i + 1)
    still = at_rest(predictor, heldout.rate_hz, weightings)
    judged = [judge.quality(quiet) for judge, quiet in zip(judges, still, strict=True)]
    if heldout.rest is None:
        return judged
    elsewhere = heldout.rest.of_file(predictor, weightings, teacher_in_speech(heldout))
    return [replace(q, not_speech=found) for q, found in zip(judged, elsewhere, strict=True)]


def teacher_in_speech(heldout: HeldOut) -> Moved | None:
    """How lively the teacher is on held-out speech; None where its rest pose is not known."""
    if heldout.rest is None:
        return None
    lively = heldout.rest.liveliness()
    for curves in heldout.teacher:
        lively.add(heldout.evened(curves))
    return lively.moved(heldout.rate_hz)


def at_rest(
    predictor: "Predictor", rate_hz: float, weightings: Sequence[Sequence[float]]
) -> list[list[Floats]]:
    """A file's driven curves on silence at the teacher's rate; for each weighting two clips."""
    clips = [
        curves_by_smoothing(
            predictor, samples, frame_times(len(samples), rate_hz, SAMPLE_RATE), weightings
        )
        for samples in silence()
    ]
    return [[curves[i] for curves in clips] for i in range(len(weightings))]


@dataclass(frozen=True)
class BaselineJob:
    """Everything that the two baselines' quality depends on."""

    folder: Path
    labels_key: str
    criteria_key: str

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            labels=self.labels_key,
            criteria=self.criteria_key,
            versions=tool_versions("numpy", "scipy", "lhotse", "torch"),
        )


@records.strict
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

    def make() -> tuple[Baseline, ...]:
        from compress.judge.baselines import MeanCurve, Ridge, fit_mean, fit_ridge

        speech, clips = heldout(), train()
        models: dict[str, Ridge | MeanCurve] = {
            "ridge on 40 log-mels × 512 ms": fit_ridge(clips, speech.evening),
            "mean curve": fit_mean(clips),
        }
        judges = {name: Judge(speech) for name in models}
        for i, samples in enumerate(speech.samples):
            for name, model in models.items():
                judges[name].add(speech.at_frames(i, model.hops(samples)))
        teacher = quality(speech.teacher, speech)
        if speech.rest is not None:
            elsewhere = speech.rest.of_teacher(teacher_in_speech(speech))
            teacher = replace(teacher, not_speech=elsewhere)
        return (
            Baseline("the teacher", 0, teacher),
            *(Baseline(n, models[n].parameters, judge.quality()) for n, judge in judges.items()),
        )

    def write(folder: Path, made: tuple[Baseline, ...]) -> None:
        for i, row in enumerate(made):
            atomic_write(folder / f"{i}.json", records.to_json(row))

    def read(folder: Path) -> tuple[Baseline, ...]:
        rows = sorted(folder.glob("[0-9].json"))
        return tuple(records.from_json(Baseline, row.read_text("utf-8")) for row in rows)

    return kept(job.folder, job.key, make, write, read)


def read_quality(path: Path) -> Quality:
    """The quality in a file that `records.to_json` made."""
    return records.from_json(Quality, path.read_text("utf-8"))
