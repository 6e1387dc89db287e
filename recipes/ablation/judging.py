"""Judging a student on held-out speech: speakers heard, voices never heard and quiet speech, always apart."""

from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from types import SimpleNamespace
from typing import Any

from compress.judge import sealing
from compress.judge.animation import curves_by_smoothing
from compress.judge.held_out import Floats, HeldOut, load_heldout
from compress.judge.playback import NONE
from compress.judge.quality import pbm_cases, quality
from compress.labels.store import Labels
from compress.prove.source_predictor import SourcePredictor
from compress.speech.alignments import Alignment
from compress.speech.audio import HOP, SAMPLE_RATE
from compress.students.contract import Student
from exporters.report.records.quality import Quality

# Held-out speech by clip id.
GROUPS = {
    "english": ("en/*",),
    "spanish and italian": ("es/*", "it/*"),
    "synthetic": ("espeak/*", "flite/*", "festival/*"),
    "natural": ("natural/*",),
    **{f"real {language}": (f"{language}/*",) for language in ("es", "it")},
    **{
        f"natural {language}": (f"natural/{language}/*",)
        for language in ("en", "es", "fr", "hi", "it", "ja", "pt", "zh")
    },
}
QUIET = "english at -30 dB"
QUIET_DB = -30.0


def _predictor(student: Student) -> SourcePredictor:
    """A student in PyTorch as `animation` wants a file's runtime to be."""
    config = student.config
    signature: Any = SimpleNamespace(
        hop=HOP,
        sample_rate_hz=SAMPLE_RATE,
        past=config.past,
        future=config.future,
        window=config.window,
        driven=tuple(range(config.outputs)),
    )
    return SourcePredictor(student.eval(), signature)


def speech_groups(labels: Labels, alignments: dict[str, Alignment]) -> dict[str, HeldOut]:
    """Held-out speech in groups, the quiet one too."""
    everything = load_heldout(labels, alignments)
    groups = {
        name: everything.only(lambda clip, p=patterns: any(fnmatch(clip.id, one) for one in p))  # type: ignore[misc]
        for name, patterns in GROUPS.items()
    }
    groups = {name: group for name, group in groups.items() if group.clips}
    return groups | {QUIET: groups["english"].at_gain(QUIET_DB)}


def judged(
    student: Student, smoothing: Sequence[float], groups: dict[str, HeldOut]
) -> dict[str, dict[str, Any]]:
    """Quality by group as `animate` would have it, and ``… without smoothing`` where that differs."""
    runtime = _predictor(student)
    weightings = [smoothing] if tuple(smoothing) == NONE else [smoothing, NONE]
    found: dict[str, dict[str, Any]] = {}
    known: dict[
        str, list[Floats]
    ] = {}  # a clip is in a group of its kind and in one of its language
    for name, heldout in groups.items():
        clips = []
        for i, samples in enumerate(heldout.samples):
            key = f"{heldout.clips[i].id}{' quiet' if name == QUIET else ''}"
            if key not in known:
                known[key] = curves_by_smoothing(
                    runtime,
                    samples,
                    heldout.times_s(i),
                    weightings,
                )
            clips.append(known[key])
        for label, curves in zip(
            (name, f"{name} without smoothing"), zip(*clips, strict=True), strict=False
        ):
            found[label] = measures(list(curves), heldout)
    return found


def measures(curves: Sequence[Floats], heldout: HeldOut) -> dict[str, Any]:
    """The measures of some curves as JSON, with the /p b m/ cases of each clip for paired comparisons."""
    result: Quality = quality(curves, heldout)
    return {
        "against_teacher": result.against_teacher,
        "against_truth": _plain(result.against_truth),
        "by_region": result.by_region,
        "pbm_cases": [case.astype(int).tolist() for case in pbm_cases(curves, heldout)],
        "lips": _lips(curves, heldout),
    }


def _lips(curves: Sequence[Floats], heldout: HeldOut) -> dict[str, list[Any]]:
    """Of each aligned clip: its voice, its /p b m/, and how many of them seal where F is 1 %."""
    rule = heldout.rig.closure_of(heldout.driven)
    assert rule is not None
    facts = heldout.driven, heldout.rate_hz, heldout.offset_s, rule
    rows = zip(curves, heldout.alignments, heldout.voices, strict=True)
    known = [(c, alignment.segments, voice) for c, alignment, voice in rows if alignment]
    clips = [sealing.sealing(c, segments, *facts) for c, segments, _ in known]
    return {
        "voices": [voice for *_, voice in known],
        "sounds": [clip.pbm[1] for clip in clips],
        "sealed_at_1pct": sealing.sealed_at(clips),
    }


def teacher_judged(groups: dict[str, HeldOut]) -> dict[str, dict[str, Any]]:
    """The teacher's own curves, judged as a student's are: the ceiling of PBM accuracy."""
    return {name: measures(heldout.teacher, heldout) for name, heldout in groups.items()}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: asdict(value) if hasattr(value, "__dataclass_fields__") else value
        for name, value in values.items()
    }
