"""Which commits a run came from: of lipstill, and of the recipe, where these lie in a git checkout."""

import subprocess
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_PATIENCE_S = 10


def commits(recipe_folder: Path) -> dict[str, str]:
    """Commit of each, 40 hexadecimal digits, and ``with changes`` where the checkout has some.

    One that lies in no checkout, or in one that does not track it, is left out; so are both where
    there is no git.
    """
    found = {"lipstill": _commit(_PACKAGE), "recipe": _commit(recipe_folder)}
    return {name: commit for name, commit in found.items() if commit}


def _commit(folder: Path) -> str:
    tracked = _git(folder, "ls-files", "--", ".")
    head = _git(folder, "rev-parse", "HEAD")
    if not tracked or not head:
        return ""
    return f"{head} with changes" if _git(folder, "status", "--porcelain", "--", ".") else head


def _git(folder: Path, *arguments: str) -> str:
    """What git says, or nothing where it cannot say anything."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
