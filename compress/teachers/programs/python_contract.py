"""An object of somebody else's that answers the teacher contract, held to it."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from compress.errors import TeacherError

if TYPE_CHECKING:
    from torch import Tensor

_PROPERTIES = (
    *("controls", "rate_hz", "offset_s", "sample_rate_hz"),
    *("limits", "description", "parameters_count"),
)


class Checked:
    """A teacher whose properties are there and of the right kind, and which gives float tensors.

    Raises `TeacherError` that names what is missing or wrong.
    """

    def __init__(self, name: str, teacher: Any) -> None:
        if missing := [each for each in _PROPERTIES if not hasattr(teacher, each)]:
            raise TeacherError(
                f"Teacher {name} made a {type(teacher).__name__} with animate, but without "
                f"{', '.join(missing)}; docs/teachers.md says what each of them is."
            )
        self._name, self._teacher = name, teacher
        try:
            self.controls = _controls(teacher.controls)
            self.rate_hz = float(teacher.rate_hz)
            self.offset_s = float(teacher.offset_s)
            self.sample_rate_hz = int(teacher.sample_rate_hz)
            self.limits = _limits(teacher.limits)
            self.description = str(teacher.description)
            self.parameters_count = int(teacher.parameters_count)
            if not (self.rate_hz > 0 and self.sample_rate_hz > 0):
                raise ValueError(f"rates of {self.rate_hz} and {self.sample_rate_hz} Hz")
        except (TypeError, ValueError) as error:
            raise TeacherError(
                f"Teacher {name} made a {type(teacher).__name__} that breaks the teacher contract: "
                f"{error}. docs/teachers.md says what each property is."
            ) from error

    def animate(self, audio: "Tensor") -> "Tensor":
        """As the teacher's, on the CPU and without a graph."""
        import torch

        with torch.inference_mode():
            curves = self._teacher.animate(audio)
        if not isinstance(curves, torch.Tensor):
            raise TeacherError(
                f"Teacher {self._name}: animate gave a {type(curves).__name__}, expected a float32 "
                f"tensor [batch, frames, controls]."
            )
        return curves.detach().cpu().float()


def _controls(found: Any) -> tuple[str, ...]:
    controls = tuple(found)
    if isinstance(found, str) or not controls or not all(isinstance(c, str) for c in controls):
        raise ValueError(f"controls are {found!r}, expected names of one at least")
    if twice := sorted(control for control, times in Counter(controls).items() if times > 1):
        raise ValueError(f"controls has {', '.join(twice[:4])} more than once")
    return controls


def _limits(found: Any) -> tuple[float, float] | None:
    if found is None:
        return None
    low, high = map(float, found)
    if not low < high:
        raise ValueError(f"limits are {found!r}, expected the lower one first")
    return low, high
