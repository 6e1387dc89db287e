"""One shard of labels: its audio decoded, through the teacher piece by piece, stored.

What it becomes depends on nothing but its task and the teacher: the same on whatever engine.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.errors import BadAudio, NoAnswer, TeacherError
from compress.labels.curve_codec import pack
from compress.labels.shards import Labelled, Missing, facts_of, flac, to_bytes
from compress.speech.audio import SAMPLE_RATE, SILENT_PEAK
from compress.speech.sources import Clip, Source
from compress.teachers import Teacher
from compress.teachers.pieces import Cutting, Piece, animate, cut, cutting_of, part, within

if TYPE_CHECKING:
    from compress.recipe.recipe import TeacherSettings
    from compress.teachers.loading import TeacherFile
    from exporters.mesh import Mesh

Floats = NDArray[np.float32]

SHAPES_KEPT = "64"
READERS = 4  # threads that decode; they leave Python's lock while they do


@dataclass(frozen=True)
class Task:
    """The clips of one shard, in the order of the speech, and the name of its file.

    `given_up` are clips on which the teacher brought its process down, and how; where `alone`, one
    piece goes through the teacher at a time, to find out which.
    """

    shard: str
    clips: tuple[Clip, ...]
    given_up: dict[str, str] = field(default_factory=dict)
    alone: bool = False

    @property
    def seconds(self) -> float:
        return sum(clip.seconds for clip in self.clips)


@dataclass(frozen=True)
class Work:
    """What every shard of a run has in common, able to travel to another process.

    `mesh` is what a teacher of vertices is reduced by.
    """

    teacher: "TeacherFile"
    settings: "TeacherSettings"
    base: Path
    batch_s: float
    keep_audio: bool
    threads: int
    mesh: "Mesh | None" = None

    @property
    def cutting(self) -> Cutting:
        return cutting_of(self.settings)

    def open(self) -> Teacher:
        """The teacher, ready to animate. Raises `TeacherError`."""
        keep_few_shapes()
        import torch

        from compress.teachers.loading import open_teacher
        from compress.teachers.mesh.teacher import MeshTeacher

        torch.set_num_threads(self.threads)
        teacher: Teacher = open_teacher(self.teacher, self.settings, self.base)
        return teacher if self.mesh is None else MeshTeacher(teacher, self.mesh)


def keep_few_shapes() -> None:
    """Have oneDNN, which computes for PyTorch, keep less of what it prepares for each shape.

    Clips are of any length: a thousand prepared shapes take hundreds of megabytes, and few come
    again. For processes that only label: in a training the same few hundred come at every step. A
    process that has PyTorch already is left as it is, and a user's own setting stands.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", SHAPES_KEPT)


@dataclass(frozen=True)
class Heard:
    """The audio of a shard: of each source, its samples from `start` on, or why there are none."""

    samples: dict[Source, Floats]
    start: dict[Source, int]
    bad: dict[Source, str]


# A piece of a recording.
Place = tuple[Source, Piece]


class Member:
    """A clip of a shard, and the pieces of its recording that its frames come from."""

    def __init__(self, clip: Clip, rate_hz: float, cutting: Cutting) -> None:
        self.clip = clip
        pieces = cut(clip.total, rate_hz, cutting)
        self.pieces = within(pieces, clip.start, clip.start + clip.samples)

    @cached_property
    def needed(self) -> tuple[int, int]:
        """The samples of its recording that these pieces span."""
        return self.pieces[0].start, self.pieces[-1].stop


def members_of(task: Task, rate_hz: float, cutting: Cutting) -> list[Member]:
    """Raises `TeacherError` where long recordings cannot be cut for this teacher."""
    return [Member(clip, rate_hz, cutting) for clip in task.clips]


def hear(members: Sequence[Member]) -> Heard:
    """Decode what the members of a shard need, each recording once."""
    spans: dict[Source, tuple[int, int]] = {}
    for member in members:
        source, (start, stop) = member.clip.source, member.needed
        known = spans.get(source, (start, stop))
        spans[source] = min(start, known[0]), max(stop, known[1])

    def read(sources: Sequence[Source]) -> list[Floats | str]:
        found: list[Floats | str] = []
        for source in sources:
            try:
                found.append(source.read(*spans[source]))
            except BadAudio as error:
                found.append(error.reason)
        return found

    # What can only be read from front to back is read by one thread.
    turns: list[list[Source]] = []
    for group, sources in groupby(spans, key=lambda source: source.group):
        together = list(sources)
        turns += [together] if group else [[source] for source in together]
    with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1)) as readers:
        found = [outcome for outcomes in readers.map(read, turns) for outcome in outcomes]
    outcomes = dict(zip([source for turn in turns for source in turn], found, strict=True))
    return Heard(
        {source: found for source, found in outcomes.items() if not isinstance(found, str)},
        {source: start for source, (start, _) in spans.items()},
        {source: found for source, found in outcomes.items() if isinstance(found, str)},
    )


def make_shard(
    teacher: Teacher,
    task: Task,
    members: Sequence[Member],
    heard: Heard,
    work: Work,
    at: Callable[[Sequence[str], float], None],
) -> bytes:
    """The shard as a file. A clip that cannot be read or labelled is missing in it, and says why.

    `at` is told of each call of the teacher: the ids of the clips that are in it, and, after it
    with no clip, the seconds of audio that came through. Raises `NoAnswer` where the teacher gives
    none in time: it must not be asked again.
    """
    missing = dict(task.given_up)
    for member in members:
        clip = member.clip
        if clip.source in heard.bad:
            missing.setdefault(clip.id, heard.bad[clip.source])
        elif clip.samples == clip.total and (peak := _peak(heard, clip)) < SILENT_PEAK:
            missing.setdefault(clip.id, f"silent: its peak is {peak:.1e}")
    wanted = [member for member in members if member.clip.id not in missing]
    curves: dict[Place, Floats] = {}
    failed: dict[Place, str] = {}
    users = _users(wanted)
    for batch in _batches(users, 0 if task.alone else work.batch_s):
        for place, outcome in _animated(teacher, batch, users, heard, at):
            if isinstance(outcome, str):
                failed[place] = outcome
            else:
                curves[place] = outcome
    labelled = []
    for member in wanted:
        clip, places = member.clip, [(member.clip.source, piece) for piece in member.pieces]
        if reasons := [failed[place] for place in places if place in failed]:
            missing[clip.id] = reasons[0]
            continue
        found = [curves[place] for place in places]
        frames = part(member.pieces, found, teacher.rate_hz, clip.start, clip.samples)
        audio = flac(_samples(heard, clip)) if work.keep_audio else b""
        labelled.append(Labelled(clip.id, len(frames), pack(frames), audio))
    gone = [Missing(c.clip.id, missing[c.clip.id]) for c in members if c.clip.id in missing]
    return to_bytes(facts_of(teacher), labelled, gone)


def _users(members: Sequence[Member]) -> dict[Place, list[str]]:
    """Each piece that is needed, and the ids of the clips that need it."""
    users: dict[Place, list[str]] = {}
    for member in members:
        for piece in member.pieces:
            users.setdefault((member.clip.source, piece), []).append(member.clip.id)
    return users


def _batches(places: dict[Place, list[str]], batch_s: float) -> Iterator[list[Place]]:
    """Pieces of equal length together, shortest first: padding would change a clip's curves."""
    by_length: dict[int, list[Place]] = {}
    for source, piece in places:
        by_length.setdefault(piece.stop - piece.start, []).append((source, piece))
    for samples, group in sorted(by_length.items()):
        size = max(1, int(batch_s * SAMPLE_RATE / samples))
        yield from (group[i : i + size] for i in range(0, len(group), size))


def _animated(
    teacher: Teacher,
    batch: Sequence[Place],
    users: dict[Place, list[str]],
    heard: Heard,
    at: Callable[[Sequence[str], float], None],
) -> Iterator[tuple[Place, Floats | str]]:
    """Each piece of a batch with its curves, or why it has none: one by one where all together fail."""
    samples = np.stack([_cut(heard, source, piece.start, piece.stop) for source, piece in batch])
    names = [_name(source, piece) for source, piece in batch]
    at([clip for place in batch for clip in users[place]], 0.0)
    try:
        found = animate(teacher, samples, names, batch[0][1].frame)
    except NoAnswer:
        raise
    except TeacherError as error:
        if len(batch) > 1:
            for place in batch:
                yield from _animated(teacher, [place], users, heard, at)
        else:
            yield batch[0], str(error)
        return
    at([], samples.size / SAMPLE_RATE)
    yield from zip(batch, found, strict=True)


def _name(source: Source, piece: Piece) -> str:
    return f"{source.name} from {piece.start / SAMPLE_RATE:.2f} s" if piece.start else source.name


def _samples(heard: Heard, clip: Clip) -> Floats:
    return _cut(heard, clip.source, clip.start, clip.start + clip.samples)


def _peak(heard: Heard, clip: Clip) -> float:
    return float(np.abs(_samples(heard, clip)).max())


def _cut(heard: Heard, source: Source, start: int, stop: int) -> Floats:
    first = heard.start[source]
    return heard.samples[source][start - first : stop - first]
