"""The students that ship: small enough, what their recipe says, and really trained."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compress.assets import resolve
from compress.judge import metrics
from compress.recipe.recipe import load_recipe
from compress.recipe.teacher import TeacherSettings
from compress.speech import audio
from compress.students.conv_fc import build
from compress.students.storing import load_student
from compress.teachers.loading import find_teacher, open_teacher

NAMES = ("small", "tiny", "realtime", "tiny-realtime")
LARGEST_MB = {"small": 7.0}
# R² to the teacher on six clips, a little below what each had when it was packed.
LEAST_R2 = {"small": 0.65, "tiny": 0.5, "realtime": 0.45, "tiny-realtime": 0.35}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_its_recipe_says_and_fits(name: str) -> None:
    folder = resolve(f"builtin:{name}", Path())
    settings = next(s for s in load_recipe("reference").students if s.name == name)
    student, card = load_student(folder)
    with torch.device("meta"):
        planned = build(settings, len(card.driven), student.config.limits)
    assert student.config == replace(planned.config, batch_norm=False)
    assert card.name == name
    assert card.guide == settings.guide
    assert (folder / "weights.safetensors").stat().st_size < 1e6 * LARGEST_MB.get(name, 1.0)
    log = (folder / "training-log.jsonl").read_text("utf-8").splitlines()
    assert json.loads(log[-1])["step"] <= settings.training.steps
    assert name in (folder / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def heard() -> list[tuple[np.ndarray, np.ndarray]]:
    """A few held-out clips with the teacher's driven curves at its frames."""
    teacher = open_teacher(
        find_teacher("builtin:voice2face-demo", Path()),
        TeacherSettings(checkpoint="builtin:voice2face-demo"),
        Path(),
    )
    folder = resolve("builtin:speech", Path())
    clips = sorted(json.loads((folder / "alignments.json").read_text("utf-8")))[:6]
    samples = [audio.read(folder / f"{clip}.opus") for clip in clips]
    driven = load_student(resolve("builtin:small", Path()))[1].driven
    columns = [teacher.controls.index(name) for name in driven]
    return [(s, teacher.animate(torch.from_numpy(s)[None])[0].numpy()[:, columns]) for s in samples]


@pytest.mark.parametrize("name", NAMES)
def test_it_follows_the_teacher(name: str, heard: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """These weights were trained, and float16 has not hurt them."""
    student, _ = load_student(resolve(f"builtin:{name}", Path()))
    predicted, wanted = [], []
    for samples, curves in heard:
        hops = student.animate(torch.from_numpy(samples)[None])[0].numpy()
        times = np.arange(len(curves)) / 60.0
        grid = np.arange(len(hops)) * audio.HOP / audio.SAMPLE_RATE
        predicted.append(
            np.stack([np.interp(times, grid, hops[:, i]) for i in range(hops.shape[1])], 1)
        )
        wanted.append(curves)
    assert metrics.r2(predicted, wanted) > LEAST_R2[name]
