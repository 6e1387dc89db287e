"""What a second process brings to training: steps a second of two processes of one thread, by those of one.

    python tests/benchmarks/devices.py [--steps 100] [--rounds 3] [--width 0.25] [--batch 12]

Both train a student of the demo's shape, `width` times the channels, on the same packaged speech and the same batches, in
turns; the ratio is what counts, since machines are noisy. A step of two processes exchanges statistics of every batch norm,
a matter of milliseconds on the CPU however little there is to compute: so it depends on what a step is. What the machine
itself allows is measured beside it: two processes with half of the batch each that exchange nothing. Labels are noise, which
takes as long as the teacher's. The start of processes is not counted.
"""

import argparse
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from compress.distill.distilling import Material, distill
from compress.labels.examples import Example
from compress.recipe.recipe import load_recipe
from compress.speech.audio import HOP
from compress.speech.gathering import gather
from compress.students.conv_fc import build

CONTROLS = 26
CLIPS = 48


def steps_a_second(
    devices: int, steps: int, width: float, batch: int, clips: list[Example]
) -> float:
    """Between the second row of the log and the last one."""
    student = load_recipe("demo").students[0].model_copy(update={"width": width})
    training = student.training.model_copy(
        update={
            "devices": devices,
            "steps": steps,
            "batch": batch,
            "closure_weight": 0.0,
            "validate_every": steps,
            "checkpoint_every": steps,
        }
    )
    names = tuple(f"control {i}" for i in range(CONTROLS))
    make = partial(build, student, CONTROLS, None)
    with tempfile.TemporaryDirectory() as folder:
        _, log = distill(make, Material(clips, [], names), training, 7, Path(folder))
    first, last = log.rows[0], log.rows[-1]
    return (last["step"] - first["step"]) / (last["seconds"] - first["seconds"])


def apart(steps: int, width: float, batch: int, clips: list[Example]) -> float:
    """Steps a second of the slower of two processes that train half of the batch each, alone."""
    with ProcessPoolExecutor(2, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        halves = [pool.submit(steps_a_second, 1, steps, width, batch // 2, clips) for _ in range(2)]
        return min(half.result() for half in halves)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=12)
    arguments = parser.parse_args()
    asked = (arguments.steps, arguments.width, arguments.batch)
    torch.set_num_threads(1)
    recipe = load_recipe("demo")
    spoken = gather(recipe.speech, recipe.folder).spoken[:CLIPS]
    random = np.random.default_rng(0)
    clips = []
    for each in spoken:
        samples = each.clip.read()
        shape = (-(-len(samples) // HOP), CONTROLS)
        clips.append(Example(samples, random.uniform(0, 1, shape).astype(np.float32)))
    ratios = []
    for _ in range(arguments.rounds):
        one = steps_a_second(1, *asked, clips)
        two = steps_a_second(2, *asked, clips)
        most = apart(*asked, clips)
        ratios.append((two / one, most / one))
        said = f"one {one:.2f} steps/s, two {two:.2f}, two apart {most:.2f}"
        print(f"{said}: ratio {two / one:.2f} of {most / one:.2f}", flush=True)
    found, possible = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"{len(ratios)} rounds: median {found:.2f} of {possible:.2f}")


if __name__ == "__main__":
    main()
