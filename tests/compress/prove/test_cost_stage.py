"""Teacher and files in turns: whose time counts, what it is compared with, and teachers that fail."""

import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.prove import cost_stage as costing
from compress.prove import teacher_cost
from compress.prove.cost_stage import NOT_KEPT, TEACHER, CostJob
from compress.prove.teacher_cost import Question, Timed, from_text, in_turns, to_text
from compress.recipe.teacher import TeacherSettings
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources.folder import scan
from compress.store import stage
from compress.teachers.loading import find_teacher


@pytest.fixture
def job(workshop: Path, finished: Path, tmp_path: Path) -> CostJob:
    settings = TeacherSettings(checkpoint="teacher")
    (model,) = finished.glob("models/*/model.onnx")
    return CostJob(
        folder=tmp_path / "checks" / "teacher-cost",
        teacher=find_teacher("teacher", workshop),
        settings=settings,
        base=workshop,
        clip=scan(str(workshop / "speech" / "heldout")).clips[0],
        clip_key="of the clip",
        files={"models/small-fp32/model.onnx": model, "the same again": model},
    )


def test_all_are_timed_in_one_process(job: CostJob, monkeypatch: pytest.MonkeyPatch) -> None:
    found = costing.run(job)
    assert found.not_run == ""
    assert set(found.costs) == {TEACHER, *job.files}
    assert found.seconds == 0.6
    weights = job.base / "teacher" / "model.safetensors"
    checkpoint = weights.stat().st_size + (job.base / "teacher" / "config.json").stat().st_size
    assert found.size is not None
    assert found.size.bytes == checkpoint
    assert 0 < found.size.download_bytes < checkpoint
    assert found.size.weight_bytes is None
    assert found.memory is not None
    assert found.memory.peak_bytes > 0
    for name, cost in found.costs.items():
        assert cost.ms_per_second > 0
        assert 0 < cost.faster_low <= cost.faster <= cost.faster_high
        size = checkpoint if name == TEACHER else job.files[name].stat().st_size
        assert cost.smaller == checkpoint / size
    teacher = found.costs[TEACHER]
    assert (teacher.faster_low, teacher.faster, teacher.faster_high) == (1, 1, 1)
    assert found.machine["threads"] == "1"
    assert found.machine["ONNX Runtime"]
    monkeypatch.setattr("subprocess.run", lambda *args, **kwargs: pytest.fail("it started"))
    assert costing.run(job) == found


def test_ratios_are_of_the_same_turn(job: CostJob, monkeypatch: pytest.MonkeyPatch) -> None:
    (name, *_) = job.files
    # The machine was busy in the second turn, and so for both.
    turns = {TEACHER: [20.0, 90.0, 40.0], name: [10.0, 30.0, 5.0]}
    timed = Timed(memory=None, seconds=4.0, turns=turns, machine={}, not_run="")
    monkeypatch.setattr(costing, "_timed", lambda job: timed)
    cost = costing.run(job).costs[name]
    assert (cost.ms_per_second, cost.faster) == (10.0, 3.0)
    assert (cost.faster_low, cost.faster_high) == (2.0, 8.0)


def test_a_teacher_that_is_no_file_has_no_size(
    job: CostJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = {TEACHER: [2.0], next(iter(job.files)): [1.0]}
    timed = Timed(memory=None, seconds=4.0, turns=turns, machine={}, not_run="")
    monkeypatch.setattr(costing, "_timed", lambda job: timed)
    found = costing.run(replace(job, teacher=replace(job.teacher, bytes=None, files=())))
    assert found.size is None
    assert [cost.smaller for cost in found.costs.values()] == [None, None]


def test_what_is_evaluated_only_is_not_timed(job: CostJob, tmp_path: Path) -> None:
    files = {**job.files, "models/a/model.mlpackage": tmp_path / "model.mlpackage"}
    assert replace(job, files=files).timed == job.files


def test_the_key_is_of_what_is_compared(job: CostJob, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"one")
    job = replace(job, files={"a": model})
    same = {"trust": True, "download": True, "time_limit_s": 3.0}
    assert replace(job, settings=job.settings.model_copy(update=same)).key == job.key
    others = [
        replace(job, teacher=replace(job.teacher, hash="another")),
        replace(job, clip_key="another"),
        replace(job, files={"b": model}),
        replace(job, settings=job.settings.model_copy(update={"max_chunk_s": 3.0})),
    ]
    keys = {other.key for other in others}
    model.write_bytes(b"two")
    assert len({*keys, job.key}) == 5
    model.unlink()
    assert job.key not in keys


def test_a_question_survives_the_way_to_the_process(job: CostJob) -> None:
    settings = TeacherSettings.model_validate_json(
        """{"checkpoint": "x.onnx", "trust": true, "depends_on": ["y"], "max_chunk_s": 2.5,
        "interface": {"rate_hz": 25, "inputs": {"style": [1, 0], "scale": 2.0},
        "columns": [{"stop": 3, "names": ["a", "b", "c"]}], "limits": [0, 1]},
        "mesh": {"lips": [1, 2], "lips_closed": {"upper": [1], "lower": [2], "below": 0.5}}}"""
    )
    teacher = replace(job.teacher, path=job.teacher.path.absolute(), files=())
    question = Question(teacher, settings, job.base, Path("clip.wav"), job.files)
    assert from_text(to_text(question)) == question


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, float], Callable[[], None]]:
    """Makes calls that take so many seconds of a clock of our own; `called` are their names."""
    now, called = [0.0], []
    monkeypatch.setattr("time.perf_counter_ns", lambda: round(now[0] * 1e9))

    def call(name: str, seconds: float) -> Callable[[], None]:
        def do() -> None:
            called.append(name)
            now[0] += seconds

        return do

    call.called = called  # type: ignore[attr-defined]
    return call


def test_turns_are_in_milliseconds_for_one_second_and_change_their_order(clock) -> None:  # type: ignore[no-untyped-def]
    turns = in_turns({TEACHER: (clock("t", 2.0), 4.0), "file": (clock("f", 0.03), 1.5)})
    assert turns == {TEACHER: [500.0] * 10, "file": pytest.approx([20.0] * 10)}
    assert "".join(clock.called) == "fttf" * 6


def test_a_slow_teacher_gets_fewer_turns(clock) -> None:  # type: ignore[no-untyped-def]
    turns = in_turns({TEACHER: (clock("t", 7.0), 4.0), "file": (clock("f", 0.1), 1.0)})
    assert len(turns[TEACHER]) == len(turns["file"]) == 3
    assert "".join(clock.called) == "fttf" * 2


def test_windows_are_the_hops_of_a_second() -> None:
    class Signature:
        window, hop, sample_rate_hz = 500, 256, SAMPLE_RATE

    class Runtime:
        signature = Signature()

        def run(self, windows: np.ndarray) -> np.ndarray:
            return windows

    samples = np.arange(2 * SAMPLE_RATE, dtype=np.float32)
    run, seconds = teacher_cost._one_second(Runtime(), samples)  # type: ignore[arg-type]
    windows = run()
    assert windows.shape == (62, 1, 500)  # type: ignore[attr-defined]
    assert [window[0, 0] for window in windows] == [i * 256 for i in range(62)]  # type: ignore[attr-defined]
    assert seconds == 0.992
    run, _ = teacher_cost._one_second(Runtime(), samples[:800])  # type: ignore[arg-type]
    assert run().shape == (62, 1, 500), "a short clip comes again"  # type: ignore[attr-defined]


PYTHON = """
import torch

def make():
    return animate

def animate(audio):
    print("a teacher may say what it likes")
    if audio.abs().max() > 0.1:  # not when it is only asked how wide its outputs are
        pass  # HERE
    return audio.unfold(1, 160, 160).abs().mean(2, keepdim=True)
"""


@pytest.fixture
def in_python(job: CostJob, tmp_path: Path) -> Callable[[str], CostJob]:
    """A job whose teacher does something when it hears speech."""

    def make(does: str) -> CostJob:
        code = PYTHON.replace("pass  # HERE", textwrap.indent(does, " " * 8).strip())
        (tmp_path / "odd.py").write_text(code)
        settings = TeacherSettings.model_validate_json(
            '{"checkpoint": "odd:make", "trust": true, "time_limit_s": 600,'
            ' "interface": {"rate_hz": 100, "columns": [{"names": ["jawOpen"]}]}}'
        )
        teacher = find_teacher("odd:make", tmp_path)
        return replace(job, teacher=teacher, settings=settings, base=tmp_path)

    return make


def test_a_teacher_may_print(in_python: Callable[[str], CostJob]) -> None:
    found = costing.run(in_python("pass"))
    assert found.not_run == ""
    assert found.size is None
    assert found.costs[TEACHER].smaller is None


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("raise ValueError('out of tune')", "it raised ValueError: out of tune"),
        ("import os; os._exit(7)", "ended with code 7"),
        ("import time; time.sleep(1000)", "gave no answer within 2 s"),
        ("return audio * float('nan')", "expected"),
    ],
)
def test_a_teacher_that_fails_now_is_no_error(
    does: str, said: str, in_python: Callable[[str], CostJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = in_python(does)
    if "sleep" in does:
        job = replace(job, settings=job.settings.model_copy(update={"time_limit_s": 2.0}))
    found = costing.run(job)
    assert said in found.not_run
    assert "\n" not in found.not_run
    assert (found.costs, found.memory) == ({}, None)
    assert NOT_KEPT in stage(job.folder, job.key).reason, "the next run tries again"


def test_a_process_that_never_ends_is_ended(
    in_python: Callable[[str], CostJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before a guard looks after it: when its module is imported by the process itself.
    job = in_python("import time; time.sleep(1000)")
    monkeypatch.setattr(costing, "SPARE_S", -2399.0)  # of 4 · 600 s
    found = costing.run(job)
    assert found.not_run == "the process that times the teacher gave no answer in 1 s"


def test_a_teacher_that_is_gone_is_no_error(own: Path, job: CostJob) -> None:
    gone = replace(job, teacher=find_teacher("teacher", own), base=own)
    (own / "teacher" / "model.safetensors").unlink()
    found = costing.run(gone)
    assert "model.safetensors" in found.not_run
    assert found.size is None


def test_a_teacher_is_timed_on_the_cpu_wherever_it_labels(job: CostJob) -> None:
    """As the files are; and on a machine without its device too."""
    elsewhere = {"device": "xla", "precision": "bf16"}
    settings = job.settings.model_copy(update=elsewhere)
    found = costing.run(replace(job, settings=settings, files={}))
    assert found.not_run == ""
    assert found.costs[TEACHER].ms_per_second > 0
