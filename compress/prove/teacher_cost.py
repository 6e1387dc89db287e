"""The process in which the teacher and model files take turns: ``python -m compress.prove.teacher_cost``.

It reads a question as JSON and writes the answer to the file that it is given: a teacher may print
what it likes. One thread for all of them.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.errors import LipstillError
from compress.speech.audio import SAMPLE_RATE
from compress.teachers.loading import TeacherFile, open_teacher
from compress.teachers.pieces import animate_long, cutting_of
from exporters import records
from exporters.errors import ExporterError
from exporters.measuring.figures import Memory

if TYPE_CHECKING:
    from compress.recipe.teacher import TeacherSettings
    from compress.teachers import Teacher
    from exporters.targets.runtime import Runtime

Floats = NDArray[np.float32]

# The code that it ends with when the teacher cannot be timed, and says on stderr why.
FAILED = 3
TEACHER = "teacher"
SECONDS = 4.0
TURNS, WARM_UP = 10, 2
# A teacher whose turn takes longer gets fewer.
SLOW_S, SLOW_TURNS = 6.0, 3


@dataclass(frozen=True)
class Question:
    """What to time: a teacher as a recipe opens it, on a clip, and model files by their names."""

    teacher: TeacherFile
    settings: "TeacherSettings"
    base: Path
    clip: Path
    files: Mapping[str, Path]


@records.strict
@dataclass(frozen=True, kw_only=True)
class Timed:
    """What was found. `turns` are milliseconds for one second of animation, by name."""

    memory: Memory | None
    seconds: float
    turns: dict[str, list[float]]
    machine: dict[str, str]
    not_run: str


def to_text(question: Question) -> str:
    """A question as JSON."""
    teacher = question.teacher
    return json.dumps(
        {
            "teacher": {
                "name": teacher.name,
                "path": str(teacher.path.absolute()),
                "hash": teacher.hash,
                "bytes": teacher.bytes,
                "format": teacher.format,
            },
            "settings": question.settings.model_dump(mode="json"),
            "base": str(question.base),
            "clip": str(question.clip),
            "files": {name: str(file.absolute()) for name, file in question.files.items()},
        }
    )


def from_text(text: str) -> Question:
    """What `to_text` wrote."""
    from compress.recipe.teacher import TeacherSettings

    found = json.loads(text)
    teacher = found["teacher"]
    return Question(
        TeacherFile(**{**teacher, "path": Path(teacher["path"])}),
        TeacherSettings.model_validate_json(json.dumps(found["settings"])),
        Path(found["base"]),
        Path(found["clip"]),
        {name: Path(file) for name, file in found["files"].items()},
    )


def answer(question: Question) -> Timed:
    """Memory first, while nothing else was loaded; then the turns.

    Raises `TeacherError` where the teacher fails or gives no answer in time, and what opening a file
    raises.
    """
    import torch

    from compress.speech import audio
    from exporters.machine import machine_facts
    from exporters.measuring.memory import can_tell, grown_by

    torch.set_num_threads(1)
    samples = audio.read(question.clip)[: round(SECONDS * SAMPLE_RATE)]

    def animate(teacher: "Teacher") -> object:
        cutting = cutting_of(question.settings)
        return animate_long(teacher, samples[None], cutting, [str(question.clip)])

    def opened() -> "Teacher":
        # On the CPU as the files are, whatever labelled.
        usual = question.settings.model_copy(update={"device": "cpu", "precision": "fp32"})
        return open_teacher(question.teacher, usual, question.base)

    memory = None
    if can_tell():
        memory = grown_by(lambda: animate(opened()), least=question.teacher.bytes or 0)
    teacher = opened()
    seconds = len(samples) / SAMPLE_RATE
    calls: dict[str, tuple[Callable[[], object], float]] = {
        TEACHER: (lambda: animate(teacher), seconds)
    }
    machine = machine_facts() | {"torch": str(torch.__version__), "threads": "1"}
    for name, file in question.files.items():
        runtime = _runtime(file)
        facts = runtime.describe()
        machine[facts["runtime"]] = facts["version"]
        calls[name] = _one_second(runtime, samples)
    return Timed(memory=memory, seconds=seconds, turns=in_turns(calls), machine=machine, not_run="")


def _runtime(file: Path) -> "Runtime":
    from exporters.targets.contract import load_target, target_of

    return load_target(target_of(file)).open_runtime(file, threads=1)


def _one_second(runtime: "Runtime", samples: Floats) -> "tuple[Callable[[], object], float]":
    """Run a file on the hops of about one second of the clip; and how many seconds these are."""
    signature = runtime.signature
    hops = signature.sample_rate_hz // signature.hop
    moments = np.arange(hops) * signature.hop
    # The clip again from its start where it is too short: what is in a window costs nothing.
    speech = np.resize(samples, moments[-1] + signature.window)
    windows = np.stack([speech[at : at + signature.window] for at in moments])[:, None]
    return lambda: runtime.run(windows), hops * signature.hop / signature.sample_rate_hz


def in_turns(calls: Mapping[str, tuple[Callable[[], object], float]]) -> dict[str, list[float]]:
    """Milliseconds of each call for one second of animation, a list by name.

    `calls` are what to call and how many seconds of animation it gives. All are called once in a
    turn, in the other order every second time.
    """
    turns: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    warm_up, count = WARM_UP, TURNS
    for turn in range(WARM_UP + TURNS):
        if turn == warm_up + count:
            break
        order.reverse()
        for name in order:
            call, seconds = calls[name]
            start = time.perf_counter_ns()
            call()
            took_s = (time.perf_counter_ns() - start) / 1e9
            if turn == 0 and name == TEACHER and took_s > SLOW_S:
                warm_up, count = 1, SLOW_TURNS
            if turn >= warm_up:
                turns[name].append(took_s * 1e3 / seconds)
    return turns


def _main(arguments: Sequence[str]) -> int:
    try:
        result = answer(from_text(sys.stdin.read()))
    except (LipstillError, ExporterError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    Path(arguments[0]).write_text(records.to_json(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    code = _main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a teacher that hangs in native code would keep the process alive
