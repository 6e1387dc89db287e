"""What a student is trained on: stretches of speech with the teacher's curves, drawn by step."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compress.distill import augmentation
from compress.distill.augmentation import PERCENT
from compress.distill.sampling import Sampler
from compress.errors import AudioError
from compress.labels.examples import Example, hops_of
from compress.speech import audio
from compress.speech.audio import HOP

if TYPE_CHECKING:
    from compress.recipe.recipe import TrainingSettings

Floats = NDArray[np.float32]
Batch = tuple[Tensor, Tensor]

# Threads that read and augment the stretches of a batch: most of that is done outside of Python's
# lock.
READERS = 4
# Batches that are made before they are wanted.
AHEAD = 2


class Stretches:
    """Draws stretches of speech with their labels: a process's share of each step's batch.

    Which clips, and which share, see `Sampler`; clips shorter than a stretch are left out. Of `rest`,
    which is no speech, stretches are drawn as often as it has seconds, but at most `most_rest` of
    them all. Raises `AudioError` where no clip is left, or too few for so many processes, and
    `UsageError` for a batch that they cannot share.
    """

    def __init__(
        self,
        clips: Sequence[Example],
        settings: "TrainingSettings",
        seed: int,
        rank: int = 0,
        world: int = 1,
        rest: Sequence[Example] = (),
        most_rest: float = 1.0,
    ) -> None:
        self._settings = settings
        require_long_enough(max(hops_of(clips), default=0), settings.frames)
        if len(rest):
            require_long_enough(max(hops_of(rest)), settings.frames, "clip of speech.rest")
        speech, sounds = (_long_enough(hops_of(c), settings.frames) for c in (clips, rest))
        self._numbered = [*((clips, i) for i in speech), *((rest, i) for i in sounds)]
        self._speech = len(speech)
        hops = weighted(list(speech.values()), list(sounds.values()), most_rest)
        self._sampler = Sampler(hops, settings.frames, settings.batch, seed)
        self._slots = self._sampler.slots(rank, world)
        self._readers = ThreadPoolExecutor(READERS)

    def batches(self, step: int, past: int, future: int) -> Iterator[Batch]:
        """The batches of this step and of all that follow, made while those before are used."""
        with ThreadPoolExecutor(1) as maker:
            coming: list[Future[Batch]] = []
            while True:
                while len(coming) <= AHEAD:
                    coming.append(maker.submit(self.batch, step, past, future))
                    step += 1
                yield coming.pop(0).result()

    def spoken(self, step: int) -> Tensor | None:
        """Which stretches of a step's batch are speech: bool `[slots]`; None where all of them are."""
        if self._speech == len(self._numbered):
            return None
        numbers = self._sampler.clips(step)[list(self._slots)]
        return torch.from_numpy(numbers < self._speech)

    def batch(self, step: int, past: int, future: int) -> Batch:
        """The batch of a step, augmented, for a student that sees `past` and `future` samples.

        float32 audio `[slots, 1, samples]` and labels `[slots, driven, frames]`; drawn from (seed,
        step, slot) alone. A stretch begins at any sample, its labels interpolated between hops: a
        file is called at any moment, and a student that only ever saw whole hops trembles between
        them.
        """
        chosen = [int(self._sampler.clips(step)[slot]) for slot in self._slots]
        different = list(dict.fromkeys(chosen))
        clips = dict(zip(different, self._readers.map(self._read, different), strict=True))

        def stretch(slot: int, number: int) -> tuple[Floats, Floats]:
            return self._stretch(clips[number], self._sampler.rng(step, slot), past, future)

        pairs = list(self._readers.map(stretch, self._slots, chosen))
        heard = torch.from_numpy(np.stack([samples for samples, _ in pairs]))[:, None]
        return heard, torch.from_numpy(np.stack([curves for _, curves in pairs]))

    def _read(self, number: int) -> Example:
        clips, place = self._numbered[number]
        return clips[place]

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


def _long_enough(hops: Sequence[int], frames: int) -> dict[int, int]:
    """Number and hops of each clip that is as long as a stretch."""
    return {i: length for i, length in enumerate(hops) if length >= frames}


def weighted(speech: Sequence[int], rest: Sequence[int], most_rest: float) -> list[int]:
    """Hops of all clips as a `Sampler` is to count them, speech first.

    Those of speech count more where the rest would have more than the share `most_rest`.
    """
    wanted = sum(rest) * (1 - most_rest) / most_rest
    factor = max(1.0, wanted / max(1, sum(speech)))
    return [*(round(hops * factor) for hops in speech), *rest]


def require_long_enough(longest: int, frames: int, kind: str = "training clip") -> None:
    """Raise `AudioError` where no clip of a kind, of which the `longest` has so many hops, is as long
    as a stretch.
    """
    if longest < frames:
        more = "speech" if kind == "training clip" else "longer sounds"
        needed, found = (hops * HOP / audio.SAMPLE_RATE for hops in (frames, longest))
        raise AudioError(
            f"No {kind} is as long as one stretch: training.frames = {frames} needs "
            f"{needed:.2f} s, the longest clip has {found:.2f} s. Add {more} or lower training.frames."
        )


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
