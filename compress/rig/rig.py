"""What is known of a rig beside its curves: regions of the face, and when its lips are closed.

ARKit's 52 blendshapes are known by their names (Apple, *ARFaceAnchor.BlendShapeLocation*); any other
rig says it in a file, see `rig_file`. Nothing is guessed: of a rig that says nothing, nothing is known.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

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


@dataclass(frozen=True)
class ClosureRule:
    """When the lips of a rig are sealed: where their aperture is below `closed_below`.

    The aperture, in rig units, is a weighted sum of controls, `weights` by name. A rig may lack the
    `optional` ones, which then count as zero; of a rig that lacks another the rule says nothing.
    `said` is what it means, where that is not its sum.
    """

    weights: Mapping[str, float]
    closed_below: float
    optional: frozenset[str] = frozenset()
    said: str = ""

    def __post_init__(self) -> None:
        numbers = [*self.weights.values(), self.closed_below]
        if not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"a closure rule of numbers that are not finite: {numbers}")
        if not self.optional < set(self.weights):
            raise ValueError(
                f"optional controls of a closure rule are {sorted(self.optional)}, expected some "
                f"of those with a weight, and not all: {sorted(self.weights)}"
            )

    @property
    def needed(self) -> frozenset[str]:
        """The controls without which it says nothing."""
        return frozenset(self.weights) - self.optional

    def applies_to(self, controls: Sequence[str]) -> bool:
        """Whether a rig with these controls has all that the rule needs."""
        return self.needed <= set(controls)

    def in_words(self, controls: Sequence[str]) -> str:
        """``jawOpen − mouthClose + 0.15 mouthFunnel < 0.08``, of the controls that there are."""
        if self.said:
            return self.said
        parts: list[str] = []
        for name, weight in self.weights.items():
            if name in controls:
                sign = "− " if weight < 0 else "+ " if parts else ""
                size = "" if abs(weight) == 1 else f"{abs(weight):g} "
                parts.append(f"{sign}{size}{name}")
        return f"{' '.join(parts)} < {self.closed_below:g}"

    def aperture(self, curves: np.ndarray, controls: Sequence[str]) -> np.ndarray:
        """How far the lips are apart, in rig units, for float `[..., controls]` → `[...]`.

        Raises `ValueError` for a rig to which the rule does not apply: an aperture of nothing would
        pass for sealed lips.
        """
        if not self.applies_to(controls):
            missing = sorted(self.needed - set(controls))
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


@dataclass(frozen=True)
class Rig:
    """What is known of a rig's controls, by name.

    `parts` are the regions of the face; a control in none of them is in the region "other".
    `closure` is None where it is not known when the lips are closed. `shown` are the controls that
    tell most, for a picture.
    """

    name: str = "unknown"
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    closure: ClosureRule | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()

    def closure_of(self, controls: Sequence[str]) -> ClosureRule | None:
        """The closure rule, if these controls are all that it needs."""
        rule = self.closure
        return rule if rule is not None and rule.applies_to(controls) else None

    def regions(self, controls: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Columns of each region that has a control; the one region "all" where none is known."""
        found = {
            region: tuple(i for i, name in enumerate(controls) if name in names)
            for region, names in self.parts.items()
        }
        known = {column for columns in found.values() for column in columns}
        if not known:
            return {"all": tuple(range(len(controls)))}
        found["other"] = tuple(i for i in range(len(controls)) if i not in known)
        return {region: columns for region, columns in found.items() if columns}

    def label(self, control: str) -> str:
        """What people call a control: its own name where the rig says nothing."""
        return self.labels.get(control, control)

    def to_json(self) -> dict[str, object]:
        """All of it, for a key."""
        fields = asdict(self)
        if self.closure is not None:
            fields["closure"]["optional"] = sorted(self.closure.optional)
        return fields


def _spoken(name: str) -> str:
    """``mouthLowerDownLeft`` → ``mouth lower down, left``."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    return re.sub(r" (left|right)$", r", \1", words)


# Known by name, whatever teacher they come from.
ARKIT_RIG = Rig(
    name="ARKit",
    parts={
        region: tuple(name for name in ARKIT if name.startswith(stems))
        for region, stems in _REGIONS.items()
    },
    closure=ARKIT_CLOSURE,
    labels={name: _spoken(name) for name in ARKIT},
    shown=("jawOpen", "mouthClose", "mouthPucker", "mouthFunnel"),
)
