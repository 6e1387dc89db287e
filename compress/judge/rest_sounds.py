"""The few seconds of sound that every report is judged on beside speech, where a face should rest."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from compress.labels.rest_pose import RestClip
from compress.speech import not_speech
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import Clip
from compress.speech.tunes import tune
from exporters.report.records.not_speech import HELD_OUT, SILENCE

Floats = NDArray[np.float32]

# Raise when `fixed_sounds` gives other sounds.
FORMAT = 1
NOISE_S, OTHER_S = 2.5, 4.0
# RMS, in dB of full scale: a quiet room, and a loud street.
NOISE_DB = (-50.0, -20.0)
PEAK_DB = -10.0
# Of a recipe's own sounds that are held out: so much of each recording, and of all.
CLIP_S, HELD_OUT_S = 12.0, 60.0


@dataclass(frozen=True)
class Heard:
    """One sound: what kind it is, and its samples, float32 `[samples]` at 16 kHz."""

    kind: str
    samples: Floats


@cache
def fixed_sounds() -> tuple[Heard, ...]:
    """The same 26 s in every report: silence, noise, hum, typing and music, made in code."""
    found = [Heard(SILENCE, np.zeros(round(OTHER_S * SAMPLE_RATE), np.float32))]
    for colour in ("white", "pink"):
        for level_db in NOISE_DB:
            sound = not_speech.coloured(np.random.default_rng(len(found)), NOISE_S, colour)
            found.append(Heard("noise", not_speech.at_rms(sound, level_db)))
    for kind, make in (("hum", not_speech.hum), ("typing", not_speech.typing), ("music", tune)):
        sound = make(np.random.default_rng(len(found)), OTHER_S)
        found.append(Heard(kind, not_speech.at_peak(sound, PEAK_DB)))
    return tuple(found)


def chosen_heldout(clips: Sequence[RestClip]) -> list[tuple[Clip, int]]:
    """Held-out clips that are judged on, and how many samples of each: `HELD_OUT_S` in all at most.

    In the order of their hash, so that all kinds come.
    """
    most, left = round(CLIP_S * SAMPLE_RATE), round(HELD_OUT_S * SAMPLE_RATE)
    found = []
    heldout = [rest.clip for rest in clips if rest.side == "heldout"]
    for clip in sorted(heldout, key=lambda c: hashlib.sha256(c.id.encode()).digest()):
        if (samples := min(clip.samples, most, left)) <= 0:
            break
        found.append((clip, samples))
        left -= samples
    return found


def sounds_of(clips: Sequence[RestClip]) -> list[Heard]:
    """All sounds that a face is judged on: those of every report, then a recipe's own, held out.

    Raises `BadAudio` for one that cannot be read.
    """
    own = [
        Heard(HELD_OUT, np.array(clip.source.read(clip.start, clip.start + samples)))
        for clip, samples in chosen_heldout(clips)
    ]
    return [*fixed_sounds(), *own]
