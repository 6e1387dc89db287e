"""Export targets are modules of this package: a new one is a new file, and nothing else changes.

A module is a target when it defines ``SUFFIX``, ``export`` and ``open_runtime``; the module's name
is the target's.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import exporters
from exporters.errors import ModelFileError
from exporters.files import ExportedFile
from exporters.runtime import Runtime
from exporters.signature import Signature

if TYPE_CHECKING:
    from torch import nn


class Target(Protocol):
    """What a target module offers. It imports its converter only inside these functions."""

    SUFFIX: str

    def export(
        self, module: "nn.Module", signature: Signature, path: Path, **options: Any
    ) -> ExportedFile:
        """Write ``module`` ([batch, 1, window] -> [batch, driven]) as a file at ``path``.

        A target names the options that it takes as keywords, each with a default.
        """
        ...

    def open_runtime(self, path: Path, *, threads: int = 1) -> Runtime:
        """Open such a file. Raises ModelFileError, MissingToolError."""
        ...


def available_targets() -> tuple[str, ...]:
    """Names of all targets, sorted. That a target's converter is installed is not checked."""
    return tuple(sorted(_targets()))


def load_target(name: str) -> Target:
    """Find a target by its name. Raises ValueError that lists the names that exist."""
    targets = _targets()
    if name not in targets:
        raise ValueError(f"there is no target {name!r}; there is {', '.join(sorted(targets))}")
    return targets[name]


def target_of(path: Path) -> str:
    """Name the target whose files end like ``path``. Raises ModelFileError if none do."""
    suffixes = {target.SUFFIX: name for name, target in _targets().items()}
    if path.suffix not in suffixes:
        raise ModelFileError(
            f"{path} ends in {path.suffix!r}, which is no model format known here; "
            f"expected {' or '.join(sorted(suffixes))}."
        )
    return suffixes[path.suffix]


def _targets() -> Mapping[str, Target]:
    found = {}
    for entry in pkgutil.iter_modules(exporters.__path__):
        if entry.ispkg:
            continue
        module = importlib.import_module(f"{exporters.__name__}.{entry.name}")
        if all(hasattr(module, name) for name in ("SUFFIX", "export", "open_runtime")):
            found[entry.name] = cast(Target, module)
    return found
