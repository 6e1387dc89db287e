"""Which of Kokoro's voices are heard in training, which never, and how two are mixed."""

import random
from dataclasses import dataclass

import numpy as np

from compress.speech.split import Side

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
ENGLISH_SHARE, FOREIGN_SHARE = 0.5, 0.25
MIXED_SHARE, NEVER_MIXED_SHARE = 0.5, 0.3


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


@dataclass(frozen=True)
class Cast:
    """Who may speak: all voices, heard and never heard apart, or `few` of those heard, in English alone.

    The few serve the question how many voices a training needs: the first of them are among any larger number.
    """

    names: tuple[str, ...]
    few: int | None = None

    @property
    def folder(self) -> str:
        """The first folder of its clips' names."""
        return "natural" if self.few is None else f"natural-{self.few}"

    def drawn(self, rng: random.Random, side: Side) -> Voice:
        """A voice of one side. Held out, one of a mixture's two was never heard; the other may have been."""
        heard = [name for name in self.names if name not in NEVER_HEARD]
        if self.few is not None:
            order = random.Random(0).sample(heard, len(heard))
            return Voice(SPEAKS["a"], ((rng.choice(order[: self.few]), 1.0),))
        if side == "heldout":
            # Each as often as any other: they are judged one by one.
            never = rng.choice([name for name in self.names if name in NEVER_HEARD])
            return self._mixed(rng, never, SPEAKS[never[0]], list(self.names), NEVER_MIXED_SHARE)
        english = rng.random() < ENGLISH_SHARE
        name = rng.choice([n for n in heard if (n[0] in "ab") == english])
        language = SPEAKS[name[0]]
        if rng.random() < FOREIGN_SHARE:
            # Voices of every language speak every other: French has one voice, and it is never heard.
            language = rng.choice(sorted(SPEAKS.values()))
        return self._mixed(rng, name, language, heard, MIXED_SHARE)

    def _mixed(
        self, rng: random.Random, name: str, language: str, others: list[str], share: float
    ) -> Voice:
        if rng.random() >= share:
            return Voice(language, ((name, 1.0),))
        other = rng.choice([n for n in others if n != name])
        weight = rng.uniform(0.25, 0.75)
        return Voice(language, ((name, weight), (other, 1 - weight)))
