"""Rule-based speech animation: phones and their times → curves of the 52 ARKit blendshapes.

Coarticulation by dominance functions: M. M. Cohen and D. W. Massaro, *Modeling coarticulation in
synthetic visual speech*, 1993. Each phone pulls each articulator group towards its target with a
strength that decays exponentially from the phone's core; the pose is the weighted mean. A bilabial
stop pulls the lips so hard that they seal whatever stands beside it. Targets, strengths and the map
to blendshapes are ours: rules, not facial capture.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from compress.rig.rig import ARKIT
from compress.speech.audio import SAMPLE_RATE

PARAMETERS = (
    *("jaw", "close", "pucker", "funnel", "wide", "lower", "upper"),
    *("roll", "shrug", "tongue"),
)
# Articulator group of each parameter: 0 jaw, 1 lip seal, 2 lip shape, 3 lip height, 4 labiodental,
# 5 tongue.
GROUP = np.array([0, 1, 2, 2, 2, 3, 3, 4, 4, 5])
SEAL_GROUP = 1

# viseme: targets of the ten parameters; strength in each of the six groups; decay in 1/s.
_TABLE: dict[str, tuple[list[float], list[float], float]] = {
    "sil": ([0.02, 0.30, 0, 0, 0, 0, 0, 0, 0, 0], [1.2, 1.0, 0.8, 1.0, 1.0, 1.0], 14),
    "PP": ([0.08, 1.0, 0.06, 0, 0, 0, 0, 0.10, 0.10, 0], [0.5, 12.0, 0.3, 6.0, 1.0, 0.3], 28),
    "BV": ([0.10, 0.50, 0.05, 0, 0, 0.08, 0.04, 0, 0.05, 0], [0.7, 5.0, 0.3, 3.0, 1.0, 0.3], 24),
    "FF": ([0.07, 0, 0, 0.05, 0.10, 0.08, 0.30, 0.75, 0.25, 0], [3.5, 6.0, 0.5, 3.0, 9.0, 0.3], 22),
    "TH": ([0.14, 0, 0, 0, 0.10, 0.25, 0.10, 0, 0, 0.60], [0.8, 1.5, 0.3, 1.0, 1.0, 6.0], 20),
    "DD": ([0.12, 0, 0, 0, 0.10, 0.25, 0.10, 0, 0, 0.12], [0.7, 1.5, 0.2, 0.6, 1.0, 2.0], 20),
    "kk": ([0.18, 0, 0, 0, 0.05, 0.15, 0.08, 0, 0, 0], [0.4, 1.5, 0.15, 0.5, 1.0, 0.6], 20),
    "CH": ([0.12, 0, 0.30, 0.65, 0, 0.35, 0.25, 0, 0.05, 0], [1.5, 3.0, 3.5, 2.0, 1.5, 1.0], 18),
    "SS": ([0.06, 0, 0, 0.05, 0.30, 0.40, 0.18, 0, 0, 0], [2.0, 3.0, 0.6, 1.4, 1.5, 1.0], 20),
    "nn": ([0.12, 0, 0, 0, 0.08, 0.20, 0.08, 0, 0, 0.15], [0.6, 1.5, 0.2, 0.5, 1.0, 2.0], 20),
    "RR": ([0.14, 0, 0.40, 0.35, 0, 0.15, 0.10, 0, 0.05, 0], [0.7, 1.5, 1.5, 0.8, 1.0, 0.6], 16),
    "LL": ([0.18, 0, 0, 0, 0.12, 0.22, 0.08, 0, 0, 0.35], [0.7, 1.5, 0.3, 0.6, 1.0, 3.0], 18),
    "WW": ([0.10, 0, 0.90, 0.35, 0, 0.05, 0, 0, 0, 0], [1.0, 3.0, 6.0, 1.5, 1.5, 0.6], 16),
    "HH": ([0.20, 0, 0, 0, 0.05, 0.15, 0.08, 0, 0, 0], [0.15, 1.0, 0.05, 0.2, 0.8, 0.3], 20),
    "YY": ([0.12, 0, 0, 0, 0.40, 0.22, 0.12, 0, 0, 0], [0.8, 1.5, 0.8, 0.7, 1.0, 0.6], 18),
    "aa": ([0.62, 0, 0, 0.05, 0.05, 0.35, 0.15, 0, 0, 0], [2.0, 2.0, 1.2, 1.2, 1.0, 1.0], 13),
    "ae": ([0.52, 0, 0, 0, 0.30, 0.42, 0.25, 0, 0, 0], [2.0, 2.0, 1.2, 1.2, 1.0, 1.0], 13),
    "ah": ([0.34, 0, 0, 0.05, 0.08, 0.25, 0.12, 0, 0, 0], [1.3, 2.0, 0.7, 0.9, 1.0, 1.0], 14),
    "ao": ([0.46, 0, 0.25, 0.50, 0, 0.25, 0.10, 0, 0, 0], [1.8, 2.0, 2.0, 1.2, 1.0, 1.0], 13),
    "eh": ([0.36, 0, 0, 0, 0.28, 0.36, 0.20, 0, 0, 0], [1.6, 2.0, 1.0, 1.1, 1.0, 1.0], 13),
    "er": ([0.24, 0, 0.30, 0.35, 0, 0.22, 0.12, 0, 0, 0], [1.5, 2.0, 1.5, 1.0, 1.0, 1.0], 13),
    "ih": ([0.22, 0, 0, 0, 0.30, 0.28, 0.15, 0, 0, 0], [1.2, 2.0, 0.9, 0.9, 1.0, 1.0], 14),
    "iy": ([0.15, 0, 0, 0, 0.60, 0.32, 0.20, 0, 0, 0], [1.6, 2.0, 1.6, 1.1, 1.0, 1.0], 13),
    "ow": ([0.34, 0, 0.55, 0.50, 0, 0.15, 0.05, 0, 0, 0], [1.6, 2.0, 2.2, 1.1, 1.0, 1.0], 13),
    "uh": ([0.22, 0, 0.45, 0.40, 0, 0.15, 0.05, 0, 0, 0], [1.3, 2.0, 1.6, 1.0, 1.0, 1.0], 14),
    "uw": ([0.14, 0, 0.85, 0.45, 0, 0.08, 0.02, 0, 0, 0], [1.6, 2.0, 3.0, 1.2, 1.0, 1.0], 13),
}  # fmt: skip
VISEMES = tuple(_TABLE)
INDEX = {name: i for i, name in enumerate(VISEMES)}
FIRST_VOWEL = INDEX["aa"]
_TARGET = np.array([_TABLE[v][0] for v in VISEMES])
_STRENGTH = np.array([_TABLE[v][1] for v in VISEMES])
_DECAY_HZ = np.array([_TABLE[v][2] for v in VISEMES])
# Share of a phone's half-length over which it holds its target: a seal is held, a vowel is passed
# through.
_CORE = np.full(len(VISEMES), 0.35)
_CORE[INDEX["PP"]], _CORE[INDEX["sil"]] = 0.8, 0.9


@dataclass(frozen=True)
class Segment:
    """A viseme from `start` to `end`, in seconds."""

    viseme: str
    start: float
    end: float


_ARPABET = {
    viseme: phones.split()
    for viseme, phones in {
        "PP": "b p m em", "FF": "f v", "TH": "dh th", "DD": "d t dx",
        "kk": "g k ng", "CH": "ch jh sh zh", "SS": "s z", "nn": "n en", "RR": "r", "LL": "l el",
        "WW": "w", "HH": "hh h", "YY": "y", "aa": "aa", "ae": "ae", "ah": "ah ax", "ao": "ao",
        "eh": "eh", "er": "er axr", "ih": "ih ix", "iy": "iy", "uh": "uh", "uw": "uw ux",
    }.items()
}  # fmt: skip
_ARPABET_DIPHTHONGS: dict[str, tuple[str, ...]] = {
    "aw": ("aa", "uh"),
    "ay": ("aa", "ih"),
    "ey": ("eh", "ih"),
    "ow": ("ow", "uw"),
    "oy": ("ao", "ih"),
}
# How labels begin that are no phones: <eps> <unk> <p:>, +NOISE+, [noise], {LG}, (null), ##, ...
_MARKS = frozenset("<+[{(#.")
_SILENCES = frozenset(
    (
        *("sil", "silence", "sp", "spn", "nsn", "pau", "pause", "h#", "epi", "eps", "unk", "oov"),
        *("noise", "ns", "nib", "usb", "vns", "lau", "laugh", "laughter", "lg", "brth", "br"),
        *("breath", "cough", "cg", "ls", "gbg", "garbage", "xxx", "_", "-", "*", "null"),
    )
)
ARPABET = {p: (v,) for v, ps in _ARPABET.items() for p in ps} | _ARPABET_DIPHTHONGS

Phone = tuple[str, float, float]  # label, start s, end s


def arpabet_visemes(phone: str) -> tuple[str, ...]:
    """Visemes of an ARPAbet phone, any case, stress digits allowed: one, or two for a diphthong.

    Raises `KeyError` for a phone that is not in the table: a silent guess would teach a wrong
    mouth.
    """
    return ("sil",) if is_silence(phone) else ARPABET[phone.lower().rstrip("012")]


def is_silence(label: str) -> bool:
    """Whether a label of an aligner stands for no phone: silence, noise, or a word that it could not read.

    These are what the Montreal Forced Aligner, Kaldi, Praat, Sphinx and WebMAUS write, in any case;
    an empty label too. What an aligner could not read may be speech: nothing is known of its lips,
    so they rest.
    """
    name = label.strip().lower()
    return not name or name[0] in _MARKS or name in _SILENCES


def segments_of(
    phones: Sequence[Phone], visemes_of: Callable[[str], tuple[str, ...]] = arpabet_visemes
) -> list[Segment]:
    """Viseme segments of timed phones; a mark that is no phone lengthens the one before it."""
    segments: list[Segment] = []
    for label, start, end in phones:
        if end - start <= 1e-4:
            continue
        visemes = visemes_of(label)
        if not visemes:
            if segments:
                segments[-1] = Segment(segments[-1].viseme, segments[-1].start, end)
            continue
        if len(visemes) == 1:
            segments.append(Segment(visemes[0], start, end))
        else:
            middle = start + (end - start) * 0.55
            segments += [Segment(visemes[0], start, middle), Segment(visemes[1], middle, end)]
    return segments


def bilabials(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """The /p b m/ intervals, in seconds: where lips must close."""
    return [(s.start, s.end) for s in segments if s.viseme == "PP"]


def clear_vowels(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """Vowels with no sealed or silent neighbour, in seconds: where closed lips must be wrong."""
    clear = []
    for before, vowel, after in zip(segments, segments[1:], segments[2:], strict=False):
        if INDEX[vowel.viseme] >= FIRST_VOWEL and not {before.viseme, after.viseme} & {
            "PP",
            "BV",
            "sil",
        }:
            clear.append((vowel.start, vowel.end))
    return clear


def _padded_with_silence(segments: Sequence[Segment], seconds: float) -> list[Segment]:
    """The segments with silence before the first and after the last, to cover the clip."""
    if not segments:
        return [Segment("sil", 0.0, seconds)]
    padded = list(segments)
    if padded[0].start > 0.03:
        padded.insert(0, Segment("sil", 0.0, padded[0].start))
    if padded[-1].end < seconds - 0.03:
        padded.append(Segment("sil", padded[-1].end, seconds))
    return padded


def _loudness(segments: Sequence[Segment], audio: np.ndarray) -> np.ndarray:
    """How open each vowel is, from its length and its level against the clip's median vowel."""
    seconds = np.array([s.end - s.start for s in segments])
    vowel = np.array([INDEX[s.viseme] >= FIRST_VOWEL for s in segments])
    openness = np.ones(len(segments))
    if not vowel.any():
        return openness
    pieces = [
        audio[
            int(s.start * SAMPLE_RATE) : max(
                int(s.end * SAMPLE_RATE), int(s.start * SAMPLE_RATE) + 80
            )
        ]
        for s in segments
    ]
    level = np.array(
        [np.sqrt((p.astype(np.float64) ** 2).mean() + 1e-9) if len(p) else 1e-5 for p in pieces]
    )
    openness[vowel] = np.clip(1 + 0.22 * np.log(level / np.median(level[vowel])), 0.65, 1.3)[vowel]
    openness[vowel] *= np.clip(0.75 + seconds / 0.32, 0.75, 1.12)[vowel]  # short vowels undershoot
    return openness


def _articulators(
    segments: Sequence[Segment], seconds: float, rate_hz: float, audio: np.ndarray, offset_s: float
) -> np.ndarray:
    """The ten articulator parameters, float64 `[frames, 10]`."""
    oversample, smooth_s = 4, 0.018
    segments = _padded_with_silence(segments, seconds)
    frames = max(1, math.ceil(seconds * rate_hz - 1e-6))
    # Sub-frames lie symmetrically around i / rate, so their mean stands for that time.
    time = (np.arange(frames * oversample) - (oversample - 1) / 2) / (
        rate_hz * oversample
    ) + offset_s
    viseme = np.array([INDEX[s.viseme] for s in segments])
    centre = np.array([(s.start + s.end) / 2 for s in segments])
    half = np.array([(s.end - s.start) / 2 for s in segments])
    distance = np.maximum(np.abs(time[:, None] - centre) - _CORE[viseme] * half, 0)
    openness = _loudness(segments, audio)
    curves = np.empty((len(time), len(PARAMETERS)))
    for group in range(GROUP.max() + 1):
        decay = _DECAY_HZ[viseme] * (1.6 if group == SEAL_GROUP else 1.0)
        dominance = _STRENGTH[viseme, group] * np.exp(-decay * distance)
        dominance /= dominance.sum(1, keepdims=True) + 1e-9
        for p in np.flatnonzero(group == GROUP):
            scaled = openness if PARAMETERS[p] in ("jaw", "lower", "upper") else 1.0
            curves[:, p] = dominance @ (_TARGET[viseme, p] * scaled)
    smooth: np.ndarray = gaussian_filter1d(curves, smooth_s * rate_hz * oversample, axis=0)
    averaged: np.ndarray = smooth.reshape(frames, oversample, -1).mean(1)
    return averaged.clip(0, 1)


def curves(
    segments: Sequence[Segment],
    seconds: float,
    rate_hz: float,
    audio: np.ndarray,
    offset_s: float = 0.0,
) -> np.ndarray:
    """ARKit curves of a clip of float32 `[samples]` audio at 16 kHz.

    float32 `[ceil(seconds · rate_hz), 52]` in 0..1. Frame i stands for offset_s + i / rate_hz
    seconds. Vowels open the jaw by their level in the audio.
    """
    jaw, close, pucker, funnel, wide, lower, upper, roll, shrug, tongue = _articulators(
        segments, seconds, rate_hz, audio, offset_s
    ).T
    seal = np.clip((close - 0.25) / 0.6, 0, 1)
    seal = (
        seal * seal * (3 - 2 * seal)
    )  # smoothstep: the seal snaps for /p b m/ and lets go for all else
    value = {
        "jawOpen": jaw,
        "mouthClose": seal * jaw,
        "mouthPucker": pucker,
        "mouthFunnel": funnel * (1 - 0.8 * seal),
        "mouthStretch": 0.6 * wide,
        "mouthSmile": 0.45 * wide,
        "mouthDimple": 0.25 * wide,
        "mouthLowerDown": lower * (1 - seal) * (1 - 0.6 * roll),
        "mouthUpperUp": upper * (1 - seal),
        "mouthRollLower": np.maximum(roll, 0.25 * seal),
        "mouthRollUpper": 0.2 * seal,
        "mouthShrugUpper": shrug,
        "mouthShrugLower": 0.5 * shrug + 0.1 * seal,
        "mouthPress": 0.35 * seal * (close > 0.5),
        "tongueOut": 0.5 * tongue * np.clip((tongue - 0.3) / 0.3, 0, 1),
        "cheekSquint": 0.12 * wide,
        "noseSneer": 0.15 * upper * (1 - seal),
        "jawForward": 0.25 * funnel,
    }
    pose = np.zeros((len(jaw), len(ARKIT)), np.float32)
    for i, control in enumerate(ARKIT):
        stem = control.removesuffix("Left").removesuffix("Right")
        if stem in value:
            pose[:, i] = value[stem]
    return np.clip(pose, 0, 1)
