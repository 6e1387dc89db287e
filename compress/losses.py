"""Losses of distillation. Curves are `[batch, controls, frames]`, one hop between frames."""

from torch import Tensor


def reconstruction(predicted: Tensor, label: Tensor) -> Tensor:
    """Mean squared error against the pseudo-label."""
    return ((predicted - label) ** 2).mean()


def velocity(predicted: Tensor, label: Tensor) -> Tensor:
    """Mean squared error of frame-to-frame differences: against a mouth that trembles or lags."""
    return ((predicted.diff(dim=-1) - label.diff(dim=-1)) ** 2).mean()
