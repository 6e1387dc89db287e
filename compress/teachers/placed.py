"""Teachers that PyTorch runs, on a device or in lower precision: audio goes there, curves come back.

In another place than the usual one a teacher's description, which labels keep, says where it ran.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.errors import TeacherError
from compress.teachers import Teacher
from compress.teachers.programs.wrapped import Wrapped

if TYPE_CHECKING:
    import torch
    from torch import Tensor

AUTO, CPU = "auto", "cpu"
_DTYPES = {"bf16": "bfloat16", "fp16": "float16"}


def torch_devices() -> tuple[str, ...]:
    """The devices that PyTorch has here, by its names for them, the fastest first."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None:
        return (CPU,)
    count = torch.accelerator.device_count()
    return (found.type, *(f"{found.type}:{i}" for i in range(count)), CPU)


@dataclass(frozen=True)
class Place:
    """A device that is here, and a precision; the usual one is float32 on the CPU."""

    device: str = CPU
    precision: str = "fp32"

    @property
    def usual(self) -> bool:
        return self == Place()

    @property
    def words(self) -> str:
        """What is added to the description of a teacher: nothing for the usual place."""
        return "" if self.usual else f", on {self.device} in {self.precision}"

    def moved(self, made: Any, name: str) -> Any:
        """A module, or anything else that has ``to``, on the device.

        Raises `TeacherError` for what has none.
        """
        if self.device == CPU:
            return made
        if not hasattr(made, "to"):
            raise TeacherError(
                f"Teacher {name} is a {type(made).__name__} without `to`, so it cannot be moved to "
                f"{self.device}. Checkpoints of the reference teacher, .pt2, TorchScript and ONNX "
                f"can, and Python objects that have to(device). Give it one, or leave teacher.device "
                f"out."
            )
        found = made.to(self.device)
        return made if found is None else found

    @contextmanager
    def computing(self) -> Iterator[None]:
        """What PyTorch computes inside, in this thread, is in this precision.

        Raises `TeacherError` where PyTorch does not have it for the device.
        """
        import torch

        kind = torch.device(self.device).type
        with ExitStack() as entered:
            if kind == "cuda":
                # Without TF32, which would take 13 bits off each number of a convolution in fp32;
                # and by the same algorithms every time, since labels have to repeat.
                flags = {"enabled": True, "deterministic": True, "allow_tf32": False}
                entered.enter_context(torch.backends.cudnn.flags(**flags))
            if self.precision != "fp32":
                dtype: torch.dtype = getattr(torch, _DTYPES[self.precision])
                entered.enter_context(torch.autocast(kind, dtype))
                if not torch.is_autocast_enabled(kind):  # PyTorch itself only warns
                    raise TeacherError(
                        f"PyTorch has no {self.precision} for {self.device}. Choose another "
                        f"teacher.precision."
                    )
            yield


@contextmanager
def in_float32(device: "torch.device") -> Iterator[None]:
    """What PyTorch computes inside, in this thread, is in float32, whatever the precision around it."""
    import torch

    # Asked first, since not every device has a lower precision to leave.
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        with torch.autocast(device.type, enabled=False):
            yield
    else:
        yield


class Placed(Wrapped):
    """A teacher that PyTorch runs, which is on its device already."""

    def __init__(self, teacher: Teacher, place: Place) -> None:
        self.teacher, self._place = teacher, place

    @property
    def description(self) -> str:
        return f"{self.teacher.description.removesuffix('.')}{self._place.words}."

    def animate(self, audio: "Tensor") -> "Tensor":
        """As the teacher's: float32 on the CPU in, float32 on the CPU out."""
        with self._place.computing():
            return self.teacher.animate(audio.to(self._place.device)).float().cpu()


def placed(teacher: Teacher, place: Place) -> Teacher:
    """A teacher that was moved to its place; as it is in the usual one."""
    return teacher if place.usual else Placed(teacher, place)
