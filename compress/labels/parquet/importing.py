"""Command labels import: a table that was exported, as the label folder that it was made of."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np

from compress.errors import InputError, UsageError
from compress.labels.curve_codec import pack
from compress.labels.parquet.tables import (
    AUDIO,
    FORMAT,
    METADATA,
    OWN,
    TableFacts,
    TableShard,
    arrow,
    digest,
    rows_of,
    schema_of,
    whole_of,
)
from compress.labels.shard_checks import why
from compress.labels.shards import Labelled, Missing, to_bytes
from compress.labels.store import (
    FOLDER,
    SHARDS,
    Index,
    IndexedClip,
    read_clips,
    read_index,
    teacher_of,
)
from compress.labels.verification import verify_labels
from compress.progress import bar
from compress.run.run_folder import check_run_folder
from compress.store import STAGE_FILE, atomic_folder, atomic_write, run_lock, seal
from exporters import records
from exporters.bundle.sums import inside
from exporters.regular import check_regular


@dataclass(frozen=True)
class Imported:
    """What was written; `others` counts the shards whose bytes are not those that were exported.

    Their curves are: another build of zlib deflates them otherwise.
    """

    folder: Path
    shards: int
    clips: int
    others: int

    def __str__(self) -> str:
        same = "byte for byte as they were"
        if self.others:
            same = f"{self.others} in other bytes, since zlib is another here; the curves are equal"
        return f"{self.shards} shards, {same}, {self.clips} clips: {self.folder}"


def import_labels(file: Path, run: Path, *, hidden: bool = False) -> Imported:
    """Write the labels of a table into a run folder that has none. `hidden` shows no progress.

    Raises `InputError` for a table that `labels export` did not write, or that was changed since,
    `UsageError` for a folder that has labels or is of other things, and `MissingError` without
    pyarrow. Nothing is left of labels that could not be written to the end.
    """
    folder = run / FOLDER
    with _Table(file) as table:
        check_run_folder(run)
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UsageError(
                f"{folder} is not empty. Remove it, or import into another run folder with --out."
            )
        shards = table.facts.shards
        with run_lock(run), atomic_folder(folder) as made, bar("import", len(shards), hidden) as at:
            for name, content in table.files():
                atomic_write(made / name, content)
            for done, (name, content) in enumerate(table.shards(made)):
                at(done, name)
                atomic_write(made / name, content)
            sealed = seal(made, table.facts.key).files
            found = verify_labels(made, hidden=True)
            if found.faults:
                raise _unreadable(file, f"{found.faults[0].file}: {found.faults[0].wrong}")
    others = sum(sealed[shard.name] != shard.file for shard in shards)
    return Imported(folder, len(shards), found.clips, others)


class _Table:
    """A table that is read row group by row group; a context manager, since its file stays open.

    Raises `InputError` wherever it is not what was exported.
    """

    def __init__(self, path: Path) -> None:
        _, parquet = arrow()
        self._path = path
        with _reading(path):
            check_regular(path)
            self._file = parquet.ParquetFile(path, page_checksum_verification=True)
            self._metadata: dict[bytes, bytes] = self._file.metadata.metadata or {}
            self.facts = _facts(self._metadata)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def files(self) -> Iterator[tuple[str, bytes]]:
        """What lies beside the shards: name and content."""
        with _reading(self._path):
            for name in self.facts.files:
                yield name, whole_of(name, self.facts, self._metadata)

    def shards(self, folder: Path) -> Iterator[tuple[str, bytes]]:
        """Each shard: name and content. `folder` has the index that was among the files."""
        with _reading(self._path):
            index = read_index(folder)
            found = self._file.schema_arrow.remove_metadata()
            schema = schema_of(index.controls, AUDIO in found.names)
            if not found.equals(schema):
                raise ValueError(f"it has the columns {', '.join(found.names[:8])}")
            groups = groupby(read_clips(folder), key=lambda clip: clip.shard)
            for i, (shard, (name, group)) in enumerate(zip(self.facts.shards, groups, strict=True)):
                if shard.name != name:
                    raise ValueError(f"it has {shard.name} in the place of {name}")
                rows = self._file.read_row_group(i)
                yield name, _shard(rows, schema, index, list(group), shard)


def _shard(
    rows: Any, schema: Any, index: Index, clips: Sequence[IndexedClip], shard: TableShard
) -> bytes:
    """The shard whose rows these are. Raises `ValueError` where they are not as they were."""
    counts = [clip.frames for clip in clips]
    starts = np.cumsum([0, *counts])
    columns = [rows.column(len(OWN) + i).to_numpy() for i in range(len(index.controls))]
    curves = np.stack(columns, axis=1)
    audio = [b""] * len(clips)
    if AUDIO in schema.names:
        audio = [rows[AUDIO][int(start)].as_py() or b"" for start in starts[:-1]]
    if digest(curves, audio) != shard.curves:
        raise ValueError(f"the curves or the audio of {shard.name} were changed since")
    if not rows.equals(rows_of(schema, index, clips, curves, audio)):
        raise ValueError(f"clips, sides or times of {shard.name} were changed since")
    labelled = [
        Labelled(clip.id, clip.frames, pack(curves[start : start + clip.frames]), flac)
        for clip, start, flac in zip(clips, starts, audio, strict=False)
    ]
    missing = [Missing(clip, reason) for clip, reason in shard.missing.items()]
    return to_bytes(teacher_of(index), labelled, missing)


def _facts(metadata: dict[bytes, bytes]) -> TableFacts:
    """What a table says of itself. Raises `ValueError` for what no export writes."""
    if METADATA.encode() not in metadata:
        raise ValueError("`lipstill labels export` did not write it")
    text = metadata[METADATA.encode()]
    if (found := json.loads(text).get("format")) != FORMAT:
        raise ValueError(f"it is of format {found}, expected {FORMAT}: another lipstill wrote it")
    facts = records.from_json(TableFacts, text)
    if facts != facts.checked():
        raise ValueError("what it says of itself is not what was written")
    for name in (*facts.files, *(shard.name for shard in facts.shards)):
        if not inside(name) or name.startswith(".") or name == STAGE_FILE:
            raise ValueError(f"it has a file {name!r}")
    if wrong := [s.name for s in facts.shards if not fnmatch(s.name, SHARDS) or "/" in s.name]:
        raise ValueError(f"it has a shard {wrong[0]!r}")
    return facts


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise `InputError` for whatever reading meets in a file that is damaged or foreign."""
    pa, _ = arrow()
    try:
        yield
    except InputError as error:
        raise _unreadable(path, why(error)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error


def _unreadable(path: Path, said: str) -> InputError:
    return InputError(
        f"{path} cannot be read as labels: {' '.join(said.split())[:300]}. Expected a file as "
        f"`lipstill labels export` wrote it, whole; export or copy it again. Nothing was imported."
    )
