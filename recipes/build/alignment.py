"""Forced alignment of real speech with pocketsphinx's English acoustic model: which phone is spoken when.

Spanish and Italian words are spelled for the aligner in the English phones nearest to espeak's; good enough to say when
lips should close, on speakers the teacher has never heard, and marked as approximate wherever it is used.
"""

from functools import cache

import numpy as np

from compress.speech.audio import SAMPLE_RATE
from compress.speech.visemes import Phone
from recipes.build.corpus import Prompt, sentence
from recipes.build.synthesis import espeak

# Padding before and after, in seconds: an alignment that fails often succeeds with other silence around it.
_PADDINGS = (
    (0.0, 0.0),
    (0.1, 0.1),
    (0.2, 0.3),
    (0.05, 0.4),
    (0.3, 0.05),
    (0.0, 0.2),
    (0.4, 0.15),
    (0.15, 0.0),
)

_TO_ARPABET = {
    **{c: c.upper() for c in "bdfgklmnprstvwz"},
    "ɡ": "G", "h": "HH", "j": "Y", "ʝ": "Y", "ʎ": "L Y", "ɲ": "N Y", "ŋ": "NG", "ɱ": "M", "ɾ": "R", "ɹ": "R",
    "β": "V", "ð": "DH", "θ": "TH", "ɣ": "G", "x": "HH", "ʃ": "SH", "ʒ": "ZH", "a": "AA", "ɐ": "AH", "e": "EH",
    "ɛ": "EH", "i": "IY", "ɪ": "IH", "o": "OW", "ɔ": "AO", "u": "UW", "ʊ": "UH", "ə": "AH", "ʌ": "AH", "æ": "AE",
    "ɑ": "AA", "ɜ": "ER", "ɚ": "ER", "ɫ": "L", "y": "UW", "c": "K", "ɟ": "G", "q": "K",
}  # fmt: skip
_AFFRICATES = {"tʃ": "CH", "dʒ": "JH", "ts": "T S", "dz": "D Z"}
_ESPEAK_VOICE = {"en": "en-us", "es": "es-419", "it": "it"}


@cache
def pronunciation(word: str, language: str) -> str:
    """A word's ARPAbet phones by espeak's rules, space-separated; empty when espeak says nothing."""
    phones: list[str] = []
    for label, _, _ in espeak().phones(word, _ESPEAK_VOICE[language])[1]:
        if label in _AFFRICATES:
            phones.append(_AFFRICATES[label])
        else:
            phones += [_TO_ARPABET[symbol] for symbol in label if symbol in _TO_ARPABET]
    return " ".join(phones)


def align(prompt: Prompt, audio: np.ndarray) -> list[Phone] | None:
    """ARPAbet phones with their times in seconds, or None when no padding made the aligner succeed.

    `audio`: float32 `[samples]` at 16 kHz.
    """
    words = sentence(prompt.text).split()
    samples = (audio / max(1e-3, float(np.abs(audio).max())) * 20_000).astype(np.int16)
    for before_s, after_s in _PADDINGS:
        phones = _align_once(words, prompt.language, samples, before_s, after_s)
        if phones:
            return phones
    return None


def _align_once(
    words: list[str], language: str, samples: np.ndarray, before_s: float, after_s: float
) -> list[Phone] | None:
    from pocketsphinx import Decoder

    # A decoder that failed once keeps failing, hence a fresh one each time; beams of zero would never end.
    decoder = Decoder(lm=None, loglevel="FATAL", beam=1e-100, wbeam=1e-80, pbeam=1e-100)
    spelled = []
    for word in words:
        name = word.strip("'") if language == "en" else f"{language}_{word}"
        if decoder.lookup_word(name) is None:
            phones = pronunciation(word, language)
            if not phones:
                continue
            decoder.add_word(name, phones, True)
        spelled.append(name)
    random = np.random.default_rng(0)
    quiet = [
        (random.standard_normal(int(s * SAMPLE_RATE)) * 8).astype(np.int16)
        for s in (before_s, after_s)
    ]
    raw = np.concatenate([quiet[0], samples, quiet[1]]).tobytes()
    seconds = len(samples) / SAMPLE_RATE
    try:
        decoder.set_align_text(" ".join(spelled))
        for second_pass in (False, True):
            if second_pass:
                if not decoder.hyp():
                    return None
                decoder.set_alignment()
            decoder.start_utt()
            decoder.process_raw(raw, full_utt=True)
            decoder.end_utt()
        timed = [
            (phone.name, phone.start, phone.start + phone.duration)
            for word in decoder.get_alignment()
            for phone in word
        ]
    except RuntimeError:  # what pocketsphinx raises when it cannot align
        return None
    clipped = [
        (name, max(a / 100 - before_s, 0.0), min(b / 100 - before_s, seconds))
        for name, a, b in timed
    ]
    return [(name, start, end) for name, start, end in clipped if end > start]
