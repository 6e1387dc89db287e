"""What a trained student is made of beside its layers, folded into them and taken out again.

Batch norm, and the units that a rig is learned in.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from compress.rig.units import Units
from compress.students.contract import Student


@torch.no_grad()
def fold_batch_norm(student: Student) -> Student:
    """The same function without batch norm, as a new student in evaluation mode.

    Behind a convolution the norm goes into that convolution; behind log energy it goes into the
    *next* one, which is exact because nothing is padded.
    """
    folded = student.of(batch_norm=False).eval()
    source, target = dict(student.steps.named_children()), dict(folded.steps.named_children())
    log_energy = student.config.log_energy
    for name, module in target.items():
        if not isinstance(module, nn.Conv1d):
            continue
        module.load_state_dict(source[name].state_dict())
        norm = source.get(f"{name}_norm")
        if isinstance(norm, nn.BatchNorm1d) and not (log_energy and name == "first"):
            assert module.bias is not None
            scale, shift = _affine(norm)
            module.bias.copy_(module.bias * scale + shift)
            module.weight.mul_(scale[:, None, None])
    norm = source.get("first_norm")
    if log_energy and isinstance(norm, nn.BatchNorm1d):
        following = list(folded.convolutions.values())[1]
        assert following.bias is not None
        # With one group a channel, weights lie by output channel, which is the same channel.
        scale, shift = (
            by[None, :, None] if following.groups == 1 else by[:, None, None]
            for by in _affine(norm)
        )
        following.bias.add_((following.weight * shift).sum((1, 2)))
        following.weight.mul_(scale)
    return folded


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Batch norm in evaluation mode as x · scale + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


@torch.no_grad()
def unfold_batch_norm(student: Student, batches: Sequence[Tensor]) -> Student:
    """The same function with batch norm again, as a new student in evaluation mode.

    Its statistics are those of the audio `[batch, 1, samples]` in `batches`, and each norm undoes
    itself by its own weights: training goes on from there as it would behind a fresh norm, which
    moves faster than weights that have to keep every scale themselves.
    """
    unfolded = student.of(batch_norm=True).eval()
    target = dict(unfolded.steps.named_children())
    for name, module in student.steps.named_children():
        target[name].load_state_dict(module.state_dict())
    sums: dict[str, list[Tensor]] = {}
    for audio in batches:
        x = audio
        for name, module in unfolded.steps.named_children():
            if isinstance(module, nn.BatchNorm1d):
                flat = x.double().transpose(0, 1).flatten(1)
                moments = torch.stack([flat.mean(1), (flat**2).mean(1)])
                sums.setdefault(name, []).append(moments)
            else:
                x = module(x)
    for name, rows in sums.items():
        mean, square = torch.stack(rows).mean(0)
        norm = target[name]
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        variance = (square - mean**2).clamp_min(0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean)
    return unfolded


@torch.no_grad()
def in_rig_units(student: Student, units: Units, limits: tuple[float, float] | None) -> Student:
    """A student of own values as a new one that gives the rig's, kept within `limits`.

    One whose values are the rig's already stays as it is.
    """
    if units.plain:
        return student
    unit, rest = _columns(units)
    return _with_last_layer(
        student, limits, lambda weight: weight * unit[:, None, None], lambda b: b * unit + rest
    )


@torch.no_grad()
def in_own_units(student: Student, units: Units) -> Student:
    """The other way round: one of rig values that gives own values, without the rig's limits."""
    if units.plain:
        return student
    unit, rest = _columns(units)
    return _with_last_layer(
        student, None, lambda weight: weight / unit[:, None, None], lambda b: (b - rest) / unit
    )


def _columns(units: Units) -> tuple[Tensor, Tensor]:
    return (
        torch.tensor(units.units, dtype=torch.float64),
        torch.tensor(units.rests, dtype=torch.float64),
    )


def _with_last_layer(
    student: Student,
    limits: tuple[float, float] | None,
    change_weight: Callable[[Tensor], Tensor],
    change_bias: Callable[[Tensor], Tensor],
) -> Student:
    """A copy whose last layer is changed, in float64: a rest far from 0 leaves few digits."""
    changed = student.of(limits=limits).train(student.training)
    changed.load_state_dict(student.state_dict())
    last = changed.steps.rig
    assert isinstance(last, nn.Conv1d)
    assert last.bias is not None
    last.weight.copy_(change_weight(last.weight.double()))
    last.bias.copy_(change_bias(last.bias.double()))
    return changed
