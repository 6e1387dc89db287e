"""Who speaks in the demo teacher's training and evaluation: synthetic voices heard, voices held out, and what they say."""

import random
from dataclasses import dataclass
from pathlib import Path

from compress.speech.split import Side, split
from recipes.build import corpus
from recipes.build.corpus import sentence

DICTIONARIES = Path("/usr/share/dict")
DICTIONARY_PACKAGES = ("wamerican", "wspanish", "witalian", "wfrench", "wngerman", "wportuguese")

# espeak language → the word list that it reads aloud, and how often it is drawn.
ESPEAK_LANGUAGES: dict[str, tuple[str, int]] = {
    "en-us": ("american-english", 5),
    "en-us-nyc": ("american-english", 2),
    "en": ("american-english", 2),
    "en-gb-scotland": ("american-english", 1),
    "en-gb-x-rp": ("american-english", 1),
    "es": ("spanish", 1),
    "es-419": ("spanish", 2),
    "it": ("italian", 2),
    "fr": ("french", 1),
    "de": ("ngerman", 1),
    "pt-br": ("portuguese", 1),
}
HELD_OUT_ESPEAK_LANGUAGES = {"en-029": "american-english", "pt": "portuguese", "fr-be": "french"}
ESPEAK_VARIANTS = ("", "+m1", "+m2", "+m3", "+m4", "+m6", "+m7", "+m8", "+f1", "+f2", "+f3", "+f5", "+klatt", "+klatt3", "+klatt4", "+adam", "+anika", "+aunty", "+belinda", "+david", "+edward", "+gustave", "+linda", "+max", "+michel", "+quincy", "+steph", "+travis", "+norbert", "+pablo", "+john", "+caleb")  # fmt: skip
HELD_OUT_ESPEAK_VARIANTS = ("+m5", "+f4", "+klatt2", "+victor", "+ed", "+shelby")
FLITE = ("kal16", "slt", "awb")
HELD_OUT_FLITE = ("rms",)
# Festival voice → (phone alphabet, word list); the voices' own files name their phones so.
FESTIVAL = {
    "kal_diphone": ("arpabet", "american-english"),
    "cmu_us_slt_arctic_hts": ("arpabet", "american-english"),
    "pc_diphone": ("sampa", "italian"),
    "upc_ca_ona_hts": (
        "sampa",
        "spanish",
    ),  # a Catalan voice, reading Spanish words by Catalan rules
}
HELD_OUT_FESTIVAL = {
    "ked_diphone": ("arpabet", "american-english"),
    "lp_diphone": ("sampa", "italian"),
}


@dataclass(frozen=True)
class Texts:
    """What the voices of one side of the split say: word lists and transcripts of that side only."""

    side: Side
    words: dict[str, list[str]]
    transcripts: dict[str, list[str]]

    def draw(self, rng: random.Random, language: str, word_list: str) -> str:
        """A sentence: a transcript where the language has some, else a string of words."""
        transcripts = self.transcripts.get(language[:2], [])
        if transcripts and rng.random() < 0.4:
            return rng.choice(transcripts)
        words = self.words[word_list]
        picked = [rng.choice(words) for _ in range(rng.randint(4, 9))]
        if rng.random() < 0.5 and len(picked) > 5:
            picked[3] += ","
        return " ".join(picked) + "."


def texts(side: Side) -> Texts:
    """Words and transcripts of one side; a word list's words are divided by the same split function as prompts."""
    words = {}
    for word_list in {name for name, _ in ESPEAK_LANGUAGES.values()}:
        lines = read_words(DICTIONARIES / word_list).split("\n")
        plain = [w for w in lines if 3 <= len(w) <= 12 and w.isalpha() and w.islower()]
        words[word_list] = [w for w in plain if split(w) == side]
    transcripts = {
        language: [
            sentence(p.text) + "."
            for p in corpus.prompts(language)
            if p.side == side and len(p.text) < 120
        ]
        for language in corpus.LANGUAGES
    }
    return Texts(side, words, transcripts)


def read_words(path: Path) -> str:
    if not path.exists():
        raise FileNotFoundError(f"no {path}; apt-get install {' '.join(DICTIONARY_PACKAGES)}")
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return path.read_text("latin-1")
