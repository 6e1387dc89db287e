"""A label folder: shards of curves, ``index.json`` that says what is where, ``stage.json``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compress.errors import InputError
from compress.rig import ARKIT_RIG, Rig
from compress.sources import Clip
from compress.split import Side
from compress.store import atomic_write, seal
from exporters.mesh import MESH

Floats = NDArray[np.float32]
Grid = Literal["frames", "hops"]


@dataclass(frozen=True)
class LabelledClip:
    """One clip of the index. `frames` at the teacher's rate, `hops` on the hop grid.

    `audio` is where it is heard.
    """

    id: str
    side: Side
    audio: Clip
    seconds: float
    sha256: str
    shard: str
    frames: int
    hops: int


@dataclass(frozen=True)
class Labels:
    """A finished label folder.

    `driven` controls move in training speech; each other control keeps its value in `constants`.
    `scale` is the power of ten nearest to how far they move, 1 for blendshapes, by which tolerances
    go. `rig` is no result of labelling and not kept.
    """

    folder: Path
    key: str
    controls: tuple[str, ...]
    driven: tuple[str, ...]
    constants: dict[str, float]
    limits: tuple[float, float] | None
    scale: float
    rate_hz: float
    offset_s: float
    teacher_parameters: int
    teacher_description: str
    clips: tuple[LabelledClip, ...]
    rig: Rig = ARKIT_RIG

    def side(self, side: Side) -> tuple[LabelledClip, ...]:
        """The clips on one side of the split, in the order of the index."""
        return tuple(clip for clip in self.clips if clip.side == side)

    @property
    def driven_columns(self) -> list[int]:
        """Where the driven controls stand among all controls."""
        return [self.controls.index(name) for name in self.driven]

    @property
    def mesh_file(self) -> Path | None:
        """What turns the curves into vertices, where they are coefficients of a mesh."""
        path = self.folder / MESH
        return path if path.is_file() else None


def write_index(labels: Labels) -> None:
    """Finish a label folder whose shards are written: remove other shards, write the index, seal.

    Paths are where this machine has the audio, which is no result: the index leaves them out.
    """
    wanted = {clip.shard for clip in labels.clips}
    for path in labels.folder.glob("shard-*.safetensors"):  # made under another key
        if path.name not in wanted:
            path.unlink()
    fields = asdict(labels)
    del fields["folder"], fields["key"], fields["rig"]
    for clip in fields["clips"]:
        del clip["audio"]
    atomic_write(labels.folder / "index.json", json.dumps(fields, indent=1) + "\n")
    seal(labels.folder, labels.key)


def read_labels(folder: Path, speech: Mapping[str, Clip]) -> Labels:
    """A finished label folder. `speech`: clip id → where its audio lies now."""
    fields = json.loads((folder / "index.json").read_text("utf-8"))
    key = json.loads((folder / "stage.json").read_text("utf-8"))["key"]
    clips = tuple(LabelledClip(audio=speech[clip["id"]], **clip) for clip in fields.pop("clips"))
    labels = Labels(folder=folder, key=key, clips=clips, **fields)
    limits = None if labels.limits is None else (labels.limits[0], labels.limits[1])
    return replace(
        labels, controls=tuple(labels.controls), driven=tuple(labels.driven), limits=limits
    )


def audio_of(labels: Labels, clip: LabelledClip) -> Floats:
    """What is said in a clip, float32 `[samples]` at 16 kHz. Raises `BadAudio`."""
    return clip.audio.read()


def curves_of(labels: Labels, clips: Sequence[LabelledClip], grid: Grid) -> list[Floats]:
    """Driven curves of some clips, float32 `[frames, driven]`.

    `grid` says which frames: ``frames`` at the teacher's rate, or ``hops``. Raises `InputError` for
    a shard that is gone or damaged.
    """
    from safetensors import SafetensorError, safe_open

    columns = labels.driven_columns
    found = []
    for shard, members in groupby(clips, key=lambda clip: clip.shard):
        path = labels.folder / shard
        try:
            with safe_open(path, "np") as curves:
                for clip in members:
                    whole = curves.get_tensor(entry(clip.id, grid))
                    found.append(np.ascontiguousarray(whole[:, columns]))
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"{path} cannot be read as a shard of labels ({error}). Remove the folder "
                f"{labels.folder} and label again."
            ) from error
    return found


def entry(clip_id: str, grid: Grid) -> str:
    """Name of a clip's curves inside its shard."""
    return f"{clip_id}|{grid}"


def write_shard(path: Path, curves: Mapping[str, Floats]) -> None:
    """Write curves by entry. Equal curves give equal bytes."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(value, np.float32) for name, value in curves.items()}
    atomic_write(path, save(contiguous))


def read_shard(path: Path) -> dict[str, Floats] | None:
    """All curves of a shard by entry; None when it is not there or damaged, and has to be made."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (FileNotFoundError, SafetensorError):
        return None
