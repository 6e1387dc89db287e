"""Command labels verify: a label folder against its own checksums, index and contents.

A few shards are read at a time, so that what is held at once does not grow with their number.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from compress.errors import InputError
from compress.labels.shard_checks import Wanted, check_shard, differs, why
from compress.labels.shards import Missing, TeacherFacts
from compress.labels.store import (
    CLIPS,
    FOLDER,
    INDEX,
    SHARDS,
    Index,
    Seal,
    find_labels,
    read_clips,
    read_index,
    read_seal,
    teacher_of,
)
from compress.progress import bar
from compress.store import STAGE_FILE, run_lock, storage_errors
from exporters.bundle.sums import visible_files

Item = TypeVar("Item")
Result = TypeVar("Result")

READERS = 4  # threads; checksums, deflate and reading leave Python's lock
NAMED = 20  # faults in a message
SAID = 3  # of what is wrong with one shard, so much is said


@dataclass(frozen=True)
class Fault:
    """A file that is not as it should be, and how; `remade` is one that labelling makes again."""

    file: str
    wrong: str
    remade: bool = True


@dataclass(frozen=True)
class Verification:
    """What was found in a label folder.

    Counts are of what can be read; `driven` is None where no whole index says it. `removed` are
    damaged files that were taken out since.
    """

    folder: Path
    finished: bool
    shards: int
    clips: int
    seconds: float
    controls: int
    driven: int | None
    missing: tuple[Missing, ...]
    faults: tuple[Fault, ...]
    removed: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """For people, one aligned line a fact."""
        driven = "" if self.driven is None else f", {self.driven} of them driven"
        facts = [
            ("labels", str(self.folder)),
            ("state", "finished" if self.finished else "labelling is not finished"),
            ("shards", str(self.shards)),
            ("clips", f"{self.clips}, {self.seconds / 3600:.2f} h"),
            ("controls", f"{self.controls}{driven}"),
            *(("missing", f"{clip.id}: {clip.reason}") for clip in self.missing),
            *(("removed", name) for name in self.removed),
        ]
        return [f"{name:<8}  {said}" for name, said in facts]

    def to_json(self) -> str:
        """The same for machines."""
        return json.dumps(asdict(self) | {"folder": str(self.folder)}, indent=1)

    def conclude(self) -> None:
        """Return if all labels are there and whole. Raises `InputError` with all that is wrong."""
        run = self.folder.parent if self.folder.name == FOLDER else "RUN"
        again = f"`lipstill label RECIPE --out {run}`"
        if not self.faults and self.finished:
            return
        if not self.faults:
            raise InputError(
                f"Labelling of {self.folder} is not finished. What is there is whole, and {again} "
                f"goes on from there."
            )
        if not any(fault.remade for fault in self.faults):
            todo = "The labels themselves are whole; take out what is not theirs."
        elif self.removed:
            todo = f"What was damaged is removed; {again} makes that again, and nothing else."
        else:
            todo = (
                f"`lipstill labels verify {self.folder} --remove-damaged` removes what is damaged; "
                f"{again} then makes that again, and nothing else."
            )
        said = "".join(f"\n  - {fault.file}: {fault.wrong}" for fault in self.faults[:NAMED])
        if len(self.faults) > NAMED:
            said += f"\n  - and {len(self.faults) - NAMED} more, which --json lists"
        raise InputError(f"{self.folder} is not as it was made:{said}\n{todo}")


def verify_labels(folder: Path, *, hidden: bool = False) -> Verification:
    """Check all that can be checked without teacher and audio. `hidden` shows no progress.

    Damage in one file does not hide what there is to say of the others. Raises `InputError` for a
    folder without labels.
    """
    folder = find_labels(folder)
    faults: list[Fault] = []
    seal = _sealed(folder, faults)
    damaged = {fault.file for fault in faults}
    index = _index(folder, faults) if seal is not None and INDEX not in damaged else None
    teacher = None if index is None else teacher_of(index)
    clips, frames, missing = 0, 0, list[Missing]()
    there = sum(1 for _ in folder.glob(SHARDS))
    with bar("verify", there, hidden) as progress:
        wanted = _wanted(folder, seal, teacher, CLIPS in damaged, faults)
        checked = _ahead(lambda each: check_shard(folder, each), wanted)
        for done, (shard, held) in enumerate(checked, 1):
            progress(done, shard.name)
            clips += held.clips
            frames += held.frames
            missing += held.missing
            teacher = teacher or held.teacher
            more = [f"and {len(held.wrong) - SAID} more"] if len(held.wrong) > SAID else []
            faults += [Fault(shard.name, wrong) for wrong in held.wrong[:SAID] + more]
    return Verification(
        folder=folder,
        finished=seal is not None,
        shards=there,
        clips=clips,
        seconds=0.0 if teacher is None else frames / teacher.rate_hz,
        controls=0 if teacher is None else len(teacher.controls),
        driven=None if index is None else len(index.driven),
        # The index has those too of shards in which no clip is left.
        missing=tuple(missing) if index is None else index.missing,
        faults=tuple(faults),
    )


def remove_damaged(found: Verification) -> Verification:
    """Take out the damaged files, so that labelling makes them again and no others.

    Raises `LockedError` while a run is at work in the folder.
    """
    run = found.folder.parent
    names = sorted({fault.file for fault in found.faults if fault.remade})
    removed = [name for name in names if (found.folder / name).is_file()]
    lock = run_lock(run) if (run / "run.json").is_file() else nullcontext()
    with lock, storage_errors(found.folder):
        for name in removed:
            (found.folder / name).unlink()
    return replace(found, removed=tuple(removed))


def _sealed(folder: Path, faults: list[Fault]) -> Seal | None:
    """What the folder should hold, with the faults of what is no shard; None where none says it."""
    if not (folder / STAGE_FILE).is_file():
        return None
    try:
        seal = read_seal(folder)
    except InputError as error:
        faults.append(Fault(STAGE_FILE, why(error)))
        return None
    for name, file in seal.files.items():
        if not fnmatch(name, SHARDS) and (wrong := differs(folder / name, file.sha256)):
            faults.append(Fault(name, wrong))
    unlisted = [n for n in visible_files(folder) if n not in seal.files and n != STAGE_FILE]
    faults += [Fault(name, f"{STAGE_FILE} does not list it", remade=False) for name in unlisted]
    return seal


def _index(folder: Path, faults: list[Fault]) -> Index | None:
    try:
        index = read_index(folder)
    except InputError as error:
        faults.append(Fault(INDEX, why(error)))
        return None
    if sorted([*index.driven, *index.constants]) != sorted(index.controls):
        said = f"{len(index.driven)} controls are driven and {len(index.constants)} constants"
        faults.append(Fault(INDEX, f"{said}, expected the {len(index.controls)} controls together"))
    return index


def _wanted(
    folder: Path,
    seal: Seal | None,
    teacher: TeacherFacts | None,
    unknown: bool,
    faults: list[Fault],
) -> Iterator[Wanted]:
    """Each shard that there should be. `unknown` says that the list of clips is damaged."""
    if seal is None:
        yield from (Wanted(path.name) for path in sorted(folder.glob(SHARDS)))
        return
    left = {name: file.sha256 for name, file in seal.files.items() if fnmatch(name, SHARDS)}
    seen: set[str] = set()
    try:
        lines = iter(()) if unknown else read_clips(folder)
        for name, group in groupby(lines, key=lambda clip: clip.shard):
            clips = list(group)
            for clip in clips:
                if clip.id in seen:
                    faults.append(Fault(CLIPS, f"clip {clip.id} is in it twice"))
                seen.add(clip.id)
            if name in left:
                yield Wanted(name, left.pop(name), clips, teacher)
            else:
                said = f"clip {clips[0].id} is in {name}, which {STAGE_FILE} does not list"
                faults.append(Fault(CLIPS, said))
    except InputError as error:
        faults.append(Fault(CLIPS, why(error)))
        unknown = True
    for name, sha256 in left.items():
        yield Wanted(name, sha256, None if unknown else [], teacher)


def _ahead(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in order, made by a few threads a few items ahead."""
    threads = min(READERS, os.cpu_count() or 1)
    coming: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            coming.append((item, pool.submit(function, item)))
            if len(coming) > threads:
                first, result = coming.popleft()
                yield first, result.result()
        while coming:
            first, result = coming.popleft()
            yield first, result.result()
