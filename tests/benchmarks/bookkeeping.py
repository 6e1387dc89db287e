"""What a large corpus costs before any audio is opened: `lipstill compress --dry-run` on generated manifests.

    python tests/benchmarks/bookkeeping.py [--clips 1000 281241] [--folder DIR]

Manifests as Lhotse writes them, of clips as long as LibriSpeech's are on average (960.9 h of 281,241
utterances); there is no audio. Seconds and peak memory of the whole command, a process each.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 12.3
HELD_OUT = 500
RECIPE = """\
name: bookkeeping
teacher: {checkpoint: "builtin:voice2face-demo"}
speech: {train: [train.jsonl.gz], heldout: [heldout.jsonl.gz]}
students: [{name: tiny}]
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, nargs="+", default=[1000, 281_241])
    parser.add_argument("--folder", type=Path, default=Path("artifacts/bookkeeping"))
    arguments = parser.parse_args()
    for clips in arguments.clips:
        folder = arguments.folder / str(clips)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "train.jsonl.gz", "train", clips)
        write(folder / "heldout.jsonl.gz", "heldout", HELD_OUT)
        (folder / "recipe.yaml").write_text(RECIPE)
        command = [sys.executable, "-m", "compress", "compress", str(folder / "recipe.yaml")]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--dry-run", "--out", str(folder / "run")], stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        print(
            f"{clips} clips, {clips * SECONDS / 3600:.0f} h: {time.perf_counter() - start:.1f} s, "
            f"peak {peak / 2**20:.0f} MiB",
            flush=True,
        )


def write(path: Path, name: str, clips: int) -> None:
    """Recordings without audio."""
    samples = round(SECONDS * 16_000)
    with gzip.open(path, "wt", compresslevel=1) as file:
        for i in range(clips):
            id_ = f"{name}-{i // 100:05d}-{i % 100:04d}"
            entry = {
                "id": id_,
                "sources": [{"type": "file", "channels": [0], "source": f"audio/{id_}.flac"}],
                "sampling_rate": 16_000,
                "num_samples": samples,
                "duration": samples / 16_000,
                "channel_ids": [0],
            }
            file.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    main()
