"""Clips set aside from training: what choices are made on, since held-out speech only judges."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from compress.judge import closures, metrics
from compress.judge.closures import Interval
from compress.judge.sealing import sealing
from compress.labels.examples import Example
from compress.labels.store import LabelledClip
from compress.rig.rig import ARKIT_RIG, ClosureRule, Rig
from compress.speech import split, visemes
from compress.speech.alignments import Alignment
from compress.speech.audio import HOP, SAMPLE_RATE
from compress.speech.sources import Clip

# Clips, whether they have labels yet or not.
Heard = TypeVar("Heard", LabelledClip, Clip)
QUIET_DB = -30.0
# Of a large corpus one prompt in 24 is hours of speech, and each validation would hear them all.
ASIDE_S = 1200.0
# More clips say little more and every choice that is tried hears them all.
SECONDS = 240.0


@dataclass(frozen=True)
class Watched:
    """Clips with the teacher's curves on the hop grid, and the /p b m/ of those aligned.

    `segments` are the visemes of each clip, empty where it is not aligned; () where none is known.
    """

    clips: tuple[Example, ...]
    bilabials: tuple[Sequence[Interval], ...]
    driven: tuple[str, ...]
    rig: Rig = ARKIT_RIG
    segments: tuple[Sequence[visemes.Segment], ...] = ()


@dataclass(frozen=True)
class Judgement:
    """What a student makes of the clips: MSE, at −30 dB too, R², jitter × teacher's, PBM 0 to 1.

    `false_closures` is F, the share of speech outside of /p b m/ with closed lips. None where the clips do not allow it.
    """

    mse: float
    quiet_mse: float
    r2: float | None
    jitter: float | None
    pbm: float | None
    false_closures: float | None = None


def set_aside(clips: Sequence[Heard], seconds: float = ASIDE_S) -> tuple[list[Heard], list[Heard]]:
    """Clips to learn from, and clips to watch training by: both in their order.

    Of the prompts that `split.watched` names, as many as `within` takes.
    """
    watched = within([c for c in clips if split.watched(split.prompt_id(c.id))], seconds)
    names = {clip.id for clip in watched}
    return [clip for clip in clips if clip.id not in names], watched


def within(clips: Sequence[Heard], seconds: float = ASIDE_S) -> list[Heard]:
    """At most so many seconds of some clips, in their order, but at least one prompt.

    Whole prompts, in the order of their hash, so that no sentence is in it and outside as well.
    """
    prompts: dict[str, float] = {}
    for clip in clips:
        prompt = split.prompt_id(clip.id)
        prompts[prompt] = prompts.get(prompt, 0.0) + clip.seconds
    taken: set[str] = set()
    total = 0.0
    for prompt in sorted(prompts, key=lambda name: hashlib.sha256(name.encode()).digest()):
        total += prompts[prompt]
        if taken and total > seconds:
            break
        taken.add(prompt)
    return [clip for clip in clips if split.prompt_id(clip.id) in taken]


def choose(
    clips: Sequence[LabelledClip],
    examples: Sequence[Example],
    alignments: Mapping[str, Alignment],
    driven: Sequence[str],
    rig: Rig = ARKIT_RIG,
) -> Watched:
    """About `SECONDS` of speech, or all where there is less: those aligned first, then others.

    Of clips that are too many, every so many. Raises `ValueError` where there is no clip.
    """
    if not clips:
        raise ValueError("there is no clip set aside")
    chosen: list[int] = []
    for aligned in (True, False):
        room = SECONDS - _seconds(examples[i] for i in chosen)
        own = [i for i, clip in enumerate(clips) if (clip.id in alignments) == aligned]
        if room > 0:
            chosen += own[:: max(1, math.floor(_seconds(examples[i] for i in own) / room))]
    found = [alignments.get(clips[i].id) for i in chosen]
    return Watched(
        tuple(examples[i] for i in chosen),
        tuple(visemes.bilabials(a.segments) if a else () for a in found),
        tuple(driven),
        rig,
        tuple(a.segments if a else () for a in found),
    )


def _seconds(clips: Iterable[Example]) -> float:
    return sum(len(clip.samples) for clip in clips) / SAMPLE_RATE


def judge(animate: Callable[[Tensor], Tensor], watched: Watched, quiet: bool = True) -> Judgement:
    """Judge what gives curves `[1, hops, driven]` for audio `[1, samples]`, on the hop grid.

    Without `quiet` nothing is heard at −30 dB and its MSE is not a number.
    """
    loud = [_curves(animate, clip.samples) for clip in watched.clips]
    low = [_curves(animate, clip.samples * _QUIET) for clip in watched.clips] if quiet else []
    labels = [clip.curves for clip in watched.clips]
    pbm = false = None
    if (rule := watched.rig.closure_of(watched.driven)) is not None:
        share = closures.pbm_accuracy(
            loud, watched.bilabials, watched.driven, SAMPLE_RATE / HOP, rule=rule
        )
        pbm = None if share is None else share.value
        false = _false(loud, watched, rule)
    return Judgement(
        mse=metrics.mse(loud, labels),
        quiet_mse=metrics.mse(low, labels) if quiet else math.nan,
        r2=_finite(metrics.r2(loud, labels)),
        jitter=_finite(metrics.jitter_ratio(loud, labels)),
        pbm=pbm,
        false_closures=false,
    )


def _false(curves: Sequence[np.ndarray], watched: Watched, rule: ClosureRule) -> float | None:
    """F of the aligned clips."""
    sealed = frames = 0
    for clip, segments in zip(curves, watched.segments, strict=False):
        if segments:
            found = sealing(clip, segments, watched.driven, SAMPLE_RATE / HOP, 0.0, rule)
            sealed, frames = sealed + found.closed_outside[0], frames + found.closed_outside[1]
    return sealed / frames if frames else None


_QUIET = np.float32(10 ** (QUIET_DB / 20))


def _curves(animate: Callable[[Tensor], Tensor], samples: np.ndarray) -> np.ndarray:
    return animate(torch.from_numpy(samples)[None])[0].cpu().numpy()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
