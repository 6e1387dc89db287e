"""Every criterion with every allocation: one cut of `tiny`, not trained again, on clips set aside."""

import itertools
import json
from pathlib import Path
from typing import get_args

import torch

from compress.assets import resolve
from compress.prune.allocation import Allocation
from compress.prune.channels import Criterion
from compress.prune.rounds import cut, figures
from compress.recipe.compression import PruningSettings
from compress.recipe.recipe import load_recipe
from compress.store import atomic_write
from compress.students.contract import Student
from compress.students.facts import facts_of
from compress.students.storing import load_student
from recipes.ablation.running import Bench
from recipes.compression.running import lesson_of

STUDENT = "tiny"
REMOVE = (0.3, 0.5)


def run(bench: Bench, folder: Path) -> None:
    """Write ``cuts.json``: loss, R² and PBM of the whole student and after each cut."""
    torch.set_num_threads(1)
    settings = next(s for s in load_recipe("reference").students if s.name == STUDENT)
    student, _ = load_student(resolve(f"builtin:{STUDENT}", Path()))
    lesson = lesson_of(bench, settings)
    rows = [{"remove": 0.0, **vars(figures(student, lesson)), **_sizes(student)}]
    tried = itertools.product(REMOVE, get_args(Criterion), get_args(Allocation))
    for remove, criterion, allocation in tried:
        pruning = PruningSettings(remove=remove, criterion=criterion, allocation=allocation)
        smaller = cut(student, lesson, pruning, remove)
        names = {"remove": remove, "criterion": criterion, "allocation": allocation}
        rows.append(names | vars(figures(smaller, lesson)) | _sizes(smaller))
        print(rows[-1], flush=True)
    atomic_write(folder / "cuts.json", json.dumps(rows) + "\n")


def _sizes(student: Student) -> dict[str, int]:
    facts = facts_of(student.config)
    return {"parameters": facts.parameters, "multiply_adds": facts.multiply_adds_window}
