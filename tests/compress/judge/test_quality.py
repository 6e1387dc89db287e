"""Judging curves on held-out speech."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.judge.bootstrap import paired_difference
from compress.judge.held_out import HeldOut, load_heldout, speech_windows
from compress.judge.quality import pbm_cases, quality
from compress.labels.store import LabelledClip, Labels
from compress.rig.rig import ARKIT, ClosureRule, Rig
from compress.speech import visemes
from compress.speech.alignments import Alignment
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import Clip
from compress.speech.sources.folder import FileSource
from compress.speech.visemes import segments_of
from exporters.report.records.chain import Proportion

PHONES = (("SIL", 0.0, 0.2), ("M", 0.2, 0.3), ("S", 0.3, 0.4), ("AA", 0.4, 0.6), ("T", 0.6, 0.8))
ALIGNED = Alignment("mass", tuple(PHONES), tuple(segments_of(PHONES)))
DRIVEN = ("mouthClose", "jawOpen", "mouthPucker", "mouthLowerDownLeft", "mouthUpperUpLeft")
COLUMNS = [ARKIT.index(name) for name in DRIVEN]
SAMPLES = np.full(round(0.9 * SAMPLE_RATE), 0.1, np.float32)


def truth(rate_hz: float = 30.0, offset_s: float = 0.0) -> np.ndarray:
    return visemes.curves(ALIGNED.segments, 0.9, rate_hz, SAMPLES, offset_s)[:, COLUMNS]


def heldout(rate_hz: float = 30.0, offset_s: float = 0.0) -> HeldOut:
    """Two clips of the same speech, of which one is aligned; the teacher gives the truth."""
    heard = Clip("a", FileSource(Path("a.wav"), 14_400), 0, 14_400, 14_400, "", "a")
    clip = LabelledClip("a", "heldout", heard, 0.9, "", "", 27, 57)
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


def longer(speech: HeldOut) -> HeldOut:
    """The same clips six times, 10.8 s."""
    names = ("clips", "samples", "teacher", "alignments")
    return replace(speech, **{name: 6 * getattr(speech, name) for name in names})


@pytest.mark.parametrize(("rate_hz", "offset_s"), [(30.0, 0.0), (60.0, 0.0), (50.0, 0.2)])
def test_the_truth_is_faultless(rate_hz: float, offset_s: float) -> None:
    speech = heldout(rate_hz, offset_s)
    judged = quality(speech.teacher, speech)
    against = judged.against_teacher
    assert (against["mse"], against["r2"], against["velocity_mse"]) == (0, 1, 0)
    assert against["correlation"] == pytest.approx(1)
    assert against["jitter_ratio"] == 1
    assert against["lag_ms"] is None, "of two seconds of speech it is not measured"
    assert [against[f"closure_{name}"] for name in ("precision", "recall", "f1")] == [1, 1, 1]
    assert judged.against_truth["mse"] == 0
    pbm, false = judged.against_truth["pbm"], judged.against_truth["false_closures"]
    assert isinstance(pbm, Proportion)
    assert isinstance(false, Proportion)
    assert (pbm.value, pbm.n) == (1, 1), "the aligned clip alone"
    assert false.value == 0
    assert false.n > 0


def test_a_mouth_that_never_closes_fails_pbm_and_one_that_never_opens_the_vowels() -> None:
    speech = heldout()
    open_wide = [np.tile(np.array([0, 1, 0, 0, 0], np.float32), (27, 1))] * 2
    shut = [np.zeros((27, 5), np.float32)] * 2
    judged = [quality(curves, speech).against_truth for curves in (open_wide, shut)]
    shares = [(truths["pbm"], truths["false_closures"]) for truths in judged]
    values = [[share.value for share in pair if isinstance(share, Proportion)] for pair in shares]
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
    phones = [("S", 0.0, 0.2), ("AA", 0.2, 0.6), ("S", 0.6, 0.9)]
    vowels = Alignment("ah", tuple(phones), tuple(segments_of(phones)))
    judged = quality(heldout().teacher, replace(heldout(), alignments=(None, vowels)))
    assert judged.against_truth["pbm"] is None
    assert judged.against_truth["false_closures"] is not None


def test_what_is_no_number_is_not_measured() -> None:
    """So that no gate takes it for passed, and it can be written as JSON."""
    broken = [curves.copy() for curves in heldout().teacher]
    broken[0][3, 1] = np.nan
    judged = quality(broken, heldout())
    assert set(judged.against_teacher.values()) == {None}
    assert judged.against_truth["pbm"] is not None, "the other clip alone is aligned"
    known = {"mse": 0, "correlation": pytest.approx(1)}
    unknown = {"mse": None, "correlation": None}
    assert judged.by_control == dict.fromkeys(DRIVEN, known) | {"jawOpen": unknown}
    assert judged.by_region == {"jaw": unknown, "lips": known}
    truth = quality(broken[::-1], heldout()).against_truth
    assert set(truth.values()) == {None}, "lips of no number are not open on vowels"
    still = replace(heldout(), teacher=(np.zeros((27, 5), np.float32),) * 2)
    assert quality(still.teacher, still).against_teacher["r2"] is None


def test_quality_by_region_and_by_control() -> None:
    speech = heldout()
    curves = [clip * [1, 1, 0, 1, 1] + [0.5, 0, 0, 0, 0] for clip in speech.teacher]
    judged = quality([clip.astype(np.float32) for clip in curves], speech)
    assert list(judged.by_control) == list(DRIVEN)
    assert judged.by_control["mouthClose"] == {
        "mse": pytest.approx(0.25),
        "correlation": pytest.approx(1),
    }
    assert judged.by_control["mouthPucker"]["correlation"] == 0
    pucker = judged.by_control["mouthPucker"]["mse"]
    assert pucker == pytest.approx(float((speech.teacher[0][:, 2] ** 2).mean()))
    assert judged.by_region["jaw"] == {"mse": 0, "correlation": pytest.approx(1)}
    assert judged.by_region["lips"] == {
        "mse": pytest.approx((0.25 + pucker) / 4),
        "correlation": pytest.approx(3 / 4),
    }


def test_what_comes_late_has_a_lag() -> None:
    """By two frames of 50 a second."""
    speech = longer(heldout(50.0))
    assert quality(speech.teacher, speech).against_teacher["lag_ms"] == pytest.approx(0, abs=1e-6)
    late = [clip[np.maximum(0, np.arange(len(clip)) - 2)] for clip in speech.teacher]
    assert quality(late, speech).against_teacher["lag_ms"] == pytest.approx(40, abs=2)


def test_closures_of_another_rig_need_its_rule() -> None:
    """One slider, the gap of the lips: no rule-based curves, but closures and /p b m/."""
    gap = truth()[:, [1]] - truth()[:, [0]]
    speech = replace(heldout(), driven=("lipGap",), teacher=(gap, gap))
    judged = quality(speech.teacher, speech)
    assert judged.against_teacher["closure_f1"] is None
    assert judged.against_teacher["r2"] == 1
    assert set(judged.against_truth.values()) == {None}
    with pytest.raises(ValueError, match="not known when the lips of the rig ARKit are closed"):
        pbm_cases(speech.teacher, speech)
    speech = replace(speech, rig=Rig("slider", closure=ClosureRule({"lipGap": 1.0}, 0.08)))
    judged = quality(speech.teacher, speech)
    assert judged.against_teacher["closure_f1"] == 1
    pbm = judged.against_truth["pbm"]
    assert isinstance(pbm, Proportion)
    assert (pbm.value, pbm.n) == (1, 1)
    assert judged.against_truth["mse"] is None
    assert list(judged.by_region) == ["all"]


def test_two_models_can_be_paired() -> None:
    speech = replace(heldout(), alignments=(ALIGNED, ALIGNED))
    open_wide = np.tile(np.array([0, 1, 0, 0, 0], np.float32), (27, 1))
    never_in_one = pbm_cases([speech.teacher[0], open_wide], speech)
    assert [case.tolist() for case in never_in_one] == [[True], [False]]
    found = paired_difference(never_in_one, pbm_cases(speech.teacher, speech))
    assert (found.value, found.n, found.low, found.high) == (-0.5, 2, -1, 0)


def by_voice(*ids: str, voices: tuple[str | None, ...] = ()) -> HeldOut:
    """Aligned clips of these names, as the teacher said them."""
    speech, count = heldout(60.0), len(ids)
    named = [replace(ALIGNED, voice=voice) for voice in voices or (None,) * count]
    return replace(
        speech,
        clips=tuple(replace(speech.clips[0], id=name) for name in ids),
        samples=(SAMPLES,) * count,
        teacher=(speech.teacher[0],) * count,
        alignments=tuple(named),
    )


def test_each_kind_of_voice_and_each_language_is_judged_by_itself() -> None:
    """The student never closes its lips for the formant voices."""
    kinds = {"real": ("en/*", "it/*"), "formant": ("espeak/*",)}
    names = [f"en/lj/{i}" for i in range(6)] + ["it/r/1", "espeak/it/x", "espeak/it/y", "other"]
    speech = replace(by_voice(*names), kinds=kinds)
    open_wide = np.tile(np.array([0, 1, 0, 0, 0], np.float32), (len(speech.teacher[0]), 1))
    curves = [
        open_wide if name.startswith("espeak") else clip
        for name, clip in zip(names, speech.teacher, strict=True)
    ]
    judged = quality(curves, speech)
    found = {(one.kind, one.language): one for one in judged.by_kind}
    assert [(*key, one.clips, one.voices) for key, one in found.items()] == [
        ("real", None, 7, 2),
        ("real", "en", 6, 1),
        ("real", "it", 1, 1),
        ("formant", None, 2, 1),
        ("formant", "it", 2, 1),
        ("other speech", None, 1, 1),
    ]
    for key, value in ((("real", None), 1), (("formant", "it"), 0)):
        for name in ("pbm", "pbm_at_1pct"):
            share = found[key].against_truth[name]
            if name == "pbm_at_1pct" and key[1]:
                assert share is None, "two clips have fewer than a hundred frames of other speech"
                continue
            assert isinstance(share, Proportion)
            assert share.value == value
        assert (found[key].against_teacher["r2"] == 1) == bool(value)
    # The same as of these clips alone.
    own = quality(curves[7:9], speech.only(lambda clip: clip.id.startswith("espeak")))
    for side in ("against_teacher", "against_truth"):
        group = getattr(found["formant", None], side)
        assert group == {name: getattr(own, side)[name] for name in group}
    whole = quality(curves, replace(speech, kinds={})).by_kind
    assert [(one.kind, one.language) for one in whole if one.language is None] == [
        ("held-out speech", None)
    ]


def test_what_is_no_number_spoils_its_own_kind_alone() -> None:
    speech = replace(by_voice("en/a", "de/b"), kinds={"a": ("en/*",), "b": ("de/*",)})
    broken = speech.teacher[0].copy()
    broken[3, 0] = np.nan
    judged = quality([broken, speech.teacher[1]], speech)
    a, b = (one for one in judged.by_kind if one.language is None)
    assert set(a.against_truth.values()) == {None}
    assert a.against_teacher["r2"] is None
    assert b.against_teacher["r2"] == 1
    assert isinstance(b.against_truth["pbm"], Proportion)


def test_intervals_are_drawn_over_voices() -> None:
    """Ten clips each of two voices, one of which always opens its lips on /m/."""
    names = tuple(f"en/{i}" for i in range(20))
    open_wide = np.tile(np.array([0, 1, 0, 0, 0], np.float32), (54, 1))
    pbm = {}
    for label, voices in (("one", ("a",) * 20), ("two", ("a",) * 10 + ("b",) * 10)):
        speech = by_voice(*names, voices=voices)
        curves = [*speech.teacher[:10], *[open_wide] * 10]
        share = quality(curves, speech).against_truth["pbm"]
        assert isinstance(share, Proportion)
        pbm[label] = share
    assert pbm["one"].value == pbm["two"].value == 0.5
    assert (pbm["two"].low, pbm["two"].high) == (0, 1), "two voices say nothing of a third"
    assert pbm["one"].high - pbm["one"].low < 0.5


def test_sums_by_clip_give_the_figures_beside_the_phones() -> None:
    speech = by_voice(*(f"en/{i}" for i in range(7)))
    judged = quality([0.8 * clip for clip in speech.teacher], speech)
    sums, truth = judged.by_clip, judged.against_truth
    assert sums is not None
    for name, upper, lower in (
        ("pbm", sums.sealed, sums.sounds),
        ("pbm_at_1pct", sums.sealed_at_1pct, sums.sounds),
        ("closed_outside", sums.closed_outside, sums.outside),
    ):
        share = truth[name]
        assert isinstance(share, Proportion)
        assert sum(upper) / sum(lower) == pytest.approx(share.value)
    assert sum(sums.phone_right) / sum(sums.phone_guesses) == truth["phone_precision"]
    assert sum(sums.phone_recalled) / sum(sums.phone_events) == truth["phone_recall"]


def test_some_clips_only() -> None:
    speech = heldout()
    known = speech.only(lambda clip: clip.id == "b")
    assert [clip.id for clip in known.clips] == ["b"]
    assert known.alignments == (ALIGNED,)
    assert (len(known.samples), len(known.teacher), known.driven) == (1, 1, DRIVEN)
    assert known.teacher[0] is speech.teacher[1]
    assert speech.only(lambda clip: True) == speech


def test_of_no_clip_nothing_is_measured() -> None:
    judged = quality([], heldout().only(lambda clip: False))
    assert set(judged.against_teacher.values()) == {None}
    assert set(judged.against_truth.values()) == {None}
    full = quality(heldout().teacher, heldout())
    assert set(judged.against_teacher) == set(full.against_teacher)
    assert set(judged.against_truth) == set(full.against_truth)


def test_whispered_speech_must_move_the_lips_all_the_same() -> None:
    speech = heldout()
    quiet, loud = speech.at_gain(-20), speech.at_gain(30.0)
    np.testing.assert_allclose(quiet.samples[0], 0.01, rtol=1e-6)
    assert (loud.samples[1] == 1).all(), "clipped to full scale"
    assert (replace(speech, samples=(-SAMPLES, SAMPLES)).at_gain(30).samples[0] == -1).all()
    assert quiet.samples[0].dtype == loud.samples[0].dtype == np.float32
    assert quiet.teacher == speech.teacher
    assert quality(speech.teacher, quiet).against_truth["mse"] == pytest.approx(0, abs=1e-6)

    # A model whose jaw follows the level of the audio is worse on the quiet speech.
    def follows(given: HeldOut) -> list[np.ndarray]:
        return [
            clip * np.float32(samples.max() / 0.1)
            for clip, samples in zip(given.teacher, given.samples, strict=True)
        ]

    assert quality(follows(speech), speech).against_teacher["mse"] == pytest.approx(0, abs=1e-9)
    assert quality(follows(quiet), quiet).against_teacher["r2"] < 0


def test_heldout_speech_is_read_with_the_teachers_curves(labels: Labels) -> None:
    found = load_heldout(labels, {"5": ALIGNED})
    assert [clip.id for clip in found.clips] == ["2", "5"]
    assert found.alignments == (None, ALIGNED)
    assert [len(samples) for samples in found.samples] == [9600, 12800]
    for i, curves in enumerate(found.teacher):
        moments = np.round(found.times_s(i) * SAMPLE_RATE).astype(int)
        expected = 0.5 * found.samples[i][moments]
        np.testing.assert_allclose(curves[:, 1], expected, rtol=0, atol=1 / 131_070)  # as stored


def test_hops_are_taken_to_the_teachers_frames() -> None:
    speech = heldout(50.0, offset_s=0.1)
    hops = np.arange(57, dtype=np.float32)[:, None] * [1, -2]
    found = speech.at_frames(1, hops.astype(np.float32))
    position = np.minimum((0.1 + np.arange(45) / 50) * 62.5, 56)
    np.testing.assert_allclose(found, position[:, None] * [1, -2], rtol=1e-5)


def test_windows_of_speech_cover_all_of_it() -> None:
    ramp = np.arange(1, 1001, dtype=np.float32)
    speech = HeldOut((), (ramp[:600], ramp[600:]), (), (), (), 30.0, 0.0)
    windows = speech_windows(speech, 100, 64)
    assert windows.shape == (64, 1, 100)
    assert windows[0, 0, 0] == 1
    assert (windows[-1] == 0).all(), "the silence after the last clip"
    assert (np.diff(windows[:, 0, 0])[:-1] > 0).all()
