"""Commits: of what lies in a checkout, and nothing of what does not."""

import subprocess
from pathlib import Path

import pytest

from compress.run.commits import commits


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of one recipe in a folder of its own, and a folder that git ignores."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "hero.yaml").write_text("name: hero\n")
    (tmp_path / "ignored").mkdir()
    (tmp_path / "ignored" / "own.yaml").write_text("name: own\n")
    (tmp_path / ".gitignore").write_text("ignored/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "A recipe")
    return tmp_path


def test_a_recipe_under_version_control_has_a_commit(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert len(head) == 40
    assert commits(checkout / "recipes")["recipe"] == head


def test_changes_are_said_of_the_recipes_folder_alone(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / "other.txt").write_text("beside it")
    assert commits(checkout / "recipes")["recipe"] == head
    (checkout / "recipes" / "hero.yaml").write_text("name: villain\n")
    assert commits(checkout / "recipes")["recipe"] == f"{head} with changes"


def test_what_git_does_not_track_has_none(checkout: Path) -> None:
    assert "recipe" not in commits(checkout / "ignored")


def test_outside_of_a_checkout_and_without_git_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "recipe" not in commits(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commits(tmp_path) == {}
