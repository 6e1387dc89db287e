"""What ships, and paths that a recipe may give."""

from pathlib import Path

import pytest

from compress.assets import builtins, resolve
from compress.errors import InputError


def test_what_ships_can_be_named() -> None:
    assert "builtin:speech" in builtins()
    for name in builtins():
        assert resolve(name, Path("anywhere")).is_dir()
        assert not Path(name.removeprefix("builtin:")).name.startswith(("_", "."))


def test_paths_are_relative_to_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("a/b", tmp_path) == tmp_path / "a" / "b"
    assert resolve("/a/b", tmp_path) == Path("/a/b")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/b", Path("/elsewhere")) == tmp_path / "b"


@pytest.mark.parametrize("name", ["builtin:", "builtin:nobody", "builtin:../errors.py"])
def test_what_does_not_ship_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="lipstill ships builtin:"):
        resolve(name, Path())
