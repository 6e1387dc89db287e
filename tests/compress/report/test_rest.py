"""A whole run with sound that is not speech: every row says how much the face moves there."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from compress.judge.animation import curves_by_smoothing, frame_times
from compress.judge.rest_sounds import fixed_sounds
from compress.run.jobs import STAGES
from compress.speech.audio import SAMPLE_RATE
from compress.speech.not_speech import coloured
from compress.speech.split import split
from exporters.report.records.document import read_report
from exporters.report.records.not_speech import HELD_OUT
from exporters.targets.contract import load_target
from tests.conftest import Cli

KINDS = ["silence", "noise", "hum", "typing", "music"]


def test_every_row_says_what_the_face_does_where_nobody_speaks(
    own: Path, cli: Cli, tmp_path: Path
) -> None:
    """A gate that no face of six steps keeps is broken, and says so; all is written."""
    for number in range(12):
        samples = 0.3 * coloured(np.random.default_rng(number), 0.8, "pink")
        (own / "sounds").mkdir(exist_ok=True)
        soundfile.write(own / "sounds" / f"{number}.flac", samples, SAMPLE_RATE)
    heldout = [number for number in range(12) if split(str(number)) == "heldout"]
    run = tmp_path / "run"
    asked = ("--set", "speech.rest=[sounds]", "--set", "gates.max_rest_movement=1e-6")
    ended = cli("compress", own / "recipe.yaml", "--out", run, *asked)
    assert ended.failed(1, "movement on noise and music, of the teacher's in speech")
    report = read_report(run / "report" / "report.json")
    teacher, file = report.tiers[0], next(row for row in report.tiers if row.path is not None)
    assert teacher.not_speech is not None
    assert file.not_speech is not None
    assert [one.sound for one in teacher.not_speech.sounds] == [*KINDS, HELD_OUT]
    assert [one.sound for one in file.not_speech.sounds] == [*KINDS, HELD_OUT]
    assert file.not_speech.sounds[-1].seconds == pytest.approx(0.8 * len(heldout))
    assert file.not_speech.of_teacher == teacher.not_speech.sounds
    assert teacher.not_speech.movement == teacher.not_speech.teacher_movement
    assert all(row.not_speech is None for row in report.tiers if row.kind == "baseline")
    # The same by hand: the file on the noise, at the teacher's rate.
    assert file.path is not None
    predictor = load_target("onnx").open_runtime(run / file.path)
    moves, values = 0.0, 0
    for sound in fixed_sounds():
        if sound.kind == "noise":
            times = frame_times(len(sound.samples), 30.0, SAMPLE_RATE)
            (curves,) = curves_by_smoothing(predictor, sound.samples, times, [[1.0]])
            steps = np.abs(np.diff(curves.astype(np.float64), axis=0))
            moves, values = moves + steps.sum(), values + steps.size
    noise = file.not_speech.sounds[1].moved
    assert noise is not None
    assert noise.movement == pytest.approx(moves / values * 30, rel=1e-5)
    (gate,) = report.gates
    assert (gate.status, gate.value) == ("failed", file.not_speech.movement)
    kept = json.loads((run / "run.json").read_text())["rest"]
    assert sum(entry["side"] == "heldout" for entry in kept.values()) == len(heldout)
    assert "**Not speech**" in (run / "report" / "report.md").read_text()
    card = next(run.glob("models/*/README.md")).read_text()
    assert "movement on noise and music, of the teacher's in speech (onnx)" in card
    assert "rest/pose.json" in (run / "SHA256SUMS").read_text()
    # The next run finds all of it.
    again = cli("compress", own / "recipe.yaml", "--out", run, *asked[:2])
    assert again.code == 0, again.err
    told = {line.split()[0] for line in again.out.splitlines()[1:] if line}
    assert told.isdisjoint(STAGES[:-1])
