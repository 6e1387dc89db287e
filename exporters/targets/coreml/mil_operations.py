"""What operations of Core ML's intermediate language (MIL) compute, in PyTorch.

Their meaning is that of coremltools' documentation for iOS 17; those that students need are here.
A function bears its operation's name and takes its arguments by MIL's names, but for ``input`` and
``quantized_data``, which are x. Numbers arrive as float32 or as codes, int8 or uint8, in tensors;
settings as plain whole numbers, flags and texts. Numbers leave as float32 or as codes, whatever
float type the file names: rounding to it is the caller's. A setting that a function does not know
is an error, never a guess.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_CODES = {"int8": (-128, 127), "uint8": (0, 255)}
_RENAMED = {"input": "x", "quantized_data": "x"}


class NotKnownError(Exception):
    """An operation, or an argument of one, that nothing here knows; the text names it."""


def function_of(
    kind: str, arguments: Mapping[str, Any]
) -> "tuple[Callable[..., Tensor | tuple[Tensor, ...]], dict[str, Any]]":
    """The function of an operation, and its arguments by that function's names.

    Raises NotKnownError for an operation, or the name of an argument, that is not known.
    """
    if kind not in _OPERATIONS:
        raise NotKnownError(f"operation {kind} is not known here")
    named = {_RENAMED.get(name, name): argument for name, argument in arguments.items()}
    try:
        inspect.signature(_OPERATIONS[kind]).bind(**named)
    except TypeError as error:
        raise NotKnownError(f"{kind} with {', '.join(arguments)} is not known: {error}") from error
    return _OPERATIONS[kind], named


def _know(known: bool, what: str) -> None:
    if not known:
        raise NotKnownError(f"{what} is not known here")


def conv(
    x: "Tensor",
    weight: "Tensor",
    pad_type: str = "valid",
    bias: "Tensor | None" = None,
    strides: Sequence[int] = (1,),
    pad: Sequence[int] = (0, 0),
    dilations: Sequence[int] = (1,),
    groups: int = 1,
) -> "Tensor":
    """[1, channels, steps] with weight [out, channels / groups, kernel] -> [1, out, steps]."""
    from torch.nn import functional as F

    _know(x.dim() == 3, f"conv of {x.dim() - 2} dimensions")
    _know(pad_type in ("valid", "custom"), f"conv's pad_type {pad_type}")
    if pad_type == "custom":
        x = F.pad(x, tuple(pad))  # of one dimension: before, after
    return F.conv1d(x, weight, bias, tuple(strides), 0, tuple(dilations), groups)


def linear(x: "Tensor", weight: "Tensor", bias: "Tensor | None" = None) -> "Tensor":
    """[..., inputs] with weight [outputs, inputs] -> [..., outputs]."""
    y = x @ weight.T
    return y if bias is None else y + bias


def avg_pool(
    x: "Tensor",
    kernel_sizes: Sequence[int],
    pad_type: str,
    strides: Sequence[int] = (1,),
    pad: Sequence[int] = (0, 0),
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> "Tensor":
    """[1, channels, steps] -> [1, channels, steps]; what padding counts as has no part without it."""
    from torch.nn import functional as F

    _know(x.dim() == 3, f"avg_pool of {x.dim() - 2} dimensions")
    _know(pad_type in ("valid", "custom"), f"avg_pool's pad_type {pad_type}")
    _know(pad_type == "valid" or not any(pad), f"avg_pool's pad {list(pad)}")
    _know(not ceil_mode, "avg_pool's ceil_mode True")
    return F.avg_pool1d(x, tuple(kernel_sizes), tuple(strides))


def relu(x: "Tensor") -> "Tensor":
    return x.relu()


def leaky_relu(x: "Tensor", alpha: "Tensor") -> "Tensor":
    return x.where(x >= 0, x * alpha)


def sigmoid(x: "Tensor") -> "Tensor":
    return x.sigmoid()


def silu(x: "Tensor") -> "Tensor":
    return x * x.sigmoid()


def clip(x: "Tensor", alpha: "Tensor", beta: "Tensor") -> "Tensor":
    return x.clamp(alpha, beta)


def add(x: "Tensor", y: "Tensor") -> "Tensor":
    return x + y


def sub(x: "Tensor", y: "Tensor") -> "Tensor":
    return x - y


def mul(x: "Tensor", y: "Tensor") -> "Tensor":
    return x * y


def square(x: "Tensor") -> "Tensor":
    return x * x


def log(x: "Tensor", epsilon: "Tensor | float" = 1e-45) -> "Tensor":
    """Natural logarithm of x + epsilon; 1e-45 is float32's least number above 0."""
    return (x + epsilon).log()


def identity(x: "Tensor") -> "Tensor":
    return x


def cast(x: "Tensor", dtype: str) -> "Tensor":
    _know(dtype in ("fp32", "fp16"), f"cast to {dtype}")
    _know(x.is_floating_point(), "cast of codes")
    return x


def reshape(x: "Tensor", shape: Sequence[int]) -> "Tensor":
    _know(0 not in shape, f"reshape to {list(shape)}")
    return x.reshape(tuple(shape))


def transpose(x: "Tensor", perm: Sequence[int]) -> "Tensor":
    return x.permute(tuple(perm))


def squeeze(x: "Tensor", axes: Sequence[int] | None = None) -> "Tensor":
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def expand_dims(x: "Tensor", axes: Sequence[int]) -> "Tensor":
    """Axes of length 1, which stand where ``axes`` says in the result."""
    for axis in sorted(axis % (x.dim() + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def split(
    x: "Tensor", axis: int, split_sizes: Sequence[int] | None = None, num_splits: int | None = None
) -> "tuple[Tensor, ...]":
    if split_sizes is None:
        _know(num_splits is not None, "split without sizes and number")
        assert num_splits is not None
        split_sizes = [x.shape[axis] // num_splits] * num_splits
    starts = accumulate(split_sizes, initial=0)
    return tuple(
        x.narrow(axis, start, size) for start, size in zip(starts, split_sizes, strict=False)
    )


def slice_by_index(
    x: "Tensor",
    begin: Sequence[int],
    end: Sequence[int],
    stride: Sequence[int] | None = None,
    begin_mask: Sequence[bool] | None = None,
    end_mask: Sequence[bool] | None = None,
    squeeze_mask: Sequence[bool] | None = None,
) -> "Tensor":
    """As Python's slices, one an axis; a mask leaves out a begin, an end, or takes one index."""
    rank = x.dim()
    steps = stride or [1] * rank
    _know(min(steps) > 0, f"slice_by_index's stride {list(steps)}")
    none = [False] * rank
    first, last, single = begin_mask or none, end_mask or none, squeeze_mask or none
    parts = tuple(
        begin[axis]
        if single[axis]
        else slice(
            None if first[axis] else begin[axis], None if last[axis] else end[axis], steps[axis]
        )
        for axis in range(rank)
    )
    return x[parts]


def slice_by_size(x: "Tensor", begin: Sequence[int], size: Sequence[int]) -> "Tensor":
    """As many as ``size`` says from ``begin`` on, one of each an axis; -1 are all that remain."""
    _know(min(begin) >= 0, f"slice_by_size's begin {list(begin)}")
    return x[
        tuple(
            slice(start, None if many == -1 else start + many)
            for start, many in zip(begin, size, strict=True)
        )
    ]


def quantize(
    x: "Tensor",
    scale: "Tensor",
    output_dtype: str,
    zero_point: "Tensor | None" = None,
    axis: int | None = None,
) -> "Tensor":
    """Codes clip(round(x / scale) + zero_point); a half goes to the even neighbour.

    MIL's documentation is silent on halves; coremltools itself computes them so.
    """
    import torch

    _know(output_dtype in _CODES, f"quantize to {output_dtype}")
    codes = (x / _along(scale, x.dim(), axis)).round()
    if zero_point is not None:
        codes = codes + _along(zero_point.float(), x.dim(), axis)
    return codes.clamp(*_CODES[output_dtype]).to(getattr(torch, output_dtype))


def dequantize(
    x: "Tensor", scale: "Tensor", zero_point: "Tensor | None" = None, axis: int | None = None
) -> "Tensor":
    """Values scale * (x - zero_point); scale and zero_point are one number, or one along axis."""
    _know(not x.is_floating_point(), "dequantize of floats")
    difference = x.float()
    if zero_point is not None:
        difference = difference - _along(zero_point.float(), x.dim(), axis)
    return difference * _along(scale, x.dim(), axis)


def _along(parameter: "Tensor", rank: int, axis: int | None) -> "Tensor":
    """[] or [length] -> the same, lying along one of ``rank`` axes."""
    if parameter.dim() == 0:
        return parameter
    _know(parameter.dim() == 1 and axis is not None, "a scale that is neither number nor vector")
    assert axis is not None
    return parameter.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


_OPERATIONS: dict[str, "Callable[..., Tensor | tuple[Tensor, ...]]"] = {
    **{
        function.__name__: function
        for function in (
            *(conv, linear, avg_pool, relu, leaky_relu, sigmoid, silu, clip),
            *(add, sub, mul, square, log, identity, cast),
            *(reshape, transpose, squeeze, expand_dims, split, slice_by_index, slice_by_size),
            *(quantize, dequantize),
        )
    },
    "constexpr_affine_dequantize": dequantize,
}
