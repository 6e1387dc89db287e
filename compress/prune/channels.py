"""Structured pruning: channels leave a student, and how much each of them matters.

A layer's channels are what it hands to the next convolution that mixes channels, its consumer; a
channel of `gabor_log` is a pair of filters. When a channel leaves, its filters and the consumer's
weights for it leave too, and what a convolution between the two has for it. All here is about
students whose batch norm is folded.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from compress.speech.audio import HOP
from compress.students.contract import Plan, Student

Criterion = Literal["magnitude", "taylor", "activation"]
# Audio `[batch, 1, samples]` and labels `[batch, outputs, frames]`, float32.
Batches = Sequence[tuple[Tensor, Tensor]]


@torch.enable_grad()
def pruned(
    student: Student, keep: Mapping[str, Sequence[int]], means: Mapping[str, Tensor] | None = None
) -> Student:
    """A new, smaller student in evaluation mode; the given one stays as it is.

    `keep` has the channels that stay, layer by layer, in any order; layers that are not named keep
    all. With `means` (of `mean_activations`) a channel's mean goes into its consumer's bias: only
    what it said beyond its mean is lost, which matters most for log energies, whose means are
    large. Raises `ValueError` for a student with batch norm, and for layers or channels that it
    lacks, and for a layer that would keep none.
    """
    import torch_pruning as tp

    _require_folded(student)
    removed = _removed(student.config, keep)
    traced = copy.deepcopy(student).requires_grad_(True)
    layers = {name: (producer, consumer) for name, producer, consumer in _layers(traced)}
    if means is not None:
        for name, gone in removed.items():
            consumer = layers[name][1]
            assert consumer.bias is not None
            with torch.no_grad():
                consumer.bias += consumer.weight[:, gone].sum(2) @ means[name][gone]
    if student.config.log_energy:
        traced.steps.first_log = _Pairs()
    audio = layers["first"][0].weight.new_zeros(1, 1, student.config.window + HOP)
    graph = tp.DependencyGraph().build_dependency(traced, audio)
    for name, gone in removed.items():
        group = graph.get_pruning_group(layers[name][0], tp.prune_conv_out_channels, gone)
        if not graph.check_pruning_group(group):
            raise ValueError(f"no channel of {name} would be kept, expected at least one")
        group.prune()
    widths = {name: student.config.prunable()[name] - len(gone) for name, gone in removed.items()}
    # An ordinary student again: a module that was operated on never leaves this function.
    smaller = student.shaped(student.config.narrowed(widths)).to(audio).eval()
    smaller.load_state_dict(traced.state_dict())
    return smaller


class _Pairs(nn.Module):
    """What `LogEnergy` looks like to Torch-Pruning: filters i and i + pairs make channel i.

    Torch-Pruning counts a chunk's parts by their uses, and `LogEnergy` uses both twice: it sees
    four quarters of twice the channels, and the layer that it leaves misstates its own width.
    """

    def forward(self, x: Tensor) -> Tensor:
        cosine, sine = x.chunk(2, dim=1)
        return cosine + sine


def mean_activations(student: Student, batches: Batches) -> dict[str, Tensor]:
    """What each channel hands to its consumer on average, float32 `[channels]` for each layer.

    After the activation; of `gabor_log` it is the mean log energy.
    """
    return {name: mean.float() for name, (mean, _) in _moments(student, batches).items()}


def scores(
    student: Student,
    criterion: Criterion,
    batches: Batches,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> dict[str, Tensor]:
    """How much each channel matters, float32 `[channels]` for each layer; the lowest may go.

    Every criterion takes a constant channel for worthless, as its consumer's bias can stand in for
    it (`pruned` with `means`); so no bias counts.

    - magnitude: L2 norm of the weights that leave with it, its filters and its consumer's.
    - activation: variance of what it hands on, times the squared norm of its consumer's weights
      for it: the energy that its consumer misses, its steps taken for independent.
    - taylor: squared change of the loss, to first order, when it gives way to its mean, summed over
      the batches. P. Molchanov et al., *Importance Estimation for Neural Network Pruning*, CVPR
      2019, with the consumer's weights: scaling a filter before a log is not what removing it is.

    `loss` takes curves and labels, `[batch, outputs, frames]`. The student, its gradients included,
    stays as it is.
    """
    _require_folded(student)
    if criterion == "taylor":
        return _taylor(student, batches, loss)
    found = {}
    moments = _moments(student, batches) if criterion == "activation" else {}
    for name, producer, consumer in _layers(student):
        used = consumer.weight.detach().double().square().sum((0, 2))
        if criterion == "activation":
            score = moments[name][1] * used
        else:
            own = producer.weight.detach().double().square().sum((1, 2))
            # Both filters of a pair: one row for the cosines, one for the sines.
            score = (own.view(-1, len(used)).sum(0) + used).sqrt()
        found[name] = score.float()
    return found


@torch.enable_grad()
def _taylor(
    student: Student, batches: Batches, loss: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Tensor]:
    means = _moments(student, batches)
    found = {name: torch.zeros_like(mean) for name, (mean, _) in means.items()}
    # Leaves of their own: gradients of the student's parameters stay what they are.
    leaves = {name: p.detach().requires_grad_(True) for name, p in student.named_parameters()}
    consumers = dict(zip(found, list(_dense(student))[1:], strict=True))
    wanted = [
        leaves[f"steps.{c}.{kind}"] for c in consumers.values() for kind in ("weight", "bias")
    ]
    for audio, label in batches:
        predicted = torch.func.functional_call(student, leaves, (audio,))
        gradients = iter(torch.autograd.grad(loss(predicted, label), wanted))
        for name, consumer in consumers.items():
            weight = leaves[f"steps.{consumer}.weight"].detach().double()
            by_weight, by_bias = next(gradients).double(), next(gradients).double()
            change = (weight * by_weight).sum((0, 2)) - means[name][0] * (by_bias @ weight.sum(2))
            found[name] += change.square()
    return {name: score.float() for name, score in found.items()}


@torch.no_grad()
def _moments(student: Student, batches: Batches) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of what each channel hands on, float64 `[channels]`."""
    _require_folded(student)
    steps = dict.fromkeys(student.config.prunable(), 0)
    sums: dict[str, Tensor] = {}
    for audio, _ in batches:
        for name, x in _activations(student, audio):
            x = x.double()
            powers = torch.stack([x.sum((0, 2)), x.square().sum((0, 2))])
            sums[name] = sums[name] + powers if name in sums else powers
            steps[name] += x.shape[0] * x.shape[2]
    return {
        name: (first / steps[name], (second / steps[name] - (first / steps[name]) ** 2).clamp(0))
        for name, (first, second) in sums.items()
    }


def _activations(student: Student, audio: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What arrives at each layer's consumer, `[batch, channels, steps]`, by the layer, in order."""
    consumers = _dense(student)
    x, last = audio, ""
    for name, module in student.steps.named_children():
        if name in consumers:
            if last:
                yield last, x
            last = name
        x = module(x)


def _dense(student: Student) -> dict[str, nn.Conv1d]:
    """The convolutions that mix channels; those of one group a channel only pass them on."""
    return {name: module for name, module in student.convolutions.items() if module.groups == 1}


def _layers(student: Student) -> Iterator[tuple[str, nn.Conv1d, nn.Conv1d]]:
    """Each prunable layer's name, the convolution itself and its consumer."""
    found = list(_dense(student).items())
    for (name, producer), (_, consumer) in itertools.pairwise(found):
        yield name, producer, consumer


def _removed(config: Plan, keep: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """The channels that go, sorted, of each layer that loses some."""
    channels = config.prunable()
    removed = {}
    for name, kept in keep.items():
        if name not in channels:
            raise ValueError(f"no layer {name} to prune, expected one of {', '.join(channels)}")
        every = set(range(channels[name]))
        if wrong := sorted(set(kept) - every):
            raise ValueError(f"{name} has no channels {wrong}, expected 0 to {channels[name] - 1}")
        if gone := sorted(every - set(kept)):
            removed[name] = gone
    return removed


def _require_folded(student: Student) -> None:
    if student.config.batch_norm:
        raise ValueError("the student has batch norm; fold it first (fold_batch_norm)")
