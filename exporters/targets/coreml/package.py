"""A Core ML package on disk: a folder with the model's description and program, and its weights.

::

    Manifest.json                              what is where
    Data/com.apple.CoreML/model.mlmodel        description and program, protocol buffers
    Data/com.apple.CoreML/weights/weight.bin   all larger constants

The identifiers in the manifest of a package of ours are made of the program and of how many bytes of
weights there are, so that equal contents give equal packages, and one whose program is damaged is
found out before it is read. Whether the weights are right is for ``SHA256SUMS`` and golden windows.
"""

import contextlib
import io
import json
import logging
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exporters.errors import ModelFileError
from exporters.files import describe_file
from exporters.reading import reading

_MANIFEST = "Manifest.json"
_AUTHOR = "com.apple.CoreML"
_MODEL, _WEIGHTS = f"{_AUTHOR}/model.mlmodel", f"{_AUTHOR}/weights"
_ADVICE = "If the package was copied or downloaded, compare its files with SHA256SUMS."
_TALKATIVE = ("coremltools", "torchao", "torch")


def write_package(path: Path, spec: Any, weights: bytes) -> None:
    """Write a package of a Model message and the contents of its weight.bin, if it has one.

    A reader sees the old package, none or the new one, never half; what stood at ``path`` is
    replaced. Folders are made when missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        fresh, old = Path(folder, "new"), Path(folder, "old")
        model, folder_of_weights = fresh / "Data" / _MODEL, fresh / "Data" / _WEIGHTS
        model.parent.mkdir(parents=True)
        model.write_bytes(spec.SerializeToString(deterministic=True))
        if weights:
            folder_of_weights.mkdir()
            (folder_of_weights / "weight.bin").write_bytes(weights)
        (fresh / _MANIFEST).write_text(_manifest(fresh), encoding="utf-8")
        if path.exists():
            path.rename(old)
        try:
            fresh.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise


def _manifest(package: Path) -> str:
    items = {_MODEL: "CoreML Model Specification", _WEIGHTS: "CoreML Model Weights"}
    entries = {
        _identifier(package, path): {
            "author": _AUTHOR,
            "description": description,
            "name": Path(path).name,
            "path": path,
        }
        for path, description in items.items()
        if (package / "Data" / path).exists()
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": _identifier(package, _MODEL),
    }
    return json.dumps(manifest, indent=4, sort_keys=True) + "\n"


def _identifier(package: Path, item: str) -> str:
    described = describe_file(package / "Data" / item, "coreml")
    content = described.sha256 if item == _MODEL else f"{described.bytes} bytes"
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{item} {content}"))


def read_model(path: Path) -> tuple[Any, Path]:
    """The Model message of a package, and the folder of its weights. Raises ModelFileError."""
    if not path.is_dir():
        raise ModelFileError(
            f"{path} is not a folder; expected a Core ML package, a folder with {_MANIFEST}."
        )
    with quiet():
        from coremltools.proto import Model_pb2

    with reading(path / _MANIFEST, "the manifest of a Core ML package", advice=_ADVICE):
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
        model = path / "Data" / root["path"]
    with reading(model, "a model", advice=_ADVICE):
        return Model_pb2.Model.FromString(model.read_bytes()), model.parent / "weights"


def read_weights(folder: Path) -> bytes:
    """The contents of weight.bin in the folder of a package's weights; b"" if it needs none."""
    weights = folder / "weight.bin"
    return weights.read_bytes() if weights.exists() else b""


def check_unchanged(path: Path) -> None:
    """Raise ModelFileError unless the program, and the weights' size, are as they were written."""
    with reading(path, "a whole package", advice=_ADVICE):
        expected, found = _manifest(path), (path / _MANIFEST).read_text(encoding="utf-8")
        unchanged = json.loads(found) == json.loads(expected)
    if not unchanged:
        raise ModelFileError(
            f"{path} was changed or damaged after its export: the identifiers in {_MANIFEST} are "
            f"made of its program and the size of its weights, and do not fit them. {_ADVICE}"
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back progress bars, log lines below errors and warnings of coremltools."""
    # Before stderr is another: torch's log lines go where it was when torch was imported.
    import torch  # noqa: F401

    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
