"""Rule-based curves: what a mouth has to do for a phone, and when."""

import numpy as np
import pytest

from compress.judge import metrics
from compress.rig.rig import ARKIT, ARKIT_CLOSURE
from compress.speech import visemes
from compress.speech.audio import SAMPLE_RATE
from compress.speech.visemes import Segment, arpabet_visemes, bilabials, clear_vowels, segments_of

PHONES = [
    ("SIL", 0.0, 0.3),
    ("M", 0.3, 0.4),
    ("AA1", 0.4, 0.6),
    ("P", 0.6, 0.68),
    ("IY0", 0.68, 0.8),
    ("UW1", 0.8, 1.0),
    ("S", 1.0, 1.1),
    ("SIL", 1.1, 1.3),
]
AUDIO = np.full(round(1.3 * SAMPLE_RATE), 0.1, np.float32)


def curve(control: str, rate_hz: float = 100.0, offset_s: float = 0.0) -> np.ndarray:
    pose = visemes.curves(segments_of(PHONES), 1.3, rate_hz, AUDIO, offset_s)
    return pose[:, ARKIT.index(control)]


def test_phones_become_visemes() -> None:
    assert arpabet_visemes("AA1") == arpabet_visemes("aa") == ("aa",)
    assert arpabet_visemes("AY2") == ("aa", "ih")
    assert (
        arpabet_visemes("<s>") == arpabet_visemes("+NOISE+") == arpabet_visemes("sil") == ("sil",)
    )
    with pytest.raises(KeyError, match="xx"):
        arpabet_visemes("XX")
    assert {v for found in visemes.ARPABET.values() for v in found} <= set(visemes.VISEMES)


def test_a_diphthong_has_two_parts_and_nothing_is_lost() -> None:
    segments = segments_of([("AW", 1.0, 1.2), ("T", 1.2, 1.2), ("S", 1.2, 1.3)])
    assert [s.viseme for s in segments] == ["aa", "uh", "SS"], "T takes no time"
    assert segments[0].end == segments[1].start == pytest.approx(1.11)


def test_a_mark_that_is_no_phone_lengthens_the_one_before() -> None:
    marks = {"a": ("aa",), ":": ()}
    segments = segments_of([(":", 0.0, 0.1), ("a", 0.1, 0.2), (":", 0.2, 0.3)], marks.__getitem__)
    assert segments == [Segment("aa", 0.1, 0.3)]


def test_where_lips_must_close_and_where_they_must_not() -> None:
    segments = segments_of(PHONES)
    assert bilabials(segments) == [(0.3, 0.4), (0.6, 0.68)]
    assert clear_vowels(segments) == [(0.8, 1.0)], "AA and IY stand beside a bilabial"


def test_curves_are_a_pose_a_frame_in_the_range_of_the_rig() -> None:
    pose = visemes.curves(segments_of(PHONES), 1.3, 30.0, AUDIO)
    assert pose.shape == (39, 52)
    assert pose.dtype == np.float32
    assert pose.min() == 0
    assert pose.max() <= 1


def test_the_truth_closes_on_every_bilabial_and_on_no_clear_vowel() -> None:
    segments = segments_of(PHONES)
    for rate_hz in (24.0, 30.0, 60.0):
        pose = visemes.curves(segments, 1.3, rate_hz, AUDIO)
        assert metrics.pbm_accuracy([pose], [bilabials(segments)], ARKIT, rate_hz).value == 1
        assert metrics.false_closures([pose], [clear_vowels(segments)], ARKIT, rate_hz).value == 0


def test_each_vowel_has_its_shape() -> None:
    frame = {"AA": 50, "IY": 74, "UW": 90, "P": 64}
    assert np.argmax(curve("jawOpen")) in range(45, 56)
    assert curve("mouthPucker")[frame["UW"]] > 0.5 > curve("mouthPucker")[frame["AA"]]
    assert curve("mouthSmileLeft")[frame["IY"]] > curve("mouthSmileLeft")[frame["AA"]]
    aperture = ARKIT_CLOSURE.aperture(visemes.curves(segments_of(PHONES), 1.3, 100.0, AUDIO), ARKIT)
    assert aperture[frame["AA"]] > 0.4
    assert aperture[frame["P"]] < 0.05


def test_a_frame_stands_for_its_time_at_every_rate() -> None:
    """Every third frame of 90 a second is a frame of 30, and an offset moves the whole."""
    np.testing.assert_allclose(curve("jawOpen", 90.0)[::3], curve("jawOpen", 30.0), atol=0.02)
    late = curve("jawOpen", 100.0, offset_s=0.05)
    np.testing.assert_allclose(late[:-5], curve("jawOpen", 100.0)[5:], atol=0.01)


def test_a_loud_vowel_opens_more_than_a_quiet_one() -> None:
    segments = segments_of([("AA", 0.0, 0.3), ("S", 0.3, 0.5), ("AA", 0.5, 0.8)])
    audio = np.full(round(0.8 * SAMPLE_RATE), 0.02, np.float32)
    audio[round(0.5 * SAMPLE_RATE) :] = 0.2
    jaw = visemes.curves(segments, 0.8, 100.0, audio)[:, ARKIT.index("jawOpen")]
    assert jaw[65] > jaw[15] * 1.2


def test_silence_and_nothing_at_all_rest() -> None:
    silence = visemes.curves([], 0.5, 30.0, AUDIO[:8000])
    assert silence.shape == (15, 52)
    assert np.ptp(silence, axis=0).max() < 1e-6
    assert visemes.curves([], 0.001, 30.0, AUDIO[:16]).shape == (1, 52)


def test_the_table_is_complete() -> None:
    targets = np.array([row[0] for row in visemes._TABLE.values()])
    assert targets.shape == (len(visemes.VISEMES), len(visemes.PARAMETERS))
    assert targets.min() >= 0
    assert targets.max() <= 1
