"""Phone alignments of speech: where known, lips and curves can be judged against the truth."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from compress.errors import InputError
from compress.visemes import Segment, segments_of

FILE = "alignments.json"


@dataclass(frozen=True)
class Alignment:
    """What a clip says and when: its text, and its ARPAbet phones as (label, start s, end s)."""

    text: str
    phones: tuple[tuple[str, float, float], ...]

    def __post_init__(self) -> None:
        for name, start, end in self.phones:
            if not 0 <= start <= end < float("inf"):
                raise ValueError(f"phone {name} from {start} to {end} s")

    @property
    def segments(self) -> list[Segment]:
        """The phones as visemes."""
        return segments_of(self.phones)


def read_alignments(folders: Iterable[Path]) -> dict[str, Alignment]:
    """Alignments by clip id, from the ``alignments.json`` of each folder that has one.

    Raises `InputError` for a file that cannot be read, times that cannot be, or a phone that is not
    ARPAbet.
    """
    found: dict[str, Alignment] = {}
    for path in (folder / FILE for folder in folders):
        if not path.exists():
            continue
        clip = "its first clip"
        try:
            for clip, entry in json.loads(path.read_text("utf-8")).items():
                phones = tuple(
                    (str(p), float(start), float(end)) for p, start, end in entry["phones"]
                )
                found[clip] = Alignment(str(entry["text"]), phones)
                segments_of(phones)  # knows every phone
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is not a file of alignments; at {clip}: {type(error).__name__}: {error}. "
                f"Expected a JSON object, clip id → "
                f'{{"text": …, "phones": [["P", 0.10, 0.18], …]}}, with ARPAbet phones and seconds.'
            ) from error
    return found
