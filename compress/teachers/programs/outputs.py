"""What a program gives, as curves: which axis is what, and which columns are called how."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import TeacherError
from compress.rig.rig import ARKIT

if TYPE_CHECKING:
    from compress.recipe.teacher import ColumnsSettings, InterfaceSettings

Array = NDArray[Any]
Floats = NDArray[np.float32]


def check(name: str, output: str, found: Array, expected: str, fits: bool) -> None:
    """Raise `TeacherError` with both shapes where an output does not fit."""
    if not fits:
        raise TeacherError(
            f"Teacher {name} gave output {output} of shape {list(found.shape)} and type "
            f"{found.dtype}, expected {expected} of numbers. Correct teacher.interface (layout, "
            f"max_batch, time_last, window, columns)."
        )


def whole_curves(
    name: str, output: str, found: Array, batch: int, interface: "InterfaceSettings"
) -> Floats:
    """What came for whole clips: `[batch, frames, values...]` → float32 `[batch, frames, values]`.

    With `time_last`: `[batch, values..., frames]`.
    """
    order = "values..., frames" if interface.time_last else "frames, values..."
    fits = found.ndim >= 3 and len(found) == batch and found.dtype.kind in "fiub"
    check(name, output, found, f"[{batch}, {order}]", fits)
    curves = np.moveaxis(found, -1, 1) if interface.time_last else found
    values = math.prod(curves.shape[2:])  # −1 would not do where there are no frames
    return np.asarray(curves.reshape(*curves.shape[:2], values), np.float32)


def poses(
    name: str, output: str, found: Array, batch: int, interface: "InterfaceSettings"
) -> Floats:
    """What came for windows: `[batch, values]` or as whole clips give → float32 `[batch, values]`,
    those of the one frame that is meant.
    """
    assert interface.window is not None
    fits = found.ndim >= 2 and len(found) == batch and found.dtype.kind in "fiub"
    check(name, output, found, f"[{batch}, values] or [{batch}, frames, values]", fits)
    several = found[:, None] if found.ndim == 2 else found
    curves = whole_curves(name, output, several, batch, interface) if found.ndim > 2 else several
    frame, frames = interface.window.frame, curves.shape[1]
    if frame >= frames:
        raise TeacherError(
            f"Teacher {name} gave {frames} pose{'s' * (frames > 1)} a window (output {output} of "
            f"shape {list(found.shape)}), and teacher.interface.window.frame is {frame}: expected "
            f"less than {frames}."
        )
    return np.asarray(curves[:, frame], np.float32)


@dataclass(frozen=True)
class Columns:
    """Columns `start` to `stop` of an output that is `width` wide, and the controls' names."""

    output: str
    start: int
    stop: int
    width: int
    names: tuple[str, ...]


def chosen_outputs(
    name: str, found: Sequence[str], interface: "InterfaceSettings"
) -> tuple[str, ...]:
    """The outputs that have controls, in order. Raises `TeacherError` for one that is not there."""
    if not interface.columns:
        return tuple(found)
    chosen = []
    for columns in interface.columns:
        fits = len(found) == 1 if columns.output is None else columns.output in found
        if not fits:
            which = "no output is named" if columns.output is None else f"{columns.output} is named"
            raise TeacherError(
                f"Teacher {name} has the outputs {', '.join(found) or 'none'}, and {which} in "
                f"teacher.interface.columns; expected the name of one of them as output."
            )
        chosen.append(columns.output or found[0])
    return tuple(chosen)


def named_columns(
    name: str, widths: Mapping[str, int], interface: "InterfaceSettings"
) -> tuple[Columns, ...]:
    """The controls, from the width of each output.

    Raises `TeacherError` for columns that an output lacks, names that are not as many, or are not
    distinct.
    """
    chosen = chosen_outputs(name, tuple(widths), interface)
    parts: list[tuple[str, int, int, ColumnsSettings | None]]
    if not interface.columns:
        parts = [(output, 0, widths[output], None) for output in chosen]
    else:
        parts = [
            (output, c.start, widths[output] if c.stop is None else c.stop, c)
            for output, c in zip(chosen, interface.columns, strict=True)
        ]
    made: list[Columns] = []
    place = 0
    for output, start, stop, settings in parts:
        if not start < stop <= widths[output]:
            raise TeacherError(
                f"Teacher {name}: output {output} has {widths[output]} columns, and "
                f"teacher.interface.columns asks for those from {start} to {stop}. Correct start "
                f"and stop."
            )
        names = _names(name, output, stop - start, settings, place)
        made.append(Columns(output, start, stop, widths[output], names))
        place += stop - start
    names = tuple(control for part in made for control in part.names)
    if twice := sorted(control for control, times in Counter(names).items() if times > 1):
        raise TeacherError(
            f"Teacher {name} would have several controls of one name: {', '.join(twice[:4])}. "
            f"Correct names or prefix in teacher.interface.columns."
        )
    return tuple(made)


def _names(
    name: str, output: str, count: int, columns: "ColumnsSettings | None", place: int
) -> tuple[str, ...]:
    if columns is not None and columns.prefix is not None:
        return tuple(f"{columns.prefix}_{i:03}" for i in range(count))
    if columns is None or columns.names is None:
        return tuple(f"control_{place + i:03}" for i in range(count))
    names = ARKIT if columns.names == "arkit" else columns.names
    if len(names) != count:
        raise TeacherError(
            f"Teacher {name}: {len(names)} names{' of ARKit' * (columns.names == 'arkit')} are given "
            f"for {count} columns of output {output}. Correct names, start or stop in "
            f"teacher.interface.columns."
        )
    return tuple(names)
