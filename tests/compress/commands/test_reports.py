"""`lipstill compare` and `lipstill choose`: files, options, output and exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporters import records
from exporters.report.records.document import Gate, ReportDocument
from tests.conftest import REPOSITORY, Cli
from tests.exporters.documents import document, file_row, ridge_row, teacher_row

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a report of these rows as that of a run."""

    def write(name: str, *rows: Any, **given: Any) -> Path:
        made: ReportDocument = document(teacher_row(), *rows, **given)
        folder = tmp_path / name
        (folder / "report").mkdir(parents=True)
        (folder / "report" / "report.json").write_text(records.to_json(made))
        return folder

    return write


# ----------------------------------------------------------------------------------------- compare


def test_the_same_report_twice(write: Write, cli: Cli) -> None:
    run = write("run", file_row())
    for there in (run, run / "report", run / "report" / "report.json"):
        ended = cli("compare", run, there)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.startswith("No change beyond the noise.\n")


def test_a_regression_ends_with_1_and_is_said_in_full(
    write: Write, cli: Cli, tmp_path: Path
) -> None:
    old, new = write("old", file_row()), write("new", file_row(r2=0.6, size=170_000))
    ended = cli("compare", old, new)
    assert ended.failed(1, f"{new} against {old}: 1 regression.")
    assert "regression (limit 0.005)" in ended.out
    page = tmp_path / "diff.md"
    assert cli("compare", old, new, "--markdown", "--out", page).code == 1
    printed = cli("compare", old, new, "--markdown")
    assert page.read_text() == printed.out
    assert printed.out.startswith("## 1 regression\n")
    data = json.loads(cli("compare", old, new, "--json").out)
    assert data["regressions"] == 1
    assert {c["metric"] for c in data["changes"] if c["verdict"] == "better"} == {
        *("bytes", "download_bytes")
    }
    assert cli("compare", new, old).code == 1, "its bytes, on the way back"


def test_noise_and_limits(write: Write, cli: Cli) -> None:
    old, new = write("old", file_row()), write("new", file_row(r2=0.6, mse=0.005))
    assert cli("compare", old, new, "--limit", "r2=0.1").code == 1, "there is MSE"
    assert cli("compare", old, new, "--limit", "r2=0.1", "--limit", "mse=30%").code == 0
    ended = cli("compare", old, new, "--noise", "r2=0.1", "--noise", "mse=30%")
    assert (ended.code, "worse" in ended.out) == (0, False)
    for option in ("--noise", "--limit"):
        assert cli("compare", old, new, option, "r3=1").failed(
            2, option, "names no metric; there is"
        )


def test_what_is_gone(write: Write, cli: Cli) -> None:
    old, new = write("old", file_row(), file_row("nano")), write("new", file_row())
    assert cli("compare", old, new).code == 1
    allowed = cli("compare", old, new, "--allow-gone")
    assert (allowed.code, "gone: nano-int8 (allowed)" in allowed.out) == (0, True)


def test_other_speech_ends_with_2_unless_it_is_asked_for(write: Write, cli: Cli) -> None:
    old = write("old", file_row())
    speech = document().speech
    other = type(speech)(**{**speech.__dict__, "held_out_key": "33" * 32})
    new = write("new", file_row(r2=0.649), speech=other)
    ended = cli("compare", old, new)
    assert ended.failed(2, "other held-out speech", "13 figures", "--across-speech")
    assert "Other held-out speech" in ended.out
    assert cli("compare", old, new, "--across-speech").code == 0
    smaller = write("larger", file_row(size=300_000), speech=other)
    assert cli("compare", old, smaller).code == 1, "a regression is one on any speech"
    teacher = document().teacher
    taught = type(teacher)(**{**teacher.__dict__, "sha256": "ef" * 32})
    another = write("taught", file_row(), teacher=taught)
    assert cli("compare", old, another).failed(2, "--across-teachers")
    assert cli("compare", old, another, "--across-teachers").code == 0


def test_a_gate_that_broke(write: Write, cli: Cli) -> None:
    def gate(value: float) -> tuple[Gate, ...]:
        status: Any = "passed" if value <= 1 else "failed"
        name = "tiny-int8 onnx: bytes"
        return (Gate(name=name, value=value, limit=1.0, comparison="<=", status=status),)

    old, new = write("old", file_row(), gates=gate(1.0)), write("new", file_row(), gates=gate(2.0))
    ended = cli("compare", old, new)
    assert ended.failed(1, "1 regression")
    assert "broken: gate tiny-int8 onnx: bytes failed (passed before)" in ended.out


def test_one_kind_of_output(write: Write, cli: Cli) -> None:
    run = write("run", file_row())
    assert cli("compare", run, run, "--json", "--markdown").failed(2, "one of them")


# ------------------------------------------------------------------------------------------ choose


def test_the_chosen_tier_and_its_files(write: Write, cli: Cli) -> None:
    run = write(
        *("run", file_row("tiny", "fp32", size=690_000), file_row("tiny", "int8", size=187_000)),
        *(file_row("tiny", "int8", "tflite", size=193_000), ridge_row()),
    )
    ended = cli("choose", run, "--max-kb", 300, "--max-future-ms", 80, "--min-pbm", 0.8)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "tiny-int8"
    assert [line.split()[0] for line in lines[1:3]] == [
        *("models/tiny-int8/model.onnx", "models/tiny-int8/model.tflite")
    ]
    assert cli("choose", run, "--precision", "fp32").out.startswith("tiny-fp32\n")
    tflite = cli("choose", run, "--target", "tflite", "--by", "speed", "--json")
    (tier,) = json.loads(tflite.out)["fitting"]
    assert [file["path"] for file in tier["fitting"]] == ["models/tiny-int8/model.tflite"]


@pytest.mark.parametrize(
    ("option", "kept", "missed"),
    [
        ("--max-kb", 187.201, 187.2),
        ("--max-download-kb", 149.76, 149.7),
        ("--max-future-ms", 80, 79.9),
        ("--max-frame-share", 0.0125, 0.012),
        ("--max-ms", 0.2, 0.19),
        ("--max-memory-mb", 2, 1.9),
        ("--min-pbm", 0.81, 0.82),
        ("--min-pbm-of-teacher", 0.9, 0.91),
        ("--min-r2", 0.65, 0.66),
        ("--min-closure-f1", 0.8, 0.81),
        ("--max-jitter", 1.5, 1.4),
    ],
)
def test_each_option(write: Write, cli: Cli, option: str, kept: float, missed: float) -> None:
    run = write("run", file_row())
    assert cli("choose", run, option, kept).code == 0
    ended = cli("choose", run, option, missed)
    assert ended.failed(1, "No tier keeps all limits. The nearest is tiny-int8 for onnx: ")
    assert ended.out.startswith("none fits; nearest: tiny-int8 for onnx\n")


def test_all_that_the_nearest_misses(write: Write, cli: Cli) -> None:
    run = write("run", file_row(pbm=None))
    asked = ("choose", run, "--max-kb", 100, "--min-pbm", 0.9, "--min-r2", 0.6)
    missed = ("bytes: 187,201, expected <= 100,000 (87 % over)", "PBM accuracy: not measured")
    ended = cli(*asked)
    assert ended.failed(1, *missed)
    assert "R²:" not in ended.err
    found = json.loads(cli(*asked, "--json").out)
    assert found["fitting"] == []
    assert [miss["figure"] for miss in found["missing"][0]["missing"][0]["misses"]] == [
        *("pbm", "bytes")
    ]


def test_wrong_usage_of_choose(write: Write, cli: Cli) -> None:
    run = write("run", file_row())
    assert cli("choose", run, "--target", "coreml").failed(2, "It has tiny-int8 (onnx).")
    assert cli("choose", run, "--by", "luck").failed(2, "quality, closures, size, speed, wait")
    assert cli("choose", run, "--min-pbm", 90).code == 2
    assert cli("choose", run, "--max-kb", "nan").code == 2


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("command", ["compare", "choose"])
def test_what_is_no_report(command: str, write: Write, cli: Cli, tmp_path: Path) -> None:
    sound = write("sound", file_row())

    def asked(path: Path) -> tuple[object, ...]:
        return (command, sound, path) if command == "compare" else (command, path)

    assert cli(*asked(tmp_path)).failed(3, "neither report/report.json nor report.json")
    assert cli(*asked(tmp_path / "nowhere")).failed(3, "nowhere", "cannot be read as a report")
    (tmp_path / "report.json").write_text("{")
    assert cli(*asked(tmp_path)).failed(3, "is not a report that this version reads")
    bare = write("bare", ridge_row())
    assert cli(*asked(bare)).failed(3, "lists no model file of a student")
    empty = write("empty")
    assert cli(*asked(empty)).failed(3, "lists no model file of a student")


def test_a_report_of_another_version_is_not_read_out_in_full(
    write: Write, cli: Cli, tmp_path: Path
) -> None:
    run = write("run", file_row(), file_row("nano"))
    data = json.loads((run / "report" / "report.json").read_text())
    for row in data["tiers"]:
        del row["made"], row["benchmark"], row["cost"]
    (tmp_path / "old.json").write_text(json.dumps(data))
    ended = cli("choose", tmp_path / "old.json")
    assert ended.failed(3, "tiers.0.made", "and 5 more", "another version of lipstill")
    assert len(ended.err.splitlines()) == 6


# --------------------------------------------------------------------------------------- real runs


@pytest.mark.slow
def test_a_finished_run(finished: Path, shrunk: Path, cli: Cli) -> None:
    assert cli("compare", finished, finished).code == 0
    ended = cli("compare", finished, shrunk)
    assert ended.failed(1, f"{shrunk} against {finished}: ")
    assert "new: small-int8" in ended.out
    chosen = cli("choose", shrunk, "--json")
    assert chosen.code == 0
    for tier in json.loads(chosen.out)["fitting"]:
        for file in tier["fitting"]:
            assert (shrunk / file["path"]).exists()
    assert cli("choose", shrunk, "--max-kb", 0.001).failed(1, "The nearest is ")


# -------------------------------------------------------------------------------------------- docs


def test_the_documentation_lists_every_limit_and_every_noise() -> None:
    from compress.recipe.gates import Limits
    from exporters.report.figures import FIGURES

    text = (REPOSITORY / "docs" / "release.md").read_text("utf-8")
    gates, _, rest = text.partition("## Compare")
    for name in Limits.model_fields:
        assert f"`{name}`" in gates
    table = [line for line in rest.splitlines() if line.startswith("| `")]
    for name, figure in FIGURES.items():
        if (noise := figure.noise) is not None:
            assert f"| `{name}` | {noise.least} | {noise.why} |" in table
