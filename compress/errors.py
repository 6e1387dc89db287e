"""Everything that lipstill raises on purpose, and the exit code that goes with it.

    LipstillError
    ├── GateBroken        1   a limit of the recipe is broken; all results are still written
    ├── UsageError        2   wrong usage
    │   ├── RecipeError   2   every mistake of a recipe, together
    │   │   └── RigFileError  2   or of the file on a rig that it names
    │   └── LockedError   2   another run is at work in the same folder
    ├── InputError        3   bad input
    │   ├── TeacherError  3
    │   │   └── NoAnswer  3   in time
    │   ├── AudioError    3
    │   │   └── BadAudio  3   one file that cannot be used, and why
    │   ├── ModelError    3
    │   └── DivergedError 3   training that gave no number: settings and labels do not fit
    └── MissingError      4   a package, a tool or a permission that this machine lacks
        └── StorageError  4   a full disk, a read-only folder

Exit codes of every command: 0 done; 1 a gate is broken; 2 wrong usage or recipe; 3 bad input
(teacher, audio, model file); 4 something needed is missing on this machine; 130 interrupted
(KeyboardInterrupt, which the command line handles itself). A message says in one paragraph what was
found, what was expected, where, and what to try. Only the command line prints it.
"""

from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "AudioError",
    "BadAudio",
    "DivergedError",
    "GateBroken",
    "InputError",
    "LipstillError",
    "LockedError",
    "MissingError",
    "ModelError",
    "NoAnswer",
    "RecipeError",
    "RigFileError",
    "StorageError",
    "TeacherError",
    "UsageError",
]


class LipstillError(Exception):
    """Base of the tree: never raised itself, caught in one place only, the command line."""

    exit_code: ClassVar[int]


class GateBroken(LipstillError):
    """A limit in the recipe's `gates` was not met; the results are written all the same."""

    exit_code = 1


class UsageError(LipstillError):
    """A command, an option or an argument that cannot work whatever the input is."""

    exit_code = 2


class RecipeError(UsageError):
    """All the mistakes of one recipe.

    `source` is the recipe's path or name, `mistakes` one sentence each: dotted path, what was
    found, what is accepted.
    """

    what: ClassVar[str] = "recipe"

    def __init__(self, source: object, mistakes: Iterable[str]) -> None:
        self.source = str(source)
        self.mistakes = tuple(mistakes)
        # Exception.__init__ gets the same arguments, so that the error survives pickling between
        # processes.
        super().__init__(self.source, self.mistakes)

    def __str__(self) -> str:
        if len(self.mistakes) == 1:
            return f"{self.what} {self.source}: {self.mistakes[0]}"
        lines = "".join(f"\n  - {mistake}" for mistake in self.mistakes)
        return f"{self.what} {self.source} has {len(self.mistakes)} mistakes:{lines}"


class RigFileError(RecipeError):
    """All the mistakes of one file on a rig."""

    what = "rig file"


class LockedError(UsageError):
    """Two runs at once on one folder. Wrong usage, not a missing thing: waiting or another --out
    helps.
    """


class InputError(LipstillError):
    """Something the user handed over cannot be used."""

    exit_code = 3


class TeacherError(InputError):
    """A teacher checkpoint that cannot be loaded, is not trusted, or breaks the teacher
    contract.
    """


class NoAnswer(TeacherError):
    """A teacher that gave no answer in time. Whatever asked it must not ask again."""


class AudioError(InputError):
    """A source of speech that cannot be used."""


class BadAudio(AudioError):
    """One audio file that cannot be used. `path` says which, `reason` why; a scan collects
    these.
    """

    def __init__(self, path: object, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(self.path, reason)

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class ModelError(InputError):
    """A model file or a student's weights that cannot be read or are not what their signature
    says.
    """


class DivergedError(InputError):
    """Training whose loss or gradient is no number any more; the last checkpoint is kept."""


class MissingError(LipstillError):
    """A package, a tool or a permission that this machine lacks; the message has the line that
    installs it.
    """

    exit_code = 4


class StorageError(MissingError):
    """A result could not be written: disk full, folder read-only, file too large. Nothing
    half-written stays.
    """
