"""How close labelling comes to the bare teacher: seconds of speech labelled a second, by seconds of speech forwarded a second.

    python tests/benchmarks/labelling.py [--clips 60] [--rounds 3] [--threads 1]

Both run over the same packaged clips, in turns, in one process; the ratio is what counts, since machines are noisy.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from compress.labels import Spoken, label
from compress.recipe import load_recipe
from compress.stages.speech import gather
from compress.teachers.loading import find_teacher, open_teacher
from compress.teachers.pieces import cutting_of


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = load_recipe("demo")
    file = find_teacher(recipe.teacher.checkpoint, recipe.folder)
    teacher = open_teacher(file, recipe.teacher, recipe.folder)
    spoken = gather(recipe.speech, recipe.folder).spoken
    chosen: tuple[Spoken, ...] = spoken[:: max(1, len(spoken) // arguments.clips)]
    decoded = [torch.from_numpy(s.clip.read())[None] for s in chosen]
    seconds = sum(s.clip.seconds for s in chosen)
    ratios = []
    for i in range(arguments.rounds):
        start = time.perf_counter()
        for samples in decoded:
            teacher.animate(samples)
        bare = seconds / (time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            label(
                teacher,
                f"round {i}",
                chosen,
                Path(folder),
                recipe.labels,
                cutting_of(recipe.teacher),
            )
            labelled = seconds / (time.perf_counter() - start)
        ratios.append(labelled / bare)
        print(f"bare {bare:.1f} × real time, labelling {labelled:.1f} ×: ratio {ratios[-1]:.3f}")
    print(f"{len(chosen)} clips, {len(ratios)} rounds: median {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
