"""Asterisk's core sounds as a speech corpus: real human prompts in English, Spanish and Italian, with transcripts.

From Debian's packages ``asterisk-core-sounds-{en,es,it}-g722`` (audio, G.722 at 16 kHz) and ``asterisk-core-sounds-{en,es,it}``
(transcripts). Licences and speakers: docs/data.md.
"""

import gzip
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compress.speech.split import Side, prompt_id, split

LANGUAGES = ("en", "es", "it")
SOUNDS = Path("/usr/share/asterisk/sounds")
TRANSCRIPTS = Path("/usr/share/doc")
PACKAGES = tuple(
    f"asterisk-core-sounds-{language}{kind}" for language in LANGUAGES for kind in ("-g722", "")
)
SPEAKERS = {"en": "Allison Smith (en)", "es": "Allison Smith (es)", "it": "Carlo Flora (it)"}


@dataclass(frozen=True)
class Prompt:
    """One recorded sentence: `id` is ``language/prompt``; `text` its transcript, `path` its G.722 file."""

    id: str
    language: str
    text: str
    path: Path

    @property
    def side(self) -> Side:
        return split(prompt_id(self.id))


def sentence(text: str) -> str:
    """A transcript as bare lower-case words: what makes two prompts the same sentence."""
    plain = unicodedata.normalize(
        "NFKC", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    ).lower()
    return " ".join(re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*'?", plain))


def prompts(language: str) -> list[Prompt]:
    """The prompts of a language that have audio and spoken words, each sentence once, sorted by id.

    A sentence that two prompts speak stays with the prompt that sorts first, so no sentence is on both sides of the split.
    Raises `FileNotFoundError` naming the Debian packages that are missing.
    """
    listing = TRANSCRIPTS / f"asterisk-core-sounds-{language}" / f"core-sounds-{language}.txt.gz"
    sounds = SOUNDS / language
    if not listing.exists() or not sounds.exists():
        raise FileNotFoundError(
            f"no {language} prompts on this machine; apt-get install {' '.join(PACKAGES)}"
        )
    found: dict[str, Prompt] = {}
    seen: set[str] = set()
    lines = gzip.decompress(listing.read_bytes()).decode("utf-8-sig").splitlines()
    for line in sorted(lines):
        name, _, text = line.partition(":")
        path = sounds / f"{name}.g722"
        words = sentence(text)
        # Bracketed transcripts describe tones and music, digits are spelled in ways a transcript does not show.
        if (
            line.startswith(";")
            or "[" in text
            or "(" in text
            or re.search(r"\d", text)
            or not words
        ):
            continue
        if words in seen or not path.exists():
            continue
        seen.add(words)
        found[name] = Prompt(f"{language}/{name}", language, text.strip(), path)
    return [found[name] for name in sorted(found)]


def read_g722(path: Path) -> np.ndarray:
    """Audio of a headerless G.722 file, float32 `[samples]` at 16 kHz, −1..1."""
    import av

    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return (
        (np.concatenate(frames).astype(np.float32) / 32768) if frames else np.zeros(0, np.float32)
    )
