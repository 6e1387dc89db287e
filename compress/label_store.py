"""A label folder: shards of curves, ``index.json`` on all of them, ``clips.jsonl`` on each clip.

``stage.json`` says that it is finished, with the checksum of every file.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compress.audio import HOP, SAMPLE_RATE
from compress.label_shards import Missing, Shard
from compress.rig import ARKIT_RIG, Rig
from compress.sources import Clip
from compress.split import Side
from compress.store import atomic_write, seal
from exporters.mesh import MESH

Floats = NDArray[np.float32]
Grid = Literal["frames", "hops"]

CLIPS = "clips.jsonl"


@dataclass(frozen=True)
class LabelledClip:
    """One clip of the index. `frames` at the teacher's rate, `hops` on the hop grid.

    `audio` is where it is heard; None where its shard keeps that.
    """

    id: str
    side: Side
    audio: Clip | None
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
    go. `missing` are clips without labels. `rig` is no result of labelling and not kept.
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
    missing: tuple[Missing, ...] = ()
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

    Paths are where this machine has the audio, which is no result: the index leaves them out, and
    says only whether a clip's shard keeps its audio.
    """
    wanted = {clip.shard for clip in labels.clips}
    for path in labels.folder.glob("shard-*.safetensors"):  # made under another key
        if path.name not in wanted:
            path.unlink()
    fields = asdict(replace(labels, clips=()))
    for name in ("folder", "key", "rig", "clips"):
        del fields[name]
    atomic_write(labels.folder / "index.json", json.dumps(fields, indent=1) + "\n")
    atomic_write(labels.folder / CLIPS, "".join(map(_line, labels.clips)))
    seal(labels.folder, labels.key)


def _line(clip: LabelledClip) -> str:
    fields = dict(vars(clip))
    fields["audio"] = "kept" if clip.audio is None else "elsewhere"
    return json.dumps(fields, separators=(",", ":")) + "\n"


def read_labels(folder: Path, speech: Mapping[str, Clip]) -> Labels:
    """A finished label folder. `speech`: clip id → where its audio lies now."""
    fields = json.loads((folder / "index.json").read_text("utf-8"))
    key = json.loads((folder / "stage.json").read_text("utf-8"))["key"]
    clips = []
    with (folder / CLIPS).open(encoding="utf-8") as lines:
        for line in lines:
            clip = json.loads(line)
            kept = clip.pop("audio") == "kept"
            clips.append(LabelledClip(audio=None if kept else speech[clip["id"]], **clip))
    missing = tuple(Missing(**clip) for clip in fields.pop("missing"))
    labels = Labels(folder=folder, key=key, clips=tuple(clips), missing=missing, **fields)
    limits = None if labels.limits is None else (labels.limits[0], labels.limits[1])
    return replace(
        labels, controls=tuple(labels.controls), driven=tuple(labels.driven), limits=limits
    )


def audio_of(labels: Labels, clip: LabelledClip) -> Floats:
    """What is said in a clip, float32 `[samples]` at 16 kHz.

    Raises `BadAudio`, or `InputError` where its shard keeps the audio and is damaged.
    """
    if clip.audio is not None:
        return clip.audio.read()
    with Shard(labels.folder / clip.shard) as shard:
        return shard.audio(clip.id)


def curves_of(labels: Labels, clips: Sequence[LabelledClip], grid: Grid) -> list[Floats]:
    """Driven curves of some clips, float32 `[frames, driven]`.

    `grid` says which frames: ``frames`` at the teacher's rate, or ``hops``. Raises `InputError` for
    a shard that is gone or damaged.
    """
    columns = labels.driven_columns
    found = []
    for name, members in groupby(clips, key=lambda clip: clip.shard):
        with Shard(labels.folder / name) as shard:
            for clip in members:
                curves = np.ascontiguousarray(shard.curves(clip.id)[:, columns])
                if grid == "hops":
                    curves = resample(curves, labels.rate_hz, labels.offset_s, clip.seconds)
                found.append(curves)
    return found


def hops_of(samples: int) -> int:
    """Frames on the hop grid of so many samples at 16 kHz."""
    return -(-samples // HOP)


def resample(curves: Floats, rate_hz: float, offset_s: float, seconds: float) -> Floats:
    """Curves on the hop grid, float32 `[ceil(samples / HOP), controls]`, linear in time.

    Frame i stands for offset_s + i / rate_hz, hop j for j · HOP / 16 000 s; beyond the ends the
    first and the last frame hold.
    """
    hops = math.ceil(round(seconds * SAMPLE_RATE) / HOP)
    position = (np.arange(hops) * HOP / SAMPLE_RATE - offset_s) * rate_hz
    before = np.clip(np.floor(position).astype(int), 0, len(curves) - 1)
    after = np.minimum(before + 1, len(curves) - 1)
    share = np.clip(position - before, 0, 1)[:, None].astype(np.float32)
    return np.asarray(curves[before] * (1 - share) + curves[after] * share, np.float32)
