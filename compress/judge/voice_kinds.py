"""Who speaks in held-out speech: the kind of voice, its language, and the voice itself.

One number for all speech hides what fails on some of it: figures are given for each kind, and for
each language in it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

# What kinds of voices there are: name → patterns of clip ids.
Kinds = Mapping[str, Sequence[str]]

ALL, OTHER = "held-out speech", "other speech"
_LANGUAGE = re.compile(r"[a-z]{2}")


@dataclass(frozen=True)
class Group:
    """Clips of one kind of voice, by their places; `language` None is all its languages."""

    kind: str
    language: str | None
    clips: tuple[int, ...]


def kind_of(clip: str, kinds: Kinds) -> str:
    """The first kind of which a pattern names the clip; `*` in a pattern stands for / as well."""
    if not kinds:
        return ALL
    for kind, patterns in kinds.items():
        if any(fnmatchcase(clip, pattern) for pattern in patterns):
            return kind
    return OTHER


def language_of(clip: str) -> str | None:
    """The first folder of two small letters in a clip's id, such as ``en``; None where none is."""
    folders = clip.split("/")[:-1]
    return next((name for name in folders if _LANGUAGE.fullmatch(name)), None)


def voice_of(clip: str, named: str | None) -> str:
    """The voice that an alignment names, or else the folders of the clip's id."""
    return named or clip.rpartition("/")[0]


def numbered(voices: Sequence[str]) -> NDArray[np.intp]:
    """Voices as numbers from 0, `[clips]`."""
    return np.unique(np.array(voices, dtype=object).astype(str), return_inverse=True)[1].ravel()


def groups(clips: Sequence[str], kinds: Kinds) -> list[Group]:
    """Each kind that some clip has, in the recipe's order, followed by each of its languages."""
    order = [*kinds, OTHER] if kinds else [ALL]
    places: dict[str, list[int]] = {kind: [] for kind in order}
    for place, clip in enumerate(clips):
        places[kind_of(clip, kinds)].append(place)
    found = []
    for kind, own in places.items():
        if not own:
            continue
        found.append(Group(kind, None, tuple(own)))
        languages = {place: language_of(clips[place]) for place in own}
        for language in sorted({name for name in languages.values() if name}):
            of_it = tuple(place for place in own if languages[place] == language)
            found.append(Group(kind, language, of_it))
    return found
