"""Judging curves on held-out speech."""

from dataclasses import replace

import numpy as np
import pytest

from compress import visemes
from compress.alignments import Alignment
from compress.audio import SAMPLE_RATE
from compress.evaluation import HeldOut, load_heldout, quality
from compress.labels import LabelledClip, Labels
from compress.metrics import Share
from compress.rig import ARKIT

PHONES = (("SIL", 0.0, 0.2), ("M", 0.2, 0.3), ("S", 0.3, 0.4), ("AA", 0.4, 0.6), ("T", 0.6, 0.8))
ALIGNED = Alignment("mass", PHONES)
DRIVEN = ("mouthClose", "jawOpen", "mouthPucker", "mouthLowerDownLeft", "mouthUpperUpLeft")
COLUMNS = [ARKIT.index(name) for name in DRIVEN]
SAMPLES = np.full(round(0.9 * SAMPLE_RATE), 0.1, np.float32)


def truth(rate_hz: float = 30.0, offset_s: float = 0.0) -> np.ndarray:
    return visemes.curves(ALIGNED.segments, 0.9, rate_hz, SAMPLES, offset_s)[:, COLUMNS]


def heldout(rate_hz: float = 30.0, offset_s: float = 0.0) -> HeldOut:
    """Two clips of the same speech, of which one is aligned; the teacher gives the truth."""
    clip = LabelledClip("a", "heldout", "a.wav", 0.9, "", "", 27, 57)
    curves = truth(rate_hz, offset_s)
    return HeldOut(
        (clip, replace(clip, id="b")),
        (SAMPLES, SAMPLES),
        (curves, curves),
        (None, ALIGNED),
        DRIVEN,
        rate_hz,
        offset_s,
    )


@pytest.mark.parametrize(("rate_hz", "offset_s"), [(30.0, 0.0), (60.0, 0.0), (50.0, 0.2)])
def test_the_truth_is_faultless(rate_hz: float, offset_s: float) -> None:
    speech = heldout(rate_hz, offset_s)
    judged = quality(speech.teacher, speech)
    against = judged.against_teacher
    assert (against["mse"], against["r2"], against["velocity_mse"]) == (0, 1, 0)
    assert against["correlation"] == pytest.approx(1)
    assert against["jitter_ratio"] == 1
    assert judged.against_truth["mse"] == 0
    pbm, false = judged.against_truth["pbm"], judged.against_truth["false_closures"]
    assert isinstance(pbm, Share)
    assert isinstance(false, Share)
    assert (pbm.value, pbm.n) == (1, 1), "the aligned clip alone"
    assert false.value == 0
    assert false.n > 0


def test_a_mouth_that_never_closes_fails_pbm_and_one_that_never_opens_the_vowels() -> None:
    speech = heldout()
    open_wide = [np.tile(np.array([0, 1, 0, 0, 0], np.float32), (27, 1))] * 2
    shut = [np.zeros((27, 5), np.float32)] * 2
    judged = [quality(curves, speech).against_truth for curves in (open_wide, shut)]
    shares = [(truths["pbm"], truths["false_closures"]) for truths in judged]
    values = [[share.value for share in pair if isinstance(share, Share)] for pair in shares]
    assert values == [[0, 0], [1, 1]]
    # Curves that stand still carry nothing.
    assert judged[0]["correlation"] == 0


def test_the_truth_is_not_known_of_another_rig_or_without_alignments() -> None:
    for speech in (
        replace(heldout(), alignments=(None, None)),
        replace(heldout(), driven=("a", "b", "c", "d", "e")),
        replace(
            heldout(), driven=("mouthClose", "mouthPucker", "jawLeft", "jawRight", "tongueOut")
        ),
    ):
        judged = quality(speech.teacher, speech)
        assert set(judged.against_truth.values()) == {None}
        assert judged.against_teacher["r2"] == 1


def test_a_share_of_no_case_is_not_measured() -> None:
    vowels = Alignment("ah", (("S", 0.0, 0.2), ("AA", 0.2, 0.6), ("S", 0.6, 0.9)))
    judged = quality(heldout().teacher, replace(heldout(), alignments=(None, vowels)))
    assert judged.against_truth["pbm"] is None
    assert judged.against_truth["false_closures"] is not None


def test_what_is_no_number_is_not_measured() -> None:
    """So that no gate takes it for passed, and it can be written as JSON."""
    broken = [curves.copy() for curves in heldout().teacher]
    broken[0][3, 1] = np.nan
    judged = quality(broken, heldout())
    assert set(judged.against_teacher.values()) == {None}
    still = replace(heldout(), teacher=(np.zeros((27, 5), np.float32),) * 2)
    assert quality(still.teacher, still).against_teacher["r2"] is None


def test_heldout_speech_is_read_with_the_teachers_curves(labels: Labels) -> None:
    found = load_heldout(labels, {"5": ALIGNED})
    assert [clip.id for clip in found.clips] == ["2", "5"]
    assert found.alignments == (None, ALIGNED)
    assert [len(samples) for samples in found.samples] == [9600, 12800]
    for i, curves in enumerate(found.teacher):
        moments = np.round(found.times_s(i) * SAMPLE_RATE).astype(int)
        np.testing.assert_array_equal(curves[:, 1], 0.5 * found.samples[i][moments])


def test_hops_are_taken_to_the_teachers_frames() -> None:
    speech = heldout(50.0, offset_s=0.1)
    hops = np.arange(57, dtype=np.float32)[:, None] * [1, -2]
    found = speech.at_frames(1, hops.astype(np.float32))
    position = np.minimum((0.1 + np.arange(45) / 50) * 62.5, 56)
    np.testing.assert_allclose(found, position[:, None] * [1, -2], rtol=1e-5)
