"""What a student is trained on: stretches of speech with the teacher's curves, drawn by step."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress import audio, augmentation
from compress.audio import HOP
from compress.augmentation import PERCENT
from compress.errors import AudioError
from compress.labels import LabelledClip, Labels, audio_of, curves_of

if TYPE_CHECKING:
    from compress.recipe import TrainingSettings

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Example:
    """A clip: samples `[samples]`, driven curves on the hop grid `[hops, driven]`, float32."""

    samples: Floats
    curves: Floats


def examples(labels: Labels, clips: Sequence[LabelledClip]) -> list[Example]:
    """Some clips of the labels with their curves, in their order."""
    return [
        Example(audio_of(labels, clip), curves)
        for clip, curves in zip(clips, curves_of(labels, clips, "hops"), strict=True)
    ]


class Stretches:
    """Draws stretches of speech with their labels, clips in proportion to their length."""

    def __init__(
        self, clips: Sequence[Example], settings: "TrainingSettings", seed: int, rank: int = 0
    ) -> None:
        self._clips = [clip for clip in clips if len(clip.curves) >= settings.frames]
        if not self._clips:
            longest = max((len(clip.samples) for clip in clips), default=0) / audio.SAMPLE_RATE
            needed = settings.frames * HOP / audio.SAMPLE_RATE
            raise AudioError(
                f"No training clip is as long as one stretch: training.frames = {settings.frames} "
                f"needs {needed:.2f} s, the longest clip has {longest:.2f} s. Add speech or lower "
                f"training.frames."
            )
        hops = np.array([len(clip.curves) for clip in self._clips], float)
        self._share = hops / hops.sum()
        self._settings = settings
        # Each process draws batches of its own.
        self._seed = (seed, rank) if rank else (seed,)

    def batches(self, step: int, past: int, future: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of this step and of all that follow, each made while the one before is used."""
        with ThreadPoolExecutor(1) as maker:
            coming = maker.submit(self.batch, step, past, future)
            while True:
                step += 1
                following = maker.submit(self.batch, step, past, future)
                yield coming.result()
                coming = following

    def batch(self, step: int, past: int, future: int) -> tuple[Tensor, Tensor]:
        """The batch of a step, augmented, for a student that sees `past` and `future` samples.

        float32 audio `[batch, 1, samples]` and labels `[batch, driven, frames]`; drawn from (seed,
        step) alone. A stretch begins at any sample, its labels interpolated between hops: a file is
        called at any moment, and a student that only ever saw whole hops trembles between them.
        """
        settings, rng = self._settings, np.random.default_rng((*self._seed, step))
        chosen = rng.choice(len(self._clips), settings.batch, p=self._share)
        pairs = [self._stretch(self._clips[i], rng, past, future) for i in chosen]
        heard = torch.from_numpy(np.stack([samples for samples, _ in pairs]))[:, None]
        return heard, torch.from_numpy(np.stack([curves for _, curves in pairs]))

    def _stretch(
        self, clip: Example, rng: np.random.Generator, past: int, future: int
    ) -> tuple[Floats, Floats]:
        """Samples `[past + future + (frames − 1) · HOP]` and their labels `[driven, frames]`."""
        settings = self._settings
        span = (settings.frames - 1) * HOP
        percent = augmentation.draw_percent(rng, settings.augmentation)
        if span * percent > (len(clip.curves) - 1) * HOP * PERCENT:
            percent = PERCENT  # faster than the clip is long
        ratio = percent / PERCENT
        first = int(rng.integers(0, (len(clip.curves) - 1) * HOP - int(span * ratio) + 1))
        length = past + future + span
        heard = _cut(clip.samples, first - round(past * ratio), int(length * ratio) + 2)
        heard = augmentation.at_speed(heard, percent, length)
        positions = first / HOP + np.arange(settings.frames, dtype=np.float64) * ratio
        heard = augmentation.varied(heard, rng, settings.augmentation)
        return heard, between_hops(clip.curves, positions).T


def _cut(samples: Floats, start: int, length: int) -> Floats:
    """A piece of a clip, silence where the clip has nothing."""
    piece = np.zeros(length, np.float32)
    found = samples[max(0, start) : max(0, start + length)]
    piece[max(0, -start) : max(0, -start) + len(found)] = found
    return piece


def between_hops(curves: Floats, positions: NDArray[np.float64]) -> Floats:
    """Curves `[hops, driven]` at moments counted in hops: `[moments, driven]`, linear between."""
    before = np.clip(np.floor(positions).astype(int), 0, len(curves) - 1)
    after = np.minimum(before + 1, len(curves) - 1)
    share = (positions - before)[:, None].astype(np.float32)
    return np.asarray(curves[before] * (1 - share) + curves[after] * share, np.float32)
