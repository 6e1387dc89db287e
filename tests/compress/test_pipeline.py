"""Whole runs through the command line: what they leave behind, however they end."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from compress.run.jobs import STAGES
from compress.store import file_hash, run_lock
from compress.students.storing import load_student

Cli = Callable[..., Any]
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")

# Python that runs first in a child: it takes a signal once so many writes of a name are done.
# A shell that starts the tests in the background has them ignore SIGINT, and children inherit that.
STRIKE = """
import fnmatch, os, pathlib, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
left = [{times}]
def struck(move):
    def moved(source, target):
        move(source, target)
        left[0] -= fnmatch.fnmatch(str(target), {pattern!r})
        if not left[0]:
            left[0] = -1
            os.kill(os.getpid(), {signal})
    return moved
os.replace, os.rename = struck(os.replace), struck(os.rename)
"""


def strike(pattern: str, times: int, number: int) -> str:
    return STRIKE.format(pattern=pattern, times=times, signal=number)


def hashes(run: Path, *folders: str) -> dict[str, str]:
    """Every file of a run's results, or of those folders: relative name → SHA-256."""
    names = folders or ("labels", "students", "models")
    files = [path for name in names for path in (run / name).rglob("*") if path.is_file()]
    return {path.relative_to(run).as_posix(): file_hash(path) for path in files}


def leftovers(run: Path) -> list[str]:
    """Temporary files and folders; the lock stays on purpose."""
    names = [path.relative_to(run).as_posix() for path in run.rglob(".*")]
    return [name for name in names if name != ".lock"]


def written(run: Path, *names: str) -> dict[str, int]:
    return {name: (run / name).stat().st_mtime_ns for name in names}


# ------------------------------------------------------------------------------- a finished run


def test_a_finished_run(finished: Path, workshop: Path) -> None:
    text = (finished / "run.json").read_text()
    fields = json.loads(text)
    assert len(fields["speech"]) == 11
    assert [len(key) for key in fields["keys"].values()] == [16] * 11
    assert (
        fields["keys"]["verify small-fp32 onnx"]
        in (finished / "checks/small-fp32/onnx-verify/stage.json").read_text()
    )
    assert str(workshop) not in text
    assert set(fields["commits"]) <= {"lipstill"}, "the workshop lies in no checkout"
    year = json.loads((finished / "report" / "report.json").read_text())["created"][:5]
    assert year not in text, "run.json tells no time of day"
    assert leftovers(finished) == []


@posix
def test_sums_hold_for_every_result(finished: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=finished, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    listed = {line.removesuffix(": OK") for line in done.stdout.splitlines()}
    files = {p.relative_to(finished).as_posix() for p in finished.rglob("*") if p.is_file()}
    events = {name for name in files if name.startswith("tensorboard/")}  # no result
    assert events
    assert listed == files - events - {"SHA256SUMS", ".lock"}


def test_a_second_run_does_nothing_again(workshop: Path, run: Path, cli: Cli) -> None:
    before = hashes(run, ".")
    ended = cli("compress", workshop / "recipe.yaml", "--out", run)
    assert ended.code == 0, ended.err
    assert "0 of 11 steps to do, 11 done before" in ended.out
    assert hashes(run, ".") == before


def test_a_lost_log_is_no_reason_to_train_again(workshop: Path, run: Path, cli: Cli) -> None:
    before = written(run, "students/small/distilled/weights.safetensors")
    shutil.rmtree(run / "logs")
    shutil.rmtree(run / "report")
    assert cli("compress", workshop / "recipe.yaml", "--out", run).code == 0
    assert written(run, *before) == before
    assert json.loads((run / "report" / "report.json").read_text())["training"] == []


def test_only_the_report_is_made_again_for_another_gate(
    workshop: Path, run: Path, cli: Cli
) -> None:
    before = hashes(run, "labels", "students", "models", "checks")
    recipe = workshop / "recipe.yaml"
    sets = ("--set", "gates.min_r2=1.0", "--set", "description=another")
    ended = cli("compress", recipe, "--out", run, *sets)
    assert ended.code == 1, ended.err
    assert "R² against the teacher" in ended.err
    assert "1 of 11 steps to do" in ended.out
    assert hashes(run, "labels", "students", "models", "checks") == before
    # The limit is gone again, and so is what it said.
    assert cli("compress", recipe, "--out", run).code == 0


RESULTS = (
    "labels/index.json",
    "labels/clips.jsonl",
    "students/small/distilled/student.json",
    "students/small/distilled/weights.safetensors",
    "models/small-fp32/signature.json",
    "checks/small-fp32/onnx-verify/parity.json",
    "checks/small-fp32/onnx-verify/checks.json",
    "checks/small-fp32/onnx-verify/quality.json",
    "checks/small-fp32/onnx-benchmark/benchmark.json",
    "checks/small-distilled/quality.json",
    "checks/baselines/0.json",
    "checks/teacher-cost/costs.json",
    "checks/clips/clips.json",
    "report/report.json",
)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["garbage", "another version"])
def test_results_that_cannot_be_read_are_made_again(
    workshop: Path, run: Path, cli: Cli, how: str
) -> None:
    """They have the right key and size, as after a bit that flipped or a change of their schema."""
    before = hashes(run, "labels", "students", "models")
    for name in RESULTS:
        path = run / name
        content = path.read_bytes()
        if how == "garbage":
            path.write_bytes(b"\xff" * len(content))
        elif path.suffix == ".json" and name != "labels/index.json":
            path.write_bytes(b'{"of": "another version"}'.ljust(len(content)))
    (run / "report" / "report.html").write_bytes(
        b""
    )  # what cannot be read is not what is looked at
    ended = cli("compress", workshop / "recipe.yaml", "--out", run)
    assert ended.code == 0, ended.err
    assert hashes(run, "labels", "students", "models") == before
    assert b'"name"' in (run / "report" / "report.json").read_bytes()


# ------------------------------------------------------------- a student made smaller, and int8


def test_a_student_in_two_tiers(shrunk: Path) -> None:
    steps = sorted(path.name for path in (shrunk / "students" / "small").iterdir())
    assert steps == ["distilled", "int8", "pruned"]
    tiers = sorted(path.name for path in (shrunk / "models").iterdir())
    assert tiers == ["small-fp32", "small-int8"]
    sizes = [(shrunk / "models" / tier / "model.onnx").stat().st_size for tier in tiers]
    assert sizes[1] < sizes[0]
    assert leftovers(shrunk) == []


def test_each_file_says_what_its_source_says(shrunk: Path) -> None:
    report = json.loads((shrunk / "report" / "report.json").read_text())
    found = {row["result"]["precision"]: row["result"] for row in report["parity"]}
    assert {precision: row["status"] for precision, row in found.items()} == {
        "fp32": "passed",
        "int8": "passed",
    }
    # A float file may differ by rounding alone, an int8 one by a code here and there.
    cards = [load_student(path)[1] for path in sorted((shrunk / "students" / "small").iterdir())]
    assert [card.step for card in cards] == ["distilled", "int8", "pruned"]
    assert {card.scale for card in cards} == {1.0}
    assert not any(card.rests or card.units for card in cards), "a rig as of any face"
    code = cards[1].quantization
    assert code is not None
    assert code.layers["rig"] == "int8"
    step = code.tensors["rig"].scale
    assert found["fp32"]["max_abs_limit"] == pytest.approx(1e-5)
    assert found["fp32"]["max_lsb_limit"] is None
    assert found["int8"]["max_abs_limit"] == pytest.approx(max(2e-3, step), rel=0.002)
    assert found["int8"]["max_lsb_limit"] == 1
    for row in found.values():
        assert max(part["max_abs"] for part in row["sets"]) <= row["max_abs_limit"]
    assert max(part["max_lsb"] for part in found["int8"]["sets"]) <= 1


def test_the_report_shows_what_was_lost(shrunk: Path) -> None:
    report = json.loads((shrunk / "report" / "report.json").read_text())
    (pruning,), (integers,) = report["pruning"], report["quantization"]
    assert pruning["asked"] == 0.4 <= pruning["removed"]
    assert [row["recovery_steps"] for row in pruning["rounds"]] == [3, 3]
    parameters = [row["parameters"] for row in pruning["rounds"]]
    assert pruning["parameters_before"] > parameters[0] > parameters[1]
    assert (integers["method"], integers["chosen_by"]) == ("qat", "auto")
    assert set(integers["gate"]) == {"mse", "quiet_mse", "jitter", "pbm_loss", "false_rise"}
    assert integers["gate"]["pbm_loss"]["held"] is None, "nobody knows the times of /p b m/ here"
    assert len(integers["scan"]) == 2 * len(integers["layers"]) + 2
    assert {row["what"] for row in integers["scan"]} == {*integers["layers"], "everything"}
    page = (shrunk / "report" / "report.md").read_text()
    for text in (
        "<summary>Pruning: ",
        "<summary>int8 and ",
        "student small, int8, onnx",
        "small-int8/model.onnx",
    ):
        assert text in page, text


def test_a_second_run_makes_nothing_smaller_again(
    workshop: Path, shrunk_run: Path, cli: Cli
) -> None:
    before = hashes(shrunk_run, ".")
    ended = cli("compress", workshop / "shrinking.yaml", "--out", shrunk_run)
    assert ended.code == 0, ended.err
    assert "0 of 18 steps to do, 18 done before" in ended.out
    assert hashes(shrunk_run, ".") == before


@posix
@pytest.mark.slow
def test_killed_while_it_is_made_smaller(
    workshop: Path, shrunk: Path, shrunk_run: Path, cli: Cli, process: Cli
) -> None:
    """In the recovery of a second round, and in training with rounding in place."""
    for name in ("students/small/pruned", "students/small/int8", "models"):
        shutil.rmtree(shrunk_run / name)
    asked = ("compress", workshop / "shrinking.yaml", "--out", shrunk_run, "--until", "verify")
    done: dict[str, int] = {}
    for pattern, times, finishes in (
        ("*/round-2/checkpoint.pt", 2, ".work/small-pruned/*/round-1/round.json"),
        ("*/small-int8/*/checkpoint.pt", 2, "students/small/pruned/*"),
    ):
        ended = process(*asked, before=strike(pattern, times, signal.SIGKILL))
        assert ended.code == -signal.SIGKILL, ended.err
        finished = [path.relative_to(shrunk_run).as_posix() for path in shrunk_run.glob(finishes)]
        assert finished, "it was struck where it should be"
        done = written(shrunk_run, *finished)
    assert not (shrunk_run / "students" / "small" / "int8").exists()
    assert cli(*asked).code == 0
    assert written(shrunk_run, *done) == done, "what was finished is not made again"
    assert hashes(shrunk_run) == hashes(shrunk)
    assert leftovers(shrunk_run) == []


# ------------------------------------------------------------------------------------- bad input


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.sprung,)


def labelling(own: Path, cli: Cli, *options: str) -> Any:
    """Label in the folder `own`; a failure leaves nothing half-made."""
    ended = cli("label", own / "recipe.yaml", "--out", own / "run", *options)
    if ended.code:
        assert not (own / "run" / "labels").exists()
        assert not (own / "run").exists() or leftovers(own / "run") == []
    return ended


def test_a_teacher_that_is_missing(own: Path, cli: Cli) -> None:
    shutil.rmtree(own / "teacher")
    assert labelling(own, cli).failed(3, "Teacher checkpoint teacher", "nothing is at")


def test_a_teacher_that_is_truncated(own: Path, cli: Cli) -> None:
    weights = own / "teacher" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert labelling(own, cli).failed(3, "model.safetensors", "truncated")


@pytest.mark.parametrize("name", ["teacher.pt", "teacher/model.safetensors"])
def test_a_teacher_that_would_run_code(own: Path, cli: Cli, name: str) -> None:
    (own / name).write_bytes(pickle.dumps(Trap(own / "sprung")))
    checkpoint = name.removesuffix("/model.safetensors")
    ended = labelling(own, cli, "--set", f"teacher.checkpoint={checkpoint}")
    assert ended.failed(3, name)
    assert not (own / "sprung").exists()
    pickle.loads((own / name).read_bytes())
    assert (own / "sprung").exists(), "the trap works"


def test_a_teacher_of_other_shapes(own: Path, cli: Cli) -> None:
    from safetensors.torch import load_file, save_file

    weights = own / "teacher" / "model.safetensors"
    state = load_file(weights)
    state["head.rig.2.bias"] = state["head.rig.2.bias"][:-1].clone()
    save_file(state, weights)
    assert labelling(own, cli).failed(3, "head.rig.2.bias is [", "expected [")


def test_speech_that_is_not_there(own: Path, cli: Cli) -> None:
    shutil.rmtree(own / "speech" / "train")
    assert labelling(own, cli).failed(3, "speech/train is not there")
    (own / "speech" / "train").mkdir()
    assert labelling(own, cli).failed(3, "speech/train", "hold no audio")


def test_too_much_bad_speech(own: Path, cli: Cli) -> None:
    train = own / "speech" / "train"
    for i in range(4):  # 4 of 15 on both sides, a quarter is allowed
        (train / f"letter-{i}.wav").write_text("dear")
    assert labelling(own, cli).failed(3, "4 of 15 audio files", "letter-0.wav: not readable")


def test_a_little_bad_speech_is_listed(own: Path, run: Path, cli: Cli) -> None:
    """In run.json and in the report, of which nothing else is made again."""
    train = own / "speech" / "train"
    soundfile.write(train / "nan.wav", np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    (train / "letter.wav").write_text("dear")
    assert cli("compress", own / "recipe.yaml", "--out", run).code == 0
    skipped = json.loads((run / "run.json").read_text())["skipped"]
    assert [file["file"] for file in skipped] == ["train/letter.wav", "train/nan.wav"]
    assert "NaN" in skipped[1]["reason"]
    report = json.loads((run / "report" / "report.json").read_text())
    assert [clip["clip"] for clip in report["speech"]["skipped"]] == [s["file"] for s in skipped]
    assert "train/nan.wav" in (run / "report" / "report.md").read_text()


def test_what_is_passed_over_is_said(own: Path, tmp_path: Path, cli: Cli) -> None:
    train = own / "speech" / "train"
    for name in ("a.m4a", "b.m4a", "c.AIFF"):
        (train / name).write_text("")
    (train / "more").symlink_to(own / "speech" / "heldout", target_is_directory=True)
    ended = cli("label", own / "recipe.yaml", "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert (
        "passed over in speech/train: 2 .m4a, 1 .aiff, the link to folders more. "
        "Audio ends in .wav, .flac, .ogg, .opus, .mp3." in ended.out
    )
    assert json.loads((tmp_path / "run" / "run.json").read_text())["passed_over"] == [
        {"source": "speech/train", "endings": {".aiff": 1, ".m4a": 2}, "links": ["more"]}
    ]


# --------------------------------------------------------------------------------------- storage


# Root passes over file modes by two capabilities (1 and 2 of linux/capability.h); without them its own
# folders of mode 555 are as closed to it as to any user. Becoming another user would not do: that
# one could not read an interpreter or a checkout in root's own folders. First of all, since threads
# that are started later inherit what is left.
ORDINARY_USER = """
import ctypes, os
if os.geteuid() == 0:
    libc, head, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522), (ctypes.c_uint32 * 6)()
    assert libc.capget(head, sets) == 0
    sets[0] &= ~0b110
    assert libc.capset(head, sets) == 0
"""


@posix
@pytest.mark.slow
def test_a_new_folder_that_may_not_be_written(workshop: Path, tmp_path: Path, process: Cli) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o555)
    asked = ("compress", workshop / "recipe.yaml", "--out", run)
    ended = process(*asked, before=ORDINARY_USER)
    assert ended.failed(4, str(run), "permission is denied", "--out")
    assert list(run.iterdir()) == []


@posix
@pytest.mark.slow
def test_a_folder_of_a_run_that_may_not_be_written(workshop: Path, run: Path, process: Cli) -> None:
    shutil.rmtree(run / "models" / "small-fp32")
    (run / "models").chmod(0o555)
    asked = ("compress", workshop / "recipe.yaml", "--out", run)
    ended = process(*asked, before=ORDINARY_USER)
    assert ended.failed(4, str(run / "models"), "permission is denied", "--out")
    assert hashes(run, "models") == {}
    assert leftovers(run) == []


def test_a_file_in_place_of_the_folder(workshop: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "run").write_text("dear")
    for out in (tmp_path / "run", tmp_path / "run" / "inside"):
        ended = cli("label", workshop / "recipe.yaml", "--out", out)
        assert ended.failed(4, str(out), "a file", "a folder")
    assert (tmp_path / "run").read_text() == "dear"


@posix
@pytest.mark.slow
@pytest.mark.parametrize(("stage", "limit"), [("label", 2_000), ("verify", 8_000)])
def test_a_full_disk(
    workshop: Path, finished: Path, run: Path, cli: Cli, process: Cli, stage: str, limit: int
) -> None:
    """The system ends every write at a limit, in one of our files or in one of an exporter's."""
    later = {"label": ("labels", "students", "models"), "verify": ("models",)}[stage]
    for name in later:
        shutil.rmtree(run / name)
    full = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    asked = ("compress", workshop / "recipe.yaml", "--out", run, "--until", stage)
    ended = process(*asked, before=full)
    assert ended.failed(4, str(run), "the same command goes on")
    assert leftovers(run) == []
    assert hashes(run, *later) == {}
    assert not (run / "SHA256SUMS").exists()
    assert cli(*asked).code == 0
    assert hashes(run, later[0]) == hashes(finished, later[0])


# ------------------------------------------------------------------------------- killed and stopped


def test_two_runs_at_once(workshop: Path, run: Path, cli: Cli) -> None:
    with run_lock(run):
        ended = cli("compress", workshop / "recipe.yaml", "--out", run)
        assert ended.failed(2, f"process {os.getpid()}", "--out")
        assert cli("report", run).failed(2, f"process {os.getpid()}")


@posix
@pytest.mark.slow
def test_interrupted_in_the_middle(workshop: Path, run: Path, process: Cli) -> None:
    shutil.rmtree(run / "students")
    struck = strike("*/checkpoint.pt", 2, signal.SIGINT)
    ended = process("compress", workshop / "recipe.yaml", "--out", run, before=struck)
    assert ended.failed(130, "Interrupted")
    assert len(ended.err.splitlines()) == 1
    assert leftovers(run) == [".work"]
    assert not (run / "students").exists()
    assert len(list(run.glob(".work/small/*/checkpoint.pt"))) == 1


@posix
@pytest.mark.slow
def test_killed_again_and_again(
    workshop: Path, finished: Path, tmp_path: Path, cli: Cli, process: Cli
) -> None:
    """While labels are made, in training, between two stages and inside an export."""
    run = tmp_path / "run"
    asked = ("compress", workshop / "recipe.yaml", "--out", run, "--until", "verify")
    done: dict[str, int] = {}
    for pattern, times, finishes in (
        ("*/labels/shard-*.safetensors", 2, "labels/shard-*"),
        ("*/checkpoint.pt", 2, "labels/*"),
        ("*/students/small/distilled", 1, "students/*/*/*"),
        ("*/model.onnx", 1, "logs/*/*"),
    ):
        ended = process(*asked, before=strike(pattern, times, signal.SIGKILL))
        assert ended.code == -signal.SIGKILL, ended.err
        assert written(run, *done) == done, "what was finished is not made again"
        done |= written(run, *(path.relative_to(run).as_posix() for path in run.glob(finishes)))
    assert len(done) > 6
    assert not (run / "models" / "small-fp32").exists()
    assert cli(*asked).code == 0
    assert written(run, *done) == done
    assert hashes(run) == hashes(finished)
    assert leftovers(run) == []


# ----------------------------------------------------------------------------------------- gates


@pytest.mark.slow
def test_a_gate_that_cannot_be_met(workshop: Path, run: Path, cli: Cli) -> None:
    asked = ("compress", workshop / "recipe.yaml", "--out", run)
    asked += ("--set", "gates.min_r2=0.99", "--set", "gates.min_pbm=0.5")
    ended = cli(*asked)
    assert ended.failed(
        1, "small-fp32 onnx: R² against the teacher", "expected >= 0.99", "report.html"
    )
    assert "PBM accuracy: not measured, expected >= 0.5" in ended.err
    gates = json.loads((run / "report" / "report.json").read_text())["gates"]
    assert [gate["status"] for gate in gates] == ["failed", "not run"]
    assert "FAILED" in (run / "report" / "report.md").read_text()
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=run, check=True)
    before = hashes(run, ".")
    again = cli(*asked)
    assert again.failed(1, "expected >= 0.99")
    assert "0 of 11 steps to do" in again.out
    assert json.loads(cli(*asked, "--json").out)["report"] == str(run / "report" / "report.json")
    assert hashes(run, ".") == before


@pytest.mark.slow
def test_a_doubled_weight_is_found(workshop: Path, finished: Path, run: Path, cli: Cli) -> None:
    """Also in a file that had passed before; the file that belongs there passes again."""
    asked = ("compress", workshop / "recipe.yaml", "--out", run)
    double_a_weight(run / "models" / "small-fp32" / "model.onnx")
    for _ in range(2):  # a failure is never taken from an earlier run
        ended = cli(*asked)
        assert ended.failed(1, "parity of models/small-fp32/model.onnx failed", "held-out speech")
        first = next(line for line in ended.out.splitlines() if line.startswith(STAGES))
        assert first.startswith("verify     small-fp32 onnx ")
        report = json.loads((run / "report" / "report.json").read_text())
        assert [entry["result"]["status"] for entry in report["parity"]] == ["failed"]
    original = finished / "models" / "small-fp32" / "model.onnx"
    shutil.copy(original, run / "models" / "small-fp32" / "model.onnx")
    assert cli(*asked).code == 0


def double_a_weight(path: Path) -> None:
    import onnx

    model = onnx.load(path)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[np.abs(values).argmax()] *= 2
    weight.raw_data = values.tobytes()
    path.write_bytes(model.SerializeToString(deterministic=True))
