"""What can go wrong between a torch module and a verified file.

ExporterError                an error with an exit code; everything below is one
├── ModelFileError     3     a file cannot be read, is not there, or contradicts itself
│   └── ForeignFileError 3   a file of the right format that lipstill did not write
├── ExportFailed       3     a module could not be turned into a file
├── MissingToolError   4     a package that the work needs is not installed
├── ScratchError       4     the folder for temporary files is full or cannot be written
├── ContractError      4     a module of lipstill itself that lacks part of its contract
└── DeviceError        4     a device is not attached, or went away

A mistake of the calling code (an array of the wrong shape, an impossible signature) is a plain
``ValueError``. Each message is one readable paragraph: what was found, what was expected, where,
and what to try.
"""

from typing import ClassVar


class ExporterError(Exception):
    """Base of all errors raised here; ``exit_code`` is what a command line should end with."""

    exit_code: ClassVar[int] = 3


class ModelFileError(ExporterError):
    """A model file, signature or report is missing, unreadable, foreign or inconsistent."""

    exit_code: ClassVar[int] = 3


class ForeignFileError(ModelFileError):
    """A file of the right format without our signature: somebody else's network."""


class ExportFailed(ExporterError):
    """The converter refused the module, or what it made does not fit the signature."""

    exit_code: ClassVar[int] = 3


class MissingToolError(ExporterError):
    """A package is not installed; the message ends with the line that installs it."""

    exit_code: ClassVar[int] = 4


class ScratchError(ExporterError):
    """Temporary files could not be written; the message names TMPDIR."""

    exit_code: ClassVar[int] = 4


class ContractError(ExporterError):
    """A module that is found by its name and does not offer what modules of its kind must."""

    exit_code: ClassVar[int] = 4


class DeviceError(ExporterError):
    """A device that was asked for is not attached, cannot be used, or went away meanwhile."""

    exit_code: ClassVar[int] = 4
