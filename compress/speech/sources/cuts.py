"""Recordings and cuts as Lhotse writes them, one JSON object a line, and how their audio is read.

A manifest is data: what would run a program to make audio is refused.
"""

import gzip
import hashlib
import json
import math
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from compress.errors import AudioError, BadAudio
from compress.speech import audio
from compress.speech.audio import SAMPLE_RATE
from compress.speech.decoder import rewritten
from compress.speech.sources import remote
from compress.speech.sources.plausible import AGREED_S, check_length, check_numbers
from compress.speech.sources.remote import is_url, shown
from compress.store import canonical_json
from exporters.regular import irregular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Samples at 16 kHz that a part may lack: times are rounded to samples at another rate.
ROUNDING = 2
# More than this behind the end of a recording is sound that its manifest does not know of: programs
# count what encoders put at the ends in their own ways.
LONGER = SAMPLE_RATE // 4
# What a manifest may ask of Lhotse. Others read files of their own, or run programs.
TRANSFORMS = ("Resample", "Speed", "Tempo", "Volume")
# How Lhotse names what it made of another recording, which stays on that one's side of the split.
PERTURBED = re.compile(r"(_[stv]p\d+(\.\d+)?)+$")
# What is said about the audio, and is no part of it.
REMARKS = ("supervisions", "custom", "features")


@dataclass(frozen=True, slots=True)
class CutSource:
    """A recording or a cut of a manifest, as compact JSON of what is needed to read it.

    `root` is the folder, or URL with a file name, from which its relative paths start.
    """

    entry: str
    root: str
    timeout_s: float
    group: str = ""

    @property
    def name(self) -> str:
        entry = json.loads(self.entry)
        return f"{shown(_place(entry['sources'][0], self.root))} ({entry['id']})"

    @property
    def local(self) -> bool:
        places = [source["source"] for source in json.loads(self.entry)["sources"]]
        there = is_url(self.root)  # then what is relative is there too
        # Asked of every clip, so without a look at the disk.
        return not any(is_url(place) or (there and not os.path.isabs(place)) for place in places)

    def read(self, start: int, stop: int) -> "NDArray[np.float32]":
        entry = json.loads(self.entry)
        if "transformed" in entry:
            found = _transformed(entry, self.root, self.timeout_s, self.name)[start:stop]
        else:
            first = samples_of(entry["start"])
            beyond = first + stop + (LONGER if stop == entry["whole"] else 0)
            found = _mixed(entry, self.root, self.timeout_s, first + start, beyond)
        return completed(found, stop - start, self.name)


def completed(found: "NDArray[np.float32]", samples: int, name: str) -> "NDArray[np.float32]":
    """Audio of so many samples; BadAudio where more than a rounding is missing, or `LONGER` over."""
    import numpy as np

    if len(found) == samples + LONGER:
        raise BadAudio(
            name,
            f"it is longer than its manifest says: more than {LONGER / SAMPLE_RATE:g} s follow, which "
            f"would be lost; make the manifest again from the files",
        )
    found = found[:samples]
    if len(found) < samples - ROUNDING:
        raise BadAudio(
            name,
            f"it is shorter than its manifest says: found {len(found)} of {samples} samples",
        )
    return np.pad(found, (0, samples - len(found)))


@dataclass(frozen=True)
class Entry:
    """One line of a manifest: `samples` at 16 kHz; `kept` is what `CutSource` needs of it.

    `kept["whole"]` is the same as `samples` where the entry goes to the end of its recording, else 0.

    `recording` is the id of the recording that it is of, or was before it was perturbed.
    """

    id: str
    recording: str
    samples: int
    sha256: str
    kept: Mapping[str, Any]


def samples_of(seconds: float) -> int:
    """Samples at 16 kHz, as Lhotse rounds them: halves up, after noise in the eighth place."""
    return math.floor(round(seconds * SAMPLE_RATE, 8) + 0.5)


def lines(place: str, timeout_s: float) -> Iterator[tuple[int, bytes, float]]:
    """Lines of a manifest with their numbers from 1, and the share of it that is read then.

    Raises `AudioError` where it cannot be read, naming file and line.
    """
    number = 0
    try:
        with _raw(place, timeout_s) as (raw, size):
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            for number, line in enumerate(gzip.GzipFile(fileobj=raw) if packed else raw, 1):
                if line.strip():
                    yield number, line, min(1.0, raw.tell() / max(1, size))
    except (OSError, EOFError, zlib.error) as error:
        raise AudioError(
            f"{shown(place)} cannot be read after line {number}: "
            f"{getattr(error, 'strerror', None) or error}. Is it whole?"
        ) from error


@contextmanager
def _raw(place: str, timeout_s: float) -> Iterator[tuple[IO[bytes], int]]:
    if is_url(place):
        whole = remote.fetch(place, timeout_s)
        yield BytesIO(whole), len(whole)
    elif found := irregular(Path(place)):
        raise AudioError(f"{shown(place)} is {found}, expected a file.")
    else:
        with open(place, "rb") as file:
            yield file, os.path.getsize(place)


def parsed(line: bytes, where: str, root: str, shar: bool = False) -> Entry:
    """What a line says. Raises `AudioError` that names `where` it stands.

    `shar`: its audio lies in a tar, and has its place there instead of sources.
    """
    try:
        entry = json.loads(line)
        return _entry(entry, root, shar)
    except _Refused as error:
        raise AudioError(f"{where}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise AudioError(
            f"{where} is no recording and no cut of Lhotse ({type(error).__name__}: {error}). "
            f"Expected one JSON object a line, as lhotse writes them to "
            f"recordings.jsonl.gz and cuts.jsonl.gz."
        ) from error


class _Refused(Exception):
    """What is in a manifest and not read, in words."""


def _entry(entry: dict[str, Any], root: str, shar: bool) -> Entry:
    kind = entry.get("type", "MonoCut" if "recording" in entry else "Recording")
    if kind not in ("MonoCut", "MultiCut", "Recording"):
        raise _Refused(
            f"{entry['id']} is a {kind}, which mixes or pads others; expected recordings, MonoCuts "
            f"and MultiCuts. Save mixtures as audio first, for example with CutSet.save_audios"
        )
    if kind == "Recording" and "sources" not in entry:
        raise _Refused(
            f"{entry['id']} says nothing of audio; found keys {', '.join(sorted(entry))}. Name the "
            f"manifest of recordings, or of cuts with their recordings"
        )
    if kind != "Recording" and entry.get("recording") is None:
        raise _Refused(f"{entry['id']} is a cut without a recording, so there is no audio to read")
    recording = entry if kind == "Recording" else entry["recording"]
    for described in {id(entry): entry, id(recording): recording}.values():
        check_numbers(described)
    sources = [_source(source, entry["id"], shar) for source in recording["sources"]]
    said = {key: value for key, value in entry.items() if key not in REMARKS}
    start, seconds = float(entry.get("start", 0.0)), float(entry["duration"])
    if not sources:
        raise ValueError("it has no sources")
    chosen = entry.get("channel")  # None for all
    check_length(recording)
    last = start + seconds > float(recording["duration"]) - AGREED_S
    kept: dict[str, Any] = {"id": entry["id"], "sources": sources, "start": start}
    kept["whole"] = samples_of(seconds) if last else 0
    if chosen is not None:
        kept["channels"] = [chosen] if isinstance(chosen, int) else list(chosen)
        if missing := set(kept["channels"]) - {c for s in sources for c in s["channels"]}:
            raise ValueError(f"no source has the channels {sorted(missing)}")
    if transforms := recording.get("transforms"):
        for transform in transforms:
            check_numbers(transform.get("kwargs", {}))
            if transform["name"] not in TRANSFORMS:
                raise _Refused(
                    f"{entry['id']} is changed by {transform['name']}, expected one of "
                    f"{', '.join(TRANSFORMS)}. Save what comes of it as audio first, for example "
                    f"with CutSet.save_audios"
                )
        kept["transformed"] = {"type": kind, **said}
    for name in (entry["id"], recording["id"]):
        name.encode()  # what is no text can name nothing
    digest = hashlib.sha256(canonical_json(_moved(said, root))).hexdigest()
    of = PERTURBED.sub("", recording["id"])
    return Entry(entry["id"], of, samples_of(seconds), digest, kept)


def _source(source: dict[str, Any], id_: str, shar: bool) -> dict[str, Any]:
    kind, place = source["type"], source["source"]
    wanted = ("shar",) if shar else ("file", "url")
    if kind not in wanted or str(place).startswith("pipe:"):
        shell = kind == "command" or str(place).startswith("pipe:")
        why = " A manifest is data, and runs no commands: save the audio first." if shell else ""
        placeholder = " Name the Shar folder itself." if kind == "shar" else ""
        raise _Refused(
            f"{id_} has audio of the type {'command' if shell else kind}, expected "
            f"{' or '.join(wanted)}.{why}{placeholder}"
        )
    if source.get("video") is not None:
        raise _Refused(f"{id_} has its audio in a video; extract it first, for example with ffmpeg")
    check_numbers(source)
    channels = [int(channel) for channel in source["channels"]]
    return {"type": kind, "channels": channels, "source": str(place)}


def _moved(said: dict[str, Any], root: str) -> dict[str, Any]:
    """The same with the paths below its folder relative, so that moving the folder changes nothing."""
    if is_url(root):
        return said

    above = os.path.join(root, "")

    def relative(source: dict[str, Any]) -> dict[str, Any]:
        place = source["source"]
        if source["type"] != "file" or not place.startswith(above):
            return source
        return source | {"source": place.removeprefix(above).replace(os.sep, "/")}

    recording = said.get("recording", said)
    moved = recording | {"sources": [relative(source) for source in recording["sources"]]}
    return said | {"recording": moved} if "recording" in said else moved


def _place(source: dict[str, Any], root: str) -> str:
    """The path or URL of a source: relative to the manifest's folder first, else to where we work."""
    place = str(source["source"])
    if is_url(place) or os.path.isabs(place):
        return place
    if is_url(root):
        return remote.beside(root, place)
    path = Path(root, place)
    return str(path if path.exists() else Path(place).absolute())


def _bytes_of(source: dict[str, Any], root: str, timeout_s: float) -> Path | bytes:
    place = _place(source, root)
    return remote.cached(place, timeout_s) if is_url(place) else Path(place)


def columns(source: Mapping[str, Any], chosen: Sequence[int] | None) -> tuple[int, ...]:
    """Where in a source's file the channels stand that are chosen, None for all of them."""
    channels = source["channels"]
    return tuple(i for i, channel in enumerate(channels) if chosen is None or channel in chosen)


def _mixed(
    entry: dict[str, Any], root: str, timeout_s: float, start: int, stop: int
) -> "NDArray[np.float32]":
    """The average of its channels, whatever files they are in, from `start` to `stop`."""
    import numpy as np

    total = np.zeros(stop - start, np.float32)
    count, ends = 0, stop - start
    for source in entry["sources"]:
        if not (places := columns(source, entry.get("channels"))):
            continue
        file = _bytes_of(source, root, timeout_s)
        part = audio.read_part(file, start, stop, shown(_place(source, root)), places)
        total[: len(part)] += len(places) * part
        count, ends = count + len(places), min(ends, len(part))
    return (total / np.float32(max(1, count)))[:ends]


def _transformed(
    entry: dict[str, Any], root: str, timeout_s: float, name: str
) -> "NDArray[np.float32]":
    """All of a cut that Lhotse changes by its transforms, float32 `[samples]` at 16 kHz."""
    import numpy as np
    from lhotse import MonoCut, MultiCut, Recording
    from lhotse.audio.utils import AudioLoadingError, DurationMismatchError

    said = dict(entry["transformed"])
    kind = {"MonoCut": MonoCut, "MultiCut": MultiCut, "Recording": Recording}[said.pop("type")]
    cut = kind.from_dict({"supervisions": [], **said} if kind is not Recording else said)
    for source in (cut if kind is Recording else cut.recording).sources:
        # In memory, as it is: Lhotse takes the names of some files for work for other programs.
        file = _bytes_of({"source": source.source}, root, timeout_s)
        try:
            whole = rewritten(file, name)  # where headers lie, Lhotse believes them
            source.source = whole or (file if isinstance(file, bytes) else file.read_bytes())
        except OSError as error:
            raise BadAudio(name, f"not readable: {error.strerror}") from error
        source.type = "memory"
    try:
        channels = np.atleast_2d(cut.load_audio())
    except (AudioLoadingError, DurationMismatchError, ValueError, AssertionError) as error:
        raise BadAudio(name, f"Lhotse cannot load it: {type(error).__name__}: {error}") from error
    mono = audio.mono(channels.T.astype(np.float32), name)
    return np.clip(audio.resampled(mono, cut.sampling_rate), -1.0, 1.0)
