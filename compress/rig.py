"""What is known of a rig by its control names: ARKit's 52 blendshapes, and when lips are closed.

ARKit's names: Apple, *ARFaceAnchor.BlendShapeLocation*.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_SIDED = ("Left", "Right")


def _sided(*stems: str) -> tuple[str, ...]:
    return tuple(stem + side for stem in stems for side in _SIDED)


# Apple's order.
ARKIT: tuple[str, ...] = (
    *("eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft"),
    *("eyeSquintLeft", "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight"),
    *("eyeLookOutRight", "eyeLookUpRight", "eyeSquintRight", "eyeWideRight"),
    *("jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"),
    *("mouthLeft", "mouthRight"),
    *_sided("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch"),
    *("mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *_sided("mouthPress", "mouthLowerDown", "mouthUpperUp", "browDown"),
    "browInnerUp",
    *_sided("browOuterUp"),
    "cheekPuff",
    *_sided("cheekSquint", "noseSneer"),
    "tongueOut",
)

_REGIONS = {
    "jaw": ("jaw",),
    "lips": ("mouth",),
    "tongue and cheeks": ("tongue", "cheek"),
    "rest": ("eye", "brow", "nose"),
}

# Lip opening is measured in rig units: 0 is sealed. A /p/, /b/ or /m/ has closed the lips below
# this. The threshold is ours; of vowels in rule-based curves about 1 % of the frames fall below it.
CLOSED_BELOW = 0.08


def regions(controls: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Columns of each region of the face: jaw, lips, tongue and cheeks, rest (eyes, brows, nose).

    By ARKit's names. Only regions that have a control; the one region "all" where any name is
    unknown to ARKit.
    """
    if not set(controls) <= set(ARKIT):
        return {"all": tuple(range(len(controls)))}
    found = {
        region: tuple(i for i, name in enumerate(controls) if name.startswith(stems))
        for region, stems in _REGIONS.items()
    }
    return {region: columns for region, columns in found.items() if columns}


@dataclass(frozen=True)
class ClosureRule:
    """When the lips of a rig are sealed: where their aperture is below `closed_below`.

    The aperture, in rig units, is a weighted sum of controls, `weights` by name. A rig may lack the
    `optional` ones, which then count as zero; of a rig that lacks another the rule says nothing.
    """

    weights: Mapping[str, float]
    closed_below: float
    optional: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        numbers = [*self.weights.values(), self.closed_below]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"a closure rule of numbers that are not finite: {numbers}")
        if not self.optional < set(self.weights):
            raise ValueError(
                f"optional controls of a closure rule are {sorted(self.optional)}, expected some "
                f"of those with a weight, and not all: {sorted(self.weights)}"
            )

    def applies_to(self, controls: Sequence[str]) -> bool:
        """Whether a rig with these controls has all that the rule needs."""
        return set(self.weights) - self.optional <= set(controls)

    def aperture(self, curves: np.ndarray, controls: Sequence[str]) -> np.ndarray:
        """How far the lips are apart, in rig units, for float `[..., controls]` → `[...]`.

        Raises `ValueError` for a rig to which the rule does not apply: an aperture of nothing would
        pass for sealed lips.
        """
        if not self.applies_to(controls):
            missing = sorted(set(self.weights) - self.optional - set(controls))
            raise ValueError(f"the closure rule needs {missing}, which this rig lacks")
        column = {name: i for i, name in enumerate(controls)}
        parts = [
            weight * curves[..., column[name]]
            for name, weight in self.weights.items()
            if name in column
        ]
        return np.asarray(np.sum(parts, axis=0))


# ``jawOpen − mouthClose + 0.35 (lowerDown + upperUp) + 0.15 funnel``, left side: ARKit's
# ``mouthClose`` is defined relative to the open jaw, so a jaw that is open by as much as
# ``mouthClose`` says has its lips sealed. The weights are ours.
ARKIT_CLOSURE = ClosureRule(
    weights={
        "jawOpen": 1.0,
        "mouthClose": -1.0,
        "mouthLowerDownLeft": 0.35,
        "mouthUpperUpLeft": 0.35,
        "mouthFunnel": 0.15,
    },
    closed_below=CLOSED_BELOW,
    optional=frozenset({"mouthLowerDownLeft", "mouthUpperUpLeft", "mouthFunnel"}),
)


def has_lips(controls: Sequence[str]) -> bool:
    """Whether ARKit's closure rule can be asked of a rig with these control names."""
    return ARKIT_CLOSURE.applies_to(controls)


def lip_aperture(curves: np.ndarray, controls: Sequence[str]) -> np.ndarray:
    """The aperture of ARKit's closure rule, in rig units, for float `[..., controls]` → `[...]`."""
    return ARKIT_CLOSURE.aperture(curves, controls)
