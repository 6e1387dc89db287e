"""Where a student can be trained on this machine, known before there is anything to train on."""

import os
from typing import TYPE_CHECKING

from compress.distill.many import torchrun
from compress.errors import MissingError

if TYPE_CHECKING:
    from compress.recipe.students import TrainingSettings

# Processes on any machine's CPU; one with many cores may have four for each.
LEAST_LIMIT = 16


def accelerators() -> dict[str, int]:
    """The kinds that PyTorch has here for training, the fastest first, and how many of each.

    Of the CPU it is the number of processes that may share it.
    """
    import torch

    found = {}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.device_count()
    if torch.backends.mps.is_available():
        found["mps"] = 1
    return found | {"cpu": max(LEAST_LIMIT, 4 * (os.cpu_count() or 1))}


def training_precision(settings: "TrainingSettings") -> str:
    """``bf16`` or ``fp32``: the first where `settings` ask for it, or leave it open and it is fast.

    A processor without instructions for bfloat16 computes it, but many times slower than float32.
    """
    if settings.precision != "auto":
        return settings.precision
    import torch

    kind: str = settings.accelerator
    if kind == "auto":
        kind = next(iter(accelerators()))
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    fast = kind == "cpu" and (known.get("avx512_bf16") or known.get("amx_bf16"))
    return "bf16" if fast else "fp32"


def require_accelerator(student: str, settings: "TrainingSettings") -> None:
    """Raise `MissingError` where this machine lacks what a student is to be trained on.

    Under torchrun only this machine's share of the processes has to find room here.
    """
    here = accelerators()
    kind = next(iter(here)) if settings.accelerator == "auto" else settings.accelerator
    if kind not in here:
        raise MissingError(
            f"training.accelerator of student {student} is {kind}, but PyTorch finds only "
            f"{', '.join(here)} on this machine. Train where it is there, or choose another: "
            f"--set students.*.training.accelerator=auto takes the fastest that is here. `lipstill "
            f"doctor` says what there is."
        )
    team = torchrun.place()
    needed = settings.devices if team is None else team.local_world
    if needed > here[kind]:
        raise MissingError(
            f"training.devices of student {student} asks for {needed} on this machine, but it has "
            f"{here[kind]} for {kind}. Lower it (--devices {here[kind]}), or choose another "
            f"training.accelerator."
        )
