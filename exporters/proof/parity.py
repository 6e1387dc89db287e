"""Numeric parity: does a model file say what its torch source says?

One link of the chain from teacher to file. Whether the student is any good is another question.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporters import records
from exporters.proof.checks import Status, overall
from exporters.proof.codes import CodesApart, compare_codes
from exporters.proof.localisation import first_departure
from exporters.targets.runtime import Codes, Floats, Runtime
from exporters.targets.source import IntegerSource, frozen_copy

if TYPE_CHECKING:
    from torch import Tensor, nn

Floats64 = NDArray[np.float64]

# Windows that go through the source module at once; 64 windows of 8192 samples are 2 MB.
_BATCH = 64


@records.strict
@dataclass(frozen=True, kw_only=True)
class SetParity:
    """File against source on one named set of windows."""

    name: str
    """What the windows are, for example held-out speech."""
    windows: int
    """How many windows were compared."""
    status: Status
    """An empty set is `not run`."""
    max_abs: float | None
    """Largest absolute difference over all windows and controls; null if it cannot be told."""
    mse: float | None
    """Mean squared difference; null if it cannot be told."""
    max_lsb: int | None
    """Largest difference between codes of the last quantized tensor, in its least significant bits;
    null if it cannot be told or there is no such tensor."""
    beyond_lsb: int | None = None
    """How many of these differ by more than the limit, as one in a thousand may; null as max_lsb, and
    in reports from before it was counted."""
    worst_control: str | None
    """The control with the largest difference, or the first that is not finite."""
    worst_window: int | None
    """Index of that window in its set."""
    reason: str
    """Why it failed or did not run; empty if it passed."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class ParityResult:
    """File against source on all sets."""

    student: str
    """Name of the student, from the file's signature."""
    precision: str
    """Its precision, from the same place."""
    runtime: dict[str, str]
    """What ran the file: name, version, settings."""
    max_abs_limit: float
    """A set passes when no value differs by more than this."""
    evened: bool = False
    """Whether the rig mixes units: then a difference is counted in the unit of the liveliest
    control, so that one of a control with a unit of 0.001 beside a unit of 1 counts 1000 times."""
    max_lsb_limit: int | None
    """And no code by more than this, but for one in a thousand by twice as much; null if the source
    tells no codes."""
    sets: tuple[SetParity, ...]
    """One result a set, in the order given."""
    status: Status
    """`passed` only if at least one set ran and every set passed."""

    def __post_init__(self) -> None:
        if self.status != overall(item.status for item in self.sets):
            raise ValueError(
                f"parity of {self.student!r} is {overall(item.status for item in self.sets)!r} by its sets, "
                f"and cannot be {self.status!r}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, as in report.json."""
        return asdict(self)


def check_parity(
    runtime: Runtime,
    module: "nn.Module",
    windows: Mapping[str, Floats],
    *,
    max_abs: float,
    max_lsb: int = 1,
    evening: Floats64 | None = None,
) -> ParityResult:
    """Compare an opened file with the torch module it was made of.

    ``module`` takes float32 [batch, 1, window] and gives [batch, driven]; it is copied first.
    ``windows`` maps a set's name to float32 [n, 1, window]. ``max_abs`` is in units of the rig. Of
    a rig that mixes units ``evening``, float64 [driven], says by what each control's difference is
    multiplied before it counts.
    If ``module`` is an IntegerSource, codes are compared too and may differ by ``max_lsb``, as
    `codes.compare_codes` says; a set fails if only one of file and source has codes, or their
    shapes differ.

    A value that is not finite fails its set, wherever it stands, and so does a shape that differs.
    A set without windows is "not run", and then so is the whole, unless a set failed. Raises
    ValueError if ``max_abs`` is negative or not finite, or ``max_lsb`` negative.
    """
    if not (math.isfinite(max_abs) and max_abs >= 0):
        raise ValueError(f"max_abs is {max_abs}, expected a finite limit of at least 0")
    if max_lsb < 0:
        raise ValueError(f"max_lsb is {max_lsb}, expected a limit of at least 0")
    source = frozen_copy(module)
    sets = tuple(
        _check_set(name, audio, runtime, source, max_abs, max_lsb, evening)
        for name, audio in windows.items()
    )
    return ParityResult(
        student=runtime.signature.student,
        precision=runtime.signature.precision,
        runtime=runtime.describe(),
        max_abs_limit=max_abs,
        evened=evening is not None,
        max_lsb_limit=max_lsb if isinstance(source, IntegerSource) else None,
        sets=sets,
        status=overall(item.status for item in sets),
    )


def probe_windows(window: int, seed: int) -> dict[str, Floats]:
    """Windows that speech seldom shows and a game will: float32 [n, 1, window] in four sets.

    silence: all zeros. full-scale noise: uniform over -1 to 1. clipped audio: loud tones cut at
    -1 and 1. denormals: numbers below float32's normal range, which some kernels flush to zero.
    """
    draw = np.random.default_rng(seed)
    cycles = draw.uniform(2, window / 8, size=(3, 1, 1))
    tones = 5 * np.sin(2 * np.pi * cycles * np.arange(window) / window)
    tiny = draw.uniform(-1, 1, size=(2, 1, window)) * np.finfo(np.float32).tiny / 2
    return {
        "silence": np.zeros((1, 1, window), np.float32),
        "full-scale noise": draw.uniform(-1, 1, size=(3, 1, window)).astype(np.float32),
        "clipped audio": np.clip(tones, -1, 1).astype(np.float32),
        "denormals": tiny.astype(np.float32),
    }


def _check_set(
    name: str,
    audio: Floats,
    runtime: Runtime,
    source: "nn.Module",
    max_abs: float,
    max_lsb: int,
    evening: Floats64 | None,
) -> SetParity:
    driven = runtime.signature.driven
    wanted = f"[n, 1, {runtime.signature.window}]"
    if audio.size == 0:
        return _untold(name, 0, "not run", "the set is empty")
    if audio.ndim != 3 or audio.shape[1:] != (1, runtime.signature.window):
        reason = f"the windows are {list(audio.shape)}, expected {wanted}"
        return _untold(name, len(audio), "failed", reason)
    if not np.isfinite(audio).all():
        return _untold(name, len(audio), "failed", "the windows hold NaN or infinite samples")
    from_file, from_source = runtime.run(audio), _run(source, audio)
    for label, rig in (("file", from_file), ("source", from_source)):
        if rig.shape != (len(audio), len(driven)):
            reason = f"the {label} gives {list(rig.shape)}, expected {[len(audio), len(driven)]}"
            return _untold(name, len(audio), "failed", reason)
        if not np.isfinite(rig).all():
            window, control = (int(index) for index in np.argwhere(~np.isfinite(rig))[0])
            reason = f"the {label} gives {rig[window, control]}"
            where = first_departure(runtime, source, audio[window : window + 1], max_abs, max_lsb)
            reason = "; ".join(filter(None, (reason, where)))
            return _untold(name, len(audio), "failed", reason, driven[control], window)
    # float64, so that the difference itself is not rounded.
    difference = np.abs(from_file.astype(np.float64) - from_source.astype(np.float64))
    if evening is not None:
        difference *= evening
    window, control = (int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
    largest = float(difference[window, control])
    reasons = []
    if largest > max_abs:
        where = "" if evening is None else f" (of {driven[control]}, evened)"
        reasons.append(f"the largest difference {largest:.3g}{where} is above {max_abs:.3g}")
    apart = None
    if isinstance(source, IntegerSource):
        apart, reason = _compare_codes(name, runtime.codes(audio), _codes(source, audio), max_lsb)
        reasons += [reason] if reason else []
    if reasons:
        worst = audio[window : window + 1]
        reasons.append(first_departure(runtime, source, worst, max_abs, max_lsb))
    return SetParity(
        name=name,
        windows=len(audio),
        status="failed" if reasons else "passed",
        max_abs=largest,
        mse=float(np.mean(difference**2)),
        max_lsb=None if apart is None else apart.largest,
        beyond_lsb=None if apart is None else apart.beyond,
        worst_control=driven[control],
        worst_window=window,
        reason="; ".join(filter(None, reasons)),
    )


def _compare_codes(
    name: str, from_file: Codes | None, from_source: Codes | None, limit: int
) -> tuple[CodesApart | None, str]:
    """int8 [n, channels, steps] of each -> how far they are apart, and why that is too much."""
    if from_file is None and from_source is None:
        return None, ""
    forms = [
        "missing" if codes is None else f"{codes.dtype} {list(codes.shape)}"
        for codes in (from_file, from_source)
    ]
    if from_file is None or from_source is None or forms[0] != forms[1]:
        return None, f"the codes of {name} are {forms[0]} in the file and {forms[1]} in the source"
    found = compare_codes(from_file, from_source, limit)
    if not found.fault:
        return found, ""
    difference = np.abs(from_file.astype(np.int32) - from_source.astype(np.int32))
    window, channel = np.unravel_index(difference.argmax(), difference.shape)[:2]
    return found, f"{found.fault} (on {name}, worst in channel {channel} of window {window})"


def _untold(
    name: str,
    windows: int,
    status: Status,
    reason: str,
    worst_control: str | None = None,
    worst_window: int | None = None,
) -> SetParity:
    return SetParity(
        name=name,
        windows=windows,
        status=status,
        max_abs=None,
        mse=None,
        max_lsb=None,
        worst_control=worst_control,
        worst_window=worst_window,
        reason=reason,
    )


def _run(source: "nn.Module", audio: Floats) -> Floats:
    """float32 [n, 1, window] -> what the module makes of it, [n, driven] if it is sound."""
    import torch

    with torch.inference_mode():
        rig: Floats = torch.cat([source(part) for part in _batches(audio)]).numpy()
    return rig


def _codes(source: IntegerSource, audio: Floats) -> Codes | None:
    """float32 [n, 1, window] -> its codes, int8 [n, channels, steps] if it is sound, or None."""
    import torch

    with torch.inference_mode():
        parts = [part for batch in _batches(audio) if (part := source.codes(batch)) is not None]
    return torch.cat(parts).numpy() if parts else None


def _batches(audio: Floats) -> "Iterator[Tensor]":
    import torch

    for at in range(0, len(audio), _BATCH):
        yield torch.from_numpy(audio[at : at + _BATCH])
