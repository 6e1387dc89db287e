"""Labelling when something gives way half-way: what is done is kept, and the same command ends it."""

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import soundfile

from tests.compress.test_pipeline import strike

Cli: TypeAlias = Callable[..., Any]

pytestmark = pytest.mark.slow
posix = pytest.mark.skipif(sys.platform == "win32", reason="limits and signals of POSIX")


def shards(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "labels").glob("shard-*")}


@posix
def test_a_disk_that_fills_up(own: Path, cli: Cli, process: Cli) -> None:
    """The system ends every write at a limit, which the shard of the last and longest clip meets."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 30 * 16_000)
    soundfile.write(own / "speech" / "train" / "long.wav", samples, 16_000)
    asked = ("label", own / "recipe.yaml", "--set", "labels.shard_s=0.5")
    whole = cli(*asked, "--out", own / "whole")
    assert whole.code == 0, whole.err
    by_size = sorted(len(made) for made in shards(own / "whole").values())
    limit = (by_size[-1] + by_size[-2]) // 2
    full = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    ended = process(*asked, "--out", own / "run", before=full)
    assert ended.failed(4, "the file would be larger", "the same command goes on")
    kept = shards(own / "run")
    assert len(kept) == len(by_size) - 1
    times = {p: p.stat().st_mtime_ns for p in (own / "run" / "labels").glob("shard-*")}
    assert cli(*asked, "--out", own / "run").code == 0
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert shards(own / "run") == shards(own / "whole")


@posix
def test_interrupted_with_workers(own: Path, cli: Cli, process: Cli) -> None:
    """No worker is left to hold the command's pipes open, which `process` reads to their end; and the
    same command in this process ends in the same bytes.
    """
    asked = ("label", own / "recipe.yaml", "--set", "labels.shard_s=0.5")
    struck = strike("*/shard-*", 3, signal.SIGINT)  # in the act of storing the third of eleven
    ended = process(*asked, "--workers", "2", "--out", own / "run", before=struck)
    assert ended.failed(130, "Interrupted")
    assert len(shards(own / "run")) == 3
    assert cli(*asked, "--out", own / "run").code == 0
    assert cli(*asked, "--out", own / "whole").code == 0
    assert shards(own / "run") == shards(own / "whole")
    assert len(shards(own / "whole")) == 11


def test_missing_clips_are_named_by_the_run_and_its_report(own: Path, cli: Cli) -> None:
    """Speech that a manifest promises and that is not there: the run goes on without it."""
    from lhotse import RecordingSet

    train = own / "speech" / "train"
    RecordingSet.from_dir(train, "*.wav").to_file(own / "train.jsonl.gz")
    recipe = own / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("speech/train", "train.jsonl.gz"))
    gone = sorted(train.glob("*.wav"))[1]
    shutil.move(gone, own / "elsewhere.wav")
    asked = ("label", recipe, "--out", own / "run")
    ended = cli(*asked, "--set", "labels.max_missing_share=0.05")
    assert ended.failed(3, f"{gone.stem} cannot be labelled", "max_missing_share = 0.05")
    done = cli(*asked, "--set", "labels.max_missing_share=0.2")
    assert done.code == 0, done.err
    assert f"no labels  {gone.stem}: " in done.out
    stricter = cli(*asked, "--set", "labels.max_missing_share=0.05")
    assert stricter.failed(3, f"{gone.stem} cannot be labelled"), "also where they are finished"
