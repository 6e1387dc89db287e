"""Proof, in a file itself, that it hears as far as it declares and no farther.

Declared milliseconds are what a game plans with. So a long clip is run through the code of
``lipstill animate``, and what lies beyond the declared reach of a frame is replaced: no bit of the
frame may change. Then what lies just inside it is replaced, and the frame must change.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.judge.animation import driven_curves
from exporters.proof.checks import Check
from exporters.signature import hops_awaited

if TYPE_CHECKING:
    from exporters.targets.runtime import Runtime

Floats = NDArray[np.float32]

FPS = 60.0
# Where frames are judged; on both sides the clip goes on, farther than any of them hears.
JUDGED_S = 6.0
# Frames that are changed one by one, and those shortly before or after each that must stay.
MOMENTS, NEIGHBOURS = 8, 8
EDGE_MS = 4.0
# Speech-like beside the full-scale noise that replaces it.
QUIET = 0.05


def latency_checks(runtime: "Runtime", file: str) -> tuple[Check, ...]:
    """Two checks of an opened file: of the future that it declares, and of the past.

    `file` is its name in them. In fp32 every frame must hear the 4 ms at the edge of its reach; in
    other precisions some frame must, since codes and half numbers round small changes away.
    """
    signature = runtime.signature
    later = signature.future + signature.hop * (1 + hops_awaited(signature.smoothing))
    earlier = signature.past + signature.hop * (1 + hops_awaited(signature.smoothing[::-1]))
    return (
        _check(runtime, file, "future", later, *_judged(runtime, later, 1)),
        _check(runtime, file, "past", earlier, *_judged(runtime, earlier, -1)),
    )


def _judged(runtime: "Runtime", reach: int, side: int) -> tuple[int, int, int]:
    """Frames compared, frames that a change beyond the reach moved, moments that hear the edge.

    `reach` in samples after a moment (side 1), or before it (side −1).
    """
    signature = runtime.signature
    rate, hop = signature.sample_rate_hz, signature.hop
    margin_s = signature.window / rate + 1
    samples = round((2 * margin_s + JUDGED_S) * rate)
    draw = np.random.default_rng(0)
    clip = (QUIET * draw.standard_normal(samples)).astype(np.float32)
    loud = draw.uniform(-1, 1, samples).astype(np.float32)
    edge = round(EDGE_MS * rate / 1000)
    # A pose just after a hop takes the next one too, and hears farthest ahead; one just before a
    # hop takes the last one too, and hears farthest back.
    beside = edge // 4 if side > 0 else hop - edge // 4
    compared = moved = heard = 0
    for at in np.linspace(margin_s * rate / hop, (margin_s + JUDGED_S) * rate / hop, MOMENTS):
        moment = int(at) * hop + beside
        # The frame itself first, then those that reach less far towards this side.
        frames = moment / rate - side * np.arange(NEIGHBOURS) / FPS
        distance = np.arange(samples) - moment if side > 0 else moment - 1 - np.arange(samples)
        beyond, inside = distance >= reach, (distance >= reach - edge) & (distance < reach)
        as_it_was = _bits(runtime, clip, frames)
        kept = _bits(runtime, np.where(beyond, loud, clip), frames)
        compared += len(frames)
        moved += int(np.any(kept != as_it_was, axis=1).sum())
        edged = _bits(runtime, np.where(inside, loud, clip), frames)
        heard += bool(np.any(edged[0] != as_it_was[0]))
    return compared, moved, heard


def _bits(runtime: "Runtime", clip: Floats, times_s: NDArray[np.float64]) -> NDArray[np.uint32]:
    """The curves at some times in any order, bit for bit: `[frames, driven]`."""
    order = np.argsort(times_s)
    curves = np.ascontiguousarray(driven_curves(runtime, clip, times_s[order]))
    return curves.view(np.uint32)[np.argsort(order)]


def _check(
    runtime: "Runtime", file: str, side: str, reach: int, compared: int, moved: int, heard: int
) -> Check:
    signature = runtime.signature
    declared = f"{1000 * reach / signature.sample_rate_hz:g} ms"
    needed = MOMENTS if signature.precision == "fp32" else 1
    faults = []
    if moved:
        faults.append(
            f"{moved} of {compared} frames changed with audio farther than {declared} away: it hears "
            f"more than it declares"
        )
    if heard < needed:
        faults.append(
            f"the last {EDGE_MS:g} ms of the declared {declared} moved {heard} of {MOMENTS} frames, "
            f"expected {needed}: it declares more than it hears"
        )
    said = (
        f"audio beyond {declared} changed no bit of {compared} frames, the last {EDGE_MS:g} ms "
        f"inside it moved {heard} of {MOMENTS}"
    )
    return Check(
        file=file,
        what=f"declared {side}, {runtime.describe()['runtime']}",
        status="failed" if faults else "passed",
        detail="; ".join(faults) or said,
    )
