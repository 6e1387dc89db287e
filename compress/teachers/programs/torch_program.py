"""What programs of PyTorch have in common: arrays in and out of tensors, and names for what they give."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import TeacherError
from compress.teachers import Port
from compress.teachers.placed import Place

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]

# A tensor whose type the program does not say.
TENSOR = "tensor"
# Plain numbers that a program may take beside tensors.
NUMBERS = {"int": "int64", "float": "float64", "bool": "bool"}


def check_trust(trust: bool, path: object, what: str) -> None:
    """Raise `TeacherError` for a program that could run any code and is not trusted."""
    if not trust:
        raise TeacherError(
            f"Teacher {path} is {what}, so it was not opened. If you trust where it comes from, say "
            f"--trust, or write teacher.trust: true in the recipe."
        )


def running(
    call: Callable[[Mapping[str, Any]], Any], inputs: tuple[Port, ...], name: str, place: Place
) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """A `Program`'s `run` around a call that takes tensors by name and gives tensors in any nest.

    What is called is in its `place` already; tensors are sent there.
    """
    import torch

    ports = {port.name: port for port in inputs}

    @torch.inference_mode()
    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        tensors = {key: _tensor(array, ports[key], place) for key, array in feeds.items()}
        with place.computing():
            found = call(tensors)
        return {key: _array(tensor) for key, tensor in named(name, found)}

    return run


def named(name: str, value: object, place: str = "output") -> Iterator[tuple[str, "Tensor"]]:
    """The tensors in what a program gave: ``output``, ``output_0`` and on, or by their own keys.

    Raises `TeacherError` for what is neither tensor nor made of them.
    """
    import torch

    if isinstance(value, torch.Tensor):
        yield place, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from named(name, part, str(key))
    elif isinstance(value, tuple | list):
        for i, part in enumerate(value):
            yield from named(name, part, f"{place}_{i}")
    elif value is not None:
        raise TeacherError(
            f"Teacher {name} gave a {type(value).__name__} as {place}, expected a tensor, a tuple "
            f"or a dict of tensors."
        )


def _tensor(array: Array, port: Port, place: Place) -> Any:
    """As the program wants it: bfloat16 is no type of NumPy's, and a number no tensor."""
    import torch

    if port.dtype in NUMBERS:
        return array.item()
    # A constant may be a view that must not be written to.
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    return tensor.to(place.device, torch.bfloat16 if port.dtype == "bfloat16" else None)


def _array(tensor: "Tensor") -> Array:
    whole = tensor.detach().cpu()
    return np.asarray((whole.float() if whole.is_floating_point() else whole).numpy())


def parameters_of(module: Any) -> int:
    """Number of weights, of a module or of what has none."""
    import torch

    found = list(module.parameters()) if isinstance(module, torch.nn.Module) else []
    return sum(weight.numel() for weight in found)
