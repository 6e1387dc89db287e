"""Held-out speech with the teacher's curves: clips that are read when they are judged."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from compress.judge.rest import AtRest, at_rest
from compress.judge.voice_kinds import Kinds, voice_of
from compress.labels.on_demand import OnDemand, chosen, lengths_of
from compress.labels.store import LabelledClip, Labels, audio_of, curves_of
from compress.rig.rig import ARKIT_RIG, Rig
from compress.speech.alignments import Alignment
from compress.speech.audio import HOP, SAMPLE_RATE
from exporters.mesh import Mesh, read_mesh

Floats = NDArray[np.float32]

# Held-out speech that stays decoded, about an hour, and the teacher's curves of it. Of more, each
# clip is read again when it is next judged.
SAMPLES_BYTES, CURVES_BYTES = 256 * 10**6, 64 * 10**6


@dataclass(frozen=True)
class HeldOut:
    """Held-out clips with the teacher's driven curves `[frames, driven]`.

    Both are read when they are asked for, and only an hour of them is kept: go over the clips in
    their order. `alignments` has None where a clip's is not known; `mesh` is what the curves are
    coefficients of. `evening`, float64 `[driven]`, is by what errors of each control are
    multiplied, of a rig that mixes units. `kinds` are the recipe's kinds of voices. `rest` is what
    sound that is not speech is judged by, None where the teacher's rest pose is not known.
    """

    clips: tuple[LabelledClip, ...]
    samples: Sequence[Floats]
    teacher: Sequence[Floats]
    alignments: tuple[Alignment | None, ...]
    driven: tuple[str, ...]
    rate_hz: float
    offset_s: float
    rig: Rig = ARKIT_RIG
    scale: float = 1.0
    mesh: Mesh | None = None
    evening: NDArray[np.float64] | None = None
    kinds: Kinds = field(default_factory=dict)
    rest: AtRest | None = None

    @property
    def voices(self) -> list[str]:
        """Whose voice each clip is."""
        pairs = zip(self.clips, self.alignments, strict=True)
        return [voice_of(clip.id, None if known is None else known.voice) for clip, known in pairs]

    def evened(self, curves: Floats) -> NDArray[np.floating]:
        """Curves with all controls in the unit of the liveliest, where the rig mixes units.

        A mean over controls in units of their own would be that of the largest numbers alone.
        """
        # In float64: a rest value far from 0 leaves few digits.
        return curves if self.evening is None else curves * self.evening

    def times_s(self, clip: int) -> NDArray[np.float64]:
        """The time that each of a clip's frames stands for."""
        return self.offset_s + np.arange(lengths_of(self.teacher)[clip]) / self.rate_hz

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
            samples=chosen(self.samples, kept),
            teacher=chosen(self.teacher, kept),
            alignments=tuple(self.alignments[i] for i in kept),
        )

    def at_gain(self, gain_db: float) -> "HeldOut":
        """The same clips as loud as another microphone or speaker would have them.

        Clipped to −1..1. The teacher's curves stay: what is said quietly moves the lips as well.
        """
        factor = 10 ** (gain_db / 20)
        lengths, loud = lengths_of(self.samples), self.samples
        changed = OnDemand(lambda i: np.clip(loud[i] * factor, -1, 1), lengths, budget_bytes=0)
        return replace(self, samples=changed)


def load_heldout(
    labels: Labels, alignments: dict[str, Alignment], kinds: Kinds | None = None
) -> HeldOut:
    """The held-out side of the labels; audio and curves are read when they are asked for."""
    clips = labels.side("heldout")

    def samples(i: int) -> Floats:
        # A copy, since a part of a long recording would keep the whole of it in memory.
        return np.array(audio_of(labels, clips[i]))

    return HeldOut(
        clips,
        OnDemand(samples, [round(clip.seconds * SAMPLE_RATE) for clip in clips], SAMPLES_BYTES),
        OnDemand(
            lambda i: curves_of(labels, [clips[i]], "frames")[0],
            [clip.frames for clip in clips],
            CURVES_BYTES,
        ),
        tuple(alignments.get(clip.id) for clip in clips),
        labels.driven,
        labels.rate_hz,
        labels.offset_s,
        labels.rig,
        labels.scale,
        None if labels.mesh_file is None else read_mesh(labels.mesh_file),
        labels.own_units.evening,
        kinds or {},
        at_rest(labels),
    )


def silence() -> tuple[Floats, Floats]:
    """Two seconds of digital silence, and two of white noise at −70 dBFS: a face should rest."""
    noise = np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE, dtype=np.float32)
    return np.zeros(2 * SAMPLE_RATE, np.float32), noise * np.float32(10 ** (-70 / 20))


def speech_windows(heldout: HeldOut, window: int, count: int) -> Floats:
    """Windows spread evenly over all held-out speech, float32 `[count, 1, window]`.

    Clips follow each other without a gap, and a window of silence follows the last. Only those that
    a window touches are read, one at a time.
    """
    lengths = lengths_of(heldout.samples)
    ends = np.cumsum([*lengths, window])
    starts = np.linspace(0, ends[-1] - window, count).astype(int)
    found = np.zeros((count, 1, window), np.float32)
    for i, (end, length) in enumerate(zip(ends, lengths, strict=False)):
        first = end - length
        touching = np.flatnonzero((starts < end) & (starts + window > first))
        if not len(touching):
            continue
        samples = heldout.samples[i]
        for number in touching:
            start = int(starts[number])
            since, until = max(start, first), min(start + window, end)
            part = samples[since - first : until - first]
            found[number, 0, since - start : since - start + len(part)] = part
    return found
