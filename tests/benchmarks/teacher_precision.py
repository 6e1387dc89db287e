"""What another device or a lower precision is worth to a teacher, and what it changes.

    python tests/benchmarks/teacher_precision.py [--recipe demo] [--device cpu] [--precision bf16]

The recipe's teacher on some clips of its speech, in fp32 on the CPU and in the other place: time in
turns over batches of equal lengths, differences of curves over the controls that move, in rig
units, and what changes for a clip by its company in a batch.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from torch import Tensor

from compress.recipe.recipe import load_recipe
from compress.speech.gathering import gather
from compress.teachers import Teacher
from compress.teachers.loading import find_teacher, open_teacher

SECONDS = 4  # of each clip, in batches


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    torch.set_num_threads(recipe.threads)
    spoken = gather(recipe.speech, recipe.folder).spoken
    samples = SECONDS * 16_000
    long = [each.clip for each in spoken if each.clip.samples >= samples]
    chosen = long[:: max(1, len(long) // arguments.clips)][: arguments.clips]
    clips = torch.from_numpy(np.stack([clip.read()[:samples] for clip in chosen]))
    asked = {"device": arguments.device, "precision": arguments.precision}
    file = find_teacher(recipe.teacher.checkpoint, recipe.folder, recipe.teacher.depends_on)
    usual, other = (
        open_teacher(file, recipe.teacher.model_copy(update=place), recipe.folder)
        for place in ({}, asked)
    )
    print(f"{other.description} {len(clips)} clips of {SECONDS} s, {recipe.threads} threads")
    exact = usual.animate(clips)
    moving = (exact.amax((0, 1)) - exact.amin((0, 1))) > 0
    print("from fp32 on the CPU: " + apart(exact, other.animate(clips), moving))
    for teacher in (usual, other):
        alone = torch.cat([teacher.animate(clip[None]) for clip in clips])
        print("alone from in company: " + apart(alone, teacher.animate(clips), moving))
    print(by_time(usual, other, clips, arguments.rounds))


def apart(one: Tensor, other: Tensor, moving: Tensor) -> str:
    off = (one - other)[..., moving]
    return f"largest {off.abs().max():.2g}, RMS {off.square().mean().sqrt():.2g}"


def by_time(usual: Teacher, other: Teacher, clips: Tensor, rounds: int) -> str:
    """Time of the other by that of the usual one, in turns."""
    ratios = []
    for i in range(rounds):
        took = {}
        for teacher in (usual, other) if i % 2 else (other, usual):
            start = time.perf_counter()
            teacher.animate(clips)
            took[teacher] = time.perf_counter() - start
        ratios.append(took[other] / took[usual])
    low, high = min(ratios), max(ratios)
    return f"time by fp32's, median of {rounds} turns {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
