"""Ray Data: workers of a whole cluster, or of one that is started on this machine.

Each of Ray's workers keeps one process with the teacher, as the engine `local` does, so that a clip
that brings it down is found in the same way. What Ray sees are whole shards: one whose worker or
machine is lost is made again elsewhere, as often as it takes. lipstill, the teacher and the speech have to be where the
workers are; shards come back as bytes, and are written where the run is.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from compress.errors import LipstillError, MissingError
from compress.labels.engines.local import Crew
from compress.labels.work import Task, Work

# Of a cluster that is started here: shards wait there until they are written.
STORE_BYTES = 256 * 2**20
# Ray's own account of itself belongs in its logs.
QUIET = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DATA_LOG_LEVEL": "ERROR"}


def build(workers: int) -> "Ray":
    """The engine with so many of Ray's workers. Raises `MissingError` where Ray is not installed."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise MissingError(
            "--engine ray needs the package ray, which is not installed. Install it with "
            "pip install 'lipstill[ray]'."
        )
    return Ray(workers)


class Ray:
    """The engine. `RAY_ADDRESS` says which cluster; without it, one is started on this machine."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(
        self, work: Work, tasks: Sequence[Task], advance: Callable[[float], None]
    ) -> Iterator[tuple[Task, bytes]]:
        """As `Engine.run`, in the order in which they are done."""
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        logging.getLogger("ray").setLevel(logging.ERROR)
        import ray.data

        with _cluster(self._workers * work.threads):
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            labeller: Any = _Labeller  # a class of callables, which Ray's types do not know
            shards = ray.data.from_items(
                [{"number": i, "task": pickle.dumps(task)} for i, task in enumerate(tasks)],
                override_num_blocks=len(tasks),
            ).map(
                labeller,
                fn_constructor_args=(work,),
                compute=ray.data.ActorPoolStrategy(size=min(self._workers, len(tasks))),
                num_cpus=work.threads,
                num_gpus=float(work.settings.device not in ("auto", "cpu")),
            )
            for row in shards.iter_rows():
                if error := row["error"]:
                    raise pickle.loads(error)
                task = tasks[row["number"]]
                advance(task.seconds)
                yield task, row["made"]


class _Labeller:
    """One of Ray's workers: a row with a task's number in, one with its shard out."""

    def __init__(self, work: Work) -> None:
        self._crew = Crew(work, 1)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Our own errors are values: Ray would wrap what is raised, and try again."""
        try:
            ((_, made),) = self._crew.run([pickle.loads(row["task"])], lambda seconds: None)
        except LipstillError as error:
            return {"number": row["number"], "made": b"", "error": pickle.dumps(error)}
        return {"number": row["number"], "made": made, "error": b""}


@contextmanager
def _cluster(cpus: int) -> Iterator[None]:
    """The cluster that this process is joined to, that of `RAY_ADDRESS`, or one of our own."""
    import ray

    if ray.is_initialized():
        yield
        return
    if "RAY_ADDRESS" in os.environ:
        ray.init(log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(
            num_cpus=cpus,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    try:
        yield
    finally:
        ray.shutdown()
