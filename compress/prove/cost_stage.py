"""Stage benchmark, the teacher's part: how much faster and smaller the files are, measured.

Teacher and files take turns in one process of their own (``compress.prove.teacher_cost``), so that
whatever else the machine does meets all alike.
"""

import io
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from compress.errors import BadAudio
from compress.prove.teacher_cost import FAILED, Question, Timed, to_text
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import Clip
from compress.store import atomic_write, content_key, kept, tool_versions
from compress.teachers.loading import TeacherFile
from exporters import records
from exporters.files import describe_file, hash_of
from exporters.measuring.figures import Memory, Size
from exporters.measuring.process import run_module
from exporters.measuring.size import deflated_bytes
from exporters.report.records.document import Cost
from exporters.scratch import scratch
from exporters.targets.contract import load_target, target_of

if TYPE_CHECKING:
    from compress.recipe.recipe import TeacherSettings

FORMAT = 1
# Sealed under this instead of a key, a teacher that could not be timed is tried again.
NOT_KEPT = "teacher-not-timed"
TEACHER = "teacher"
COSTS = "costs.json"
# All of a process: three times the teacher is opened, and at most fifteen times it is run.
SPARE_S = 900.0
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class CostJob:
    """What the comparison depends on; like all timings it is of this machine and this moment.

    `clip` is held-out speech, `clip_key` its hash, `files` are model files by their names in the
    report; `base` is where the recipe's paths start.
    """

    folder: Path
    teacher: TeacherFile
    settings: "TeacherSettings"
    base: Path
    clip: Clip
    clip_key: str
    files: dict[str, Path]

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            teacher=self.teacher.hash,
            settings=self.settings.key_parts,
            clip=self.clip_key,
            files={name: hash_of(file) for name, file in self.files.items()},
            versions=tool_versions("numpy", "torch", "transformers", *self._runtimes),
        )

    @property
    def timed(self) -> dict[str, Path]:
        """The files whose runtime here runs them; what is evaluated only says nothing of time."""
        return {
            name: file
            for name, file in self.files.items()
            if not load_target(target_of(file)).EVALUATED
        }

    @property
    def _runtimes(self) -> list[str]:
        targets = [load_target(target_of(file)) for file in self.timed.values()]
        return sorted({runtime for target in targets for runtime in target.RUNTIMES})


@records.strict
@dataclass(frozen=True, kw_only=True)
class Costs:
    """What the teacher costs, and each file beside it."""

    size: Size | None
    """Of the teacher's checkpoint, or null where that is no file."""
    memory: Memory | None
    """What a process grows by that opens the teacher and runs it; null where it was not run."""
    seconds: float
    """Seconds of speech that it was run on."""
    costs: dict[str, Cost]
    """Of the teacher under its own name, `teacher`, and of each file."""
    machine: dict[str, str]
    """What the figures were taken on."""
    not_run: str
    """Why the teacher could not be timed, or nothing."""


def run(job: CostJob) -> Costs:
    """Teacher and files in turns, measured now or found.

    A teacher that cannot be timed is no error here, as its labels exist: the result says why, and
    the next run tries again.
    """

    def write(folder: Path, result: Costs) -> str | None:
        atomic_write(folder / COSTS, records.to_json(result))
        return NOT_KEPT if result.not_run else None

    def read(folder: Path) -> Costs:
        return records.from_json(Costs, (folder / COSTS).read_text(encoding="utf-8"))

    return kept(job.folder, job.key, lambda: _measured(job), write, read)


def _measured(job: CostJob) -> Costs:
    timed = _timed(job)
    size = _size(job.teacher)
    costs = _costs(timed)
    if size is not None:
        costs = {
            name: replace(
                cost,
                smaller=1.0 if name == TEACHER else size.bytes / _bytes(job.files[name]),
            )
            for name, cost in costs.items()
        }
    return Costs(
        size=size,
        memory=timed.memory,
        seconds=timed.seconds,
        costs=costs,
        machine=timed.machine,
        not_run=timed.not_run,
    )


def _timed(job: CostJob) -> Timed:
    """What the process found, or why it found nothing."""
    import soundfile

    limit_s = 4 * job.settings.time_limit_s + SPARE_S
    with scratch(), TemporaryDirectory() as folder:
        # A file, since a teacher may write to standard output whatever it likes.
        answer, clip = Path(folder, "answer.json"), Path(folder, "clip.wav")
        try:
            wave = io.BytesIO()  # what writes a file for libsndfile has no words for a full disk
            soundfile.write(wave, job.clip.read(), SAMPLE_RATE, subtype="FLOAT", format="WAV")
            clip.write_bytes(wave.getvalue())
        except BadAudio as error:
            return _not_timed(f"the clip that it is timed on cannot be read: {error}")
        question = Question(job.teacher, job.settings, job.base.absolute(), clip, job.timed)
        try:
            done = run_module(
                "compress.prove.teacher_cost",
                [str(answer)],
                given=to_text(question),
                environment=_ONE_THREAD,
                limit_s=limit_s,
            )
        except subprocess.TimeoutExpired:
            return _not_timed(f"the process that times the teacher gave no answer in {limit_s:g} s")
        if done.returncode == 0:
            return records.from_json(Timed, answer.read_text(encoding="utf-8"))
    said = " ".join(done.stderr.split())
    if done.returncode == FAILED:
        return _not_timed(said)
    return _not_timed(
        f"the process that times the teacher ended with code {done.returncode}: {said[-500:]}"
    )


def _not_timed(reason: str) -> Timed:
    return Timed(memory=None, seconds=0.0, turns={}, machine={}, not_run=reason)


def _costs(timed: Timed) -> dict[str, Cost]:
    """Each one's turns, beside the teacher's of the same turn."""
    import numpy as np

    if timed.not_run:
        return {}
    teacher = np.array(timed.turns[TEACHER])
    costs = {}
    for name, turns in timed.turns.items():
        ratios = teacher / np.array(turns)
        costs[name] = Cost(
            ms_per_second=float(np.median(turns)),
            faster=float(np.median(ratios)),
            faster_low=float(ratios.min()),
            faster_high=float(ratios.max()),
            smaller=None,
        )
    return costs


def _size(teacher: TeacherFile) -> Size | None:
    """Of its checkpoint; None where that holds no weights, or is gone since it was found."""
    if teacher.bytes is None or not all(file.exists() for file in teacher.files):
        return None
    return Size(
        bytes=teacher.bytes,
        download_bytes=sum(deflated_bytes(file) for file in teacher.files),
        weight_bytes=None,
    )


def _bytes(file: Path) -> int:
    return describe_file(file, target_of(file)).bytes
