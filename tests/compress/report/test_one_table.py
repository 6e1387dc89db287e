"""A figure is one row of one table: whoever adds it there finds it in gates, choices and comparisons."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
ADDED = """
from exporters.report.figure import SHARE, Allowance, Figure, Gate, Noise, Option
from exporters.report.figures import FIGURES

FIGURES["calm"] = Figure(
    "calm eyes", "more", "share", lambda subject: subject.row.against_teacher["calm"],
    gate=Gate("lowest share of calm eyes", SHARE),
    option=Option("min_calm", "Lowest share of calm eyes.", SHARE),
    noise=Noise(Allowance(absolute=0.1), "made up"),
    headline=True,
)
# Nothing but the row above knows of it.
from dataclasses import replace

from typer.testing import CliRunner

from compress.cli import app
from compress.prove.gates import judge
from compress.recipe.gates import GateSettings
from exporters.report.decide.choice import Limit, rank
from exporters.report.decide.comparison import compare
from tests.exporters.compared import of
from tests.exporters.documents import file_row


def row(calm):
    found = file_row()
    return replace(found, against_teacher=found.against_teacher | {"calm": calm})


(gate,) = judge(GateSettings(min_calm=0.7), row(0.6), None, file_row(), None)
assert (gate.name, gate.status) == ("tiny-int8 onnx: calm eyes", "failed"), gate
assert "lowest share of calm eyes" in str(GateSettings.model_json_schema())
ranking = rank(of(row(0.6)), [Limit("calm", 0.7)])
assert [miss.figure for miss in ranking.missing[0].lead.misses] == ["calm"]
assert ranking.missing[0].lead.figures["calm"] == 0.6
assert "--min-calm" in CliRunner().invoke(app, ["choose", "--help"]).output
(change,) = [c for c in compare(of(row(0.9)), of(row(0.6))).changes if c.metric == "calm" and c.target]
assert (change.verdict, change.regression, change.limit) == ("worse", True, "0.1"), change
"""


def test_a_figure_that_is_added_in_one_place_is_asked_in_all() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ADDED],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
