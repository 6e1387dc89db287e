"""Pseudo-labels: the teacher runs once over all speech, and its curves are kept.

Shard by shard, each written whole under its own key: a killed run goes on where it stopped. Which
clips are in a shard, and where long recordings are cut, follows from the speech alone.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.errors import AudioError, InputError, TeacherError
from compress.labels.engines import Engine
from compress.labels.shards import FORMAT, Missing, Shard, TeacherFacts, kept
from compress.labels.store import (
    LabelledClip,
    Labels,
    hops_of,
    write_index,
)
from compress.labels.work import Task, Work
from compress.progress import bar
from compress.rig.units import measure
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import Clip
from compress.speech.split import Side
from compress.store import atomic_write, content_key, tool_versions
from compress.teachers.loading import TeacherFile
from exporters.mesh import MESH

if TYPE_CHECKING:
    from compress.recipe.recipe import LabelSettings, TeacherSettings

# Of the clips that are missing, so many are named in a message.
NAMED = 3


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
        clips=[[s.clip.id, s.side, s.clip.sha256, s.clip.start, s.clip.samples] for s in speech],
        kept=keeps_audio(settings, speech),
        settings=settings.model_dump(mode="json", exclude={"keep_audio", "max_missing_share"}),
        opened=teacher_settings.key_parts,
        threads=threads,
        versions=tool_versions("torch", "numpy", "scipy", "soundfile"),
    )


def keeps_audio(settings: "LabelSettings", speech: Sequence[Spoken]) -> bool:
    """Whether shards keep the audio: as the recipe says, or where some of it is far away."""
    if settings.keep_audio is None:
        return not all(spoken.clip.source.local for spoken in speech)
    return settings.keep_audio


def label(
    key: str,
    speech: Sequence[Spoken],
    folder: Path,
    settings: "LabelSettings",
    work: Work,
    engine: Engine,
) -> Labels:
    """Run the teacher over all speech; whole shards of this key that are there already are kept.

    Clips that cannot be read or labelled are listed in the result. Raises `AudioError` when one
    recording is on both sides of the split, `InputError`, or the one reason that there is, when
    more clips are missing than the settings allow, and `TeacherError` when no control ever moves.
    """
    _check_sides(speech)
    planned = tasks(key, speech, settings.shard_s)
    done_s, to_do = 0.0, []
    missing: list[Missing] = []
    for task in planned:
        header = kept(folder / task.shard)
        if header is None or header.missing:  # failures are tried again
            to_do.append(task)
        else:
            done_s += task.seconds
    allowed = settings.max_missing_share * len(speech)
    with bar("label", sum(s.clip.seconds for s in speech), unit="s of speech") as progress:
        progress(done_s)

        def advance(seconds: float) -> None:
            nonlocal done_s
            progress(done_s := done_s + seconds)

        shards = engine.run(work, to_do, advance)
        try:
            for task, made in shards:
                atomic_write(folder / task.shard, made)
                if header := kept(folder / task.shard):
                    missing += header.missing
                if len(missing) > allowed:
                    raise _too_many(missing, len(speech), settings.max_missing_share)
        finally:
            if isinstance(shards, Generator):  # ends its workers
                shards.close()
    labels = _collected(key, speech, folder, planned)
    write_index(labels)
    return labels


def tasks(key: str, speech: Sequence[Spoken], shard_s: float) -> list[Task]:
    """Clips in their order, divided into shards of at most `shard_s`, one group of sources each."""
    most = round(shard_s * SAMPLE_RATE)
    divided: list[list[Clip]] = []
    filled = 0
    for clip in (spoken.clip for spoken in speech):
        another = not divided or divided[-1][-1].source.group != clip.source.group
        if another or filled + clip.samples > most:
            divided.append([])
            filled = 0
        divided[-1].append(clip)
        filled += clip.samples
    return [
        Task(
            f"shard-{content_key(labels=key, clips=[c.id for c in clips])}.safetensors",
            tuple(clips),
        )
        for clips in divided
    ]


def _too_many(missing: Sequence[Missing], clips: int, share: float) -> InputError:
    if len(missing) == 1:
        return InputError(
            f"{missing[0].id} cannot be labelled: {missing[0].reason} Of {clips} clips none may be "
            f"missing with labels.max_missing_share = {share:g}. What was finished is kept. Mend "
            f"or remove the clip, or raise that share."
        )
    named = "".join(f"\n  - {clip.id}: {clip.reason}" for clip in missing[:NAMED])
    more = f"\n  - and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return InputError(
        f"{len(missing)} of {clips} clips cannot be labelled, expected a share of at most {share:g}. "
        f"What was finished is kept, and the same command tries the others again. Mend or remove "
        f"them, or raise labels.max_missing_share:{named}{more}"
    )


def _collected(key: str, speech: Sequence[Spoken], folder: Path, planned: Sequence[Task]) -> Labels:
    """What lies in the shards, and the range of each control over training speech."""
    sides = {spoken.clip.id: spoken.side for spoken in speech}
    index: list[LabelledClip] = []
    missing: list[Missing] = []
    lowest = highest = None
    teacher: TeacherFacts | None = None
    for task in planned:
        with Shard(folder / task.shard) as shard:
            teacher = shard.header.teacher
            missing += shard.header.missing
            for clip in task.clips:
                if clip.id not in shard.header.frames:
                    continue
                index.append(_indexed(clip, sides[clip.id], task.shard, shard))
                if sides[clip.id] == "train":
                    ends = shard.ends(clip.id)
                    lowest = ends[0] if lowest is None else np.minimum(lowest, ends[0])
                    highest = ends[1] if highest is None else np.maximum(highest, ends[1])
    if teacher is None or lowest is None or highest is None:
        raise AudioError("No training clip has labels, so there is nothing to distil.")
    return _described(teacher, key, folder, index, missing, lowest, highest)


def _indexed(clip: Clip, side: Side, name: str, shard: Shard) -> LabelledClip:
    return LabelledClip(
        id=clip.id,
        side=side,
        audio=None if shard.keeps_audio(clip.id) else clip,
        seconds=clip.seconds,
        sha256=clip.sha256,
        shard=name,
        frames=shard.header.frames[clip.id],
        hops=hops_of(clip.samples),
    )


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


def _described(
    teacher: TeacherFacts,
    key: str,
    folder: Path,
    index: Sequence[LabelledClip],
    missing: Sequence[Missing],
    lowest: NDArray[np.floating],
    highest: NDArray[np.floating],
) -> Labels:
    """The labels, from the range of each control over training speech."""
    controls = teacher.controls
    found = measure(controls, lowest, highest, teacher.limits, mesh=(folder / MESH).is_file())
    if not found.moving.any():
        clips = sum(clip.side == "train" for clip in index)
        most = int(np.argmax(highest - lowest))
        raise TeacherError(
            f"The teacher moves none of its {len(controls)} controls over {clips} clips of "
            f"training speech: there is nothing to distil. The most lively one, {controls[most]}, "
            f"goes from {lowest[most]:.9g} to {highest[most]:.9g}, which is no more than rounding. "
            f"Is it the right checkpoint?"
        )
    ranges = list(zip(controls, found.moving.tolist(), lowest, highest, strict=True))
    return Labels(
        folder=folder,
        scale=found.scale,
        key=key,
        controls=controls,
        driven=tuple(name for name, moves, _, _ in ranges if moves),
        constants={name: float(low) for name, moves, low, _ in ranges if not moves},
        limits=teacher.limits,
        rate_hz=teacher.rate_hz,
        offset_s=teacher.offset_s,
        teacher_parameters=teacher.parameters,
        teacher_description=teacher.description,
        clips=tuple(index),
        missing=tuple(missing),
        slight={
            name: float(high - low) for name, moves, low, high in ranges if not moves and high > low
        },
        rests=found.rests,
        units=found.units,
    )
