"""How well curves follow the teacher and the truth on held-out speech, at the teacher's frames."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from compress.judge import closures, metrics
from compress.judge.clips import JudgedClip, beside_phones, by_kind, sums_of
from compress.judge.held_out import Floats, HeldOut
from compress.judge.measures import finite, measured
from compress.judge.mesh_metrics import MeshErrors
from compress.judge.sealing import MEASURES, Sealing, sealing
from compress.judge.voice_kinds import numbered
from compress.rig.rig import ARKIT, ARKIT_CLOSURE
from compress.speech import visemes
from compress.speech.audio import SAMPLE_RATE
from exporters.report.records.chain import Measurements
from exporters.report.records.quality import Parts, Quality

COPIES = (
    *("mse", "r2", "correlation", "velocity_mse", "jitter_ratio", "lag_ms"),
    *("closure_precision", "closure_recall", "closure_f1"),
)
# Of less speech chance alone moves a lag by some milliseconds: the error of a delay that is read
# from curves of 5 Hz which agree by 0.65 of their variance (Knapp & Carter, 1976) is 7 ms after a
# second, and 2 ms after ten. So of less it is not measured.
LEAST_LAG_S = 10.0
TRUTHS = ("mse", "r2", "correlation", "jitter_ratio", *MEASURES, "stillness")


def quality(
    curves: Iterable[Floats],
    heldout: HeldOut,
    on_silence: Sequence[Floats] = (),
) -> Quality:
    """Judge the curves of all held-out clips, each `[frames, driven]` at the teacher's frames.

    `on_silence` are what the same model makes of `silence`, at the same rate. Closures are None for a
    rig of which it is not known when its lips are sealed. Raises ValueError where there are more or
    fewer curves than clips.
    """
    judge = Judge(heldout)
    for clip in curves:
        judge.add(clip)
    return judge.quality(on_silence)


class Judge:
    """Judges curves clip by clip, in the order of the held-out clips; none is kept."""

    def __init__(self, heldout: HeldOut) -> None:
        self._heldout, self._judged = heldout, 0
        self._rule = heldout.rig.closure_of(heldout.driven)
        # Against the teacher: errors in rig units, those of a rig that mixes units evened, and
        # what does not depend on these relative to the scale.
        self._errors, self._scaled = metrics.Moments(), metrics.Moments()
        self._velocity, self._lag = metrics.Mean(), metrics.Lag(heldout.rate_hz)
        self._shaking, self._of_teacher = metrics.Mean(), metrics.Mean()
        self._mesh = None if heldout.mesh is None else MeshErrors(heldout.mesh, heldout.driven)
        # Against the truth.
        self._rules = metrics.Moments()
        self._shaking_beside, self._of_rules = metrics.Mean(), metrics.Mean()
        self._clips: list[JudgedClip] = []

    def add(self, curves: Floats) -> None:
        """The next clip's, `[frames, driven]`."""
        heldout, i = self._heldout, self._judged
        if i == len(heldout.clips):
            raise ValueError(f"there are curves of more than the {i} held-out clips")
        self._judged += 1
        teacher = heldout.teacher[i]
        even = heldout.evened(curves), heldout.evened(teacher)
        moments = metrics.Moments.of(*even)
        self._errors.join(moments)
        self._velocity.add(metrics.velocity_errors(*even))
        if self._mesh is not None:
            self._mesh.add(curves, teacher)
        pair = _scaled(curves, heldout), _scaled(teacher, heldout)
        self._scaled.join(metrics.Moments.of(*pair))
        self._lag.add(*pair)
        self._clips.append(
            JudgedClip(
                moments,
                self._shaking.add(metrics.shaking(pair[0])),
                self._of_teacher.add(metrics.shaking(pair[1])),
                self._closures(curves, teacher),
                *self._beside_phones(i, curves),
            )
        )

    def _closures(self, curves: Floats, teacher: Floats) -> closures.ClosureCounts:
        if self._rule is None:
            return closures.ClosureCounts()
        driven, rate_hz = self._heldout.driven, self._heldout.rate_hz
        return closures.closure_counts(curves, teacher, driven, rate_hz, self._rule)

    def _beside_phones(self, i: int, curves: Floats) -> tuple[Sealing | None, bool]:
        """A clip's lips beside its phones; rule-based curves are judged by the way."""
        heldout = self._heldout
        alignment = heldout.alignments[i]
        if alignment is None:
            return None, True
        # A NaN is not below the limit: such lips would pass for open ones on every vowel.
        if not np.isfinite(curves).all():
            return Sealing(), False
        if _known_rules(heldout):
            predicted, rules = _beside_rules(i, curves, alignment.segments, heldout)
            self._rules.join(metrics.Moments.of(predicted, rules))
            self._shaking_beside.add(metrics.shaking(predicted))
            self._of_rules.add(metrics.shaking(rules))
        if self._rule is None:
            return None, True
        facts = heldout.driven, heldout.rate_hz, heldout.offset_s, self._rule
        return sealing(curves, alignment.segments, *facts), True

    def quality(self, on_silence: Sequence[Floats] = ()) -> Quality:
        """Of all clips, once all are judged."""
        heldout = self._heldout
        if self._judged != len(heldout.clips):
            raise ValueError(
                f"there are curves of {self._judged} of {len(heldout.clips)} held-out clips"
            )
        if not heldout.clips:
            return Quality(
                against_teacher=dict.fromkeys(COPIES), against_truth=dict.fromkeys(TRUTHS)
            )
        quiet = [heldout.evened(curves) for curves in on_silence]
        still = metrics.stillness(quiet, heldout.rate_hz)
        teacher = measured(self._against_teacher())
        mean = self._errors.reference_mean
        return Quality(
            against_teacher=teacher,
            against_truth=measured(self._against_truth() | {"stillness": still}),
            by_region=self._by_region(),
            by_control=self._by_control(),
            by_clip=None if teacher["mse"] is None else sums_of(self._clips, heldout, mean),
            by_kind=by_kind(self._clips, heldout),
        )

    def _against_teacher(self) -> Measurements:
        rate_hz, lag = self._heldout.rate_hz, None
        if self._errors.frames / rate_hz >= LEAST_LAG_S:
            lag = self._lag.value(self._scaled.moving)
        measures: Measurements = {
            "mse": self._errors.mse(),
            "r2": self._errors.r2(),
            "correlation": self._scaled.correlation(),
            "velocity_mse": self._velocity.value * rate_hz**2,
            "jitter_ratio": _ratio(self._shaking, self._of_teacher),
            "lag_ms": lag,
        }
        if self._rule is not None:
            counts = sum((clip.closures for clip in self._clips), closures.ClosureCounts())
            scores = asdict(counts.scores)
            measures |= {f"closure_{name}": value for name, value in scores.items()}
        if self._mesh is not None:
            measures |= {"vertex_error": self._mesh.vertices, "lip_vertex_error": self._mesh.lips}
        return dict.fromkeys(COPIES) | measures

    def _against_truth(self) -> Measurements:
        """Against the phones of the aligned clips and, for ARKit's controls, rule-based curves.

        None for a rig or for speech of which no truth is known.
        """
        measures: Measurements = dict.fromkeys(TRUTHS)
        if not any(self._heldout.alignments) or not all(clip.finite for clip in self._clips):
            return measures
        if self._rule is not None:
            measures |= beside_phones(self._clips, numbered(self._heldout.voices))
        if _known_rules(self._heldout):
            measures |= {
                "mse": self._rules.mse(),
                "r2": self._rules.r2(),
                "correlation": self._rules.correlation(),
                "jitter_ratio": _ratio(self._shaking_beside, self._of_rules),
            }
        return measures

    def _by_region(self) -> Parts:
        return {
            region: {
                "mse": finite(self._errors.mse(columns)),
                "correlation": finite(self._scaled.correlation(columns)),
            }
            for region, columns in self._heldout.rig.regions(self._heldout.driven).items()
        }

    def _by_control(self) -> Parts:
        errors, correlations = self._errors.mse_by_control(), self._scaled.correlation_by_control()
        if self._heldout.evening is not None:  # a control by itself has its own unit
            errors = errors / self._heldout.evening**2
        rows = zip(self._heldout.driven, errors, correlations, strict=True)
        return {name: {"mse": finite(e), "correlation": finite(c)} for name, e, c in rows}


def pbm_cases(curves: Sequence[Floats], heldout: HeldOut) -> list[NDArray[np.bool_]]:
    """Of each aligned clip, bool `[intervals]`: whether the lips close on its /p b m/.

    Two models' cases of the same clips can be compared by `closures.paired_difference`. Raises
    `ValueError` for a rig of whose lips nothing is known.
    """
    rule = heldout.rig.closure_of(heldout.driven)
    if rule is None:
        raise ValueError(f"it is not known when the lips of the rig {heldout.rig.name} are closed")
    aligned = _aligned(heldout)
    return closures.pbm_cases(
        [curves[i] for i, _ in aligned],
        [visemes.bilabials(segments) for _, segments in aligned],
        heldout.driven,
        heldout.rate_hz,
        heldout.offset_s,
        rule,
    )


def _aligned(heldout: HeldOut) -> list[tuple[int, Sequence[visemes.Segment]]]:
    """Number and visemes of each clip with a known alignment."""
    return [(i, a.segments) for i, a in enumerate(heldout.alignments) if a is not None]


def _known_rules(heldout: HeldOut) -> bool:
    """Whether there are rule-based curves of all driven controls: of ARKit's alone."""
    return set(heldout.driven) <= set(ARKIT) and ARKIT_CLOSURE.applies_to(heldout.driven)


def _beside_rules(
    i: int, curves: Floats, segments: Sequence[visemes.Segment], heldout: HeldOut
) -> tuple[Floats, Floats]:
    """A clip's curves, and rule-based ones of the same frames and ARKit controls."""
    columns = [ARKIT.index(name) for name in heldout.driven]
    samples = heldout.samples[i]
    seconds = len(samples) / SAMPLE_RATE
    rules = visemes.curves(segments, seconds, heldout.rate_hz, samples, heldout.offset_s)
    frames = min(len(rules), len(curves))
    return curves[:frames], rules[:frames, columns]


def _scaled(curves: Floats, heldout: HeldOut) -> NDArray[np.floating]:
    """Curves relative to the rig's scale, evened.

    For measures that do not depend on it, but hold what moves by less than a ten-thousandth to
    stand still.
    """
    even = heldout.evened(curves)
    return even if heldout.scale == 1 else even / np.float32(heldout.scale)


def _ratio(upper: metrics.Mean, lower: metrics.Mean) -> float:
    return upper.value / lower.value if lower.value else math.nan
