"""What the commands that run rows ask for, and the folders that they were given."""

import argparse
from pathlib import Path

Paths = tuple[str, ...]
# Folders of speech, and of sound that is not speech.
Heard = tuple[Paths, Paths]


def add_run(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> argparse.ArgumentParser:
    """The command `run`, with what all of them know: a folder, sound, rows, and processes."""
    parser = commands.add_parser("run")
    add_heard(parser)
    parser.add_argument("--rows", nargs="*", default=[], metavar="ID")
    parser.add_argument("--jobs", type=int, default=2, help="rows side by side")
    return parser


def add_heard(parser: argparse.ArgumentParser) -> None:
    """A folder for what is made, and those that `heard` reads."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--speech", type=Path, nargs="+", required=True)
    parser.add_argument("--rest", type=Path, nargs="*", default=[], help="sound that is not speech")


def heard(arguments: argparse.Namespace) -> Heard:
    """The folders of speech and of other sound, absolute."""
    return _absolute(arguments.speech), _absolute(arguments.rest)


def _absolute(paths: list[Path]) -> Paths:
    return tuple(str(path.absolute()) for path in paths)
