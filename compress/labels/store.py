"""A label folder: shards of curves, ``index.json`` on all of them, ``clips.jsonl`` on each clip.

``stage.json`` says that it is finished, with the checksum of every file.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compress.errors import InputError
from compress.labels.rest_pose import Rest
from compress.labels.shards import Missing, Shard, TeacherFacts
from compress.rig.rig import ARKIT_RIG, Rig
from compress.rig.units import Units, units_of
from compress.speech.audio import HOP, SAMPLE_RATE
from compress.speech.sources import Clip
from compress.speech.split import Side
from compress.store import STAGE_FILE, atomic_write, seal
from exporters import records
from exporters.bundle.sums import inside
from exporters.mesh import MESH

Floats = NDArray[np.float32]
Grid = Literal["frames", "hops"]

FOLDER = "labels"  # of a run
INDEX, CLIPS, SHARDS = "index.json", "clips.jsonl", "shard-*.safetensors"
# Raise when another index is made of the same shards: an older one is then made anew.
DESCRIBED = 2


@records.strict
@dataclass(frozen=True)
class Index:
    """What ``index.json`` says of all clips together; its fields are explained in `Labels`."""

    controls: tuple[str, ...]
    driven: tuple[str, ...]
    constants: dict[str, float]
    limits: tuple[float, float] | None
    scale: float
    rate_hz: float
    offset_s: float
    teacher_parameters: int
    teacher_description: str
    missing: tuple[Missing, ...]
    slight: dict[str, float] = field(default_factory=dict)
    rests: dict[str, float] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)
    described: int = 1  # of an index that says no number


@records.strict
@dataclass(frozen=True)
class IndexedClip:
    """A line of ``clips.jsonl``: a `LabelledClip`, but `audio` says only whether its shard has it."""

    id: str
    side: Side
    audio: Literal["kept", "elsewhere"]
    seconds: float
    sha256: str
    shard: str
    frames: int
    hops: int


@records.strict
@dataclass(frozen=True)
class SealedFile:
    """What ``stage.json`` says of a file."""

    bytes: int
    sha256: str


@records.strict
@dataclass(frozen=True)
class Seal:
    """What ``stage.json`` says: the key of the labels, and their files by name."""

    key: str
    files: dict[str, SealedFile]


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
    go. `slight` says of constants that do move by how much, in all training speech. `rests` has the
    rest value of each driven control that stays far from 0, `units` the unit of each that has
    another one than `scale`. `missing` are clips without labels. `rig` is no result of labelling
    and not kept, nor is `rest`: the teacher's rest pose, and sound that has it as its label.
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
    slight: dict[str, float] = field(default_factory=dict)
    rests: dict[str, float] = field(default_factory=dict)
    units: dict[str, float] = field(default_factory=dict)
    described: int = DESCRIBED
    rest: Rest | None = None

    def side(self, side: Side) -> tuple[LabelledClip, ...]:
        """The clips on one side of the split, in the order of the index."""
        return tuple(clip for clip in self.clips if clip.side == side)

    @property
    def driven_columns(self) -> list[int]:
        """Where the driven controls stand among all controls."""
        return [self.controls.index(name) for name in self.driven]

    @property
    def own_units(self) -> Units:
        """In what units the driven controls are learned."""
        return units_of(self.driven, self.scale, self.rests, self.units)

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
    for path in labels.folder.glob(SHARDS):  # made under another key
        if path.name not in wanted:
            path.unlink()
    index = Index(**{each.name: getattr(labels, each.name) for each in fields(Index)})
    atomic_write(labels.folder / INDEX, json.dumps(asdict(index), indent=1) + "\n")
    atomic_write(labels.folder / CLIPS, "".join(map(_line, labels.clips)))
    seal(labels.folder, labels.key)


def _line(clip: LabelledClip) -> str:
    line = vars(clip) | {"audio": "kept" if clip.audio is None else "elsewhere"}
    return json.dumps(line, separators=(",", ":")) + "\n"


def read_labels(folder: Path, speech: Mapping[str, Clip]) -> Labels:
    """A finished label folder. `speech`: clip id → where its audio lies now.

    Raises `InputError` for an index that is damaged.
    """
    index, key = read_index(folder), read_seal(folder).key
    clips = []
    for clip in read_clips(folder):
        audio = None if clip.audio == "kept" else speech[clip.id]
        clips.append(LabelledClip(**(vars(clip) | {"audio": audio})))
    return Labels(folder=folder, key=key, clips=tuple(clips), **vars(index))


def find_labels(folder: Path) -> Path:
    """The label folder that is meant: this one, or that of a run. Raises `InputError` for none."""
    for found in (folder, folder / FOLDER):
        if (found / INDEX).is_file() or (found.is_dir() and any(found.glob(SHARDS))):
            return found
    what = "holds no labels" if folder.is_dir() else "is no folder"
    raise InputError(
        f"{folder} {what if folder.exists() else 'does not exist'}. Expected a folder of labels (it "
        f"has {SHARDS}), or a run with such a folder, {FOLDER}/, as `lipstill label` makes it."
    )


def read_seal(folder: Path) -> Seal:
    """What ``stage.json`` says. Raises `InputError` where it is damaged, or not there yet."""
    try:
        seal = records.from_json(Seal, (folder / STAGE_FILE).read_bytes())
        if outside := [name for name in seal.files if not inside(name)]:
            raise ValueError(f"{outside[0]!r} is no path below the folder")
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} has no {STAGE_FILE}: labelling is not finished. The command that was "
            f"labelling goes on from there."
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(folder / STAGE_FILE, str(error)) from error
    return seal


def read_index(folder: Path) -> Index:
    """What ``index.json`` says. Raises `InputError` where it is damaged."""
    try:
        return records.from_json(Index, (folder / INDEX).read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(folder / INDEX, str(error)) from error


def teacher_of(index: Index) -> TeacherFacts:
    """What the index says of the teacher, as each shard says it."""
    return TeacherFacts(
        index.controls,
        index.limits,
        index.rate_hz,
        index.offset_s,
        index.teacher_parameters,
        index.teacher_description,
    )


def read_clips(folder: Path) -> Iterator[IndexedClip]:
    """The lines of ``clips.jsonl``, one at a time. Raises `InputError` where one is damaged."""
    try:
        with (folder / CLIPS).open("rb") as lines:
            yield from (_clip_of(line, number) for number, line in enumerate(lines, 1))
    except (OSError, ValueError) as error:
        raise _damaged(folder / CLIPS, str(error)) from error


def _clip_of(line: bytes, number: int) -> IndexedClip:
    try:
        return records.from_json(IndexedClip, line)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def _damaged(path: Path, said: str) -> InputError:
    return InputError(
        f"{path} cannot be read: {' '.join(said.split())[:200]}. `lipstill labels verify "
        f"{path.parent} --remove-damaged` takes out what is damaged, and the run's own command "
        f"then makes that alone again."
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
