"""`lipstill teacher check`: what is said of a teacher, and the breaches that are found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]

# A teacher that hears 0.1 s to each side: curves of loudness, 25 a second.
TEACHER = """\
import torch


class Loudness:
    controls = ("jawOpen", "mouthClose")
    rate_hz = 25.0
    offset_s = 0.0
    sample_rate_hz = 16000
    limits = {limits}
    description = "the loudness around each frame"
    parameters_count = 0
    calls = 0

    def animate(self, audio):
        self.calls += 1
        padded = torch.nn.functional.pad(audio.abs(), (1600, 1600 + 640))
        open_ = 3 * padded.unfold(1, 3200, 640).mean(2)[:, : -(-audio.shape[1] // 640)]
        curves = torch.stack([open_, 1 - open_], 2)
        {spoil}
        return curves


def build():
    return Loudness()
"""


@pytest.fixture
def check(own: Path, cli: Cli, tmp_path: Path) -> Callable[..., Any]:
    """Checks a teacher that does something with its curves before it gives them."""
    recipe = own / "mine.yaml"
    text = (own / "recipe.yaml").read_text()
    recipe.write_text(
        text.replace("{checkpoint: teacher}", "{checkpoint: 'mine:build', trust: true}")
    )

    def run(
        spoil: str = "", *arguments: object, limits: str = "None", template: str = TEACHER
    ) -> Any:
        (own / "mine.py").write_text(template.format(spoil=spoil or "pass", limits=limits))
        return cli("teacher", "check", recipe, "--plot", tmp_path / "plot.png", *arguments)

    return run


def test_what_is_said_of_a_teacher(check: Cli, tmp_path: Path) -> None:
    ended = check("", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert (found["rate_hz"], found["controls"], found["still"]) == (25, 2, 0)
    assert found["frames"] == pytest.approx(25 * found["seconds"], abs=1)
    assert (found["repeated"], found["parameters"]) == (0, 0)
    assert found["batched"] < 1e-6
    assert found["scale"] == 1
    assert {row["control"] for row in found["reach"]} == {"jawOpen", "mouthClose"}
    assert found["reach"][0]["deviation"] >= found["reach"][1]["deviation"]
    assert found["closure"], "ARKit's names say when lips are closed"
    assert found["breaches"] == []
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_overlap_that_suffices_is_more_than_what_the_teacher_hears(check: Cli) -> None:
    """It hears 0.1 s beyond a frame: a quarter of what two pieces share has to be more."""
    found = json.loads(check("", "--json").out)
    assert found["suffices_s"] == 0.5
    assert [cut["max_abs"] < 1e-6 for cut in found["cuts"]] == [False, True, True]
    # What hears the whole clip is changed by any cut.
    far = check("curves = curves + 10 * curves.mean(1, keepdim=True)", "--json")
    assert json.loads(far.out)["suffices_s"] is None
    said = check("curves = curves + 10 * curves.mean(1, keepdim=True)").out
    assert "the teacher hears further" in said


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("curves = curves + 0.1 * self.calls", "gave other curves the second time"),
        ("curves = curves + curves.mean((0, 1))", "depend on what it is batched with"),
        ("curves = curves * 0", "none of its controls moves"),
        ("curves = curves[:, :, :1]", "expected about"),
        ("curves = curves[:, ::2]", "expected about"),
        ("curves[0, 3, 1] = float('nan')", "gave nan for mouthClose at frame 3"),
        ("raise ValueError('no voice')", "raised ValueError: no voice"),
    ],
)
def test_what_breaks_the_contract(check: Cli, spoil: str, said: str) -> None:
    assert check(spoil).failed(3, said)


def test_all_breaches_are_said_together(check: Cli) -> None:
    ended = check("curves = curves + 0.1 * self.calls", limits="(0.0, 0.5)")
    assert ended.failed(3, "gave other curves", "2 of 2 controls leave the limits 0 to 0.5")
    assert "liveliest" in ended.out, "and all the rest is said too"


def test_trust_is_needed_to_check(own: Path, cli: Cli, check: Cli) -> None:
    assert check().code == 0
    recipe = own / "mine.yaml"
    recipe.write_text(recipe.read_text().replace(", trust: true", ""))
    assert cli("teacher", "check", recipe).failed(3, "--trust")
    picture = own / "plot.png"
    assert cli("teacher", "check", recipe, "--trust", "--plot", picture).code == 0


def test_values_that_are_no_vertices(check: Cli) -> None:
    assert check("", "--set", "teacher.mesh={}").failed(3, "3 does not divide it")


@pytest.mark.parametrize(
    ("mesh", "code", "said"),
    [
        ("{lips_closed: {upper: [0], lower: [1], below: 0.1}}", 0, "from vertices of the lips"),
        ("{lips_closed: {upper: [0], lower: [2], below: 0.1}}", 3, "names vertex 2"),
        ("{lips: [5]}", 3, "names vertex 5"),
        ("{lips: none.txt}", 3, "none.txt cannot be read"),
    ],
)
def test_vertices_are_held_against_the_mesh(check: Cli, mesh: str, code: int, said: str) -> None:
    of_two_vertices = TEACHER.replace('("jawOpen", "mouthClose")', 'tuple("abcdef")')
    ended = check(
        "curves = curves.repeat(1, 1, 3)",
        *("--set", f"teacher.mesh={mesh}"),
        template=of_two_vertices,
    )
    assert ended.code == code, ended.err
    assert said in ended.out + ended.err


def test_a_rig_file_is_held_against_the_teacher(own: Path, check: Cli) -> None:
    (own / "rig.yaml").write_text(
        "name: slider\nlips_closed: {weights: {lipGap: 1.0}, below: 0.1}\n"
    )
    assert check("", "--set", "teacher.rig=rig.yaml").failed(2, "rig file", "lipGap")


def test_device_and_precision_are_said(check: Cli) -> None:
    found = json.loads(check("", "--json").out)
    assert (found["device"], found["precision"]) == ("cpu", "fp32")
    ended = check("", "--set", "teacher.device=auto", "--set", "teacher.precision=bf16")
    assert ended.code == 0, ended.err
    assert "in bf16, 1 thread" in ended.out


def test_a_device_that_is_not_here(check: Cli) -> None:
    ended = check("", "--set", "teacher.device=xla")
    assert ended.failed(4, "teacher.device is xla", "mine:build has only", "cpu")


@pytest.mark.parametrize(
    ("precision", "apart", "code"), [("fp32", 1e-3, 3), ("bf16", 1e-3, 0), ("bf16", 3e-2, 3)]
)
def test_in_lower_precision_a_batch_may_change_the_last_digits(
    check: Cli, precision: str, apart: float, code: int
) -> None:
    """But no more: four steps of bf16 near 1 are 1/64."""
    spoil = f"curves[..., 0] += {apart} * (len(audio) > 1)"
    ended = check(spoil, "--set", f"teacher.precision={precision}")
    assert ended.code == code, ended.out + ended.err
    assert ("depend on what it is batched with" in ended.err) == (code == 3)


@pytest.mark.parametrize("where", ["file/plot.png", "folder"])
def test_what_was_found_is_said_where_the_picture_cannot_be_written(
    own: Path, cli: Cli, where: str
) -> None:
    (own / "file").write_text("no folder")
    (own / "folder").mkdir()
    plot = ("--plot", own / where)
    ended = cli("teacher", "check", own / "recipe.yaml", *plot)
    assert ended.failed(4, f"Could not write {own / where}: ", "with --plot.")
    assert "--out" not in ended.err
    assert ended.out.startswith("teacher ")
    assert "liveliest" in ended.out
    as_json = cli("teacher", "check", own / "recipe.yaml", *plot, "--json")
    assert as_json.code == 4
    assert json.loads(as_json.out)["controls"] == 52


def test_a_breach_counts_for_more_than_a_picture(check: Cli, own: Path) -> None:
    (own / "file").write_text("no folder")
    plot = ("--plot", own / "file" / "plot.png")
    ended = check("curves = curves + torch.rand(1)", *plot)
    assert ended.code == 3
    assert "breaks the contract" in ended.err
    assert "with --plot." in ended.err
