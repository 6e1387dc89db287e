"""In what units a rig's controls are learned and judged, found from how far each of them moves.

A student is trained on curves near 0 and about as large as blendshapes. A rig of degrees, of metres,
of both, or with a rest value far from 0 is brought there: own value = (rig value − rest) / unit. What
is trained is put back into the rig's units before it is kept (`students.folding`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.rig.rig import ARKIT, Rig

Floats = NDArray[np.float32]
Ranges = NDArray[np.floating]

# A control that moves less than this times the rig's scale over all training speech is a constant.
STILL_BELOW = 1e-4
# The same where controls have units of their own: below it, float32 sums of the others' size differ.
STILL_BELOW_IN_UNITS = 1e-6
# What moves less than this, or than this share of itself, is rounding.
ROUNDING, ROUNDING_SHARE = 1e-6, 1e-5
# A scale of 1 is that of controls that go up to this.
REACH = 3.0
# A range that ends so many times its own width from 0 has a rest value; more in what looks like a
# face of blendshapes, or has their names.
OFF, OFF_IN_A_FACE = 0.1, 1.0
# A control whose power of ten lies so many below that of the liveliest has a unit of its own. The
# blendshapes of one face differ by more than controls do that somebody gave one unit.
APART, APART_IN_A_FACE = 2, 3


@dataclass(frozen=True)
class Units:
    """Rest value and unit of each driven control; `scale` is the unit of the liveliest.

    Units are powers of ten, and all 1 with rests of 0 for a rig of blendshapes.
    """

    rests: tuple[float, ...]
    units: tuple[float, ...]
    scale: float = 1.0

    @property
    def plain(self) -> bool:
        """Whether own values are the rig's values."""
        return self.alike and set(self.units) <= {1.0}

    @property
    def alike(self) -> bool:
        """Whether all controls have one unit and none a rest value."""
        return not any(self.rests) and len(set(self.units)) <= 1

    @property
    def evening(self) -> NDArray[np.float64] | None:
        """By what to multiply each control so that all have the unit `scale`; None for nothing."""
        factors = self.scale / np.array(self.units, np.float64)
        return None if (factors == 1).all() else factors

    def own(self, curves: Floats) -> Floats:
        """Rig values `[..., controls]` as own values."""
        if self.plain:
            return curves
        moved = curves.astype(np.float64) - np.array(self.rests)
        return np.asarray(moved / np.array(self.units), np.float32)

    def rig(self, rig: Rig, driven: Sequence[str]) -> Rig:
        """The same rig for own values: its lips are closed when they are in rig values.

        Their aperture is in the unit `scale`.
        """
        rule = rig.closure
        if self.plain or rule is None:
            return rig
        unit = dict(zip(driven, self.units, strict=True))
        rest = dict(zip(driven, self.rests, strict=True))
        at_rest = sum(weight * rest.get(name, 0.0) for name, weight in rule.weights.items())
        weights = {
            name: weight * unit.get(name, self.scale) / self.scale
            for name, weight in rule.weights.items()
        }
        closed_below = (rule.closed_below - at_rest) / self.scale
        return replace(rig, closure=replace(rule, weights=weights, closed_below=closed_below))


PLAIN = Units((), ())


@dataclass(frozen=True)
class Measured:
    """What the ranges of a rig's controls say.

    `moving` is bool `[controls]`. `rests` and `units` name the controls that have a rest value far
    from 0, or a unit other than `scale`.
    """

    scale: float
    moving: NDArray[np.bool_]
    rests: dict[str, float]
    units: dict[str, float]


def measure(
    controls: Sequence[str],
    lowest: Ranges,
    highest: Ranges,
    limits: tuple[float, float] | None = None,
    *,
    mesh: bool = False,
) -> Measured:
    """Scale, rests and units of a rig from each control's range, `[controls]`.

    A rig is known to have one unit when its teacher has limits for all controls, when its names are
    ARKit's, and when its controls are the coefficients of a `mesh`. A face of blendshapes, which go
    up to about 1 and rest at 0, keeps its values as they are.
    """
    low, high = np.asarray(lowest, np.float64), np.asarray(highest, np.float64)
    span, size = high - low, np.maximum(np.abs(low), np.abs(high))
    lively = span > np.maximum(ROUNDING, ROUNDING_SHARE * size)
    face = 0.1 * REACH < size[lively].max(initial=1.0) <= REACH
    named = set(controls) <= set(ARKIT)
    one_unit = mesh or limits is not None or named
    around_0 = limits is None or limits[0] <= 0 <= limits[1]
    off = np.maximum(np.maximum(low, -high), 0)
    resting = lively & (off > (OFF_IN_A_FACE if face or named else OFF) * span)
    if mesh or (face and one_unit and around_0):
        resting[:] = False
    extent = np.where(resting, span, np.maximum(high, 0) - np.minimum(low, 0))
    powers = _powers(extent, lively)
    top = int(powers[lively].max()) if lively.any() else 0
    scale = float(10.0**top)
    moving = lively & (span > (STILL_BELOW if one_unit or face else STILL_BELOW_IN_UNITS) * scale)
    own = np.full(len(span), top)
    if not one_unit:
        own = _grouped(powers, moving, top, APART_IN_A_FACE if face else APART)
    rests = np.where(resting, (low + high) / 2, 0.0)
    names = list(controls)
    return Measured(
        scale,
        moving,
        {name: float(rest) for name, rest in _chosen(names, rests, moving & resting)},
        {
            name: float(10.0 ** int(power))
            for name, power in _chosen(names, own, moving & (own != top))
        },
    )


def _powers(extent: Ranges, lively: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each control the power of ten that is 0 where it goes by 0.3 to 3."""
    powers = np.zeros(len(extent), np.int64)
    powers[lively] = [math.ceil(math.log10(each / REACH)) for each in extent[lively]]
    return powers


def _grouped(
    powers: NDArray[np.int64], moving: NDArray[np.bool_], top: int, apart: int
) -> NDArray[np.int64]:
    """The power of each control's unit: that of the liveliest it is not too far below.

    The liveliest of those that are is the first of the next group, and so on.
    """
    own = np.full(len(powers), top)
    leader = top
    for power in sorted(set(powers[moving].tolist()), reverse=True):
        leader = power if power <= leader - apart else leader
        own[moving & (powers == power)] = leader
    return own


def _chosen(names: Sequence[str], values: Any, which: NDArray[np.bool_]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value, here in zip(names, values, which, strict=True) if here]


def units_of(
    driven: Sequence[str], scale: float, rests: Mapping[str, float], units: Mapping[str, float]
) -> Units:
    """The units of some controls, from what names those that are no ordinary ones."""
    return Units(
        tuple(rests.get(name, 0.0) for name in driven),
        tuple(units.get(name, scale) for name in driven),
        scale,
    )
