"""What is kept of a judged clip, and what reports sum of it: by clip, and by kind of voice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.judge import metrics, sealing
from compress.judge.closures import ClosureCounts
from compress.judge.held_out import HeldOut
from compress.judge.measures import measured
from compress.judge.sealing import Sealing
from compress.judge.voice_kinds import groups, numbered
from exporters.report.records.chain import Measurements
from exporters.report.records.clip_sums import MOST_PARTS, ClipSums
from exporters.report.records.kinds import KindFigures


@dataclass(frozen=True)
class JudgedClip:
    """A few numbers, some for each control, and the apertures of speech beside its phones.

    `sealing` is None for a clip without alignment, and of a rig whose closed lips are not known;
    `finite` says whether an aligned clip's curves are numbers.
    """

    moments: metrics.Moments
    shaking: float
    of_teacher: float
    closures: ClosureCounts
    sealing: Sealing | None
    finite: bool


def beside_phones(clips: Sequence[JudgedClip], voices: NDArray[np.intp]) -> Measurements:
    """The figures of `sealing.MEASURES` of those clips that are aligned; None where none is."""
    own = [(clip.sealing, voice) for clip, voice in zip(clips, voices, strict=True) if clip.sealing]
    if not own or not all(clip.finite for clip in clips):
        return dict.fromkeys(sealing.MEASURES)
    return sealing.measures([one for one, _ in own], np.array([voice for _, voice in own]))


def by_kind(clips: Sequence[JudgedClip], heldout: HeldOut) -> tuple[KindFigures, ...]:
    """Each kind of voice in the held-out speech, and each of its languages."""
    found, names = [], heldout.voices
    for group in groups([clip.id for clip in heldout.clips], heldout.kinds):
        own = [clips[i] for i in group.clips]
        voices = numbered([names[i] for i in group.clips])
        found.append(
            KindFigures(
                kind=group.kind,
                language=group.language,
                clips=len(own),
                voices=int(voices.max()) + 1,
                against_teacher=measured(_against_teacher(own, heldout)),
                against_truth=measured(beside_phones(own, voices)),
            )
        )
    return tuple(found)


def _against_teacher(clips: Sequence[JudgedClip], heldout: HeldOut) -> Measurements:
    moments = metrics.Moments()
    for clip in clips:
        moments.join(clip.moments)
    counts = sum((clip.closures for clip in clips), ClosureCounts())
    known = heldout.rig.closure_of(heldout.driven) is not None
    return {
        "mse": moments.mse(),
        "r2": moments.r2(),
        "closure_f1": counts.scores.f1 if known else None,
    }


def sums_of(
    clips: Sequence[JudgedClip], heldout: HeldOut, teacher_mean: NDArray[np.float64]
) -> ClipSums:
    """What the figures of all clips are summed of; `teacher_mean` is `[driven]`."""
    controls, none = len(heldout.driven), Sealing()
    columns: dict[str, Sequence[float]] = {
        "values": [clip.moments.frames * controls for clip in clips],
        "squared_error": [clip.moments.squared_error for clip in clips],
        "spread": [clip.moments.spread_around(teacher_mean) for clip in clips],
        "shaking": [clip.shaking for clip in clips],
        "teacher_shaking": [clip.of_teacher for clip in clips],
    }
    if heldout.rig.closure_of(heldout.driven) is not None:
        for name in ("guesses", "right", "events", "recalled"):
            columns[name] = [getattr(clip.closures, name) for clip in clips]
        if any(heldout.alignments):
            phones = [clip.sealing or none for clip in clips]
            columns["sounds"] = [one.pbm[1] for one in phones]
            columns["sealed"] = [one.pbm[0] for one in phones]
            columns["sealed_at_1pct"] = sealing.sealed_at(phones)
            columns["outside"] = [one.closed_outside[1] for one in phones]
            columns["closed_outside"] = [one.closed_outside[0] for one in phones]
            for name in ("guesses", "right", "events", "recalled"):
                columns[f"phone_{name}"] = [getattr(one.phones, name) for one in phones]
    return ClipSums(**{name: _parts(values) for name, values in columns.items()})


def _parts(values: Sequence[float]) -> tuple[float, ...]:
    """Sums of at most `MOST_PARTS` neighbours, with the six digits that a comparison needs."""
    parts = min(len(values), MOST_PARTS)
    which = np.arange(len(values)) * parts // len(values)
    sums = np.bincount(which, weights=np.asarray(values, np.float64), minlength=parts)
    return tuple(float(f"{value:.6g}") for value in sums)
