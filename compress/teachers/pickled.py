"""Pickles: what `torch.save` and old checkpoints are. Loading one could run any code it carries."""

import zipfile
from pathlib import Path

from compress.assets import resolve
from compress.errors import TeacherError
from compress.teachers import Description, Found, Opening, Teacher

_ENDINGS = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}


def find(name: str, base: Path) -> Found | None:
    """A pickle, or a folder that has one."""
    path = resolve(name, base)
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    pickles = [file for file in files if file.is_file() and _is_pickle(file)]
    return Found(pickles[0], tuple(files)) if pickles else None


def open_checkpoint(path: Path, opening: Opening) -> Teacher:
    """Never opened: weights alone are no teacher."""
    raise TeacherError(
        f"Teacher checkpoint {path} is a pickle: loading it could run any code that it "
        f"carries, so it was not opened. Save the weights as safetensors "
        f"(safetensors.torch.save_file) with a config.json beside them."
    )


def describe(path: Path) -> Description:
    """A pickle, whatever is in it."""
    return Description("a pickle", parameters=None, trust=True, interface=False)


def _is_pickle(path: Path) -> bool:
    if zipfile.is_zipfile(path):  # what torch.save writes
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        # With code beside it, it is a TorchScript program.
        script = any(name.partition("/")[2].startswith("code/") for name in names)
        return not script and any(name.endswith("data.pkl") for name in names)
    with path.open("rb") as stream:
        return path.suffix in _ENDINGS or stream.read(1) == b"\x80"
