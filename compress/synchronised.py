"""Statistics of a whole batch where processes train together, each on its share of it.

Shares are equally large. PyTorch's own synchronised batch norm does this too, but not on the CPU.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn


def together() -> bool:
    """Whether this process is one of several that train together."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def variance(values: Tensor) -> Tensor:
    """The variance of a tensor of which each process holds a share; no gradient passes."""
    if not together():
        return values.var()
    world = distributed.get_world_size()
    mean = _sum(values.detach().mean()) / world
    squares = _sum(((values.detach() - mean) ** 2).mean()) / world
    count = values.numel() * world
    return squares * (count / (count - 1))


def _sum(value: Tensor) -> Tensor:
    total = value.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


class _Summed(torch.autograd.Function):
    """The sum over processes, which each of them has: so the gradient is a sum over them too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _sum(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _sum(gradient)


class SynchronisedNorm(nn.BatchNorm1d):
    """Batch norm by the whole batch's statistics: the same names in its state dict.

    It takes over the parameters and buffers of the norm that it is made of.
    """

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, steps]` → the same, in float32 within."""
        if not (self.training and together()):
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        world = distributed.get_world_size()
        # Around the mean, since a variance as a difference of large numbers has few digits. What it
        # is taken around has no part in the gradient: sums around any number say the same.
        middle = _sum(x.detach().float().mean((0, 2))) / world
        off = x.float() - middle[:, None]
        sums = torch.stack([off.sum((0, 2)), (off**2).sum((0, 2))])
        count = x.shape[0] * x.shape[2] * world
        total: Tensor = _Summed.apply(sums)  # type: ignore[no-untyped-call]
        mean, square = total / count
        spread = (square - mean**2).clamp_min(0)
        with torch.no_grad():
            self.num_batches_tracked += 1
            unbiased = spread * (count / (count - 1))
            self.running_mean.lerp_(middle + mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
        scale = self.weight * torch.rsqrt(spread + self.eps)
        normed = (off - mean[:, None]) * scale[:, None] + self.bias[:, None]
        made: Tensor = normed.to(x.dtype)
        return made


def synchronise(module: nn.Module) -> None:
    """Put a `SynchronisedNorm` in the place of each batch norm of a module, which stays its own."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d):
            setattr(module, name, SynchronisedNorm(child))
        else:
            synchronise(child)
