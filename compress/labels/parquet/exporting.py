"""Command labels export: a finished label folder as one Parquet file, written shard by shard."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from compress.errors import InputError, UsageError
from compress.labels.parquet.tables import (
    AUDIO,
    FORMAT,
    METADATA,
    OWN,
    Floats,
    TableFacts,
    TableShard,
    arrow,
    digest,
    part_name,
    parts_of,
    rows_of,
    schema_of,
)
from compress.labels.shard_checks import differs
from compress.labels.shards import Shard
from compress.labels.store import (
    CLIPS,
    SHARDS,
    IndexedClip,
    Seal,
    find_labels,
    read_clips,
    read_index,
    read_seal,
)
from compress.progress import bar
from compress.store import atomic_file, tool_versions

LEVEL = 3  # of zstd
SUFFIX = ".parquet"


@dataclass(frozen=True)
class Exported:
    """What was written."""

    file: Path
    shards: int
    clips: int
    seconds: float

    def __str__(self) -> str:
        size = self.file.stat().st_size / 1e6
        return (
            f"{self.shards} shards, {self.clips} clips, {self.seconds / 3600:.2f} h, "
            f"{size:.1f} MB: {self.file}"
        )


def export_labels(folder: Path, to: Path, *, hidden: bool = False) -> Exported:
    """Write labels, of a run or of a label folder, as a Parquet file. `hidden` shows no progress.

    Raises `UsageError` for a file of another ending, `InputError` for labels that are not finished
    or damaged, and `MissingError` without pyarrow.
    """
    if to.suffix.lower() != SUFFIX:
        raise UsageError(f"--to {to} ends in {to.suffix!r}; expected a file ending in {SUFFIX}.")
    _, parquet = arrow()
    folder = find_labels(folder)
    seal, index = read_seal(folder), read_index(folder)
    left = {name for name in seal.files if fnmatch(name, SHARDS)}
    files = sorted(seal.files.keys() - left)
    for name in files:
        _check(folder, name, seal)
    schema = schema_of(index.controls, any(clip.audio == "kept" for clip in read_clips(folder)))
    shards: list[TableShard] = []
    count = frames = 0
    with (
        atomic_file(to) as temporary,
        parquet.ParquetWriter(temporary, schema, **_encoded(schema)) as writer,
        bar("export", len(left), hidden) as progress,
    ):
        for name, group in groupby(read_clips(folder), key=lambda clip: clip.shard):
            progress(len(shards), name)
            _check(folder, name, seal)
            left.discard(name)
            clips = list(group)
            missing, curves, audio = _read(folder / name, clips)
            rows = rows_of(schema, index, clips, curves, audio)
            writer.write_table(rows, row_group_size=len(rows))
            content = digest(curves, audio)
            shards.append(TableShard(name, missing, content, seal.files[name].sha256))
            count, frames = count + len(clips), frames + len(rows)
        if left:
            raise _disagrees(folder / min(left), f"has no clip in {CLIPS}")
        parts = {name: list(parts_of(folder / name)) for name in files}
        facts = TableFacts(
            format=FORMAT,
            key=seal.key,
            files={name: len(texts) for name, texts in parts.items()},
            shards=tuple(shards),
            versions=tool_versions("lipstill", "pyarrow"),
        ).checked()
        writer.add_key_value_metadata(
            {METADATA: json.dumps(asdict(facts))}
            | {part_name(n, i): text for n, texts in parts.items() for i, text in enumerate(texts)}
        )
    return Exported(to, len(shards), count, frames / index.rate_hz)


def _encoded(schema: Any) -> dict[str, Any]:
    """How a table is written: the high bytes of neighbouring frames are equal, so these go together."""
    numbers = [name for name in schema.names if name not in (*OWN[:3], AUDIO)]
    return {
        "compression": "zstd",
        "compression_level": LEVEL,
        "use_dictionary": list(OWN[:2]),
        "column_encoding": dict.fromkeys(numbers, "BYTE_STREAM_SPLIT")
        | {OWN[2]: "DELTA_BINARY_PACKED"},
        "write_page_checksum": True,
    }


def _read(path: Path, clips: Sequence[IndexedClip]) -> tuple[dict[str, str], Floats, list[bytes]]:
    """The missing clips of a shard, the curves of all others one after the other, and their FLAC."""
    with Shard(path) as shard:
        if list(shard.header.frames.items()) != [(clip.id, clip.frames) for clip in clips]:
            raise _disagrees(path, f"holds other clips than {CLIPS} says")
        missing = {clip.id: clip.reason for clip in shard.header.missing}
        curves = np.concatenate([shard.curves(clip.id) for clip in clips])
        audio = [shard.flac(clip.id) if clip.audio == "kept" else b"" for clip in clips]
        return missing, curves, audio


def _check(folder: Path, name: str, seal: Seal) -> None:
    if name not in seal.files:
        raise _disagrees(folder / name, "is not listed in stage.json")
    if wrong := differs(folder / name, seal.files[name].sha256):
        raise _disagrees(folder / name, f"is damaged: {wrong}")


def _disagrees(path: Path, said: str) -> InputError:
    return InputError(
        f"{path} {said}. `lipstill labels verify {path.parent}` says what is wrong with these "
        f"labels, and how that is made again; nothing was exported."
    )
