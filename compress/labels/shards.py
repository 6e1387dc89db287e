"""A shard of labels: the curves of some clips in one safetensors file that says what it holds.

Of each clip: ``ID|ends`` and ``ID|packed`` as `curve_codec` stores curves, and ``ID|audio``, 16-bit
FLAC, where audio is kept. The header has the teacher's facts, the clips, and those that are missing.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from compress.errors import InputError
from compress.labels.curve_codec import Stored, unpack
from compress.speech.audio import SAMPLE_RATE
from compress.teachers import Teacher
from exporters import records

Floats = NDArray[np.float32]

FORMAT = 3  # raise when what is stored changes its meaning
HEADER = "lipstill"


@records.strict
@dataclass(frozen=True)
class TeacherFacts:
    """What labels say of the teacher that made them."""

    controls: tuple[str, ...]
    limits: tuple[float, float] | None
    rate_hz: float
    offset_s: float
    parameters: int
    description: str


@dataclass(frozen=True)
class Labelled:
    """A clip's curves as they are stored, at the teacher's rate; `audio` is FLAC, or nothing."""

    id: str
    frames: int
    curves: Stored
    audio: bytes = b""


@dataclass(frozen=True)
class Missing:
    """A clip without labels, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Header:
    """What a shard says of itself. `frames`: clip id → number of frames, in the shard's order."""

    teacher: TeacherFacts
    frames: dict[str, int]
    missing: tuple[Missing, ...]


@records.strict
@dataclass(frozen=True)
class _Clips:
    """Clips as a shard's header has them: id → number of frames, id → why it is missing."""

    frames: dict[str, int]
    missing: dict[str, str]


def facts_of(teacher: Teacher) -> TeacherFacts:
    """What labels keep of a teacher. Equal numbers are written alike, 30 as 30.0."""
    limits = teacher.limits
    return TeacherFacts(
        teacher.controls,
        None if limits is None else (float(limits[0]), float(limits[1])),
        float(teacher.rate_hz),
        float(teacher.offset_s),
        teacher.parameters_count,
        teacher.description,
    )


def to_bytes(
    teacher: TeacherFacts, clips: Sequence[Labelled], missing: Sequence[Missing] = ()
) -> bytes:
    """A shard as a file. Equal curves give equal bytes."""
    from safetensors.numpy import save

    header = {
        "format": FORMAT,
        "teacher": asdict(teacher),
        "frames": {clip.id: clip.frames for clip in clips},
        "missing": {clip.id: clip.reason for clip in missing},
    }
    tensors: dict[str, NDArray[Any]] = {}
    for clip in clips:
        tensors[f"{clip.id}|ends"] = clip.curves.ends
        tensors[f"{clip.id}|packed"] = clip.curves.packed
        if clip.audio:
            tensors[f"{clip.id}|audio"] = np.frombuffer(clip.audio, np.uint8)
    return save(tensors, {HEADER: json.dumps(header, separators=(",", ":"))})


class Shard:
    """A shard that is read clip by clip; a context manager, since its file stays open.

    Raises `InputError`, on opening and on reading, for a file that is gone or damaged.
    """

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self._path = path
        open_file: Any = safe_open  # whose types are incomplete
        try:
            self._file = open_file(path, "np")
            self.header = _header(self._file.metadata() or {})
            self._names = frozenset(self._file.keys())
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__(None, None, None)

    def stored(self, clip: str) -> Stored:
        """A clip's curves as they lie there."""
        return Stored(self._tensor(f"{clip}|ends"), self._tensor(f"{clip}|packed"))

    def curves(self, clip: str) -> Floats:
        """A clip's curves, float32 `[frames, controls]`."""
        stored = self.stored(clip)
        try:
            return unpack(stored, self.header.frames[clip])
        except (ValueError, KeyError) as error:
            raise self._damaged(error) from error

    def ends(self, clip: str) -> Floats:
        """Lowest and highest value of each control, float32 `[2, controls]`."""
        found: Floats = self._tensor(f"{clip}|ends")
        return found

    def keeps_audio(self, clip: str) -> bool:
        """Whether a clip's audio lies in the shard too."""
        return f"{clip}|audio" in self._names

    def audio(self, clip: str) -> Floats:
        """What is said in a clip, float32 `[samples]` at 16 kHz."""
        import soundfile

        try:
            samples: Floats = soundfile.read(io.BytesIO(self.flac(clip)), dtype="float32")[0]
        except soundfile.LibsndfileError as error:
            raise self._damaged(error) from error
        return samples

    def flac(self, clip: str) -> bytes:
        """The same as it lies there."""
        return self._tensor(f"{clip}|audio").tobytes()

    def _tensor(self, name: str) -> NDArray[Any]:
        from safetensors import SafetensorError

        try:
            found: NDArray[Any] = self._file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise self._damaged(error) from error
        return found

    def _damaged(self, error: Exception) -> InputError:
        return InputError(
            f"{self._path} cannot be read as a shard of labels ({type(error).__name__}: {error}). "
            f"`lipstill labels verify {self._path.parent} --remove-damaged` takes out what is "
            f"damaged, and the run's own command then makes that alone again."
        )


def kept(path: Path) -> Header | None:
    """What a shard says of itself, if it is there and whole; None when it has to be made."""
    try:
        with Shard(path) as shard:
            return shard.header
    except InputError:
        return None


def flac(samples: Floats) -> bytes:
    """Samples at 16 kHz as 16-bit FLAC: off by at most a 32,768th."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _header(metadata: Mapping[str, str]) -> Header:
    """Raises `ValueError`, `KeyError` or `TypeError` for whatever `to_bytes` does not write."""
    fields = json.loads(metadata[HEADER])
    if fields["format"] != FORMAT:
        raise ValueError(f"format {fields['format']}, expected {FORMAT}")
    teacher = records.from_json(TeacherFacts, json.dumps(fields["teacher"]))
    clips = records.from_json(_Clips, json.dumps({k: fields[k] for k in ("frames", "missing")}))
    missing = tuple(Missing(clip, reason) for clip, reason in clips.missing.items())
    return Header(teacher, clips.frames, missing)
