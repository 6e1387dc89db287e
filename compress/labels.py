"""Pseudo-labels: the teacher runs once over all speech, and its curves are kept.

Shard by shard, each written whole under its own key: a killed run goes on where it stopped.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.audio import HOP, SAMPLE_RATE
from compress.errors import AudioError, TeacherError
from compress.label_store import (
    Grid,
    LabelledClip,
    Labels,
    audio_of,
    curves_of,
    entry,
    read_labels,
    read_shard,
    write_index,
    write_shard,
)
from compress.progress import bar
from compress.sources import Clip
from compress.split import Side
from compress.store import content_key, tool_versions
from compress.teachers import Teacher
from compress.teachers.loading import TeacherFile
from compress.teachers.pieces import Cutting, animate_long

if TYPE_CHECKING:
    from compress.recipe import LabelSettings, TeacherSettings

__all__ = [
    "Grid",
    "LabelledClip",
    "Labels",
    "Spoken",
    "audio_of",
    "curves_of",
    "label",
    "labels_key",
    "read_batch",
    "read_labels",
    "resample",
]

Floats = NDArray[np.float32]

FORMAT = 2  # raise when what is stored changes its meaning
# A control that moves less than this over all training speech, by the rig's scale, is a constant.
STILL_BELOW = 1e-4
# What moves less than this, or than this share of itself, is rounding.
ROUNDING, ROUNDING_SHARE = 1e-6, 1e-5


@dataclass(frozen=True)
class Spoken:
    """A clip and the side of the split that it is on."""

    clip: Clip
    side: Side


def labels_key(
    teacher: TeacherFile,
    speech: Sequence[Spoken],
    settings: "LabelSettings",
    teacher_settings: "TeacherSettings",
    threads: int,
) -> str:
    """Key of the labels of `speech`, from hashes alone: neither teacher nor audio is opened."""
    return content_key(
        format=FORMAT,
        teacher=teacher.hash,
        clips=[[s.clip.id, s.side, s.clip.sha256] for s in speech],
        settings=settings.model_dump(mode="json"),
        opened=teacher_settings.key_parts,
        threads=threads,
        versions=tool_versions("torch", "numpy", "scipy", "soundfile"),
    )


def label(
    teacher: Teacher,
    key: str,
    speech: Sequence[Spoken],
    folder: Path,
    settings: "LabelSettings",
    cutting: Cutting,
) -> Labels:
    """Run the teacher over all speech; shards of this key that are there already are kept.

    Raises `AudioError` when one recording is on both sides of the split, and `TeacherError`, naming
    the clip, when curves break the teacher contract, or when no control ever moves.
    """
    _check_sides(speech)
    index: list[LabelledClip] = []
    lowest = np.full(len(teacher.controls), np.inf)
    highest = -lowest
    done_s = 0.0
    with bar("label", sum(s.clip.seconds for s in speech)) as progress:
        for start in range(0, len(speech), settings.shard_clips):
            members = speech[start : start + settings.shard_clips]
            shard_key = content_key(labels=key, clips=[m.clip.id for m in members])
            shard = f"shard-{shard_key}.safetensors"
            curves = read_shard(folder / shard)
            if curves is None:
                curves, shard_s = {}, 0.0
                for member, native in _animated(teacher, members, settings.batch_s, cutting):
                    clip = member.clip
                    hops = resample(native, teacher.rate_hz, teacher.offset_s, clip.seconds)
                    curves |= {entry(clip.id, "frames"): native, entry(clip.id, "hops"): hops}
                    shard_s += clip.seconds
                    progress(done_s + shard_s)
                write_shard(folder / shard, curves)
            done_s += sum(m.clip.seconds for m in members)
            progress(done_s)
            for member in members:
                frames = len(curves[entry(member.clip.id, "frames")])
                hops = curves[entry(member.clip.id, "hops")]
                index.append(_indexed(member, shard, frames, len(hops)))
                if member.side == "train":
                    lowest = np.minimum(lowest, hops.min(0))
                    highest = np.maximum(highest, hops.max(0))
    labels = _described(teacher, key, folder, index, lowest, highest)
    write_index(labels)
    return labels


def _check_sides(speech: Sequence[Spoken]) -> None:
    """One recording under two names would be trained on and judged on at once."""
    first = {(s.side, s.clip.sha256): s.clip for s in speech}
    for spoken in speech:
        twin = first.get(("train", spoken.clip.sha256))
        if spoken.side == "heldout" and twin is not None:
            raise AudioError(
                f"{twin.path} and {spoken.clip.path} are the same bytes, but the one is on the "
                f"training side of the split and the other on the held-out side: what is judged "
                f"must not be trained on. Remove one of the two files."
            )


def _indexed(member: Spoken, shard: str, frames: int, hops: int) -> LabelledClip:
    clip = member.clip
    return LabelledClip(
        id=clip.id,
        side=member.side,
        audio=clip,
        seconds=clip.seconds,
        sha256=clip.sha256,
        shard=shard,
        frames=frames,
        hops=hops,
    )


def _described(
    teacher: Teacher,
    key: str,
    folder: Path,
    index: Sequence[LabelledClip],
    lowest: NDArray[np.float64],
    highest: NDArray[np.float64],
) -> Labels:
    """The labels, from the range of each control over training speech."""
    controls = teacher.controls
    scale = scale_of(lowest, highest)
    moving = highest - lowest > STILL_BELOW * scale
    if not moving.any():
        clips = sum(clip.side == "train" for clip in index)
        raise TeacherError(
            f"The teacher moves none of its {len(controls)} controls over {clips} clips of "
            f"training speech: there is nothing to distil. Is it the right checkpoint?"
        )
    return Labels(
        folder=folder,
        scale=scale,
        key=key,
        controls=controls,
        driven=tuple(name for name, moves in zip(controls, moving, strict=True) if moves),
        constants={
            name: float(value)
            for name, moves, value in zip(controls, moving, lowest, strict=True)
            if not moves
        },
        limits=teacher.limits,
        rate_hz=teacher.rate_hz,
        offset_s=teacher.offset_s,
        teacher_parameters=teacher.parameters_count,
        teacher_description=teacher.description,
        clips=tuple(index),
    )


def scale_of(lowest: NDArray[np.floating], highest: NDArray[np.floating]) -> float:
    """The power of ten by which a rig is measured, from each control's range, `[controls]`.

    1 where the control that goes furthest from 0 goes by 0.3 to 3, and where none moves.
    """
    reach = np.maximum(highest, 0) - np.minimum(lowest, 0)
    moves = highest - lowest > np.maximum(ROUNDING, ROUNDING_SHARE * reach)
    if not moves.any():
        return 1.0
    return float(10.0 ** math.ceil(math.log10(reach[moves].max() / 3)))


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


def _animated(
    teacher: Teacher, members: Sequence[Spoken], batch_s: float, cutting: Cutting
) -> Iterator[tuple[Spoken, Floats]]:
    """Each member with its curves. Clips of equal length go through the teacher together."""
    by_length: dict[int, list[Spoken]] = {}
    for member in members:
        by_length.setdefault(member.clip.samples, []).append(member)
    batches = []
    for samples, group in sorted(by_length.items()):
        size = max(1, int(batch_s * SAMPLE_RATE / samples))
        batches += [group[i : i + size] for i in range(0, len(group), size)]
    # One batch ahead: decoding runs beside the teacher, outside of Python's lock.
    with ThreadPoolExecutor(1) as reader:
        waiting = [reader.submit(read_batch, batch) for batch in batches[:1]]
        for i, batch in enumerate(batches):
            waiting += [reader.submit(read_batch, ahead) for ahead in batches[i + 1 : i + 2]]
            paths = [member.clip.path for member in batch]
            curves = animate_long(teacher, waiting.pop(0).result(), cutting, paths)
            yield from zip(batch, curves, strict=True)


def read_batch(batch: Sequence[Spoken]) -> Floats:
    """Audio of clips of equal length, float32 `[batch, samples]`; `BadAudio` if one has changed."""
    return np.stack([member.clip.read() for member in batch])
