"""A rig of other units than blendshapes: trained alike, in a power of ten of its own."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.distillation import Material, distill
from compress.examples import Example, examples
from compress.labels.making import scale_of
from compress.labels.store import Labels
from compress.recipe import StudentSettings
from compress.stages.exporting import largest_difference
from compress.stages.training import _build
from compress.students.conv_fc import ConvFC


@pytest.mark.parametrize(
    ("ranges", "scale"),
    [
        ([(0.0, 0.31)], 1.0),
        ([(0.0, 1.0), (0.2, 0.3)], 1.0),
        ([(-1.4, 1.5)], 1.0),
        ([(-1.6, 1.5)], 10.0),
        ([(0.0, 1.0), (-20.0, 25.0)], 100.0),
        ([(0.0, 1e-3)], 1e-3),
        ([(0.5, 0.6)], 1.0),  # as far from 0 as others
        ([(0.0, 0.02), (40.0, 40.0)], 0.01),  # the other one never moves
        ([(0.0, 0.5), (40.0, 40.0001)], 1.0),  # but by rounding
        ([(0.25, 0.25)], 1.0),
    ],
)
def test_the_scale_is_the_power_of_ten_nearest_to_how_far_controls_go(
    ranges: list[tuple[float, float]], scale: float
) -> None:
    lowest, highest = np.array(ranges).T
    assert scale_of(lowest, highest) == pytest.approx(scale)


def trained(labels: Labels, settings: StudentSettings, factor: float, work: Path) -> ConvFC:
    """A student of the labels times `factor`, told so."""

    def times(clip: Example) -> Example:
        return replace(clip, curves=clip.curves * np.float32(factor))

    train = [times(clip) for clip in examples(labels, labels.side("train"))]
    material = Material(train[:3], train[3:], labels.driven, scale=factor)
    student, log = distill(
        lambda: _build(settings, len(labels.driven), None, factor),
        material,
        settings.training,
        7,
        work,
    )
    assert np.isfinite([row["loss"] for row in log.rows]).all()
    return student


@pytest.mark.parametrize("factor", [1e-3, 128.0])
def test_curves_of_other_units_are_learned_alike(
    labels: Labels, student_settings: StudentSettings, tmp_path: Path, factor: float
) -> None:
    audio = torch.from_numpy(examples(labels, labels.side("train"))[0].samples)[None]
    plain = trained(labels, student_settings, 1.0, tmp_path / "plain").animate(audio)
    other = trained(labels, student_settings, factor, tmp_path / "other").animate(audio)
    assert plain.std() > 0.01
    # Gradients of the last layer are clipped and averaged in its own units: alike, not equal.
    assert (other / factor - plain).std() < 0.05 * plain.std()


def test_tolerances_go_with_the_scale() -> None:
    from compress.recipe import ParitySettings

    limits = ParitySettings(max_abs=1e-5)
    assert largest_difference(limits, "fp32", None) == 1e-5
    assert largest_difference(limits, "fp32", None, 100.0) == pytest.approx(1e-3)


DEGREES = '''\
import torch


def build():
    """The jaw's angle and the head's, in degrees, 25 frames a second, from the loudness."""

    def animate(audio):
        loud = torch.nn.functional.pad(audio.abs(), (320, 960)).unfold(1, 1280, 640).mean(2)
        loud = loud[:, : -(-audio.shape[1] // 640)]
        return torch.stack([120 * loud, 90 - 60 * loud], 2)

    return animate
'''


@pytest.mark.slow
def test_a_rig_of_degrees_goes_all_the_way(own: Path, cli: Callable[..., Any]) -> None:
    (own / "degrees.py").write_text(DEGREES)
    text = (own / "recipe.yaml").read_text()
    teacher = (
        "{checkpoint: 'degrees:build', trust: true, "
        "interface: {rate_hz: 25, columns: [{names: [jaw, head]}]}}"
    )
    (own / "degrees.yaml").write_text(text.replace("{checkpoint: teacher}", teacher))
    run = own / "run"
    ended = cli("compress", own / "degrees.yaml", "--out", run)
    assert ended.code == 0, ended.err
    card = json.loads((run / "students" / "small" / "distilled" / "student.json").read_text())
    assert (card["scale"], card["driven"]) == (100.0, ["jaw", "head"])
    parity = json.loads((run / "report" / "report.json").read_text())["parity"][0]["result"]
    assert (parity["status"], parity["max_abs_limit"]) == ("passed", pytest.approx(1e-3))
    assert cli("verify", run).code == 0
