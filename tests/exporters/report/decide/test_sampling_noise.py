"""What the choice of held-out clips alone makes of two figures: by pairs, by intervals, or unknown."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from exporters.report.decide.choice import rank
from exporters.report.decide.comparison import Change, compare
from exporters.report.decide.noise import noise_between
from exporters.report.decide.sampling_noise import FEWEST_PARTS, sampling_noise
from exporters.report.figure import Subject
from exporters.report.figures import FIGURES
from exporters.report.records.chain import Proportion
from exporters.report.records.clip_sums import ClipSums
from exporters.report.records.document import ReportDocument, Tier
from tests.exporters.compared import of, other_speech
from tests.exporters.documents import file_row, share

CLIPS = 60
DRAW = np.random.default_rng(4)
# What both rows were asked: three sounds and 3000 values in each clip.
GIVEN: dict[str, Any] = {
    "values": (3000.0,) * CLIPS,
    "spread": tuple(DRAW.uniform(10, 60, CLIPS).tolist()),
    "teacher_shaking": tuple(DRAW.uniform(5, 9, CLIPS).tolist()),
    "events": (4.0,) * CLIPS,
    "sounds": (3.0,) * CLIPS,
    "outside": (200.0,) * CLIPS,
    "phone_events": (3.0,) * CLIPS,
}
# Clips are easy or hard for every student.
HARD = DRAW.uniform(0.2, 3, CLIPS)


def sums(sealed: np.ndarray, error: float = 10.0, wobble: float = 0.0) -> ClipSums:
    noise = 1 + wobble * DRAW.standard_normal(CLIPS)
    return ClipSums(
        **GIVEN,
        squared_error=tuple((error * HARD * noise).tolist()),
        shaking=tuple((10 * HARD * noise).tolist()),
        guesses=(4.0,) * CLIPS,
        right=tuple(sealed.tolist()),
        recalled=tuple(sealed.tolist()),
        sealed=tuple(sealed.tolist()),
        sealed_at_1pct=tuple(sealed.tolist()),
        closed_outside=tuple((10 - 3 * sealed).tolist()),
        phone_guesses=(4.0,) * CLIPS,
        phone_right=tuple(sealed.tolist()),
        phone_recalled=tuple(sealed.tolist()),
    )


def judged(found: ClipSums, **given: Any) -> Tier:
    """A file's row whose figures are those of the sums."""
    error = sum(found.squared_error)
    rate = sum(found.right) / sum(found.guesses)
    row = file_row(
        mse=error / sum(found.values),
        r2=1 - error / sum(found.spread),
        jitter_ratio=sum(found.shaking) / sum(found.teacher_shaking),
        closure_f1=rate,
        **given,
    )
    pbm = share(sum(found.sealed) / sum(found.sounds), int(sum(found.sounds)))
    false = sum(found.closed_outside) / max(1.0, sum(found.outside))
    truth: dict[str, Proportion | float | None] = {
        "pbm": pbm,
        "pbm_at_1pct": pbm,
        "closed_outside": share(false, 12_000),
        "phone_f1": sum(found.phone_right) / max(1.0, sum(found.phone_guesses)),
    }
    return replace(row, by_clip=found, against_truth=truth)


def asked(old: ReportDocument, new: ReportDocument, metric: str, **given: Any) -> Change:
    (change,) = [
        change
        for change in compare(old, new, **given).changes
        if change.metric == metric and change.target is not None
    ]
    return change


ALL = np.full(CLIPS, 3.0)


def missed(count: int, each: int = 1) -> np.ndarray:
    """So many clips in which the lips stay open on some sounds."""
    sealed = ALL.copy()
    sealed[:count] -= each
    return sealed


# ------------------------------------------------------------------------------- without pairs


@pytest.mark.parametrize(
    ("n", "verdict"), [(20, "same"), (89, "same"), (500, "worse"), (10_000, "worse")]
)
def test_ten_points_are_much_of_many_sounds_and_little_of_few(n: int, verdict: str) -> None:
    """The noise was 2 points whatever n is."""
    old, new = (
        of(replace(file_row(), against_truth={"pbm": share(value, n)})) for value in (0.85, 0.76)
    )
    assert asked(old, new, "pbm").verdict == verdict


def test_one_point_of_ten_thousand_sounds_is_seen() -> None:
    old, new = (
        of(replace(file_row(), against_truth={"pbm": share(value, 30_000)}))
        for value in (0.85, 0.84)
    )
    assert asked(old, new, "pbm").regression


def test_intervals_are_combined_in_quadrature() -> None:
    """Newcombe's own example: 56 of 70 and 48 of 80 differ by 0.20, 0.0524 to 0.3339."""
    rows = [
        replace(file_row(), against_truth={"pbm": share(hits / n, n)})
        for hits, n in ((56, 70), (48, 80))
    ]
    found = sampling_noise("pbm", rows[0], rows[1], same_clips=False)
    assert found is not None
    assert 0.2 - found.difference == pytest.approx(0.0524, abs=2e-4)
    assert found.how == "95 % intervals of both"
    back = sampling_noise("pbm", rows[1], rows[0], same_clips=False)
    assert back == found


def test_a_bootstrap_without_width_is_no_certainty() -> None:
    """30 of 30 in every draw: an interval from 1 to 1. One sound less is no regression."""
    certain = Proportion(value=1.0, n=30, low=1.0, high=1.0)
    once = Proportion(value=29 / 30, n=30, low=0.9, high=1.0)
    old, new = (of(replace(file_row(), against_truth={"pbm": p})) for p in (certain, once))
    assert asked(old, new, "pbm").verdict == "same"


def test_a_wide_interval_over_clips_counts_where_it_is_wider() -> None:
    """Sounds of one clip are right or wrong together: the bootstrap over clips knows, n does not."""
    narrow, wide = share(0.85, 400), Proportion(value=0.85, n=400, low=0.7, high=0.95)
    new = of(replace(file_row(), against_truth={"pbm": share(0.76, 400)}))
    for old, verdict in ((narrow, "worse"), (wide, "same")):
        before = of(replace(file_row(), against_truth={"pbm": old}))
        assert asked(before, new, "pbm").verdict == verdict


# ---------------------------------------------------------------------------------- with pairs


def test_pairs_see_what_intervals_do_not() -> None:
    """Seven clips of sixty are worse and none is better: 12 points, or 4 of 180 sounds."""
    base = missed(20, each=2)
    worse = base.copy()
    worse[40:47] -= 1
    old, new = of(judged(sums(base))), of(judged(sums(worse)))
    change = asked(old, new, "pbm")
    assert (change.verdict, change.regression) == ("worse", True)
    assert change.noise is not None
    assert change.noise.endswith("(paired by 60 clips)")
    apart = asked(other_speech(old), new, "pbm", across=("speech",))
    assert apart.verdict == "same", "of other speech the same difference says nothing"
    assert apart.noise is not None
    assert apart.noise.endswith("(95 % intervals of both)")


def test_pairs_follow_the_bootstrap_of_the_difference() -> None:
    """The oracle draws clips one by one."""
    base, other = missed(20, each=2), missed(35)
    rows = judged(sums(base)), judged(sums(other))
    found = sampling_noise("pbm", *rows, same_clips=True)
    assert found is not None
    draw = np.random.default_rng(7)
    each = [
        (other[chosen] - base[chosen]).sum() / (3 * CLIPS)
        for chosen in (draw.integers(0, CLIPS, CLIPS) for _ in range(4000))
    ]
    observed = float((other - base).sum()) / (3 * CLIPS)
    low, high = np.percentile(each, [2.5, 97.5])
    towards = observed - low if observed > 0 else high - observed
    assert found.difference == pytest.approx(towards, rel=0.1)


def test_one_sound_that_crosses_a_threshold_is_no_change() -> None:
    old, new = of(judged(sums(ALL))), of(judged(sums(missed(1))))
    assert asked(old, new, "pbm").verdict == "same"
    assert asked(new, old, "pbm").verdict == "same"
    assert asked(old, of(judged(sums(missed(12)))), "pbm").verdict == "worse"


@pytest.mark.parametrize("metric", ["r2", "mse", "jitter_ratio"])
def test_means_are_paired_too_and_keep_what_is_too_small_to_matter(metric: str) -> None:
    """A twentieth more error everywhere is a change; so much by luck of some clips is none."""
    old = of(judged(sums(ALL)))
    everywhere, by_luck = (judged(sums(ALL, 10.6)), judged(sums(ALL, 10.0, wobble=0.9)))
    if metric == "jitter_ratio":
        assert by_luck.by_clip is not None
        shaking = tuple(1.07 * 10 * hard for hard in HARD)
        everywhere = judged(replace(sums(ALL), shaking=shaking))
    assert asked(old, of(everywhere), metric).verdict == "worse"
    luck = asked(old, of(by_luck), metric)
    assert luck.noise is not None
    assert "paired by 60 clips" in luck.noise
    # A difference that is certain and tiny stays below what is taken for a change at all.
    tiny = sums(ALL, 10.05)
    assert asked(old, of(judged(tiny)), metric).verdict == "same"
    allowance, _ = noise_between(metric, judged(sums(ALL)), judged(tiny), same_clips=True)
    noise = FIGURES[metric].noise
    assert noise is not None
    assert allowance.absolute >= noise.least.absolute
    assert allowance.relative == noise.least.relative


def test_f1_of_closures_is_paired() -> None:
    old, new = of(judged(sums(ALL))), of(judged(sums(missed(30))))
    change = asked(old, new, "closure_f1")
    assert (change.verdict, change.noise is not None) == ("worse", True)
    few = asked(old, of(judged(sums(missed(2)))), "closure_f1")
    assert few.verdict == "same"


@pytest.mark.parametrize("metric", ["pbm_at_1pct", "false_closures", "phone_f1"])
def test_what_the_phones_say_is_paired(metric: str) -> None:
    """Thirty clips of sixty are worse and none is better; two may be chance."""
    old, new, few = (of(judged(sums(sealed))) for sealed in (ALL, missed(30), missed(2)))
    change = asked(old, new, metric)
    assert (change.verdict, change.regression) == ("worse", True)
    assert change.noise is not None
    assert change.noise.endswith("(paired by 60 clips)")
    assert asked(old, few, metric).verdict == "same"
    assert asked(new, old, metric).verdict == "better"


def test_sums_from_before_f_was_kept_are_not_paired_by_it() -> None:
    """The new columns are empty there, and sums of nothing are no figure."""
    names = ("sealed_at_1pct", "outside", "closed_outside", "phone_events", "phone_right")
    older = replace(sums(ALL), **dict.fromkeys(names, ()), phone_guesses=(), phone_recalled=())
    row = judged(sums(missed(12)))
    assert noise_between("pbm", judged(older), row, same_clips=True)[1] == "paired by 60 clips"
    for metric, how in (
        ("pbm_at_1pct", "95 % intervals of both"),
        ("false_closures", "95 % intervals of both"),
        ("phone_f1", "fixed"),
    ):
        before = replace(row, by_clip=older)
        assert noise_between(metric, before, row, same_clips=True)[1] == how
    without = replace(row, by_clip=older, against_truth={"pbm": share(0.9)})
    change = asked(of(without), of(row), "false_closures")
    assert (change.verdict, change.old) == ("now measured", None)
    assert asked(of(without), of(row), "pbm").beside == "with F not run → 0.8 %"


def test_old_reports_are_not_paired() -> None:
    """What they do not say is not invented."""
    old = of(replace(judged(sums(ALL)), by_clip=None))
    new = of(judged(sums(missed(12))))
    change = asked(old, new, "pbm")
    assert change.noise is not None
    assert change.noise.endswith("(95 % intervals of both)")
    for metric in ("r2", "mse", "jitter_ratio", "closure_f1", "bytes"):
        noise = asked(old, new, metric).noise
        assert noise is not None
        assert noise.endswith("(fixed)"), metric


def test_another_teacher_or_another_rate_is_not_paired() -> None:
    other = replace(sums(ALL), sounds=(4.0,) * CLIPS, spread=(30.0,) * CLIPS)
    pair = judged(sums(ALL)), judged(other)
    for metric in ("pbm", "r2"):
        found = sampling_noise(metric, *pair, same_clips=True)
        assert found is not None
        assert found.how == "95 % intervals of both"
    mse = sampling_noise("mse", *pair, same_clips=True)
    assert mse is not None
    assert mse.how == "paired by 60 clips", "as many values in each"


def test_a_handful_of_clips_is_no_sample() -> None:
    def few(sealed: float) -> Tier:
        columns = {name: values[: FEWEST_PARTS - 1] for name, values in vars(sums(ALL)).items()}
        return judged(ClipSums(**columns | {"sealed": (sealed,) * (FEWEST_PARTS - 1)}))

    found = sampling_noise("pbm", few(3.0), few(2.0), same_clips=True)
    assert found is not None
    assert found.how == "95 % intervals of both"
    assert sampling_noise("r2", few(3.0), few(2.0), same_clips=True) is None


def test_what_is_given_goes_over_what_is_found() -> None:
    from exporters.report.figure import Allowance

    old, new = of(judged(sums(ALL))), of(judged(sums(missed(12))))
    change = asked(old, new, "pbm", noise={"pbm": Allowance(absolute=0.2)})
    assert (change.verdict, change.noise) == ("same", "0.2 (given)")


def test_sums_of_other_lengths_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"have \[1, 2\] parts"):
        ClipSums(values=(1.0,), spread=(1.0, 2.0))
    assert ClipSums().parts == 0


@pytest.mark.parametrize("n", [1, 9])
def test_a_share_of_few_sounds_is_not_measured(n: int) -> None:
    """By a gate, a comparison or a choice: one sound of nine is eleven points."""
    few = replace(file_row(), against_truth={"pbm": share(0.9, n)})
    teacher = replace(file_row(), kind="teacher", against_truth={"pbm": share(0.9, n)})
    subject = Subject(few, teacher)
    assert (FIGURES["pbm"].read(subject), FIGURES["pbm_of_teacher"].read(subject)) == (None, None)
    many = Subject(replace(few, against_truth={"pbm": share(0.9, 10)}), teacher)
    assert FIGURES["pbm"].read(many) == 0.9
    assert math.isclose(FIGURES["pbm_of_teacher"].read(many) or 0, 1.0)


def test_a_choice_takes_for_alike_what_pairs_cannot_tell_apart() -> None:
    """Six sounds of 180 that are lost in clips of their own are no chance; two may be."""
    big = judged(sums(ALL), student="small", size=900_000)
    for lost, first in ((missed(2), "tiny-int8"), (missed(6), "small-int8")):
        small = judged(sums(lost), student="tiny", size=100_000)
        ranking = rank(of(big, small), [], by="closures")
        assert ranking.fitting[0].tier == first
        assert list(ranking.alike) == (["small-int8"] if first == "tiny-int8" else [])
