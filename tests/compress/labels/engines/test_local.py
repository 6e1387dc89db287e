"""Worker processes: the same bytes as without, and a clip that brings its worker down."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from compress.errors import InputError, NoAnswer, StorageError, TeacherError, UsageError
from compress.labels.engines import engine_of
from compress.labels.engines.in_process import InProcess
from compress.labels.engines.local import Local
from compress.labels.store import Labels
from compress.labels.work import Task, Work
from compress.teachers.guarded import at_work
from tests.compress.labels.engines.conftest import LOUD

Run = Callable[..., Labels]
MakeWork = Callable[..., Work]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_two_workers_write_the_bytes_of_one_process(
    work: MakeWork, run: Run, tmp_path: Path
) -> None:
    alone = run(work())
    together = run(work(), Local(2), "together")
    assert content(together.folder) == content(alone.folder)
    pids = {line.split()[0] for line in (tmp_path / "calls.txt").read_text().splitlines()}
    assert len(pids) == 3, "this process and two workers"


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by signal 9 on it, 2 times"),
        ("os._exit(7)", "ended with code 7 on it, 2 times"),
        ("wait_for('never')", "gave no answer within 3 s on it, 2 times"),
        ("raise ValueError('too loud')", "it raised ValueError: too loud"),
    ],
    ids=["killed", "exits", "hangs", "raises"],
)
@pytest.mark.slow
def test_a_clip_that_ends_its_worker_is_given_up_alone(
    work: MakeWork, run: Run, single_out: Callable[[int], str], does: str, reason: str
) -> None:
    """Its neighbour of the same length, which shared its batch, is labelled."""
    lost = single_out(4)
    # Other calls take milliseconds, and each has two tries.
    limit_s = 3.0 if "no answer" in reason else 600.0
    made = run(work(f"if {LOUD}: {does}", limit_s), Local(2), max_missing_share=0.1)
    (missing,) = made.missing
    assert missing.id == lost
    assert reason in missing.reason
    assert len(made.clips) == 11
    sound = run(work(), name="sound")
    kept = {clip.shard for clip in made.clips if clip.shard != missing_shard(sound, lost)}
    for shard in kept:
        assert (made.folder / shard).read_bytes() == (sound.folder / shard).read_bytes()


def missing_shard(labels: Labels, clip: str) -> str:
    return next(each.shard for each in labels.clips if each.id == clip)


def test_beyond_the_stated_share_the_run_ends_and_keeps_what_it_has(
    work: MakeWork, run: Run, single_out: Callable[[int], str], tmp_path: Path
) -> None:
    lost = single_out(11)
    bad = work(f"if {LOUD}: os._exit(7)")
    with pytest.raises(InputError, match=f"{lost} cannot be labelled: the process .* code 7"):
        run(bad, Local(1))
    shards = list((tmp_path / "labels").glob("shard-*"))
    assert not (tmp_path / "labels" / "stage.json").exists()
    for path in shards:
        os.utime(path, (0, 0))
    mended = run(work())
    assert mended.missing == ()
    assert {path.name for path in shards} == {clip.shard for clip in mended.clips}
    again = [path for path in shards if path.stat().st_mtime_ns]
    assert [path.name for path in again] == [missing_shard(mended, lost)]


@pytest.mark.slow
def test_a_worker_that_is_killed_from_outside_costs_only_time(
    work: MakeWork, run: Run, tmp_path: Path
) -> None:
    """Whoever is first to have speech in the teacher stays there until it is killed."""

    def kill_one() -> None:
        struck = tmp_path / "struck"
        while not os.path.lexists(struck):
            time.sleep(0.01)
        os.kill(int(os.readlink(struck)), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    made = run(work("if opened and first('struck'): wait_for('never')"), Local(2))
    killer.join()
    assert made.missing == ()
    (tmp_path / "calls.txt").unlink()
    assert content(made.folder) == content(run(work(), name="undisturbed").folder)


@pytest.mark.slow
def test_a_teacher_that_cannot_be_opened_is_said_once(work: MakeWork, run: Run) -> None:
    with pytest.raises(TeacherError, match="could not be opened: it raised OSError: no weights"):
        run(work("if not opened: raise OSError('no weights')"), Local(2))


@pytest.mark.slow
def test_workers_that_die_when_they_open_it(work: MakeWork, run: Run) -> None:
    with pytest.raises(TeacherError, match="ended with code 9, 2 times before it was given any"):
        run(work("if not opened: os._exit(9)"), Local(2))


@pytest.mark.slow
def test_nobody_is_left_behind(work: MakeWork, run: Run, tmp_path: Path) -> None:
    """Also where the one who asks goes away in the middle."""

    class Leaving(Local):
        def run(
            self, work: Work, tasks: Sequence[Task], advance: Callable[[float], None]
        ) -> Iterator[tuple[Task, bytes]]:
            shards = super().run(work, tasks, advance)
            try:
                yield next(shards)
                raise StorageError("the disk is full")
            finally:
                shards.close()  # type: ignore[attr-defined]

    with pytest.raises(StorageError):
        run(work(), Leaving(2))
    pids = {int(line.split()[0]) for line in (tmp_path / "calls.txt").read_text().splitlines()}
    assert pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_in_process_a_teacher_that_hangs_ends_the_run(
    work: MakeWork,
    run: Run,
    single_out: Callable[[int], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first speech that it is given is what it hangs on, so nothing else has to be in time."""
    single_out(0)
    teacher = work(f"if {LOUD}: wait_for('free')").open()
    monkeypatch.setattr(teacher, "_limit_s", 0.5)
    with pytest.raises(NoAnswer, match=r"within 0\.5 s.* It was given 0\.50 s of .*0\.wav"):
        run(work(), InProcess(teacher))
    assert at_work()
    (tmp_path / "free").touch()
    while at_work():  # so that no later test finds it
        time.sleep(0.01)


def test_engines_by_name() -> None:
    assert isinstance(engine_of("local", 2), Local)
    assert engine_of("local", 1) is None
    with pytest.raises(
        UsageError, match=r"--engine: There is no engine 'spark'; there is local, ray"
    ):
        engine_of("spark", 2)


def test_more_workers_than_a_machine_can_have_are_refused() -> None:
    for workers in (0, -1, 10**9):
        with pytest.raises(UsageError, match=rf"--workers is {workers}, expected 1 to 10000\."):
            engine_of("local", workers)
    with pytest.raises(UsageError, match=r"--workers is 9999, expected at most \d+ processes"):
        engine_of("local", 9999)
