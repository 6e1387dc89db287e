"""Phone alignments of speech: where known, lips and curves can be judged against the truth."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.errors import InputError
from compress.speech.visemes import (
    INDEX,
    VISEMES,
    Phone,
    Segment,
    arpabet_visemes,
    is_silence,
    segments_of,
)
from compress.texts import read_text

FILE = "alignments.json"


@dataclass(frozen=True)
class Alignment:
    """What a clip says and when: its text, its phones (label, start s, end s) and their visemes.

    `voice` is who speaks, or None where the file does not say.
    """

    text: str
    phones: tuple[Phone, ...]
    segments: tuple[Segment, ...]
    voice: str | None = None


def read_alignments(folders: Iterable[Path]) -> dict[str, Alignment]:
    """Alignments by clip id, from the ``alignments.json`` of each folder that has one.

    What an aligner writes for no phone, such as ``spn`` or an empty label, is silence.
    An entry has ``phones``, ARPAbet, or ``visemes`` where a synthesizer's phones are others; both as
    (label, start s, end s); it may name its ``voice``. Raises `InputError` for a file that cannot be read, times that cannot
    be, or a label that is not known.
    """
    found: dict[str, Alignment] = {}
    for path in (folder / FILE for folder in folders):
        if not path.exists():
            continue
        clip = "its first clip"
        try:
            for clip, entry in json.loads(read_text(path)).items():
                found[clip] = _alignment(entry)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is not a file of alignments; at {clip}: {type(error).__name__}: {error}. "
                f"Expected a JSON object, clip id → "
                f'{{"text": …, "phones": [["P", 0.10, 0.18], …]}}, with ARPAbet phones and seconds, '
                f'or "visemes" ({", ".join(VISEMES)}) in place of phones; "voice" may name who speaks.'
            ) from error
    return found


def _alignment(entry: dict[str, Any]) -> Alignment:
    timed = entry["visemes"] if "visemes" in entry else entry["phones"]
    phones = tuple(
        ("" if label is None else str(label), float(start), float(end))
        for label, start, end in timed
    )
    for label, start, end in phones:
        if not 0 <= start <= end < float("inf"):
            raise ValueError(f"{label} from {start} to {end} s")
    visemes_of = _viseme if "visemes" in entry else arpabet_visemes
    voice = entry.get("voice")
    if voice is not None and not isinstance(voice, str):
        raise ValueError(f"voice {voice!r}, expected a name")
    return Alignment(str(entry["text"]), phones, tuple(segments_of(phones, visemes_of)), voice)


def _viseme(name: str) -> tuple[str, ...]:
    """The viseme of a name, or silence where it is a label for that. Raises `KeyError`."""
    return ("sil",) if is_silence(name) else (VISEMES[INDEX[name]],)
