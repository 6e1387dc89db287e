"""Speech, and a teacher in Python that can be told to misbehave on some of it."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.labels.engines import Engine
from compress.labels.engines.in_process import InProcess
from compress.labels.making import Spoken, label
from compress.labels.store import Labels
from compress.labels.work import Work
from compress.recipe.recipe import LabelSettings
from compress.recipe.teacher import TeacherSettings
from compress.teachers.loading import find_teacher

MODULE = """
import os, pathlib, signal, time
import torch

FOLDER = pathlib.Path(__file__).parent
calls = 0


def make():
    return animate


def first(name):
    # Whether nobody has asked this before, in any process; the link then names who did.
    try:
        (FOLDER / name).symlink_to(str(os.getpid()))
    except FileExistsError:
        return False
    return True


def wait_for(name):
    while not (FOLDER / name).exists():
        time.sleep(0.01)


def animate(audio):
    global calls
    hops = audio.unfold(1, 160, 160)
    curves = torch.stack([hops.abs().mean(2), hops.amax(2)], 2)
    opened = calls > 0  # the first call only asks how wide the outputs are
    calls += 1
    if opened:
        with open(FOLDER / "calls.txt", "a") as file:
            file.write(f"{os.getpid()} {len(audio)}\\n")
    # HERE
    return curves
"""
# The clip's first sample tells which it is.
LOUD = "opened and (audio[:, 0] == 0.75).any()"


@pytest.fixture
def speech(make_speech: Callable[..., list[Spoken]], tmp_path: Path) -> list[Spoken]:
    """Twelve clips, pairs of them of one length."""
    return make_speech(tmp_path / "speech", tuple(0.5 + 0.1 * (i // 2) for i in range(12)))


@pytest.fixture
def single_out(speech: list[Spoken]) -> Callable[[int], str]:
    """Makes one clip known to the teacher by its first sample, and gives its id."""
    import soundfile

    def mark(number: int) -> str:
        clip = speech[number].clip
        samples = clip.read().copy()
        samples[0] = 0.75
        soundfile.write(clip.path, samples, 16_000, subtype="FLOAT")
        return clip.id

    return mark


@pytest.fixture
def work(tmp_path: Path) -> Callable[..., Work]:
    """What a teacher in Python is asked to do; `does` is what it does in its calls beside that."""

    def make(does: str = "", time_limit_s: float = 600.0) -> Work:
        module = tmp_path / "odd.py"
        module.write_text(MODULE.replace("# HERE", textwrap.indent(does, "    ").strip()))
        settings = TeacherSettings.model_validate(
            {
                "checkpoint": "odd:make",
                "trust": True,
                "time_limit_s": time_limit_s,
                "interface": {"rate_hz": 100, "columns": ({"names": ("jawOpen", "mouthClose")},)},
            }
        )
        return Work(find_teacher("odd:make", tmp_path), settings, tmp_path, 60.0, False, 1)

    return make


@pytest.fixture
def run(speech: list[Spoken], tmp_path: Path) -> Callable[..., Labels]:
    """Labels all speech in shards of two clips by some engine."""

    def labelled(
        work: Work, engine: Engine | None = None, name: str = "labels", **more: Any
    ) -> Labels:
        settings = LabelSettings(shard_s=1.4, **more)
        made_by = engine or InProcess(work.open())
        return label("key", speech, tmp_path / name, settings, work, made_by)

    return labelled
