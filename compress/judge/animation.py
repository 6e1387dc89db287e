"""Running an exported file on speech at any moments, and the files that artists' tools read."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from compress.judge.playback import played
from compress.rig.rig import ARKIT

if TYPE_CHECKING:
    from exporters.mesh import Mesh
    from exporters.signature import Signature
    from exporters.targets.runtime import Predictor

Floats = NDArray[np.float32]


@runtime_checkable
class Dense(Protocol):
    """A predictor that takes all hops of a stretch at once, as students in PyTorch do."""

    def stretch(self, samples: Floats) -> Floats:
        """float32 `[(n − 1) · hop + window]` → `[n, driven]`, a pose for each hop."""


BLOCK = 256  # windows copied at a time, so that memory does not grow with the clip
# Live Link Face writes ARKit's blendshapes with right before left in these two pairs,
_RIGHT_FIRST = {
    "jawLeft": "jawRight",
    "jawRight": "jawLeft",
    "mouthLeft": "mouthRight",
    "mouthRight": "mouthLeft",
}
LIVE_LINK = tuple(_RIGHT_FIRST.get(name, name) for name in ARKIT)
# and then the rotations of the head and the eyes, of which speech says nothing.
ROTATIONS = tuple(
    f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll")
)


def frame_times(samples: int, rate_hz: float, sample_rate_hz: int) -> NDArray[np.float64]:
    """Times in seconds of the frames i / rate_hz that start inside a clip of so many samples."""
    return np.arange(math.ceil(samples * rate_hz / sample_rate_hz)) / rate_hz


def driven_curves(runtime: "Predictor", samples: Floats, times_s: NDArray[np.float64]) -> Floats:
    """What a face shows at each time by a file: samples `[samples]` → `[frames, driven]`.

    Played back as `playback` says, and smoothed as the file's signature says. The window of hop k
    covers the samples k · hop − past to k · hop + future, with zeros where the recording has none.
    """
    return curves_by_smoothing(runtime, samples, times_s, [runtime.signature.smoothing])[0]


def curves_by_smoothing(
    runtime: "Predictor",
    samples: Floats,
    times_s: NDArray[np.float64],
    weightings: Sequence[Sequence[float]],
) -> list[Floats]:
    """`driven_curves` with each of several weightings in place of the signature's, in one pass."""
    signature = runtime.signature

    def predict(hops: NDArray[np.int64]) -> Floats:
        return _at(runtime, samples, hops * signature.hop)

    return played(predict, times_s * signature.sample_rate_hz / signature.hop, weightings)


def _at(runtime: "Predictor", samples: Floats, moments: NDArray[np.int64]) -> Floats:
    """What is predicted for some samples of a clip, in ascending order."""
    signature = runtime.signature
    # Playback may ask for moments just before the clip or after it.
    before = signature.past + max(0, -int(moments.min(initial=0)))
    after = signature.future + max(0, int(moments.max(initial=0)) - len(samples))
    padded = np.pad(samples, (before, after))
    first = moments - signature.past + before
    if isinstance(runtime, Dense) and len(moments):
        stretch = padded[first[0] : first[-1] + signature.window]
        poses: Floats = runtime.stretch(stretch)[(first - first[0]) // signature.hop]
        return poses
    windows = np.lib.stride_tricks.sliding_window_view(padded, signature.window)
    rigs = [np.zeros((0, len(signature.driven)), np.float32)]
    for i in range(0, len(first), BLOCK):
        block = windows[first[i : i + BLOCK]]
        rigs.append(runtime.run(np.ascontiguousarray(block[:, None])))
    return np.concatenate(rigs)


def whole_rig(signature: "Signature", driven: Floats) -> Floats:
    """All controls, `[frames, controls]` in the teacher's order: constants beside predictions."""
    columns = [
        driven[:, signature.driven.index(name)]
        if name in signature.driven
        else np.full(len(driven), signature.constants[name])
        for name in signature.controls
    ]
    return np.stack(columns, 1).astype(np.float32)


def to_csv(curves: Floats, controls: Sequence[str], rate_hz: float) -> str:
    """Curves `[frames, controls]` as CSV.

    Live Link Face's own layout for an ARKit rig, else time and controls by name.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if set(controls) == set(ARKIT):
        columns = [list(controls).index(name) for name in LIVE_LINK]
        names = [name[0].upper() + name[1:] for name in LIVE_LINK] + list(ROTATIONS)
        still = ["0.000000"] * len(ROTATIONS)
        writer.writerow(["Timecode", "BlendShapeCount", *names])
        for i, row in enumerate(curves):
            values = [f"{row[column]:.6f}" for column in columns]
            writer.writerow([timecode(i, rate_hz), len(names), *values, *still])
    else:
        writer.writerow(["time_s", *controls])
        for i, row in enumerate(curves):
            writer.writerow([f"{i / rate_hz:.6f}", *(f"{value:.6f}" for value in row)])
    return text.getvalue()


def timecode(frame: int, rate_hz: float) -> str:
    """``HH:MM:SS:FF.mmm`` of a frame, as Live Link Face writes it.

    At a rate that is not whole, the fraction says where in its frame the second has begun.
    """
    seconds = int(frame / rate_hz + 1e-9)
    frames, thousandths = divmod(round((frame - seconds * rate_hz) * 1000), 1000)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours:02d}:{minutes:02d}:{seconds % 60:02d}:{frames:02d}.{thousandths:03d}"


def to_json(curves: Floats, controls: Sequence[str], rate_hz: float) -> str:
    """Curves as one JSON object: rate, control names, and a list of frames."""
    document: dict[str, Any] = {
        "rate_hz": rate_hz,
        "controls": list(controls),
        "frames": [[round(float(value), 6) for value in row] for row in curves],
    }
    return json.dumps(document, allow_nan=False) + "\n"


def to_npy(curves: Floats, mesh: "Mesh") -> bytes:
    """Coefficients `[frames, controls]` as a .npy of vertices, float32 `[frames, vertices, 3]`."""
    file = io.BytesIO()
    np.save(file, mesh.rebuild(curves).reshape(len(curves), -1, 3), allow_pickle=False)
    return file.getvalue()
