"""What a client must know to run a model file.

Every model file takes ``audio``, float32 ``[1, 1, window]``, mono, -1 to 1, and gives ``rig``,
float32 ``[1, driven]``: the pose at one moment. For hop k the window covers the samples
``[k * hop - past, k * hop + future)`` of the recording, with zeros where the recording has none. A
client asks for whole hops, 62.5 a second, and shows at any time the linear interpolation of the two
poses around it, at whatever rate it draws.

The signature travels inside the file as JSON, and beside it as ``signature.json``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from exporters import records
from exporters.atomic import write_atomically
from exporters.errors import ModelFileError

Precision = Literal["fp32", "fp16", "int8"]
INPUT_NAME = "audio"
OUTPUT_NAME = "rig"


@records.strict
@dataclass(frozen=True, kw_only=True)
class Signature:
    """Contract between a model file and its client.

    Raises ValueError if its values contradict each other, with all mistakes in one message.
    """

    student: str
    """Name of the student in its recipe."""
    precision: Precision
    """Number format of the weights."""
    controls: tuple[str, ...]
    """All controls of the rig, in the teacher's order."""
    driven: tuple[str, ...]
    """The controls that the file predicts, in the order of the output `rig`."""
    constants: dict[str, float]
    """The value of each control that the file does not predict."""
    sample_rate_hz: int
    """Samples of audio in one second."""
    hop: int
    """Samples between two frames of the grid on which the student was trained."""
    window: int
    """Samples that one prediction sees: past + future."""
    past: int
    """Samples of the window before the moment that is predicted."""
    future: int
    """Samples of the window from that moment on."""
    smoothing: tuple[float, ...]
    """Weights of the predictions that the client averages; (1.0,) is none.

    An odd number: of the predictions from so many hops before t to as many after; three reach one.
    """
    made_from: str
    """Hash of what the file was made from: student, teacher, labels and export settings."""
    teacher: str
    """Name and hash of the teacher."""
    tool_versions: dict[str, str]
    """Versions of the tools that made the file."""
    quantization: dict[str, object]
    """Layers and activations' scales and zero points of an integer file; empty for a float one."""

    def __post_init__(self) -> None:
        if mistakes := [*_mistakes_in_controls(self), *_mistakes_in_time(self)]:
            raise ValueError("this signature cannot be: " + "; ".join(mistakes))

    @property
    def past_ms(self) -> float:
        """Milliseconds of audio before the moment that is predicted."""
        return 1000 * self.past / self.sample_rate_hz

    @property
    def future_ms(self) -> float:
        """Milliseconds of audio after the moment that is predicted."""
        return 1000 * self.future / self.sample_rate_hz

    @property
    def hop_ms(self) -> float:
        """Milliseconds between two frames of the grid."""
        return 1000 * self.hop / self.sample_rate_hz

    @property
    def smoothing_ms(self) -> float:
        """Milliseconds that smoothing waits for predictions after the moment; 0 for none."""
        return self.hop_ms * hops_awaited(self.smoothing)

    @property
    def latency_ms(self) -> float:
        """How long after its moment a pose can be known at the earliest, in milliseconds.

        The future context, one hop until the pose after it on the grid, and what smoothing waits
        for. The time that the computation takes comes on top.
        """
        return self.future_ms + self.hop_ms + self.smoothing_ms

    def to_json(self) -> str:
        """Write as JSON; ``from_json`` gives an equal signature back."""
        return records.to_json(self)

    @classmethod
    def from_json(cls, text: str, source: str = "the signature") -> "Signature":
        """Read ``to_json``'s text; ``source`` says in messages where it stood.

        Raises ModelFileError that lists every unknown key, missing key and wrong value.
        """
        try:
            return records.from_json(cls, text)
        except ValueError as error:
            raise ModelFileError(
                f"{source} does not hold a signature that this version understands:\n{error}\n"
                "Export the model again with this version of lipstill."
            ) from error

    def write(self, path: Path) -> None:
        """Write ``to_json`` to ``path``, atomically."""
        write_atomically(path, self.to_json().encode())

    @classmethod
    def read(cls, path: Path) -> "Signature":
        """Read a file that ``write`` made. Raises ModelFileError."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelFileError(f"{path} cannot be read as a signature: {error}.") from error
        return cls.from_json(text, source=str(path))


def import_schema() -> None:
    """Have ready whatever ``Signature.from_json`` needs, and would import and build when called."""
    records.prepare(Signature)


def hops_awaited(smoothing: Sequence[float]) -> int:
    """Hops after a moment whose predictions its pose needs: as far as weights above 0 reach."""
    reach = len(smoothing) // 2
    return max(
        (i - reach for i, weight in enumerate(smoothing) if weight > 0 and i > reach), default=0
    )


def latency_in_words(future_ms: float, hop_ms: float, smoothing_ms: float) -> str:
    """What a pose waits for: `future 64 ms + hop 16 ms = 80 ms`, and smoothing where there is any."""
    smoothing = f" + smoothing {smoothing_ms:g} ms" if smoothing_ms else ""
    total = future_ms + hop_ms + smoothing_ms
    return f"future {future_ms:g} ms + hop {hop_ms:g} ms{smoothing} = {total:g} ms"


def _mistakes_in_controls(signature: Signature) -> list[str]:
    mistakes = []
    controls, driven = signature.controls, signature.driven
    for label, names in (("controls", controls), ("driven", driven)):
        if not names:
            mistakes.append(f"{label} is empty")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            mistakes.append(f"{label} names {', '.join(twice)} more than once")
    covered = {*driven, *signature.constants}
    if unknown := sorted(covered - set(controls)):
        mistakes.append(f"driven or constants name {', '.join(unknown)}, which controls lacks")
    if both := sorted(set(driven) & set(signature.constants)):
        mistakes.append(f"{', '.join(both)} cannot be driven and constant at once")
    if neither := sorted(set(controls) - covered):
        mistakes.append(f"{', '.join(neither)} must be in driven or in constants")
    for name, value in signature.constants.items():
        if not math.isfinite(value):
            mistakes.append(f"the constant of {name} is {value}")
    return mistakes


def _mistakes_in_time(signature: Signature) -> list[str]:
    least = {"sample_rate_hz": 1, "hop": 1, "window": 1, "past": 0, "future": 0}
    mistakes = [
        f"{label} is {getattr(signature, label)} and must be at least {minimum}"
        for label, minimum in least.items()
        if getattr(signature, label) < minimum
    ]
    if signature.past + signature.future != signature.window:
        mistakes.append(
            f"past {signature.past} + future {signature.future} samples is not the window of "
            f"{signature.window}"
        )
    weights = signature.smoothing
    if len(weights) % 2 == 0:
        mistakes.append(f"smoothing has {len(weights)} weights, expected an odd number")
    elif not all(weight >= 0 for weight in weights) or not math.isclose(sum(weights), 1.0):
        mistakes.append(f"smoothing {weights} must be weights of at least 0 whose sum is 1")
    return mistakes
