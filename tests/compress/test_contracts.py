"""What is found by its name is refused where it is half of one: the right exit code, and words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.commands import doctor
from compress.labels.engines import ENGINES
from compress.speech.sources import FORMATS as SOURCES
from compress.students import ARCHITECTURES
from compress.teachers import FORMATS as TEACHERS
from compress.teachers.networks.encoders import ENCODERS
from exporters.contracts import Kind

Add = Callable[[str, str], Path]
Cli = Callable[..., Any]

KINDS: dict[str, tuple[Kind[Any], str]] = {
    "architecture": (ARCHITECTURES, "conv_fc"),
    "engine": (ENGINES, "local"),
    "teacher": (TEACHERS, "python"),
    "encoder": (ENCODERS, "hubert"),
    "source": (SOURCES, "folder"),
}
# Half of each, and what is said of it.
HALVES = {
    "architecture": (
        "def build(settings, outputs): ...",
        (
            "It lacks the function build(settings, outputs, limits), and has build(settings, "
            "outputs); the function from_config(fields)."
        ),
    ),
    "engine": (
        "def build(): ...",
        "It lacks the function build(workers), and has build().",
    ),
    "teacher": (
        "def find(name, base): return None\ndef devices(): return ()\n",
        "It lacks the function open_checkpoint(path, opening); the function describe(path).",
    ),
    "encoder": (
        "def read_encoder(fields): ...",
        "It lacks the function pretrained_fields(config, preprocessor).",
    ),
    "source": (
        "SOUGHT = 7\ndef find(name, base): return False\ndef look(name): ...\n",
        (
            "It lacks SOUGHT, a str, and has a int; the function look(name, base, min_clip_s, "
            "timeout_s), and has look(name); the function scan(name, base, min_clip_s, progress, "
            "timeout_s)."
        ),
    ),
}


@pytest.mark.parametrize("which", KINDS)
def test_ours_keep_their_contracts(which: str) -> None:
    kind, one = KINDS[which]
    assert one in kind.names()
    assert kind.names() == kind.available()


@pytest.mark.parametrize("which", KINDS)
def test_half_of_one_is_described(which: str, add_module: Add) -> None:
    kind, _ = KINDS[which]
    source, said = HALVES[which]
    file = add_module(f"{kind.package}.half", source)
    assert kind.fault("half").startswith(f"{file} does not keep the contract of ")
    assert said in kind.fault("half")


def test_recipe_check_refuses_half_a_target(add_module: Add, cli: Cli, own: Path) -> None:
    add_module(
        "exporters.targets.half", "SUFFIX = '.half'\ndef export(module, signature, path): ...\n"
    )
    said = ("recipe", "export.targets", "half.py", "a target. It lacks PRECISIONS, a tuple; TOOLS")
    recipe = ("recipe.yaml", "--set", "export.targets=[onnx, half]")
    assert cli("recipe", "check", own / recipe[0], *recipe[1:]).failed(2, *said)
    assert cli("compress", own / recipe[0], *recipe[1:], "--out", own / "run").failed(2, *said)
    assert not (own / "run").exists()
    # Without its first function too: what it has says what it is meant to be.
    add_module("exporters.targets.headless", "SUFFIX = '.headless'\n")
    recipe = ("recipe.yaml", "--set", "report.reference_targets=[headless]")
    assert cli("recipe", "check", own / recipe[0], *recipe[1:]).failed(
        2, "report.reference_targets", "headless.py", "It lacks", "the function export(module, "
    )


def test_recipe_check_refuses_half_an_architecture(add_module: Add, cli: Cli, own: Path) -> None:
    source, said = HALVES["architecture"]
    add_module("compress.students.half", source)
    recipe = ("recipe.yaml", "--set", "students.0.architecture=half")
    for command in (("recipe", "check"), ("compress",)):
        ended = cli(*command, own / recipe[0], *recipe[1:])
        assert ended.failed(2, "Student small cannot be built", "half.py", said)
    recipe = ("recipe.yaml", "--set", "students.0.architecture=facts")
    assert cli("recipe", "check", own / recipe[0], *recipe[1:]).failed(2, "accepted: conv_fc")


def test_a_module_that_cannot_be_imported_is_refused_with_the_reason(
    add_module: Add, cli: Cli, own: Path
) -> None:
    add_module("compress.students.half", "import no_such\ndef build(a, b, c): ...\n")
    add_module("exporters.targets.half", "import no_such\ndef export(a, b, c): ...\n")
    said = "ModuleNotFoundError: No module named 'no_such'"
    for setting in ("students.0.architecture=half", "export.targets=[half]"):
        ended = cli("recipe", "check", own / "recipe.yaml", "--set", setting)
        assert ended.failed(2, "half.py", said)


def test_half_an_engine_is_wrong_usage(add_module: Add, cli: Cli, own: Path) -> None:
    source, said = HALVES["engine"]
    add_module("compress.labels.engines.half", source)
    ended = cli("label", own / "recipe.yaml", "--out", own / "run", "--engine", "half")
    assert ended.failed(2, "--engine: ", "half.py", said)


def test_half_a_device_is_wrong_usage(add_module: Add, cli: Cli, tmp_path: Path) -> None:
    add_module("exporters.measuring.devices.half", "SUFFIX = '.onnx'\ndef obstacle(): return ''\n")
    ended = cli("benchmark", tmp_path, "--device", "half")
    assert ended.failed(2, "--device: ", "half.py", "It lacks the function measure(path, *, runs, ")


@pytest.mark.parametrize(("which", "command"), [("teacher", "check"), ("source", "check")])
def test_half_a_format_ends_in_words(
    which: str, command: str, add_module: Add, cli: Cli, own: Path
) -> None:
    """It might be the one that is asked for, so that nothing is tried after it."""
    kind, _ = KINDS[which]
    source, said = HALVES[which]
    add_module(f"{kind.package}.a_half", source)  # before all others
    assert cli("teacher", command, own / "recipe.yaml").failed(4, "a_half.py", said)


def test_half_an_encoder_ends_in_words(add_module: Add, cli: Cli, own: Path) -> None:
    source, said = HALVES["encoder"]
    add_module("compress.teachers.networks.half", source)
    config = own / "teacher" / "config.json"
    config.write_text(config.read_text().replace('"moonshine"', '"half"'))
    assert '"half"' in config.read_text()
    assert cli("inspect", own / "teacher").failed(4, "half.py", said)


def test_doctor_names_each_half(add_module: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "available_targets", lambda: ())  # those that work take minutes
    add_module("exporters.targets.half", "def export(): ...\n")
    add_module("exporters.measuring.devices.half", "def obstacle(): ...\n")
    for which in ("engine", "teacher", "encoder", "source"):
        add_module(f"{KINDS[which][0].package}.half_{which}", HALVES[which][0])
    found = doctor.examine(hidden=True).findings
    assert [(each.what, each.state) for each in found] == [
        ("target half", "does not work"),
        ("kind of device half", "does not work"),
        ("format of teachers half_teacher", "does not work"),
        ("speech encoder half_encoder", "does not work"),
        ("format of sources half_source", "does not work"),
        ("engine half_engine", "does not work"),
    ]
    assert all("It lacks " in each.detail for each in found)
