"""Whether labelling's memory grows with hours of speech: the peak of `lipstill label`, a process each.

    python tests/benchmarks/label_memory.py [--hours 0.1667 1 10] [--folder DIR] [--workers 1]

The speech is generated: packaged clips in random order and loudness, one half of it as a single long
file, the other as clips of about ten seconds. The folder is kept, so that a second run labels only.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

from compress.recipe.recipe import load_recipe
from compress.speech.audio import SAMPLE_RATE
from compress.speech.gathering import gather

RECIPE = """\
name: memory
threads: 1
teacher: {{checkpoint: "builtin:voice2face-demo"}}
speech: {{train: [speech], heldout: [heldout]}}
students: [{{name: tiny}}]
"""
CLIP_S = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, nargs="+", default=[1 / 6, 1.0, 10.0])
    parser.add_argument("--folder", type=Path, default=Path("artifacts/label-memory"))
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    for hours in arguments.hours:
        folder = arguments.folder / f"{hours:.3g}h"
        if not (folder / "recipe.yaml").exists():
            generate(folder, hours)
        peak, seconds = labelled(folder, arguments.workers)
        stored = sum(p.stat().st_size for p in (folder / "run" / "labels").iterdir())
        print(
            f"{hours:.3g} h: peak {peak / 2**20:.0f} MiB, {3600 * hours / seconds:.1f} × real time, "
            f"{stored / hours / 1e6:.2f} MB of labels an hour",
            flush=True,
        )


def generate(folder: Path, hours: float) -> None:
    """So many hours, and a minute held out."""
    rng = np.random.default_rng(0)
    packaged = gather(load_recipe("demo").speech, Path()).spoken
    spoken = [each.clip.read() for each in packaged]
    wanted = round(hours * 3600 * SAMPLE_RATE)
    for name, samples in (("speech", wanted), ("heldout", 60 * SAMPLE_RATE)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        long = folder / name / f"{name}.flac"
        with soundfile.SoundFile(long, "w", SAMPLE_RATE, 1) as file:
            written = 0
            while written < samples // 2:
                written += _write(file, spoken, rng)
        for i in range(round(samples / 2 / SAMPLE_RATE / CLIP_S)):
            path = folder / name / f"{name}-{i:06d}.flac"
            with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
                length = 0
                while length < CLIP_S * SAMPLE_RATE:
                    length += _write(file, spoken, rng)
    (folder / "recipe.yaml").write_text(RECIPE.format())


def _write(file: soundfile.SoundFile, spoken: list[np.ndarray], rng: np.random.Generator) -> int:
    samples = spoken[rng.integers(len(spoken))] * rng.uniform(0.3, 1)
    file.write(samples)
    return len(samples)


def labelled(folder: Path, workers: int) -> tuple[int, float]:
    """Bytes of the process's largest resident set, and seconds."""
    command = [sys.executable, "-m", "compress", "label", str(folder / "recipe.yaml")]
    command += ["--out", str(folder / "run"), "--workers", str(workers)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024), time.perf_counter() - start


if __name__ == "__main__":
    main()
