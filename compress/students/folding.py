"""Batch norm out of a trained student, and back into one that is trained further."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from compress.students.conv_fc import ConvFC


@torch.no_grad()
def fold_batch_norm(student: ConvFC) -> ConvFC:
    """The same function without batch norm, as a new student in evaluation mode.

    Behind a convolution the norm goes into that convolution; behind log energy it goes into the
    *next* one, which is exact because nothing is padded.
    """
    folded = ConvFC(replace(student.config, batch_norm=False)).eval()
    source, target = dict(student.steps.named_children()), dict(folded.steps.named_children())
    log_energy = student.config.first_layer == "gabor_log"
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
        following = target.get("conv1", target["head1"])
        assert isinstance(following, nn.Conv1d)
        assert following.bias is not None
        scale, shift = _affine(norm)
        following.bias.add_((following.weight * shift[None, :, None]).sum((1, 2)))
        following.weight.mul_(scale[None, :, None])
    return folded


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Batch norm in evaluation mode as x · scale + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


@torch.no_grad()
def unfold_batch_norm(student: ConvFC, batches: Sequence[Tensor]) -> ConvFC:
    """The same function with batch norm again, as a new student in evaluation mode.

    Its statistics are those of the audio `[batch, 1, samples]` in `batches`, and each norm undoes
    itself by its own weights: training goes on from there as it would behind a fresh norm, which
    moves faster than weights that have to keep every scale themselves.
    """
    unfolded = ConvFC(replace(student.config, batch_norm=True)).eval()
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
