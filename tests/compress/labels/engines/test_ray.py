"""Ray Data on this machine: the local store's bytes, also where a worker is killed half-way."""

import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from compress.errors import MissingError, TeacherError
from compress.labels.engines import engine_of
from compress.labels.engines.ray import Ray
from compress.labels.store import Labels
from compress.labels.work import Task, Work
from tests.compress.labels.engines.conftest import LOUD

pytest.importorskip("ray")

Run = Callable[..., Labels]
MakeWork = Callable[..., Work]

pytestmark = [
    pytest.mark.slow,
    # Ray's own processes and sockets live as long as it likes.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of its own settings
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _cluster() -> None:
    """Two processors of a cluster on this machine, started once for all tests."""
    import ray

    if not ray.is_initialized():
        ray.init(
            num_cpus=2,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
        )
    return


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class Killing(Ray):
    """Kills one of Ray's workers while its teacher waits for that, as `MODULE` has it wait."""

    def __init__(self, workers: int, folder: Path) -> None:
        super().__init__(workers)
        self.folder = folder

    def run(
        self, work: Work, tasks: Sequence[Task], advance: Callable[[float], None]
    ) -> Iterator[tuple[Task, bytes]]:
        for number, made in enumerate(super().run(work, tasks, advance)):
            if number == 0:
                while not os.path.lexists(self.folder / "waits"):
                    time.sleep(0.01)
                teacher = os.readlink(self.folder / "waits")
                parent = Path("/proc", teacher, "stat").read_text().rpartition(")")[2].split()[1]
                os.kill(int(parent), signal.SIGKILL)
                (self.folder / "struck").touch()
            yield made


def test_a_killed_worker_costs_only_time(
    work: MakeWork, run: Run, single_out: Callable[[int], str], tmp_path: Path
) -> None:
    single_out(11)
    alone = run(work())
    waits = work(f"if {LOUD} and first('waits'): wait_for('struck')")
    together = run(waits, Killing(2, tmp_path), "together")
    assert (tmp_path / "struck").exists()
    assert together.missing == ()
    assert content(together.folder) == content(alone.folder)


def test_a_clip_that_ends_its_worker_is_given_up(
    work: MakeWork, run: Run, single_out: Callable[[int], str]
) -> None:
    lost = single_out(4)
    made = run(work(f"if {LOUD}: os._exit(7)"), Ray(2), max_missing_share=0.1)
    assert [clip.id for clip in made.missing] == [lost]
    assert "ended with code 7 on it, 2 times" in made.missing[0].reason


def test_a_teacher_that_cannot_be_opened_is_said(work: MakeWork, run: Run) -> None:
    with pytest.raises(TeacherError, match="could not be opened: it raised OSError: no weights"):
        run(work("if not opened: raise OSError('no weights')"), Ray(1))


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str) -> object:
        return None if name == "ray" else find(name)

    monkeypatch.setattr("importlib.util.find_spec", without)
    with pytest.raises(MissingError, match=r"pip install 'lipstill\[ray\]'"):
        engine_of("ray", 2)
