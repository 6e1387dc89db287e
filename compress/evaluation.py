"""How well curves follow the teacher and the truth on held-out speech, at the teacher's frames."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from compress import closures, metrics, visemes
from compress.alignments import Alignment
from compress.audio import HOP, SAMPLE_RATE
from compress.closures import Share
from compress.labels.store import LabelledClip, Labels, audio_of, curves_of
from compress.mesh_metrics import lip_vertex_error, vertex_error
from compress.rig import ARKIT, ARKIT_CLOSURE, ARKIT_RIG, Rig
from exporters.mesh import Mesh, read_mesh

Floats = NDArray[np.float32]
Measures = dict[str, float | Share | None]
# Of each region of the face, or each control: metrics by name, None as in `Measures`.
Breakdown = dict[str, dict[str, float | None]]

COPIES = (
    *("mse", "r2", "correlation", "velocity_mse", "jitter_ratio", "lag_ms"),
    *("closure_precision", "closure_recall", "closure_f1"),
)
TRUTHS = ("mse", "r2", "correlation", "jitter_ratio", "pbm", "false_closures", "stillness")


@dataclass(frozen=True)
class HeldOut:
    """Held-out clips with the teacher's driven curves `[frames, driven]`.

    `alignments` has None where a clip's is not known; `mesh` is what the curves are coefficients of.
    `evening`, float64 `[driven]`, is by what errors of each control are multiplied, of a rig that
    mixes units.
    """

    clips: tuple[LabelledClip, ...]
    samples: tuple[Floats, ...]
    teacher: tuple[Floats, ...]
    alignments: tuple[Alignment | None, ...]
    driven: tuple[str, ...]
    rate_hz: float
    offset_s: float
    rig: Rig = ARKIT_RIG
    scale: float = 1.0
    mesh: Mesh | None = None
    evening: NDArray[np.float64] | None = None

    def times_s(self, clip: int) -> NDArray[np.float64]:
        """The time that each of a clip's frames stands for."""
        return self.offset_s + np.arange(len(self.teacher[clip])) / self.rate_hz

    def at_frames(self, clip: int, hops: Floats) -> Floats:
        """Curves on the hop grid, interpolated at a clip's frame times."""
        grid = np.arange(len(hops)) * HOP / SAMPLE_RATE
        columns = [np.interp(self.times_s(clip), grid, hops[:, i]) for i in range(hops.shape[1])]
        return np.stack(columns, 1).astype(np.float32)

    def only(self, wanted: Callable[[LabelledClip], bool]) -> "HeldOut":
        """The clips that are wanted, which may be none: one speaker's, or the synthetic voices."""
        kept = [i for i, clip in enumerate(self.clips) if wanted(clip)]
        return replace(
            self,
            clips=tuple(self.clips[i] for i in kept),
            samples=tuple(self.samples[i] for i in kept),
            teacher=tuple(self.teacher[i] for i in kept),
            alignments=tuple(self.alignments[i] for i in kept),
        )

    def at_gain(self, gain_db: float) -> "HeldOut":
        """The same clips as loud as another microphone or speaker would have them.

        Clipped to −1..1. The teacher's curves stay: what is said quietly moves the lips as well.
        """
        factor = 10 ** (gain_db / 20)
        return replace(self, samples=tuple(np.clip(s * factor, -1, 1) for s in self.samples))


@dataclass(frozen=True)
class Quality:
    """Metrics by name, averaged over the driven controls.

    None is not measured: the speech does not allow it, or what came out is no number.
    """

    against_teacher: Measures
    against_truth: Measures
    # MSE and correlation against the teacher, taken apart.
    by_region: Breakdown = field(default_factory=dict)
    by_control: Breakdown = field(default_factory=dict)


def load_heldout(labels: Labels, alignments: dict[str, Alignment]) -> HeldOut:
    """The held-out side of the labels, with its audio read."""
    clips = labels.side("heldout")
    return HeldOut(
        clips,
        tuple(audio_of(labels, clip) for clip in clips),
        tuple(curves_of(labels, clips, "frames")),
        tuple(alignments.get(clip.id) for clip in clips),
        labels.driven,
        labels.rate_hz,
        labels.offset_s,
        labels.rig,
        labels.scale,
        None if labels.mesh_file is None else read_mesh(labels.mesh_file),
        labels.own_units.evening,
    )


def silence() -> tuple[Floats, Floats]:
    """Two seconds of digital silence, and two of white noise at −70 dBFS: a face should rest."""
    noise = np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE, dtype=np.float32)
    return np.zeros(2 * SAMPLE_RATE, np.float32), noise * np.float32(10 ** (-70 / 20))


def quality(
    curves: Sequence[Floats],
    heldout: HeldOut,
    on_silence: Sequence[Floats] = (),
) -> Quality:
    """Judge the curves of all held-out clips, each `[frames, driven]` at the teacher's frames.

    `on_silence` are what the same model makes of `silence`, at the same rate. Closures are None for a
    rig of which it is not known when its lips are sealed.
    """
    if not heldout.clips:
        return Quality(dict.fromkeys(COPIES), dict.fromkeys(TRUTHS))
    against_teacher = _measured(_against_teacher(curves, heldout))
    still = metrics.stillness(evened(on_silence, heldout), heldout.rate_hz)
    against_truth = _measured(_against_truth(curves, heldout) | {"stillness": still})
    return Quality(
        against_teacher, against_truth, _by_region(curves, heldout), _by_control(curves, heldout)
    )


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


def speech_windows(heldout: HeldOut, window: int, count: int) -> Floats:
    """Windows spread evenly over all held-out speech, float32 `[count, 1, window]`."""
    speech = np.concatenate([*heldout.samples, np.zeros(window, np.float32)])
    starts = np.linspace(0, len(speech) - window, count).astype(int)
    return np.stack([speech[start : start + window] for start in starts])[:, None]


def _aligned(heldout: HeldOut) -> list[tuple[int, Sequence[visemes.Segment]]]:
    """Number and visemes of each clip with a known alignment."""
    return [(i, a.segments) for i, a in enumerate(heldout.alignments) if a is not None]


def _against_teacher(curves: Sequence[Floats], heldout: HeldOut) -> Measures:
    teacher, driven, rate_hz = heldout.teacher, heldout.driven, heldout.rate_hz
    even = evened(curves, heldout), evened(teacher, heldout)
    measures: Measures = {
        "mse": metrics.mse(*even),
        "r2": metrics.r2(*even),
        "correlation": metrics.correlation(*_scaled(curves, heldout)),
        "velocity_mse": metrics.velocity_mse(*even, rate_hz),
        "jitter_ratio": metrics.jitter_ratio(*_scaled(curves, heldout)),
        "lag_ms": metrics.lag_ms(*_scaled(curves, heldout), rate_hz),
    }
    if (rule := heldout.rig.closure_of(driven)) is not None:
        scores = closures.closure_scores(curves, teacher, driven, rate_hz, rule)
        measures |= {f"closure_{name}": value for name, value in asdict(scores).items()}
    if (mesh := heldout.mesh) is not None:
        lips = lip_vertex_error(curves, teacher, mesh, driven) if mesh.lips.size else None
        measures |= {"vertex_error": vertex_error(curves, teacher, mesh), "lip_vertex_error": lips}
    return dict.fromkeys(COPIES) | measures


def _against_truth(curves: Sequence[Floats], heldout: HeldOut) -> Measures:
    """Against the phones of the aligned clips and, for ARKit's controls, rule-based curves of them.

    None for a rig or for speech of which no truth is known.
    """
    measures: Measures = dict.fromkeys(TRUTHS)
    aligned = _aligned(heldout)
    clips = [curves[i] for i, _ in aligned]
    # A NaN is not below the limit: such lips would pass for open ones on every vowel.
    if not clips or not all(np.isfinite(clip).all() for clip in clips):
        return measures
    driven, rate_hz, offset_s = heldout.driven, heldout.rate_hz, heldout.offset_s
    if (rule := heldout.rig.closure_of(driven)) is not None:
        vowels = [visemes.clear_vowels(segments) for _, segments in aligned]
        false = closures.false_closures(clips, vowels, driven, rate_hz, offset_s, rule)
        pbm = closures.share(pbm_cases(curves, heldout))
        measures |= {"pbm": pbm, "false_closures": false}
    if set(driven) <= set(ARKIT) and ARKIT_CLOSURE.applies_to(driven):
        predicted, truth = _beside_rules(curves, heldout)
        measures |= {
            "mse": metrics.mse(predicted, truth),
            "r2": metrics.r2(predicted, truth),
            "correlation": metrics.correlation(predicted, truth),
            "jitter_ratio": metrics.jitter_ratio(predicted, truth),
        }
    return measures


def _beside_rules(curves: Sequence[Floats], heldout: HeldOut) -> tuple[list[Floats], list[Floats]]:
    """Curves of the aligned clips, and rule-based ones of the same frames and ARKit controls."""
    columns = [ARKIT.index(name) for name in heldout.driven]
    predicted, truth = [], []
    for i, segments in _aligned(heldout):
        samples = heldout.samples[i]
        seconds = len(samples) / SAMPLE_RATE
        rules = visemes.curves(segments, seconds, heldout.rate_hz, samples, heldout.offset_s)
        frames = min(len(rules), len(curves[i]))
        predicted.append(curves[i][:frames])
        truth.append(rules[:frames, columns])
    return predicted, truth


def _by_region(curves: Sequence[Floats], heldout: HeldOut) -> Breakdown:
    found: Breakdown = {}
    regions = heldout.rig.regions(heldout.driven)
    for name, measure, pair in (
        ("mse", metrics.mse, (evened(curves, heldout), evened(heldout.teacher, heldout))),
        ("correlation", metrics.correlation, _scaled(curves, heldout)),
    ):
        values = metrics.by_region(measure, *pair, regions)
        for region, value in values.items():
            found.setdefault(region, {})[name] = _finite(value)
    return found


def _by_control(curves: Sequence[Floats], heldout: HeldOut) -> Breakdown:
    errors = metrics.mse_by_control(curves, heldout.teacher)
    correlations = metrics.correlation_by_control(*_scaled(curves, heldout))
    rows = zip(heldout.driven, errors, correlations, strict=True)
    return {name: {"mse": _finite(e), "correlation": _finite(c)} for name, e, c in rows}


def evened(curves: Sequence[Floats], heldout: HeldOut) -> Sequence[NDArray[np.floating]]:
    """Curves with all controls in the unit of the liveliest, where a rig mixes units.

    A mean over controls in units of their own would be that of the largest numbers alone.
    """
    if heldout.evening is None:
        return curves
    # In float64: a rest value far from 0 leaves few digits.
    return [clip * heldout.evening for clip in curves]


def _scaled(
    curves: Sequence[Floats], heldout: HeldOut
) -> tuple[Sequence[NDArray[np.floating]], Sequence[NDArray[np.floating]]]:
    """Curves and the teacher's by the rig's scale, evened.

    For measures that do not depend on it, but hold what moves by less than a ten-thousandth to
    stand still.
    """
    even = evened(curves, heldout), evened(heldout.teacher, heldout)
    if heldout.scale == 1:
        return even
    scale = np.float32(heldout.scale)
    return [clip / scale for clip in even[0]], [clip / scale for clip in even[1]]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _measured(measures: Measures) -> Measures:
    """The same, with None for a share of no case and for what is no number."""
    return {name: _known(value) for name, value in measures.items()}


def _known(value: float | Share | None) -> float | Share | None:
    if isinstance(value, Share):
        return value if value.n else None
    return None if value is None else _finite(value)
