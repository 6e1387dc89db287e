"""Reading speech: mono 16 kHz samples out, of a whole file or of a part of one.

Files are decoded block by block, so that what is held at once does not grow with their length.
"""

from collections.abc import Iterator
from math import ceil, gcd
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import BadAudio
from compress.speech.decoder import BLOCK, decoder_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
HOP = 256  # samples: the grid of frames on which students are trained
HOP_RATE = SAMPLE_RATE / HOP  # 62.5 frames a second

# −80 dB of full scale: below the noise floor of any recording of speech.
SILENT_PEAK = 1e-4
# Decoders overshoot full scale a little; a file of 16-bit integers stored as floats is far above.
LOUDEST_PEAK = 4.0
# scipy's polyphase filter reaches so many samples of the lower of its two rates to each side.
REACH = 10


def read(path: Path | str, silence: bool = False) -> "NDArray[np.float32]":
    """Audio of a file as float32 `[samples]`, mono, −1..1, 16 000 Hz.

    Channels are averaged, other sample rates resampled by a polyphase filter. Raises BadAudio when
    the file cannot be decoded, is empty, or holds samples that are no number or off scale; and when
    it is silent, unless `silence` is something that can be heard too.
    """
    import numpy as np

    found = list(blocks(Path(path)))
    peak = max((float(abs(block).max()) for block in found), default=0.0)
    _check_peak(path, sum(map(len, found)), SILENT_PEAK if silence and found else peak)
    return np.concatenate(found)


def read_part(
    file: Path | bytes, start: int, stop: int, name: str = "", channels: tuple[int, ...] = ()
) -> "NDArray[np.float32]":
    """Samples `start` to `stop` at 16 kHz of what `read` would give: float32 `[≤ stop − start]`.

    Fewer where the file ends before. A part may be silent. `file` may be a file's bytes, which
    `name` then stands for in messages. `channels` are those that are averaged, by their place in
    the file, none for all. Raises BadAudio for what cannot be decoded or is off scale in this part.
    """
    import numpy as np

    found = list(blocks(file, start, stop, name, channels))
    return np.concatenate([np.zeros(0, np.float32), *found])


def measure(path: Path) -> int:
    """How many samples `read` would give, and that it would give them. Raises BadAudio as it does."""
    samples, peak = 0, 0.0
    for block in blocks(path):
        samples += len(block)
        peak = max(peak, float(abs(block).max()))
    _check_peak(path, samples, peak)
    return samples


def _check_peak(path: Path | str, samples: int, peak: float) -> None:
    # After averaging and resampling: opposite channels cancel, and ultrasound is not speech.
    if not samples:
        raise BadAudio(path, "it holds no samples")
    if peak < SILENT_PEAK:
        raise BadAudio(path, f"silent: its peak is {peak:.1e}, expected at least {SILENT_PEAK:.0e}")


def blocks(
    file: Path | bytes,
    start: int = 0,
    stop: int | None = None,
    name: str = "",
    channels: tuple[int, ...] = (),
) -> "Iterator[NDArray[np.float32]]":
    """Samples `start` to `stop` at 16 kHz, or to the end, in pieces that are never empty.

    Arguments and errors are those of `read_part`.
    """
    import numpy as np

    name = name or str(file if isinstance(file, Path) else "audio")
    with decoder_of(file, name) as decoder:
        # So many samples last as long as so many frames: periods, on which blocks are cut.
        up, down = SAMPLE_RATE, decoder.rate
        up, down = up // gcd(up, down), down // gcd(up, down)
        margin = 0 if up == down else ceil((REACH * max(up, down) / up + 1) / down)
        at = max(0, start // up - margin)  # the period in which `heard` begins
        heard: NDArray[np.float32] = np.zeros(0, np.float32)
        decoder.go(at * down)
        while stop is None or start < stop:
            asked = max(1, BLOCK // down) * down
            if stop is not None:
                asked = min(asked, (ceil(stop / up) + margin - at) * down - len(heard))
            frames = mono(decoder.take(asked), name, channels)
            heard = np.concatenate([heard, frames])
            samples = resampled(heard, decoder.rate)
            ended = len(frames) < asked
            # What comes next changes the last samples, unless nothing does.
            known = at * up + len(samples)
            known = known if ended else (at + len(heard) // down - margin) * up
            known = known if stop is None else min(known, stop)
            if known > start:
                yield np.clip(samples[start - at * up : known - at * up], -1.0, 1.0)
                start = known
            if ended:
                return
            spent = max(0, start // up - margin - at)
            heard, at = heard[spent * down :], at + spent


def resampled(audio: "NDArray[np.float32]", rate: int) -> "NDArray[np.float32]":
    """Audio at `rate` as audio at 16 kHz, float32 `[samples]` both, by a polyphase filter."""
    from scipy.signal import resample_poly

    if rate == SAMPLE_RATE or not len(audio):
        return audio
    common = gcd(rate, SAMPLE_RATE)
    found: NDArray[np.float32] = resample_poly(audio, SAMPLE_RATE // common, rate // common)
    return found.astype("float32", copy=False)


def mono(
    frames: "NDArray[np.float32]", name: str, channels: tuple[int, ...] = ()
) -> "NDArray[np.float32]":
    """The average of some channels, none for all, float32 `[frames]`, of `[frames, channels]`.

    Raises BadAudio for samples that are no number or off scale.
    """
    import numpy as np

    if any(channel >= frames.shape[1] for channel in channels):
        raise BadAudio(
            name, f"it has {frames.shape[1]} channels, expected at least {max(channels) + 1}"
        )
    if channels:
        frames = frames[:, channels]
    if not np.isfinite(frames).all():
        raise BadAudio(name, "it holds samples that are NaN or infinite")
    peak = float(np.abs(frames).max(initial=0.0))
    if peak > LOUDEST_PEAK:
        raise BadAudio(name, f"its peak is {peak:g}, expected samples in −1..1")
    averaged: NDArray[np.float32] = frames.mean(axis=1)
    return averaged
