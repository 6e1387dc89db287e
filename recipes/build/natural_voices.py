"""Which of Kokoro's voices are heard in training, which never, and how two are mixed."""

import random
from dataclasses import dataclass

import numpy as np

from compress.split import Side

# First letter of a voice's name → the language of espeak-ng that it speaks by itself.
SPEAKS = {
    "a": "en-us",
    "b": "en-gb",
    "e": "es",
    "f": "fr-fr",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt-br",
    "z": "cmn-latn-pinyin",
}
# These, and all mixtures with them, train nothing, calibrate nothing and choose nothing.
NEVER_HEARD = ("am_puck", "af_nova", "bm_fable", "bf_lily", "em_santa", "ff_siwis", "im_nicola", "pf_dora", "jm_kumo", "zf_xiaoyi", "hf_beta")  # fmt: skip
# Half of what is heard is English, as among those who use such a tool; the rest is shared by the others.
_ENGLISH_SHARE, _MIXED_SHARE, _FOREIGN_SHARE = 0.5, 0.5, 0.25


@dataclass(frozen=True)
class Voice:
    """A voice and the language that it speaks: `parts` are one or two names with their weights."""

    language: str
    parts: tuple[tuple[str, float], ...]

    @property
    def name(self) -> str:
        """Such as ``af_heart``, or ``af_heart+bm_daniel`` whatever the weights."""
        return "+".join(sorted(name for name, _ in self.parts))

    def style(self, styles: dict[str, np.ndarray]) -> np.ndarray:
        """Float32 `[510, 256]`."""
        return np.sum([weight * styles[name] for name, weight in self.parts], axis=0)


def drawn(rng: random.Random, names: list[str], side: Side) -> Voice:
    """A voice of one side. Held out, one of a mixture's two was never heard; the other may have been."""
    never = [name for name in names if name in NEVER_HEARD]
    heard = [name for name in names if name not in NEVER_HEARD]
    first = never if side == "heldout" else heard
    if side == "heldout":
        name = rng.choice(first)  # each voice as often as any other: they are judged one by one
    else:
        english = rng.random() < _ENGLISH_SHARE
        name = rng.choice([n for n in first if (n[0] in "ab") == english])
    language = SPEAKS[name[0]]
    if side == "train" and rng.random() < _FOREIGN_SHARE:
        # Voices of every language speak every other: French has one voice, and it is never heard.
        language = rng.choice(sorted(SPEAKS.values()))
    if rng.random() < (0.3 if side == "heldout" else _MIXED_SHARE):
        other = rng.choice([n for n in (names if side == "heldout" else heard) if n != name])
        weight = rng.uniform(0.25, 0.75)
        return Voice(language, ((name, weight), (other, 1 - weight)))
    return Voice(language, ((name, 1.0),))
