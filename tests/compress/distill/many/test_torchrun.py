"""Processes that torchrun starts: the bytes of `--devices`, and one end for all of them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from torch.distributed import HashStore

from compress.distill.many import torchrun
from compress.distill.many.torchrun import Calls, LeaderLost, Place
from compress.errors import UsageError
from compress.recipe.recipe import load_recipe
from compress.run.helping import help_out
from compress.run.jobs import Plan
from compress.run.planning import find_inputs, plan
from compress.store import file_hash

Cli = Callable[..., Any]
REPOSITORY = Path(torchrun.__file__).parents[3]

# The command line as each process runs it; `before` is Python that runs first.
SCRIPT = """
import os, sys
sys.argv[0] = "lipstill"
{before}
from compress.cli import main
main()
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def two(tmp_path: Path) -> Callable[..., Ended]:
    """The command line in two processes of torchrun."""

    def run(*arguments: object, before: str = "") -> Ended:
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.format(before=before))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc-per-node", "2", script),
                *map(str, arguments),
            ],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": ""},
            capture_output=True,
            text=True,
            check=False,
            # Nobody may wait for a store that is gone until that gives up by itself.
            timeout=torchrun.STORE_TIMEOUT.total_seconds() - 10,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


def results(run: Path) -> dict[str, str]:
    """Labels and students: relative name → SHA-256."""
    files = [p for name in ("labels", "students") for p in (run / name).rglob("*") if p.is_file()]
    return {path.relative_to(run).as_posix(): file_hash(path) for path in files}


@pytest.mark.slow
def test_the_bytes_are_those_of_two_devices(
    workshop: Path, cli: Cli, two: Callable[..., Ended], tmp_path: Path
) -> None:
    recipe = workshop / "recipe.yaml"
    assert cli("distill", recipe, "--out", tmp_path / "own", "--devices", 2).code == 0
    ended = two("distill", recipe, "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    assert ended.out.count("distill is done") == 1, "the first process speaks, the other does not"
    assert "loss" not in ended.err
    found = results(tmp_path / "run")
    assert "students/small/distilled/weights.safetensors" in found
    assert found == results(tmp_path / "own")
    events = list((tmp_path / "run" / "tensorboard" / "small").iterdir())
    assert len(events) == 1
    again = two("distill", recipe, "--out", tmp_path / "run")
    assert again.code == 0
    assert "0 of 3 steps to do" in again.out
    keys = [
        json.loads((tmp_path / name / "run.json").read_text())["keys"] for name in ("own", "run")
    ]
    assert keys[0] == keys[1]


DIVERGING = (
    *("--set", "students.0.training.learning_rate=1e30"),
    *("--set", "students.0.training.warmup_steps=0"),
)
# The first process is to speak, and the other gives it all the time that it needs.
PATIENT = """
from compress.distill.many import torchrun
torchrun.GRACE_S = 200.0
"""
LOST = """
from compress.labels import examples
def unreadable(labels, clip):
    from compress.errors import BadAudio
    raise BadAudio(clip.id, "it is gone")
if os.environ["RANK"] == "{rank}":
    examples.audio_of = unreadable
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "before", "said", "code"),
    [
        (DIVERGING, PATIENT, "Training stopped at step 2: the loss is", 3),
        (("--set", "speech.train=[nowhere]"), PATIENT, "nowhere is not there", 3),
        (("--set", "students.0.training.batch=3"), PATIENT, "cannot be shared equally", 2),
        ((), PATIENT + LOST.format(rank=0), "it is gone", 3),
        # Either may be the first that torchrun sees: the other one lacks a process.
        ((), LOST.format(rank=1), "it is gone", "[34]"),
        ((), "if os.environ['RANK'] == '1': os._exit(9)", "", 9),
    ],
    ids=["diverges", "no-speech", "recipe", "first-fails", "other-fails", "other-dies"],
)
def test_one_that_fails_ends_all(
    workshop: Path,
    two: Callable[..., Ended],
    tmp_path: Path,
    arguments: tuple[str, ...],
    before: str,
    said: str,
    code: int | str,
) -> None:
    ended = two(
        "distill", workshop / "recipe.yaml", "--out", tmp_path / "run", *arguments, before=before
    )
    assert ended.code != 0
    assert said in ended.err
    assert not said or ended.err.count(said) == 1, "said once"
    assert re.search(rf"\(exitcode: {code}\)", ended.err)
    assert "[rank" not in ended.err, "no traceback but torchrun's own"
    assert not (tmp_path / "run" / "students").exists()


@pytest.mark.slow
def test_torchrun_is_for_distill_alone(
    workshop: Path, two: Callable[..., Ended], tmp_path: Path
) -> None:
    asked = ("compress", workshop / "recipe.yaml", "--out", tmp_path / "run")
    ended = two(*asked, before=PATIENT)
    assert "(exitcode: 2)" in ended.err
    assert "torchrun is for the command distill alone, found report" in ended.err
    assert "lipstill compress --devices 2" in ended.err
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------------------
# without torchrun


def test_where_a_process_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert torchrun.place() is None, "another launcher's"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert torchrun.place() == Place(5, 8, 4)
    assert torchrun.place().nodes == 2
    assert torchrun.silent()
    monkeypatch.setenv("RANK", "0")
    assert not torchrun.silent()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert torchrun.place() is None


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> HashStore:
    monkeypatch.setattr(torchrun, "PAUSE_S", 0.01)
    monkeypatch.setattr(torchrun, "GRACE_S", 600.0)
    return HashStore()


@pytest.fixture
def short_grace(store: HashStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a word that never comes; `store` has set a long one."""
    monkeypatch.setattr(torchrun, "GRACE_S", 0.2)


def test_calls_are_heard_in_order_by_whoever_listens(store: HashStore) -> None:
    heard: list[list[str]] = [[], []]
    listening = [Thread(target=lambda own=own: own.extend(Calls(store).heard())) for own in heard]
    listening[0].start()
    calls = Calls(store)
    with calls.leading():
        calls.call("one")
        listening[1].start()
        calls.call("two")
    for each in listening:
        each.join(600)
    assert heard == [["one", "two"]] * 2


def test_a_run_that_fails_is_told(store: HashStore) -> None:
    calls, heard = Calls(store), Calls(store)
    with pytest.raises(KeyboardInterrupt), calls.leading():
        calls.call("one")
        raise KeyboardInterrupt
    words = heard.heard()
    assert next(words) == "one"
    with pytest.raises(LeaderLost):
        next(words)
    assert Calls(store).failed()


@pytest.mark.usefixtures("short_grace")
def test_a_helper_that_fails_alone_says_so(store: HashStore) -> None:
    calls = Calls(store)
    calls.call("one")
    assert not Calls(store).failed()


@pytest.fixture
def planned(workshop: Path, tmp_path: Path) -> Plan:
    recipe = load_recipe(workshop / "recipe.yaml")
    return plan(recipe, find_inputs(recipe), tmp_path / "run")


@pytest.mark.usefixtures("short_grace")
def test_a_helper_that_sees_another_folder_says_so(store: HashStore, planned: Plan) -> None:
    calls = Calls(store)
    calls.call(planned.distills[0].key)
    with pytest.raises(UsageError, match=r"does not find in .*run\. .* --out that every machine"):
        help_out(Calls(store), lambda: planned)


def test_a_helper_that_fails_with_the_first_process_is_silent(
    store: HashStore, planned: Plan
) -> None:
    calls = Calls(store)
    with pytest.raises(UsageError), calls.leading():
        calls.call("another key")
        raise UsageError("said by the first process")
    with pytest.raises(LeaderLost):
        help_out(Calls(store), lambda: planned)


def test_a_helper_of_a_run_in_which_nothing_is_trained_looks_at_nothing(store: HashStore) -> None:
    with Calls(store).leading():
        pass
    help_out(Calls(store), lambda: pytest.fail("looked"))
