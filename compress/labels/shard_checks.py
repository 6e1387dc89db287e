"""One shard of labels against what the rest of its folder says of it, and against itself."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from compress.errors import InputError
from compress.labels.shards import Missing, Shard, TeacherFacts
from compress.labels.store import CLIPS, INDEX, IndexedClip
from compress.speech.audio import SAMPLE_RATE
from compress.store import file_hash


@dataclass(frozen=True)
class Wanted:
    """What the rest of its folder says of a shard; None where it says nothing that is known."""

    name: str
    sha256: str | None = None
    clips: list[IndexedClip] | None = None
    teacher: TeacherFacts | None = None


@dataclass
class Held:
    """What a shard holds, and what is wrong with it; no `teacher` where it cannot be opened."""

    clips: int = 0
    frames: int = 0
    missing: tuple[Missing, ...] = ()
    teacher: TeacherFacts | None = None
    wrong: list[str] = field(default_factory=list)


def check_shard(folder: Path, wanted: Wanted) -> Held:
    """Everything that can be asked of a shard, one clip in memory at a time."""
    held, path = Held(), folder / wanted.name
    if wanted.sha256 is not None and (wrong := differs(path, wanted.sha256)):
        held.wrong.append(wrong)
    if not path.is_file():
        return held
    try:
        with Shard(path) as shard:
            header = shard.header
            held.teacher, held.missing = header.teacher, header.missing
            held.wrong += _disagreements(shard, wanted)
            known = {clip.id: clip for clip in wanted.clips or ()}
            for clip, frames in header.frames.items():
                if wrong := _clip(shard, clip, known.get(clip)):
                    held.wrong.append(f"clip {clip}: {wrong}")
                else:
                    held.clips += 1
                    held.frames += frames
    except InputError as error:
        held.wrong.append(why(error))
    return held


def _disagreements(shard: Shard, wanted: Wanted) -> Iterator[str]:
    """Where a shard's header says otherwise than the index of all shards."""
    header = shard.header
    if wanted.teacher is not None and wanted.teacher != header.teacher:
        yield f"its teacher is {header.teacher.description!r}, of other facts than in {INDEX}"
    if wanted.clips is None:
        return
    frames = {clip.id: clip.frames for clip in wanted.clips}
    yield from (f"clip {clip} is not in it" for clip in frames if clip not in header.frames)
    for clip, count in header.frames.items():
        if clip not in frames:
            yield f"clip {clip} is not in {CLIPS}"
        elif frames[clip] != count:
            yield f"clip {clip} has {count} frames, {frames[clip]} in {CLIPS}"


def _clip(shard: Shard, clip: str, indexed: IndexedClip | None) -> str:
    """What is wrong with a clip's curves, and with its audio where that is kept."""
    controls = len(shard.header.teacher.controls)
    try:
        ends = shard.ends(clip)
        if ends.shape != (2, controls) or ends.dtype != np.float32:
            return f"ends of shape {list(ends.shape)} and type {ends.dtype}, of {controls} controls"
        if not np.isfinite(ends).all():  # all else lies between them
            return "its curves are not finite"
        shard.curves(clip)
        kept = shard.keeps_audio(clip)
        samples = len(shard.audio(clip)) if kept else 0
    except InputError as error:
        return why(error)
    if indexed is None:
        return ""
    if kept != (indexed.audio == "kept"):
        return f"its audio is {'kept' if kept else 'not kept'}, {indexed.audio} in {CLIPS}"
    if kept and samples != (expected := round(indexed.seconds * SAMPLE_RATE)):
        return f"its audio has {samples} samples, expected {expected}"
    return ""


def differs(path: Path, sha256: str) -> str:
    """How a file differs from the one that was recorded; empty where it does not."""
    try:
        found = file_hash(path)
    except FileNotFoundError:
        return "it is gone"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return "" if found == sha256 else f"its SHA-256 is {found}, expected {sha256}"


def why(error: InputError) -> str:
    """The cause of an error alone: which file it is in, and what to do, is said elsewhere."""
    said = " ".join(str(error.__cause__ or error).split())[:200]
    return f"it cannot be read ({said})"
