"""What ships inside the package, found by ``builtin:`` names: demo teacher and demo speech."""

from pathlib import Path

from compress.errors import InputError
from exporters.files import user_path

PREFIX = "builtin:"
_FOLDER = Path(__file__).parent


def builtins() -> tuple[str, ...]:
    """Names of what ships, each with its prefix, sorted."""
    return tuple(
        sorted(
            PREFIX + path.name
            for path in _FOLDER.iterdir()
            if path.is_dir() and path.name[0] not in "._"
        )
    )


def resolve(name: str, base: Path) -> Path:
    """The path that a recipe means: a ``builtin:`` name, or a path, relative to `base`.

    Raises `InputError` for a builtin that does not exist, naming those that do. Does not ask
    whether the path exists.
    """
    if not name.startswith(PREFIX):
        return user_path(name, base).absolute()
    if name not in builtins():
        raise InputError(
            f"There is no {name}; lipstill ships {', '.join(builtins())}. Give one of these, or a "
            f"path."
        )
    return _FOLDER / name.removeprefix(PREFIX)
