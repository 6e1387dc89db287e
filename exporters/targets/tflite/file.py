"""What a ``.tflite`` of ours says of itself, read with nothing but ``struct``.

Where a file is used there may be a runtime and no more: no schema, no flatbuffers package. A
runtime is C++ that follows the offsets it finds; so a file carries the SHA-256 of all its bytes but
the values of its weights, and no byte goes to a runtime before that is right. Other weights cannot
lead a runtime astray: whether they are the right ones is for ``SHA256SUMS`` and golden windows.
"""

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path

from exporters.errors import ForeignFileError, ModelFileError
from exporters.targets.metadata import SIGNATURE_KEY

IDENTIFIER = b"TFL3"
DIGEST_KEY = "lipstill.sha256"
# What stands for the digest while it is taken.
NO_DIGEST = b"0" * 64

_PIECE = 1 << 16

# Fields by their numbers in the schema, github.com/google-ai-edge/LiteRT, tflite/schema/schema.fbs
_MODEL_SUBGRAPHS, _MODEL_BUFFERS, _MODEL_METADATA = 2, 4, 6
_SUBGRAPH_TENSORS, _SUBGRAPH_OUTPUTS = 0, 2
_TENSOR_TYPE, _TENSOR_BUFFER = 1, 2
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0
# Element types of what is only multiplied and added; integers of 32 bits may be shapes.
_WEIGHTS = {0: "FLOAT32", 1: "FLOAT16", 9: "INT8"}


def read(path: Path) -> tuple[bytes, dict[str, str]]:
    """The bytes of a file of ours and its metadata. Raises ModelFileError for anything else."""
    if not path.is_file():
        raise ModelFileError(f"{path} is not a file; expected a TFLite model.")
    content = path.read_bytes()
    try:
        places = _metadata(content)
        if SIGNATURE_KEY not in places:
            raise ForeignFileError(
                f"{path} is a TFLite model, but none that lipstill wrote: its metadata lacks "
                f"{SIGNATURE_KEY!r}. Expected a file made by lipstill's export."
            )
        if content[_place_of_digest(content)] != _digest(content):
            raise ValueError("all but its weights does not give the SHA-256 that it carries")
        ours = {key: place for key, place in places.items() if key.startswith("lipstill.")}
        return content, {key: content[place].decode() for key, place in ours.items()}
    except ValueError as error:
        raise ModelFileError(
            f"{path} ({len(content)} bytes) is no TFLite model or was changed after its export: "
            f"{error}. If the file was copied or downloaded, compare its SHA-256 with the one in "
            "SHA256SUMS; if it was edited, export it again."
        ) from error


def sealed(content: bytes) -> bytes:
    """The same file with the SHA-256 of all but its weights in its metadata. Raises ValueError."""
    place = _place_of_digest(content)
    return content[: place.start] + _digest(content) + content[place.stop :]


def _place_of_digest(content: bytes) -> slice:
    place = _metadata(content).get(DIGEST_KEY)
    if place is None or place.stop - place.start != len(NO_DIGEST):
        raise ValueError(f"it has no room for {DIGEST_KEY!r} in its metadata")
    return place


def _digest(content: bytes) -> bytes:
    """The SHA-256 of a file, zeros for its weights and for the digest.

    Piece by piece: whoever opens a file should not need room for it twice.
    """
    blanks = {(part.start, part.stop): b"\0" for part in _weights(content)}
    place = _place_of_digest(content)
    blanks[place.start, place.stop] = b"0"
    digest, done, whole = hashlib.sha256(), 0, memoryview(content)
    for (start, stop), blank in sorted(blanks.items()):
        digest.update(whole[done:start])
        start = max(start, done)  # buffers may overlap in a file that is not ours
        for at in range(start, stop, _PIECE):
            digest.update(blank * (min(stop, at + _PIECE) - at))
        done = max(done, stop)
    digest.update(whole[done:])
    return digest.hexdigest().encode()


def constant_bytes(content: bytes) -> int:
    """Bytes of all constants of a file, each counted once. Raises ValueError."""
    model = _Table.root(content)
    buffers = list(model.tables(_MODEL_BUFFERS))
    used = {
        tensor.number(_TENSOR_BUFFER)
        for graph in model.tables(_MODEL_SUBGRAPHS)
        for tensor in graph.tables(_SUBGRAPH_TENSORS)
    }
    return sum(buffers[number].vector(_BUFFER_DATA)[1] for number in used)


def with_output(content: bytes, tensor: int) -> bytes:
    """The same model, giving this tensor of its graph in place of its one output."""
    (graph,) = _Table.root(content).tables(_MODEL_SUBGRAPHS)
    start, length = graph.vector(_SUBGRAPH_OUTPUTS)
    assert length == 1
    return content[:start] + struct.pack("<i", tensor) + content[start + 4 :]


def _metadata(content: bytes) -> dict[str, slice]:
    """Where the value of each entry lies. Raises ValueError."""
    if content[4:8] != IDENTIFIER:
        raise ValueError(f"bytes 4 to 8 are {content[4:8]!r}, expected {IDENTIFIER!r}")
    model = _Table.root(content)
    buffers = list(model.tables(_MODEL_BUFFERS))
    places = {}
    for entry in model.tables(_MODEL_METADATA):
        start, length = entry.vector(_METADATA_NAME)
        number = entry.number(_METADATA_BUFFER)
        if number >= len(buffers):
            raise ValueError(f"there are {len(buffers)} buffers, and none of number {number}")
        value, size = buffers[number].vector(_BUFFER_DATA)
        places[content[start : start + length].decode()] = slice(value, value + size)
    return places


def _weights(content: bytes) -> Iterator[slice]:
    """Where the values of constants lie that are weights or biases. Raises ValueError."""
    model = _Table.root(content)
    buffers = list(model.tables(_MODEL_BUFFERS))
    for graph in model.tables(_MODEL_SUBGRAPHS):
        for tensor in graph.tables(_SUBGRAPH_TENSORS):
            number = tensor.number(_TENSOR_BUFFER)
            if number >= len(buffers):
                raise ValueError(f"there are {len(buffers)} buffers, and none of number {number}")
            if tensor.byte(_TENSOR_TYPE) in _WEIGHTS:
                start, length = buffers[number].vector(_BUFFER_DATA)
                if length:  # what is computed has none
                    yield slice(start, start + length)


class _Table:
    """One table of a flatbuffer. Whatever leads outside of the bytes raises ValueError."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content, self._at = content, at

    @classmethod
    def root(cls, content: bytes) -> "_Table":
        return cls(content, _unpack("<I", content, 0))

    def number(self, field: int) -> int:
        """A uint32; 0 is not written."""
        place = self._place(field)
        return 0 if place is None else _unpack("<I", self._content, place)

    def byte(self, field: int) -> int:
        """A byte; 0 is not written."""
        place = self._place(field)
        return 0 if place is None else _unpack("<B", self._content, place)

    def vector(self, field: int) -> tuple[int, int]:
        """Where the elements of a vector or text begin, and how many there are."""
        place = self._place(field)
        if place is None:
            return 0, 0
        place += _unpack("<I", self._content, place)
        length = _unpack("<I", self._content, place)
        if place + 4 + length > len(self._content):  # an element has a byte at least
            raise ValueError(f"byte {place} begins {length} elements of {len(self._content)} bytes")
        return place + 4, length

    def tables(self, field: int) -> Iterator["_Table"]:
        """The tables of a vector."""
        start, length = self.vector(field)
        for place in range(start, start + 4 * length, 4):
            yield _Table(self._content, place + _unpack("<I", self._content, place))

    def _place(self, field: int) -> int | None:
        """Where the value of a field is, or the way to it; None if it has its default."""
        layout = self._at - _unpack("<i", self._content, self._at)
        entry = 4 + 2 * field  # behind the size of the layout and that of the table
        if entry + 2 > _unpack("<H", self._content, layout):
            return None
        offset = _unpack("<H", self._content, layout + entry)
        return self._at + offset if offset else None


def _unpack(form: str, content: bytes, at: int) -> int:
    if not 0 <= at <= len(content) - struct.calcsize(form):
        raise ValueError(f"something points to byte {at} of {len(content)}")
    number: int = struct.unpack_from(form, content, at)[0]
    return number
