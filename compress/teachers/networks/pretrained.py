"""Encoder weights that lie in a Hugging Face folder, on this machine or on the hub.

`encoder_weights` of a config.json names it: a path relative to that config, or
``hub:OWNER/NAME@REVISION``. Nothing is fetched unless the recipe says `teacher.download: true`.
"""

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import MissingError, TeacherError
from compress.teachers.networks.hub import cached_folder, fetch_folder, parse_reference
from compress.teachers.networks.weights import read_weights
from compress.texts import read_text
from exporters.files import user_path
from exporters.reading import reading

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
# In the order of preference; an index lists shards.
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ".index.json"


def pretrained_files(folder: Path) -> tuple[Path, ...]:
    """The files of a Hugging Face folder that make the encoder what it is; none where it lacks any.

    Raises `TeacherError` for an index that cannot be read.
    """
    if not (folder / CONFIG).is_file() or not (weights := _weights(folder)):
        return ()
    if not all(file.is_file() for file in weights):
        return ()
    beside = (folder / PREPROCESSOR,) if (folder / PREPROCESSOR).is_file() else ()
    return (folder / CONFIG, *beside, *weights)


def local_folder(encoder_weights: object, base: Path) -> Path | None:
    """The folder that a config at `base` means; None where it names the hub, or nothing."""
    if not isinstance(encoder_weights, str) or encoder_weights.startswith("hub:"):
        return None
    return user_path(encoder_weights, base)


def find_pretrained(encoder_weights: str, base: Path, download: bool) -> Path:
    """The complete Hugging Face folder that `encoder_weights` names; fetched if need be and allowed.

    Raises `TeacherError` for a name or a folder that cannot be it, and `MissingError` where it is
    not on this machine and could not, or should not, be fetched.
    """
    if (folder := local_folder(encoder_weights, base)) is not None:
        if not pretrained_files(folder):
            raise TeacherError(
                f"encoder_weights {encoder_weights}: no complete Hugging Face folder is at {folder}; "
                f"found {_listing(folder)}, expected {CONFIG} and {' or '.join(_SINGLE)} or shards "
                f"of one with their index. Look at encoder_weights in {base / CONFIG}."
            )
        return folder
    repository, revision = parse_reference(encoder_weights, base / CONFIG)
    folder = cached_folder(repository, revision)
    if folder is not None and pretrained_files(folder):
        return folder
    if not download:
        raise MissingError(
            f"The encoder weights {repository} at {revision} are not on this machine. Set "
            f"teacher.download: true in the recipe to fetch them, or run `hf download {repository} "
            f"--revision {revision}` and try again."
        )
    folder = fetch_folder(repository, revision, _wanted)
    if not pretrained_files(folder):
        raise TeacherError(
            f"The Hugging Face repository {repository} at {revision} has {_listing(folder)} that "
            f"could be of use, expected {CONFIG} and {' or '.join(_SINGLE)}, or shards of one with "
            f"their index. Look at encoder_weights in {base / CONFIG}."
        )
    return folder


def read_pretrained(folder: Path) -> "dict[str, Tensor]":
    """All weights of a Hugging Face folder, as its files name them."""
    state: dict[str, Tensor] = {}
    for path in _weights(folder):
        if path.suffix.lower() != ".json":
            state |= read_weights(path)
    return state


def read_settings(folder: Path) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """The contents of config.json, and of preprocessor_config.json where there is one."""
    beside = folder / PREPROCESSOR
    return _read_json(folder / CONFIG), _read_json(beside) if beside.is_file() else {}


def _weights(folder: Path) -> tuple[Path, ...]:
    for name in _SINGLE:
        if (folder / name).is_file():
            return (folder / name,)
        if (index := folder / f"{name}{_INDEX}").is_file():
            shards = _read_json(index).get("weight_map")
            names = (
                sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
            )
            if not names or any(Path(name).name != name for name in names):
                raise TeacherError(
                    f"{index} is damaged: expected a weight_map with the file of each weight, all "
                    f"of them beside it. Copy it again."
                )
            return (index, *(folder / name for name in names))
    return ()


def _wanted(names: Sequence[str]) -> list[str]:
    """Of the files of a repository, the settings and the weights in one form."""
    for single in _SINGLE:
        stem, ending = single.split(".")
        forms = (single, f"{stem}-*-of-*.{ending}", f"{single}{_INDEX}")
        if weights := [name for name in names if any(fnmatch(name, form) for form in forms)]:
            return [CONFIG, PREPROCESSOR, *([single] if single in weights else weights)]
    return [CONFIG]


def _read_json(path: Path) -> Mapping[str, object]:
    with reading(path, "JSON", TeacherError, "Copy it again."):
        fields = json.loads(read_text(path))
    if not isinstance(fields, dict):
        raise TeacherError(f"{path} holds a {type(fields).__name__}, expected fields by name.")
    return fields


def _listing(folder: Path) -> str:
    if not folder.is_dir():
        return "a file" if folder.exists() else "nothing"
    return ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "an empty folder"
