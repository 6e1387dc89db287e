"""The command line: what it says, what it writes, and how it ends."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMANDS = (
    *("compress", "label", "distill", "prune", "quantize", "export", "animate", "report"),
    *("compare", "choose", "benchmark"),
    *(
        "labels",
        "labels verify",
        "labels export",
        "labels import",
        "inspect",
        "verify",
        "doctor",
        "recipe",
        "recipe list",
        "recipe show",
        "recipe check",
        "recipe schema",
        "teacher",
        "teacher check",
    ),
)
HEAVY = ("torch", "numpy", "onnxruntime", "onnx", "soundfile")

REPOSITORY = Path(__file__).parents[2]

Cli = Callable[..., Any]


def outlook(ended: Any) -> dict[str, bool]:
    """Of a dry run for machines: step → whether it would run."""
    assert ended.code == 0, ended.err
    rows = json.loads(ended.out)
    return {" ".join(filter(None, (row["stage"], row["what"]))): bool(row["to_do"]) for row in rows}


# ---------------------------------------------------------------------------------------- help


def test_help_appears_at_once(process: Cli) -> None:
    """Help of every command, in one process, has loaded nothing heavy.

    Recent releases of Typer load pydantic for the parameters of a command, but not for all help.
    """
    loop = f"""
from typer.testing import CliRunner
from compress.cli import app
CliRunner().invoke(app, ["--help"])
assert "pydantic" not in sys.modules
for command in {["", *COMMANDS]!r}:
    result = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="lipstill")
    assert result.exit_code == 0 and "Usage: lipstill " + command in result.stdout, result.output
print(sorted(set(sys.modules) & set({HEAVY!r})))
sys.argv[1:] = ["--help"]
"""
    ended = process(before=loop)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("[]\n")
    for command in COMMANDS:
        assert command.split()[0] in ended.out


def test_every_command_is_tested_for_its_help() -> None:
    from typer.main import get_command

    from compress.cli import app

    def names(group: Any, above: str = "") -> set[str]:
        found = {above + name for name in group.commands}
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                found |= names(command, f"{above}{name} ")
        return found

    assert names(get_command(app)) == set(COMMANDS)


def test_version(cli: Cli) -> None:
    from compress.store import tool_versions

    assert cli("--version").out == f"lipstill {tool_versions('lipstill')['lipstill']}\n"


def test_the_module_is_the_same_command() -> None:
    command = [sys.executable, "-m", "compress", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.startswith("lipstill ")


# -------------------------------------------------------------------------------------- mistakes


def test_no_such_recipe(cli: Cli) -> None:
    assert cli("compress", "demmo").failed(2, "demmo", 'did you mean "demo"')


def test_mistakes_of_a_recipe_are_named_together(own: Path, cli: Cli) -> None:
    path = own / "recipe.yaml"
    text = path.read_text().replace("threads: 1", "threads: none")
    text = text.replace("filters: 8", "filtres: 8").replace("clips: 1}", "clips: -1}")
    path.write_text(text)
    ended = cli("compress", path, "--out", own / "run")
    assert ended.failed(2, "3 mistakes", "threads", "students.0.filtres", "report.clips")
    assert not (own / "run").exists()


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--set", "students.0.trainning.steps=7", "students.0.trainning"),
        ("--student", "large", "no student large; it has small"),
        ("--until", "bake", "'bake'; --until takes label, distill,"),
    ],
)
def test_unknown_words(
    workshop: Path, tmp_path: Path, cli: Cli, option: str, value: str, said: str
) -> None:
    ended = cli("compress", workshop / "recipe.yaml", "--out", tmp_path / "run", option, value)
    assert ended.failed(2, said)
    assert list(tmp_path.iterdir()) == []


def test_a_student_that_cannot_be_built_is_refused_before_anything_is_made(
    workshop: Path, tmp_path: Path, cli: Cli
) -> None:
    sets = ("--set", "students.0.head_kernel=90")
    ended = cli("label", workshop / "recipe.yaml", "--out", tmp_path / "run", *sets)
    assert ended.failed(2, "Student small", "more than the window")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_things_is_left_alone(workshop: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "letter.txt").write_text("dear")
    assert cli("compress", workshop / "recipe.yaml", "--out", tmp_path).failed(2, "not empty")
    assert (tmp_path / "report" / "letter.txt").read_text() == "dear"


def test_debug_shows_the_traceback(process: Cli) -> None:
    ended = process("--debug", "compress", "demmo")
    assert ended.code == 1
    assert "Traceback" in ended.err


def test_a_missing_package_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)  # what an import of a package not there meets
    monkeypatch.delitem(sys.modules, "compress.recipe.yaml_files", raising=False)
    monkeypatch.delitem(sys.modules, "compress.recipe.recipe", raising=False)
    assert cli("recipe", "list").failed(4, "yaml is missing", "pip install lipstill")


def test_a_file_that_may_not_be_read_ends_in_words(
    workshop: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "secret.yaml")

    monkeypatch.setattr("compress.recipe.recipe.load_recipe", refuse)
    assert cli("recipe", "show", workshop / "recipe.yaml").failed(4, "secret.yaml")


# --------------------------------------------------------------------------------------- dry run


def test_a_dry_run_before_everything(workshop: Path, tmp_path: Path, cli: Cli) -> None:
    ended = cli("compress", workshop / "recipe.yaml", "--out", tmp_path / "run", "--dry-run")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("label", "label", "distill", "export", "verify", "benchmark", "verify", "verify"),
        *("benchmark", "report", "report"),
    ]
    again = "goes by files that are exported again"
    reasons = [line.partition("would run: ")[2] for line in lines]
    assert [reason for reason in reasons if reason != "not made yet"] == [again] * 2
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_loads_neither_torch_nor_a_runtime(
    workshop: Path, process: Cli, tmp_path: Path
) -> None:
    watch = (
        "import atexit; atexit.register(lambda: print({'torch', 'onnxruntime'} & {*sys.modules}))"
    )
    ended = process("label", workshop / "recipe.yaml", "--dry-run", before=watch, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert ended.out.endswith("set()\n")


def test_a_dry_run_after_everything(workshop: Path, finished: Path, cli: Cli) -> None:
    asked = ("compress", workshop / "recipe.yaml", "--out", finished, "--dry-run", "--json")
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert set(outlook(cli(*asked)).values()) == {False}
    longer = outlook(cli(*asked, "--set", "students.0.training.steps=7"))
    kept = ["label", "label rest pose", "verify baselines"]
    assert [step for step, runs in longer.items() if not runs] == kept
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_dry_run_of_one_stage(workshop: Path, finished: Path, cli: Cli) -> None:
    asked = (workshop / "recipe.yaml", "--out", finished, "--dry-run", "--json")
    label = ["label", "label rest pose"]
    assert list(outlook(cli("label", *asked))) == label
    assert list(outlook(cli("distill", *asked))) == [*label, "distill small"]
    assert list(outlook(cli("export", *asked)))[-1] == "export small-fp32"


def test_a_dry_run_of_what_makes_a_student_smaller(workshop: Path, shrunk: Path, cli: Cli) -> None:
    asked = (workshop / "shrinking.yaml", "--out", shrunk, "--dry-run", "--json")
    prune = ["label", "label rest pose", "distill small", "prune small"]
    assert list(outlook(cli("prune", *asked))) == prune
    assert list(outlook(cli("compress", *asked, "--until", "prune"))) == prune
    assert list(outlook(cli("quantize", *asked))) == [*prune, "quantize small"]
    assert set(outlook(cli("compress", *asked)).values()) == {False}
    other = ("--set", "students.0.quantization.seed=1")
    again = [step for step, runs in outlook(cli("quantize", *asked, *other)).items() if runs]
    assert again == ["quantize small"]


# ---------------------------------------------------------------------------------------- recipes


def test_recipes_are_listed(cli: Cli) -> None:
    named = json.loads(cli("recipe", "list", "--json").out)
    assert "demo" in named
    assert f"demo             {named['demo']}" in cli("recipe", "list").out


def test_a_shown_recipe_is_the_same_recipe(workshop: Path, tmp_path: Path, cli: Cli) -> None:
    from compress.recipe.recipe import load_recipe, recipe_hash

    for source in ("demo", workshop / "recipe.yaml"):
        (tmp_path / "shown.yaml").write_text(cli("recipe", "show", source, "--set", "seed=8").out)
        shown = load_recipe(tmp_path / "shown.yaml")
        assert recipe_hash(shown) == recipe_hash(load_recipe(source, ["seed=8"]))


def test_a_recipe_is_checked_to_its_students(workshop: Path, cli: Cli) -> None:
    checked = cli("recipe", "check", workshop / "recipe.yaml")
    assert checked.code == 0
    assert (
        "student small: about 0.00 M parameters, waits: future 16 ms + hop 16 ms = 32 ms\n"
        in checked.out
    )
    calmer = ("--set", "students.0.smoothing=[1, 2, 1]")
    checked = cli("recipe", "check", workshop / "recipe.yaml", *calmer)
    assert checked.out.endswith("waits: future 16 ms + hop 16 ms + smoothing 16 ms = 48 ms\n")
    wrong = cli("recipe", "check", workshop / "recipe.yaml", "--set", "students.0.head_kernel=90")
    assert wrong.failed(2, "Student small")


def test_the_schema_accepts_what_recipe_show_says(cli: Cli) -> None:
    import jsonschema
    import yaml

    schema = json.loads(cli("recipe", "schema").out)
    jsonschema.validate(yaml.safe_load(cli("recipe", "show", "demo").out), schema)


# ----------------------------------------------------------------------------------------- stages


@pytest.mark.slow
def test_each_command_stops_where_it_should(workshop: Path, tmp_path: Path, cli: Cli) -> None:
    run, asked = tmp_path / "run", (workshop / "shrinking.yaml", "--out", tmp_path / "run")
    student = "students/small"
    made = {
        "label": "labels",
        "distill": f"{student}/distilled",
        "prune": f"{student}/pruned",
        "quantize": f"{student}/int8",
        "export": "models",
    }
    for number, command in enumerate(made, 1):
        ended = cli(command, *asked)
        assert (ended.code, ended.out.splitlines()[-1]) == (0, f"{command} is done: {run}")
        there = [name for name in (*made.values(), "checks", "report") if (run / name).exists()]
        assert there == list(made.values())[:number]
    verified = cli("compress", *asked, "--until", "verify", "--json")
    assert json.loads(verified.out) == {"run": str(run), "report": None, "page": None}
    assert not (run / "report").exists()


def test_a_finished_run_is_told_to_machines(workshop: Path, finished: Path, cli: Cli) -> None:
    ended = cli("compress", workshop / "recipe.yaml", "--out", finished, "--json")
    report = finished / "report"
    assert json.loads(ended.out) == {
        "run": str(finished),
        "report": str(report / "report.json"),
        "page": str(report / "report.html"),
    }


def test_report_is_made_again_from_its_json(run: Path, cli: Cli) -> None:
    pages = [run / "report" / name for name in ("report.md", "report.html")]
    texts = [page.read_text() for page in pages]
    for page in pages:
        page.unlink()
    assert cli("report", run).out == f"report: {pages[0]}\npage:   {pages[1]}\n"
    assert [page.read_text() for page in pages] == texts
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=run, check=True)


def test_report_wants_a_finished_run(tmp_path: Path, run: Path, cli: Cli) -> None:
    assert cli("report", tmp_path).failed(2, "no report/report.json")
    (run / "report" / "report.json").write_text("{")
    assert cli("report", run).failed(3, "report.json")


# ---------------------------------------------------------------------------------------- animate


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_animate_writes_live_link_face(
    workshop: Path, finished: Path, tmp_path: Path, cli: Cli, fps: int
) -> None:
    clip = workshop / "speech" / "heldout" / "101.wav"  # 0.7 s
    model, out = finished / "models" / "small-fp32" / "model.onnx", tmp_path / "curves.csv"
    ended = cli("animate", model, clip, "--fps", fps, "--out", out)
    assert ended.code == 0, ended.err
    header, *rows = csv.reader(out.read_text().splitlines())
    assert header[:3] == ["Timecode", "BlendShapeCount", "EyeBlinkLeft"]
    assert header[-9:-6] == ["HeadYaw", "HeadPitch", "HeadRoll"]
    assert len(header) == 2 + 52 + 9 == len(set(header))
    frames = -(-7 * fps // 10)
    assert len(rows) == frames
    assert [row[0] for row in rows] == [f"00:00:00:{i:02d}.000" for i in range(frames)]
    assert {row[1] for row in rows} == {"61"}
    assert {row[2] for row in rows} == {"0.125000"}  # the teacher's constant
    moving = [float(row[header.index("MouthClose")]) for row in rows]
    assert max(moving) > min(moving)


def test_animate_writes_json(workshop: Path, finished: Path, tmp_path: Path, cli: Cli) -> None:
    clip = workshop / "speech" / "heldout" / "100.wav"  # 0.6 s
    model, out = finished / "models" / "small-fp32" / "model.onnx", tmp_path / "curves.json"
    assert cli("animate", model, clip, "--out", out).code == 0
    curves = json.loads(out.read_text())
    assert (curves["rate_hz"], len(curves["controls"]), len(curves["frames"])) == (60, 52, 36)


def test_animate_rests_where_a_line_is_silent(finished: Path, tmp_path: Path, cli: Cli) -> None:
    """What comes of zeros is the pose that the model rests in, at every frame."""
    import soundfile

    model = finished / "models" / "small-fp32" / "model.onnx"
    soundfile.write(tmp_path / "silent.wav", [0.0] * 16_000, 16_000)
    ended = cli("animate", model, tmp_path / "silent.wav", "--out", tmp_path / "rest.json")
    assert ended.code == 0, ended.err
    frames = json.loads((tmp_path / "rest.json").read_text())["frames"]
    assert len(frames) == 60
    assert all(frame == frames[0] for frame in frames)
    soundfile.write(tmp_path / "empty.wav", [], 16_000)
    ended = cli("animate", model, tmp_path / "empty.wav", "--out", tmp_path / "rest.json")
    assert ended.failed(3, "holds no samples")


def test_endings_in_capitals(workshop: Path, finished: Path, tmp_path: Path, cli: Cli) -> None:
    clip = tmp_path / "100.WAV"
    shutil.copy(workshop / "speech" / "heldout" / "100.wav", clip)
    model = tmp_path / "HERO.ONNX"
    shutil.copy(finished / "models" / "small-fp32" / "model.onnx", model)
    for name in ("X.CSV", "X.Json"):
        ended = cli("animate", model, clip, "--out", tmp_path / name)
        assert ended.code == 0, ended.err
        assert (tmp_path / name).read_text()[:1] in "T{"
    assert cli("inspect", model).code == 0
    assert cli("benchmark", model, "--runs", "1").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="has no such pipes")
def test_nobody_waits_for_a_pipe(workshop: Path, finished: Path, tmp_path: Path, cli: Cli) -> None:
    clip = workshop / "speech" / "heldout" / "100.wav"
    model, out = finished / "models" / "small-fp32" / "model.onnx", tmp_path / "curves.csv"
    for name in ("pipe.wav", "pipe.onnx", "pipe.tflite"):
        os.mkfifo(tmp_path / name)
    assert cli("animate", model, tmp_path / "pipe.wav", "--out", out).failed(3, "a pipe")
    for name in ("pipe.onnx", "pipe.tflite"):
        assert cli("animate", tmp_path / name, clip, "--out", out).failed(3, "a pipe")
        assert cli("inspect", tmp_path / name).failed(3, "a pipe")
        assert cli("benchmark", tmp_path / name).failed(3, "a pipe")
    for name in ("t.safetensors", "t.pt", "t.pt2", "labels.parquet", "report.json"):
        os.mkfifo(tmp_path / name)
    for name in ("t.safetensors", "t.pt", "t.pt2"):
        assert cli("inspect", tmp_path / name).failed(3, name, "a pipe")
    table, report = tmp_path / "labels.parquet", tmp_path / "report.json"
    assert cli("labels", "import", table, "--out", tmp_path / "own").failed(3, "a pipe")
    assert cli("compare", report, report).failed(3, "a pipe")


def test_animate_refuses(workshop: Path, finished: Path, tmp_path: Path, cli: Cli) -> None:
    clip = workshop / "speech" / "heldout" / "100.wav"
    model, out = finished / "models" / "small-fp32" / "model.onnx", tmp_path / "curves.csv"
    garbage, letter = tmp_path / "garbage.onnx", tmp_path / "letter.wav"
    garbage.write_bytes(b"no model" * 100)
    letter.write_text("dear")
    assert cli("animate", model, clip, "--out", tmp_path / "curves.fbx").failed(2, "'.fbx'", ".csv")
    assert cli("animate", model, clip, "--out", out, "--fps", "nan").code == 2
    assert cli("animate", garbage, clip, "--out", out).failed(3, "garbage.onnx")
    assert cli("animate", tmp_path / "gone.onnx", clip, "--out", out).failed(3, "gone.onnx")
    assert cli("animate", letter, clip, "--out", out).failed(3, "'.wav'", ".onnx")
    assert cli("animate", model, letter, "--out", out).failed(3, "letter.wav", "not readable")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["garbage.onnx", "letter.wav"]


def test_devices_are_those_of_every_student(workshop: Path, tmp_path: Path, cli: Cli) -> None:
    recipe = workshop / "recipe.yaml"
    wanted = json.loads(cli("distill", recipe, "--out", tmp_path, "--dry-run", "--json").out)
    assert wanted[-1]["stage"] == "distill"
    for command in ("compress", "distill", "prune", "quantize", "export"):
        ended = cli(command, recipe, "--out", tmp_path, "--devices", 3)
        assert ended.failed(2, "cannot be shared equally by `devices` = 3"), command
