"""How close labelling comes to the bare teacher, and what a second worker is worth.

    python tests/benchmarks/labelling.py [--clips 60] [--rounds 3] [--threads 1] [--minutes 10]

First: seconds of speech labelled a second in this process, by seconds of speech forwarded a second.
Then: the same speech by one worker process and by two, each with so many threads, from the first
piece that came through a teacher on: opening it is said apart. All in turns over the same packaged
clips; ratios are what counts, since machines are noisy.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from compress.labels.engines import Engine
from compress.labels.engines.in_process import InProcess
from compress.labels.engines.local import Local
from compress.labels.making import Spoken, label, tasks
from compress.labels.work import Work
from compress.recipe.recipe import Recipe, load_recipe
from compress.speech.gathering import gather
from compress.teachers.loading import find_teacher, open_teacher

SHARD_S = 30.0  # short, so that two workers end together


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = load_recipe("demo")
    work = Work(
        find_teacher(recipe.teacher.checkpoint, recipe.folder),
        recipe.teacher,
        recipe.folder,
        recipe.labels.batch_s,
        False,
        arguments.threads,
    )
    spoken = gather(recipe.speech, recipe.folder).spoken
    chosen = spoken[:: max(1, len(spoken) // arguments.clips)]
    print(f"{len(chosen)} clips: " + by_bare(recipe, work, chosen, arguments.rounds))
    longer: list[Spoken] = []
    for each in spoken:
        if sum(s.clip.seconds for s in longer) < 60 * arguments.minutes:
            longer.append(each)
    print(f"{len(longer)} clips: " + by_workers(work, longer, arguments.rounds))


def by_bare(recipe: Recipe, work: Work, chosen: Sequence[Spoken], rounds: int) -> str:
    """Labelling by the bare teacher, in this process."""
    teacher = open_teacher(work.teacher, recipe.teacher, recipe.folder)
    decoded = [torch.from_numpy(s.clip.read())[None] for s in chosen]
    seconds = sum(s.clip.seconds for s in chosen)
    ratios = []
    for i in range(rounds):
        start = time.perf_counter()
        for samples in decoded:
            teacher.animate(samples)
        bare = seconds / (time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            engine = InProcess(teacher)
            label(f"round {i}", chosen, Path(folder), recipe.labels, work, engine)
            labelled = seconds / (time.perf_counter() - start)
        ratios.append(labelled / bare)
        print(f"bare {bare:.1f} × real time, labelling {labelled:.1f} ×: ratio {ratios[-1]:.3f}")
    return f"labelling by bare teacher, median of {rounds} rounds {statistics.median(ratios):.3f}"


def by_workers(work: Work, chosen: Sequence[Spoken], rounds: int) -> str:
    """Two workers by one."""
    ratios = []
    for _ in range(rounds):
        one, opened = paced(Local(1), work, chosen)
        two, _ = paced(Local(2), work, chosen)
        ratios.append(two / one)
        print(
            f"one worker {one:.1f} × real time, two {two:.1f} ×: ratio {ratios[-1]:.3f} "
            f"(opening the teacher took {opened:.1f} s)"
        )
    return f"two workers by one, median of {rounds} rounds {statistics.median(ratios):.3f}"


def paced(engine: Engine, work: Work, chosen: Sequence[Spoken]) -> tuple[float, float]:
    """Seconds of speech a second from the first piece on; seconds until that piece was through."""
    came: list[tuple[float, float]] = []

    def advance(seconds: float) -> None:
        if seconds:
            came.append((time.perf_counter(), seconds))

    start = time.perf_counter()
    for _ in engine.run(work, tasks("benchmark", chosen, SHARD_S), advance):
        pass
    first, last = came[0][0], came[-1][0]
    return sum(seconds for _, seconds in came[1:]) / (last - first), first - start


if __name__ == "__main__":
    main()
