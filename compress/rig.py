"""What is known of a rig by its control names: ARKit's 52 blendshapes, and when lips are closed.

ARKit's names: Apple, *ARFaceAnchor.BlendShapeLocation*.
"""

from collections.abc import Sequence

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

# Lip opening is measured in rig units: 0 is sealed. A /p/, /b/ or /m/ has closed the lips below
# this. The threshold is ours; of vowels in rule-based curves about 1 % of the frames fall below it.
CLOSED_BELOW = 0.08


def has_lips(controls: Sequence[str]) -> bool:
    """Whether the closure rule can be asked of a rig with these control names."""
    return {"jawOpen", "mouthClose"} <= set(controls)


def lip_aperture(curves: np.ndarray, controls: Sequence[str]) -> np.ndarray:
    """How far the lips are apart, in rig units, for float `[..., controls]` → `[...]`.

    ``jawOpen − mouthClose + 0.35 (lowerDown + upperUp) + 0.15 funnel``, left side: ARKit's
    ``mouthClose`` is defined relative to the open jaw, so a jaw that is open by as much as
    ``mouthClose`` says has its lips sealed. The weights are ours. A control that the rig lacks
    counts as zero; ask `has_lips` first.
    """
    column = {name: i for i, name in enumerate(controls)}

    def value(name: str) -> np.ndarray | float:
        return curves[..., column[name]] if name in column else 0.0

    lips = value("mouthLowerDownLeft") + value("mouthUpperUpLeft")
    aperture = value("jawOpen") - value("mouthClose") + 0.35 * lips + 0.15 * value("mouthFunnel")
    return np.asarray(aperture)
