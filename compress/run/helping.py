"""A process that helps the first one of a run to train: see `torchrun`."""

from collections.abc import Callable

import torch

from compress.distill import stage as training
from compress.distill.many.torchrun import Calls, LeaderLost
from compress.errors import LipstillError, UsageError
from compress.labels import stage as labelling
from compress.run.jobs import Plan
from compress.store import stage


def help_out(calls: Calls, prepare: Callable[[], Plan]) -> None:
    """Take part in each training that this process is called to, until the run has ended.

    `prepare` gives what the first process planned, once that has looked at everything. Nothing is
    written. Raises `LeaderLost` where the run failed, and `UsageError` where this process finds
    other inputs or another folder than the first one.
    """
    found: Plan | None = None
    try:
        for key in calls.heard():
            if found is None:
                found = prepare()
                torch.set_num_threads(found.label.threads)
            job = next((job for job in found.distills if job.key == key), None)
            if job is None or not stage(found.label.folder, found.label.key).hit:
                raise UsageError(
                    f"The first process of torchrun trains what this one does not find in "
                    f"{found.folder}. All of them need the same recipe, speech, teacher and run "
                    f"folder: choose an --out that every machine sees."
                )
            training.join(job, labelling.run(found.label))
    except LipstillError:
        if calls.failed():
            raise LeaderLost from None
        raise
