"""The one split: which side of the train / held-out line a prompt lies on, for ever and everywhere.

Teacher, students, the packaged speech and the full sets all ask this function, so a sentence on
which something is evaluated has never been trained or calibrated on by anything.
"""

import hashlib
import re
from typing import Literal

Side = Literal["train", "heldout"]

HELD_OUT_ONE_IN = 6

WATCHED_ONE_IN = 24

_LANGUAGE_FOLDER = re.compile(r"^[a-z]{2}/")


def prompt_id(clip_id: str) -> str:
    """The prompt that a clip speaks: the clip's id without its leading two-letter language folder.

    Translations of one prompt share its id (``en/vm-intro``, ``it/vm-intro``), and so lie on one
    side.
    """
    return _LANGUAGE_FOLDER.sub("", clip_id)


def split(prompt: str) -> Side:
    """Side of a prompt, from the SHA-256 of its id alone: one prompt in six is held out."""
    digest = hashlib.sha256(prompt.encode()).digest()
    return "heldout" if int.from_bytes(digest[:8], "big") % HELD_OUT_ONE_IN == 0 else "train"


def watched(prompt: str) -> bool:
    """Whether a training prompt is set aside to watch training: one in 24, by other bits of its hash.

    Weights are chosen and training ends by these clips, so that held-out speech chooses nothing.
    """
    digest = hashlib.sha256(prompt.encode()).digest()
    return int.from_bytes(digest[8:16], "big") % WATCHED_ONE_IN == 0
