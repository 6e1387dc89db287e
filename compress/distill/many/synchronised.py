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


def variance(values: Tensor, by_channel: bool = False) -> Tensor:
    """The variance of a tensor of which each process holds a share; no gradient passes.

    Of `[batch, channels, steps]` as a whole, or `[channels]` of each channel.
    """
    dims = (0, 2) if by_channel else tuple(range(values.ndim))
    if not together():
        return values.var(dims)
    own = torch.stack(torch.var_mean(values.detach(), dims, correction=0))
    variances, means = _gather(own).unbind(1)
    spread = (variances + (means - means.mean(0)) ** 2).mean(0)
    count = values.numel() * len(means) / spread.numel()
    return spread * (count / (count - 1))


class _Gathered(torch.autograd.Function):
    """A tensor of every process, `[processes, …]`, which each of them has.

    On the CPU gathering a few numbers takes half as long as summing them does.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _gather(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # What the others make of our part is for us to add up.
        return _gather(gradient).sum(0)[distributed.get_rank()]


def _gather(value: Tensor) -> Tensor:
    value = value.contiguous()
    parts = [torch.empty_like(value) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, value)
    return torch.stack(parts)


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
        # Each share around its own mean: a variance as a difference of large numbers has few digits.
        own = torch.stack(torch.var_mean(x.float(), (0, 2), correction=0))
        variances, means = _Gathered.apply(own).unbind(1)  # type: ignore[no-untyped-call]
        mean = means.mean(0)
        spread = (variances + (means - mean) ** 2).mean(0)
        with torch.no_grad():
            count = x.shape[0] * x.shape[2] * len(means)
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(spread * (count / (count - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(spread + self.eps)
        made: Tensor = (x.float() - mean[:, None]) * scale[:, None] + self.bias[:, None]
        return made.to(x.dtype)


def synchronise(module: nn.Module) -> None:
    """Put a `SynchronisedNorm` in the place of each batch norm of a module, which stays its own."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d):
            setattr(module, name, SynchronisedNorm(child))
        else:
            synchronise(child)
