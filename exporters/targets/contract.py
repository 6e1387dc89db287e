"""Export targets are modules of this package: a new one is a new file, and nothing else changes.

A module is a target when it offers all of ``Target``; the module's name is the target's. So is a folder whose module
``target`` does.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from exporters.contracts import Kind
from exporters.errors import ModelFileError
from exporters.files import ExportedFile
from exporters.regular import irregular
from exporters.signature import Signature
from exporters.targets.runtime import Runtime
from exporters.targets.structure import Structure

if TYPE_CHECKING:
    from torch import nn


class Target(Protocol):
    """What a target module offers. It imports its converter only inside these functions."""

    SUFFIX: str
    """How its files' names end."""
    PRECISIONS: tuple[str, ...]
    """Of fp32, fp16 and int8, those in which it writes files."""
    TOOLS: tuple[str, ...]
    """Distributions that have a part in the bytes of its files, for keys and signatures."""
    RUNTIMES: tuple[str, ...]
    """Distributions that have a part in what its runtime computes."""
    EVALUATED: bool
    """Whether `open_runtime` only evaluates a file: what it computes counts, how fast it does not."""

    def export(
        self, module: "nn.Module", signature: Signature, path: Path, **options: Any
    ) -> ExportedFile:
        """Write ``module`` ([batch, 1, window] -> [batch, driven]) as a file at ``path``.

        In the signature's precision: of a float module fp32 or fp16, of an IntegerSource int8.
        Whatever stands before a logarithm stays float32 in fp16 files, since the squares of quiet
        samples are subnormal there, and a device that takes them for 0 gives log 0. A target names the options that it takes as keywords, each with a default.
        """
        ...

    def open_runtime(self, path: Path, *, threads: int = 1) -> Runtime:
        """Open such a file. Raises ModelFileError, MissingToolError."""
        ...

    def import_runtime(self) -> None:
        """Import all that `open_runtime` needs, so that what is measured after it is the file's.

        Raises MissingToolError.
        """
        ...

    def further_runtimes(self, path: Path, *, threads: int = 1) -> Mapping[str, Runtime | str]:
        """The same file in more runtimes, by their names; a text says why one cannot run here.

        Raises ModelFileError.
        """
        ...

    def structure(self, path: Path) -> Structure:
        """What the graph of such a file is made of. Raises ModelFileError, MissingToolError."""
        ...


TARGETS: Kind[Target] = Kind("target", "exporters.targets", Target, inside="target")


def available_targets() -> tuple[str, ...]:
    """Names of all targets, sorted. That a target's converter is installed is not checked."""
    return TARGETS.available()


def load_target(name: str) -> Target:
    """Find a target by its name. Raises ContractError: what it lacks, or which there are."""
    return TARGETS.load(name)


def target_of(path: Path) -> str:
    """Name the target whose files end like ``path``, in capitals or not.

    Raises ModelFileError if none do, and for a pipe or a device, which would be waited for.
    """
    suffixes = {load_target(name).SUFFIX: name for name in available_targets()}
    ending = path.suffix.lower()
    if ending not in suffixes:
        raise ModelFileError(
            f"{path} ends in {path.suffix!r}, which is no model format known here; "
            f"expected {' or '.join(sorted(suffixes))}."
        )
    if path.exists() and not path.is_dir() and (found := irregular(path)):
        raise ModelFileError(f"{path} is {found}, expected a model file.")
    return suffixes[ending]
