"""Running a teacher on audio of any length, and holding it to its contract.

Audio longer than the teacher may see at once is cut into pieces that overlap, and the curves of two
pieces are cross-faded where both have frames. Where it is cut depends on its length alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.errors import NoAnswer, TeacherError
from compress.speech.audio import SAMPLE_RATE
from compress.teachers import Teacher

if TYPE_CHECKING:
    from compress.recipe.teacher import TeacherSettings

Floats = NDArray[np.float32]

# Two pieces share this much audio where the recipe says nothing, or a quarter of a piece where that
# is less.
OVERLAP_S = 2.0
LEAST_OVERLAP_FRAMES = 4
# Encoders drop or add a frame at a clip's edge.
FRAMES_OFF = 2
# Two moments closer than this share of a frame are one.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Cutting:
    """How long clips are cut, in seconds; an `overlap_s` of None is `OVERLAP_S`, or a quarter."""

    max_chunk_s: float = 30.0
    overlap_s: float | None = None

    @property
    def shared_s(self) -> float:
        """The audio that two pieces share."""
        return min(OVERLAP_S, self.max_chunk_s / 4) if self.overlap_s is None else self.overlap_s


def cutting_of(settings: "TeacherSettings") -> Cutting:
    """How clips are cut that are longer than a recipe's teacher may hear at once."""
    return Cutting(settings.max_chunk_s, settings.overlap_s)


@dataclass(frozen=True)
class Piece:
    """Samples `start` to `stop` of a clip; the first frame of its curves is the clip's `frame`."""

    frame: int
    start: int
    stop: int


def animate_long(
    teacher: Teacher, samples: Floats, cutting: Cutting, names: Sequence[str]
) -> Floats:
    """Curves of equally long clips at 16 kHz: `[batch, samples]` → `[batch, frames, controls]`.

    `names` are for messages, one a clip. Raises `TeacherError` when the curves have another shape
    than the teacher's rate and controls say, or hold a value that is no number.
    """
    pieces = cut(samples.shape[1], teacher.rate_hz, cutting)
    curves = [animate(teacher, samples[:, p.start : p.stop], names, p.frame) for p in pieces]
    return cross_fade(pieces, curves)


def cut(samples: int, rate_hz: float, cutting: Cutting) -> list[Piece]:
    """Pieces of at most `max_chunk_s` that cover so many samples at 16 kHz.

    Each starts on a whole frame, so that all curves lie on one grid. Raises `TeacherError` where
    they would overlap by too few frames to fade from one to the next.
    """
    chunk_s, overlap_s = cutting.max_chunk_s, cutting.shared_s
    if samples <= chunk_s * SAMPLE_RATE:
        return [Piece(0, 0, samples)]
    if overlap_s * rate_hz < LEAST_OVERLAP_FRAMES or (chunk_s - overlap_s) * rate_hz < 1:
        raise TeacherError(
            f"With teacher.max_chunk_s = {chunk_s:g} the pieces of a long clip overlap by "
            f"{overlap_s:g} s; a teacher of {rate_hz:g} frames a second needs "
            f"{LEAST_OVERLAP_FRAMES} frames, {LEAST_OVERLAP_FRAMES / rate_hz:.2f} s. Raise it, or "
            f"teacher.overlap_s."
        )
    step = int((chunk_s - overlap_s) * rate_hz)
    pieces = []
    for frame in count(0, step):
        start = round(frame / rate_hz * SAMPLE_RATE)
        stop = min(samples, start + int(chunk_s * SAMPLE_RATE))
        pieces.append(Piece(frame, start, stop))
        if stop == samples:
            break
    return pieces


def cross_fade(pieces: Sequence[Piece], curves: Sequence[Floats]) -> Floats:
    """The curves of neighbouring pieces, each `[batch, frames, controls]`, as one.

    Over the middle half of the frames that two pieces share, the weight of the later one rises in
    equal steps. What lies nearer to a piece's edge is left out: there the teacher heard silence in
    place of speech.
    """
    joined = curves[0]
    for piece, later in zip(pieces[1:], curves[1:], strict=True):
        # The last piece says where the clip ends.
        joined = joined[:, : piece.frame + later.shape[1]]
        shared = joined.shape[1] - piece.frame
        place = np.arange(1, shared + 1, dtype=np.float32) / (shared + 1)
        weight = np.clip(2 * place - 0.5, 0, 1)[:, None]
        faded = joined[:, piece.frame :] * (1 - weight) + later[:, :shared] * weight
        joined = np.concatenate([joined[:, : piece.frame], faded, later[:, shared:]], axis=1)
    return joined


def within(pieces: Sequence[Piece], start: int, stop: int) -> list[Piece]:
    """Those of a clip's pieces that have frames between two samples."""
    return [piece for piece in pieces if piece.start < stop and start < piece.stop]


def part(
    pieces: Sequence[Piece], curves: Sequence[Floats], rate_hz: float, start: int, samples: int
) -> Floats:
    """The frames of a part of a clip, `[frames, controls]`, from the pieces that it lies in.

    `start` and `samples` say which part. Frame i of it stands as long after the part's start as
    frame i of a clip after the clip's: between the frames of the pieces, where the teacher's rate
    does not divide the start. A part that goes to the end of the last piece has all frames that
    are left.
    """
    first = pieces[0].frame
    moved = [Piece(piece.frame - first, piece.start, piece.stop) for piece in pieces]
    joined = cross_fade(moved, [piece[None] for piece in curves])[0]
    begin = start * rate_hz / SAMPLE_RATE - first
    frames = math.ceil(samples * rate_hz / SAMPLE_RATE - ROUNDING)
    if start + samples == pieces[-1].stop:
        frames = math.floor(len(joined) - 1 - begin + ROUNDING) + 1
    if abs(begin - round(begin)) < ROUNDING:
        return np.asarray(joined[round(begin) : round(begin) + frames])
    positions = np.minimum(begin + np.arange(frames), len(joined) - 1)
    before = np.floor(positions).astype(int)
    share = (positions - before)[:, None].astype(np.float32)
    after = np.minimum(before + 1, len(joined) - 1)
    return np.asarray(joined[before] * (1 - share) + joined[after] * share, np.float32)


def animate(teacher: Teacher, samples: Floats, names: Sequence[str], frame: int = 0) -> Floats:
    """What a teacher makes of equally long pieces at 16 kHz, given to it together.

    `[batch, samples]` → `[batch, frames, controls]`. `names` are for messages, and so is `frame`,
    that of the clip with which the pieces begin. Raises `TeacherError` as `animate_long` does.
    """
    import torch
    from scipy.signal import resample_poly

    seconds = samples.shape[1] / SAMPLE_RATE
    if teacher.sample_rate_hz != SAMPLE_RATE:
        common = math.gcd(teacher.sample_rate_hz, SAMPLE_RATE)
        up, down = teacher.sample_rate_hz // common, SAMPLE_RATE // common
        samples = resample_poly(samples, up, down, axis=1)
    audio = torch.from_numpy(np.ascontiguousarray(samples, np.float32))
    more = f" and {len(names) - 1} clips of its length" if len(names) > 1 else ""
    try:
        curves = np.asarray(teacher.animate(audio).numpy(), np.float32)
    except NoAnswer as error:
        raise NoAnswer(f"{error} It was given {seconds:.2f} s of {names[0]}{more}.") from error
    except TeacherError as error:
        raise TeacherError(f"{error} It was given {seconds:.2f} s of {names[0]}{more}.") from error
    frames, controls = seconds * teacher.rate_hz, len(teacher.controls)
    fits = curves.ndim == 3 and curves.shape[::2] == (len(names), controls)
    if not fits or abs(curves.shape[1] - frames) > FRAMES_OFF:
        raise TeacherError(
            f"The teacher gave curves of shape {list(curves.shape)} for {seconds:.2f} s of "
            f"{names[0]}{more}; expected about [{len(names)}, {frames:.0f}, {controls}] from its "
            f"{teacher.rate_hz:g} frames a second and {controls} control names. Correct the rate "
            f"or the names, in the teacher's config or in teacher.interface."
        )
    if not np.isfinite(curves).all():
        clip, bad, column = np.argwhere(~np.isfinite(curves))[0]
        raise TeacherError(
            f"The teacher gave {curves[clip, bad, column]} for {teacher.controls[column]} at "
            f"frame {frame + bad} of {names[clip]}; expected finite numbers. The checkpoint may be "
            f"damaged, or need another precision."
        )
    return curves
