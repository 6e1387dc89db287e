"""Labels as a Parquet table: one row a frame, and in its metadata all that it takes to come back.

Columns: ``clip``, ``side``, ``frame``, ``time_s`` from the clip's start on, and one for each
control; where shards keep audio, ``audio`` too, a clip's FLAC in the row of its frame 0. A shard is
a row group. The files of a label folder beside its shards are in the metadata whole.
"""

import base64
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import MissingError
from compress.labels.store import Index, IndexedClip
from compress.store import content_key
from exporters import records

Floats = NDArray[np.float32]

FORMAT = 2  # raise when what is written changes its meaning
METADATA = "lipstill"
OWN = ("clip", "side", "frame", "time_s")
AUDIO = "audio"
# Readers take no text of more than 100 MB.
CHUNK = 8 * 2**20


@records.strict
@dataclass(frozen=True)
class TableShard:
    """A shard, which is a row group.

    `missing` are the clips that are missing in it, and why; `curves` is the SHA-256 of its curves
    and its audio, `file` that of the file that it was.
    """

    name: str
    missing: dict[str, str]
    curves: str
    file: str


@records.strict
@dataclass(frozen=True)
class TableFacts:
    """What a table says of itself. `files`: name of a file in the metadata → in how many parts.

    `checksum` is that of all the rest: Parquet has one for each page, and none for its metadata.
    """

    format: int
    key: str
    files: dict[str, int]
    shards: tuple[TableShard, ...]
    versions: dict[str, str | None]
    checksum: str = ""

    def checked(self) -> "TableFacts":
        """The same with its checksum."""
        return replace(self, checksum=content_key(**asdict(replace(self, checksum=""))))


def arrow() -> tuple[Any, Any]:
    """pyarrow and its parquet. Raises `MissingError` where it is not installed."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise MissingError(
            "Parquet files need the Python package pyarrow, which is not installed: "
            "pip install 'lipstill[parquet]'"
        ) from error


def schema_of(controls: Sequence[str], audio: bool) -> Any:
    """The table's columns, in their order. A control with the name of another column is set apart."""
    pa, _ = arrow()
    words = pa.dictionary(pa.int32(), pa.string())
    own = zip(OWN, (words, words, pa.int32(), pa.float64()), strict=True)
    taken = {*OWN, AUDIO}
    names = [f"control.{name}" if name in taken else name for name in controls]
    return pa.schema(
        [
            *(pa.field(name, kind, nullable=False) for name, kind in own),
            *(pa.field(name, pa.float32(), nullable=False) for name in names),
            *([pa.field(AUDIO, pa.binary())] if audio else []),
        ]
    )


def rows_of(
    schema: Any,
    index: Index,
    clips: Sequence[IndexedClip],
    curves: Floats,
    audio: Sequence[bytes],
) -> Any:
    """The rows of a shard, as a pyarrow table.

    `curves`: float32 `[frames of all clips, controls]`; `audio`: FLAC of each clip, or b"".
    """
    pa, _ = arrow()
    counts = [clip.frames for clip in clips]
    frame = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])
    which = np.repeat(np.arange(len(clips), dtype=np.int32), counts)
    sides = sorted({clip.side for clip in clips})
    side = np.array([sides.index(clip.side) for clip in clips], np.int32)[which]
    columns = [
        pa.DictionaryArray.from_arrays(which, [clip.id for clip in clips]),
        pa.DictionaryArray.from_arrays(side, sides),
        pa.array(frame),
        pa.array(index.offset_s + frame / index.rate_hz),
        *(pa.array(np.ascontiguousarray(column)) for column in curves.T),
    ]
    if AUDIO in schema.names:
        held: list[bytes | None] = [None] * len(frame)
        for start, flac in zip(np.cumsum([0, *counts[:-1]]), audio, strict=True):
            held[start] = flac or None
        columns.append(pa.array(held, pa.binary()))
    return pa.table(columns, schema=schema)


def digest(curves: Floats, audio: Sequence[bytes]) -> str:
    """SHA-256 of a shard's content, whatever stores it."""
    found = hashlib.sha256(np.ascontiguousarray(curves, "<f4").tobytes())
    for flac in audio:
        found.update(flac)
    return found.hexdigest()


def parts_of(path: Path) -> Iterator[str]:
    """A file as text that metadata can hold, piece by piece."""
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield base64.b64encode(zlib.compress(piece)).decode()


def whole_of(name: str, facts: TableFacts, metadata: Mapping[bytes, bytes]) -> bytes:
    """A file of the metadata, as it was. Raises `ValueError` or `KeyError` where it is damaged."""
    try:
        return b"".join(
            zlib.decompress(base64.b64decode(metadata[part_name(name, i).encode()], validate=True))
            for i in range(facts.files[name])
        )
    except zlib.error as error:
        raise ValueError(str(error)) from error


def part_name(name: str, i: int) -> str:
    """What a part of a file is called in the metadata."""
    return f"{METADATA}.{name}.{i}"
