"""The parts of recipes/build that need no synthesizer: phones, sentences, voices and variation."""

import numpy as np
import pytest

from compress.speech.visemes import ARPABET, INDEX, Segment, segments_of
from recipes.build import voices
from recipes.build.corpus import sentence
from recipes.build.dataset import LabelledClip, _silent_start, varied
from recipes.build.phones import IPA, ipa_visemes, sampa_visemes
from recipes.build.synthesis import _close_before_burst, drop_voiced_pauses

RATE = 16_000


def test_every_phone_has_a_viseme_that_exists() -> None:
    assert {viseme for visemes in ARPABET.values() for viseme in visemes} <= set(INDEX)
    assert set(IPA.values()) <= set(INDEX)


@pytest.mark.parametrize(
    ("phone", "visemes"),
    [
        ("p", ("PP",)),
        ("β", ("BV",)),  # Spanish: the lips come near and do not seal
        ("tʃ", ("CH",)),
        ("ts", ("SS",)),
        ("aɪ", ("aa", "ih")),
        ("ˈiː", ("iy",)),
        ("_:", ("sil",)),
        ("", ("sil",)),
        ("ː", ("sil",)),
        ("\N{COMBINING TILDE}", ()),
    ],
)
def test_espeak_phones(phone: str, visemes: tuple[str, ...]) -> None:
    assert ipa_visemes(phone) == visemes


@pytest.mark.parametrize(
    ("phone", "visemes"),
    [("a1", ("aa",)), ("tS", ("CH",)), ("J", ("nn",)), ("#", ("sil",)), ("O1", ("ao",))],
)
def test_festival_phones(phone: str, visemes: tuple[str, ...]) -> None:
    assert sampa_visemes(phone) == visemes


def test_a_sentence_is_its_bare_words() -> None:
    assert sentence("Quell'operatore è già\N{NO-BREAK SPACE}loggato. (2)") == (
        "quell'operatore è già loggato"
    )


def test_voices_held_out_are_never_trained_on() -> None:
    assert not set(voices.ESPEAK_VARIANTS) & set(voices.HELD_OUT_ESPEAK_VARIANTS)
    assert not set(voices.ESPEAK_LANGUAGES) & set(voices.HELD_OUT_ESPEAK_LANGUAGES)
    assert not set(voices.FLITE) & set(voices.HELD_OUT_FLITE)
    assert not set(voices.FESTIVAL) & set(voices.HELD_OUT_FESTIVAL)


def test_a_stop_begins_where_the_quiet_before_its_burst_begins() -> None:
    audio = np.ones(RATE, np.float32) * 0.3
    audio[int(0.26 * RATE) : int(0.30 * RATE)] = 0  # 40 ms of closure, then the burst
    phones = [("a", 0.0, 0.30), ("t", 0.30, 0.40), ("n", 0.40, 0.5)]
    vowel, stop, nasal = _close_before_burst(phones, audio)
    assert stop[1] == pytest.approx(0.26, abs=0.005)
    assert vowel[2] == stop[1]
    assert nasal == phones[2]


def test_a_pause_that_sounds_belongs_to_the_phone_before_it() -> None:
    audio = np.ones(RATE, np.float32) * 0.1
    phones = [("a", 0.0, 0.3), ("_", 0.3, 0.4), ("b", 0.4, 0.5)]
    assert drop_voiced_pauses(phones, audio) == [("a", 0.0, 0.4), ("b", 0.4, 0.5)]
    assert drop_voiced_pauses(phones, audio * 0) == phones


def test_quiet_before_the_first_vowel_is_silence() -> None:
    audio = np.zeros(RATE, np.float32)
    audio[RATE // 2 :] = 0.5
    segments = segments_of([("AA", 0.0, 0.8), ("N", 0.8, 1.0)])
    first, vowel, _ = _silent_start(segments, audio)
    assert (first.viseme, vowel.viseme) == ("sil", "aa")
    assert vowel.start == pytest.approx(0.48, abs=1e-3)
    stop = segments_of([("P", 0.0, 0.8), ("AA", 0.8, 1.0)])
    assert _silent_start(stop, audio) == stop, "lips close in the quiet before a burst"


def test_a_varied_clip_keeps_its_sounds_where_its_segments_say() -> None:
    """A click in the middle of a segment is still there after speed, echo, noise and level."""
    audio = np.zeros(RATE, np.float32)
    audio[8000:8032] = np.hanning(32)
    clip = LabelledClip("real en", "a voice", "en", audio, (Segment("aa", 0.45, 0.55),))
    lengths = set()
    for seed in range(30):
        changed = varied(clip, np.random.default_rng(seed))
        middle = (changed.segments[0].start + changed.segments[0].end) / 2
        loudest = int(np.abs(changed.audio).argmax()) / RATE
        assert loudest == pytest.approx(middle, abs=0.005)
        assert np.abs(changed.audio).max() <= 1
        lengths.add(len(changed.audio))
    assert len(lengths) > 5, "some clips are sped up or slowed down"
