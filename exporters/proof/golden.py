"""Golden windows: what a model file must answer, kept beside it and compared in any runtime.

PyTorch is needed to make them, and never again.
"""

import io
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from exporters.errors import ExportFailed, MissingToolError, ModelFileError
from exporters.proof.checks import Outcome
from exporters.proof.codes import compare_codes
from exporters.proof.parity import probe_windows
from exporters.reading import reading
from exporters.signature import Signature
from exporters.targets.runtime import Codes, Floats, Runtime, check_audio
from exporters.targets.source import IntegerSource, frozen_copy

if TYPE_CHECKING:
    from torch import nn

FEWEST = 32
SPEECH = "speech"
# From a quiet room to speech close by, as the root mean square below full scale.
_NOISE_DB = (-70, -60, -50, -40, -30, -20, -10)
_ARRAYS, _ARRAYS_OF_CODES = {"audio", "rig", "kinds", "max_abs"}, {"codes", "max_lsb"}
_EVENING = "evening"  # of a rig that mixes units


@dataclass(frozen=True, kw_only=True, eq=False)
class Golden:
    """Windows and what PyTorch makes of them. Raises ValueError if they do not fit each other."""

    windows: Floats
    """float32 [n, 1, window]."""
    rig: Floats
    """float32 [n, driven]: what the source of the file gives."""
    kinds: tuple[str, ...]
    """What each window is: `speech`, `silence`, `noise at -40 dB` ..."""
    max_abs: float
    """No value may differ by more than this, in units of the rig."""
    codes: Codes | None
    """int8 [n, channels, steps]: the last quantized tensor; None if the source has none."""
    max_lsb: int | None
    """No code may differ by more than this; None without codes."""
    evening: NDArray[np.float64] | None = None
    """float64 [driven]: by what to multiply each control's difference before it is compared with
    max_abs; None for a rig that does not mix units."""

    def __post_init__(self) -> None:
        if mistakes := list(_mistakes(self)):
            raise ValueError("these golden windows cannot be: " + "; ".join(mistakes))

    def to_bytes(self) -> bytes:
        """As an .npz that needs no pickle; equal content gives equal bytes."""
        arrays: dict[str, Any] = {
            "audio": self.windows,
            "rig": self.rig,
            "kinds": np.array(self.kinds, np.str_),
            "max_abs": np.float64(self.max_abs),
        }
        if self.codes is not None:
            arrays |= {"codes": self.codes, "max_lsb": np.int64(self.max_lsb or 0)}
        if self.evening is not None:
            arrays[_EVENING] = self.evening
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()


def make_golden(
    module: "nn.Module",
    signature: Signature,
    speech_windows: Floats,
    *,
    max_abs: float,
    max_lsb: int = 1,
    evening: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> Golden:
    """Run the source of a file, [batch, 1, window] -> [batch, driven], on windows of every kind.

    Those of speech, float32 [n, 1, window], come first; then what a game will send and speech
    seldom shows, and noise of several levels, so that there are at least 32. An IntegerSource gives
    its codes too. Raises ExportFailed if the module does not give finite values of that shape, and
    ValueError if the windows or the limits cannot be.
    """
    import torch

    check_audio(speech_windows, signature)
    sets = {SPEECH: speech_windows, **probe_windows(signature.window, seed)}
    missing = FEWEST - sum(len(windows) for windows in sets.values())
    sets |= _noise(signature.window, seed, each=max(1, math.ceil(missing / len(_NOISE_DB))))
    windows = np.concatenate(list(sets.values()))
    source = frozen_copy(module)
    with torch.inference_mode():
        audio = torch.from_numpy(windows)
        rig: Floats = source(audio).numpy()
        codes = source.codes(audio) if isinstance(source, IntegerSource) else None
    expected = (len(windows), len(signature.driven))
    if rig.shape != expected or not np.isfinite(rig).all():
        found = f"{list(rig.shape)}" if rig.shape != expected else "values that are not finite"
        raise ExportFailed(
            f"{signature.student} gives {found} for its golden windows, expected finite values of "
            f"{list(expected)}. Nothing can be verified against that."
        )
    return Golden(
        windows=windows,
        rig=rig,
        kinds=tuple(kind for kind, windows in sets.items() for _ in windows),
        max_abs=max_abs,
        codes=None if codes is None else codes.numpy(),
        max_lsb=None if codes is None else max_lsb,
        evening=evening,
    )


def _noise(window: int, seed: int, each: int) -> dict[str, Floats]:
    draw = np.random.default_rng(seed)
    return {
        f"noise at {level} dB": np.clip(
            draw.standard_normal((each, 1, window)) * 10 ** (level / 20), -1, 1
        ).astype(np.float32)
        for level in _NOISE_DB
    }


def read(path: Path) -> Golden:
    """Read what ``to_bytes`` made. Raises ModelFileError."""
    advice = "Expected the .npz that lipstill's export writes beside a model file; export it again."
    with reading(path, "golden windows", advice=advice):
        with zipfile.ZipFile(path) as archive:  # NumPy would take a lone array too
            names = {name.removesuffix(".npy") for name in archive.namelist()}
        integers, evened = names >= _ARRAYS_OF_CODES, _EVENING in names
        known = _ARRAYS | (_ARRAYS_OF_CODES if integers else set())
        if names - {_EVENING} != known:
            raise ValueError(f"it holds {', '.join(sorted(names)) or 'nothing'}")
        with np.load(path, allow_pickle=False) as stored:
            return Golden(
                windows=stored["audio"],
                rig=stored["rig"],
                kinds=tuple(str(kind) for kind in stored["kinds"]),
                max_abs=float(stored["max_abs"]),
                codes=stored["codes"] if integers else None,
                max_lsb=int(stored["max_lsb"]) if integers else None,
                evening=stored[_EVENING] if evened else None,
            )


def compare(runtime: Runtime, golden: Golden) -> Outcome:
    """Ask an opened file for its golden windows.

    Fails if a value is not finite or a value or a code differs by more than it may. Raises
    ModelFileError if the windows were made for another signature, and MissingToolError if the file's
    codes can only be read with a package that is not installed, unless the values failed already.
    """
    signature = runtime.signature
    found = (golden.windows.shape[2], golden.rig.shape[1])
    expected = (signature.window, len(signature.driven))
    if found != expected:
        raise ModelFileError(
            f"The golden windows have {found[0]} samples and {found[1]} controls, expected "
            f"{expected[0]} and {expected[1]} as the signature of {signature.student} says. They "
            "belong to another file; export it again."
        )
    values = _compare_values(runtime.run(golden.windows), golden, signature.driven)
    # A float file has no codes, and asking it may need more than its runtime.
    if golden.codes is None and not signature.quantization:
        return values
    try:
        codes = _compare_codes(runtime.codes(golden.windows), golden)
    except MissingToolError:
        if values.status == "failed":
            return values
        raise
    return Outcome(
        "failed" if "failed" in (values.status, codes.status) else "passed",
        "; ".join(filter(None, (values.detail, codes.detail))),
    )


def _compare_values(rig: Floats, golden: Golden, driven: tuple[str, ...]) -> Outcome:
    if rig.shape != golden.rig.shape:
        return Outcome(
            "failed", f"the file gives {list(rig.shape)}, expected {list(golden.rig.shape)}"
        )
    # float64, so that the difference itself is not rounded.
    difference = np.abs(rig.astype(np.float64) - golden.rig)
    if golden.evening is not None:
        difference *= golden.evening
    difference[~np.isfinite(rig)] = np.inf
    window, control = (int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
    largest, where = difference[window, control], f"{driven[control]} on {golden.kinds[window]}"
    if largest <= golden.max_abs:
        found = f"at most {largest:.2g} apart" if largest else "no difference"
        worst = f" (worst: {where})" if largest else ""
        return Outcome(
            "passed", f"{len(rig)} windows, {found} where {golden.max_abs:.2g} may be{worst}"
        )
    wrong = np.count_nonzero((difference > golden.max_abs).any(axis=1))
    return Outcome(
        "failed",
        f"{wrong} of {len(rig)} windows differ by more than {golden.max_abs:.2g}; worst: {where} "
        f"(window {window}) is {rig[window, control]:.6g}, expected "
        f"{golden.rig[window, control]:.6g}",
    )


def _compare_codes(codes: Codes | None, golden: Golden) -> Outcome:
    if codes is None or golden.codes is None or codes.shape != golden.codes.shape:
        found, expected = (
            "no codes" if some is None else f"codes of {list(some.shape)}"
            for some in (codes, golden.codes)
        )
        return Outcome("passed" if found == expected else "failed", _unless_same(found, expected))
    limit = golden.max_lsb or 0
    apart = compare_codes(codes, golden.codes, limit)
    if not apart.fault:
        seldom = f", {apart.beyond} of {codes.size} by more" if apart.beyond else ""
        said = f"codes at most {apart.largest} LSB apart where {limit} may be{seldom}"
        return Outcome("passed", said)
    difference = np.abs(codes.astype(np.int32) - golden.codes)
    window, channel, step = (int(i) for i in np.unravel_index(difference.argmax(), codes.shape))
    return Outcome(
        "failed",
        f"{apart.fault}; worst: channel {channel}, step {step} on {golden.kinds[window]} (window "
        f"{window}) is {codes[window, channel, step]}, expected {golden.codes[window, channel, step]}",
    )


def _unless_same(found: str, expected: str) -> str:
    return "" if found == expected else f"the file gives {found}, expected {expected}"


def _mistakes(golden: Golden) -> Iterator[str]:
    windows, rig, codes, count = golden.windows, golden.rig, golden.codes, len(golden.kinds)
    forms: list[tuple[str, NDArray[Any], type, int]] = [
        ("windows", windows, np.float32, 3),
        ("rig", rig, np.float32, 2),
    ]
    if codes is not None:
        forms.append(("codes", codes, np.int8, 3))
    for name, array, dtype, axes in forms:
        if array.dtype != dtype or array.ndim != axes or len(array) != count:
            yield (
                f"{name} are {array.dtype} {list(array.shape)}, expected {np.dtype(dtype)} with "
                f"{axes} axes, the first of {count}"
            )
        elif not array.size or not np.isfinite(array).all():
            yield f"{name} are {'not finite' if array.size else 'empty'}"
    if windows.ndim == 3 and windows.shape[1] != 1:
        yield f"windows have {windows.shape[1]} channels, expected 1"
    if not (math.isfinite(golden.max_abs) and golden.max_abs >= 0):
        yield f"max_abs is {golden.max_abs}, expected a finite limit of at least 0"
    even = golden.evening
    if even is not None and not (
        even.dtype == np.float64
        and even.shape == rig.shape[1:]
        and np.isfinite(even).all()
        and (even > 0).all()
    ):
        yield (
            f"evening is {even.dtype} {list(even.shape)}, expected a float64 above 0 for each control"
        )
    if (golden.max_lsb is None) != (codes is None) or (golden.max_lsb or 0) < 0:
        yield f"max_lsb is {golden.max_lsb}, expected a limit of at least 0 with codes, else None"
