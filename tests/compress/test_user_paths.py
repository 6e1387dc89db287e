"""Only ``~/`` is a home folder; any other name with a tilde is a path like others."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.recipe.recipe import load_recipe
from compress.teachers.loading import find_teacher
from exporters.files import user_path

Cli = Callable[..., Any]


def test_only_a_tilde_and_a_slash_is_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jo")
    base = Path("/recipes")
    assert user_path("~/speech", base) == Path("/home/jo/speech")
    assert user_path(Path("~/speech")) == Path("/home/jo/speech")
    for name in ("~root", "~nosuch/x", "~backup/speech", "~", "a/~/b", "~~/x"):
        assert user_path(name, base) == base / name
    assert user_path("/tmp/x", base) == Path("/tmp/x")


def test_a_home_that_is_not_known_is_a_name_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it is without an entry
    assert user_path("~/speech", Path("/recipes")) == Path("/recipes/~/speech")


@pytest.mark.parametrize("name", ["~nosuch.yaml", "~root", "~nosuch/x.yaml"])
def test_a_recipe_that_is_not_there(cli: Cli, name: str) -> None:
    assert cli("recipe", "check", name).failed(2, name, "neither a file nor a shipped recipe")


@pytest.mark.parametrize("name", ["~nosuch/x", "~root"])
def test_a_file_that_is_not_there(cli: Cli, name: str) -> None:
    assert cli("inspect", name).failed(3, name, "does not exist")


@pytest.mark.parametrize("name", ["~old", "~nosuch/x", "~backup"])
@pytest.mark.parametrize(
    "field", ["speech.train=[NAME]", "teacher.checkpoint=NAME", "teacher.depends_on=[NAME]"]
)
def test_what_a_recipe_names_is_not_there(cli: Cli, own: Path, field: str, name: str) -> None:
    setting = field.replace("NAME", f'"{name}"')
    ended = cli("label", own / "recipe.yaml", "--out", own / "run", "--set", setting)
    assert ended.failed(3, f"{own}/{name}")


@pytest.mark.parametrize("field", ["teacher.rig", "students.0.guide"])
def test_files_of_a_recipe_that_are_not_there(cli: Cli, own: Path, field: str) -> None:
    setting = f'{field}="~nosuch/x"'
    ended = cli("compress", own / "recipe.yaml", "--out", own / "run", "--set", setting)
    assert ended.code in (2, 3)
    assert f"{own}/~nosuch/x" in ended.err
    assert "Traceback" not in ended.err


def test_a_folder_of_such_a_name_is_used(cli: Cli, own: Path) -> None:
    """``~backup`` would be the home of a system's user of that name."""
    shutil.move(own / "speech" / "train", own / "~backup")
    shutil.move(own / "teacher", own / "~root")
    settings = ("--set", 'speech.train=["~backup"]', "--set", 'teacher.checkpoint="~root"')
    ended = cli("label", own / "recipe.yaml", "--out", own / "run", *settings)
    assert ended.code == 0, ended.err
    recipe = load_recipe(own / "recipe.yaml", settings[1::2])
    assert find_teacher(recipe.teacher.checkpoint, recipe.folder).path == own / "~root"
