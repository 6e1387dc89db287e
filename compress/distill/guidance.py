"""Stage 2 of the method, hybrid distillation: a frozen student whose features guide another one."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.distill.many.synchronised import variance
from compress.errors import UsageError
from compress.recipe.mistakes import words
from compress.students.contract import Plan, Student

# Of the mean variance of a layer's channels: what is below is a channel that stands still.
STILL = 1e-6


@dataclass(frozen=True)
class Pair:
    """Two layers whose steps are compared: every `stride`-th from `first` on, of both."""

    student: str
    guide: str
    student_first: int
    student_stride: int
    guide_first: int
    guide_stride: int

    def aligned(self, student: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
        """The steps `[batch, channels, steps]` of both that stand for the same times."""
        student = student[:, :, self.student_first :: self.student_stride]
        guide = guide[:, :, self.guide_first :: self.guide_stride]
        steps = min(student.shape[2], guide.shape[2])
        return student[:, :, :steps], guide[:, :, :steps]


def align(student: Plan, guide: Plan, layer: str, guide_layer: str) -> Pair:
    """How the steps of two layers meet in absolute time, see `Plan.grid`.

    Where contexts differ, one hears audio that the other does not; steps that only one of them has
    are left out. A step of a convolution knows its own neighbourhood alone, so the same moment is
    compared with the same moment; the head's long convolution is compared frame by frame, and there
    the guide knows more of the future than the student: that is what it teaches. Kernels that differ
    shift the middles by at most half a step of the finer layer. Raises `UsageError` for layers that are not there, or
    whose strides are no multiples.
    """
    try:
        (stride, origin), (guide_stride, guide_origin) = (
            student.grid(layer),
            guide.grid(guide_layer),
        )
    except KeyError as error:
        raise UsageError(
            f"training.feature_layers compares {layer} with the guide's {guide_layer}, but there is "
            f"no layer {error}. Its layers are {words(student.compared)}; the guide's "
            f"{words(guide.compared)}."
        ) from error
    common = max(stride, guide_stride)
    if common % stride or common % guide_stride:
        raise UsageError(
            f"training.feature_layers compares {layer}, a step every {stride} samples, with the "
            f"guide's {guide_layer}, one every {guide_stride}: expected strides of which one is a "
            f"multiple of the other."
        )
    if stride >= guide_stride:
        first, guide_first = _meet(origin, stride, guide_origin, guide_stride)
    else:
        guide_first, first = _meet(guide_origin, guide_stride, origin, stride)
    return Pair(layer, guide_layer, first, common // stride, guide_first, common // guide_stride)


def _meet(coarse_origin: float, coarse: int, fine_origin: float, fine: int) -> tuple[int, int]:
    """The first step of the coarser grid that has a neighbour on the finer one, and that neighbour.

    Looked for on the finer one, since its steps lie nearer.
    """
    first = 0
    while (near := round((coarse_origin + first * coarse - fine_origin) / fine)) < 0:
        first += 1
    return first, near


class Guidance(nn.Module):
    """The feature loss against a guide; its 1×1 projections are trained, and never saved."""

    def __init__(
        self,
        student: Plan,
        guide: Student,
        layers: Mapping[str, str],
        by_channel: bool = False,
    ) -> None:
        super().__init__()
        self.by_channel = by_channel
        config = guide.config
        self.pairs = tuple(align(student, config, *names) for names in layers.items())
        self.past, self.future = config.past, config.future
        self.projections = nn.ModuleDict()
        for pair in self.pairs:
            channels, wanted = student.channels(pair.student), config.channels(pair.guide)
            if channels != wanted:
                self.projections[pair.student] = nn.Conv1d(channels, wanted, 1)
        # In a tuple, so that the guide is no part of what is trained or saved.
        self._guide = (guide.eval().requires_grad_(False),)

    @torch.no_grad()
    def features(self, audio: Tensor) -> dict[str, Tensor]:
        """What the guide makes of `[batch, 1, samples]`, by its layers."""
        taps = {pair.guide for pair in self.pairs}
        return self._guide[0].to(audio.device).tapped(audio, taps, rig=False)[1]

    def forward(
        self,
        student: dict[str, Tensor],
        guide: dict[str, Tensor],
        spoken: Tensor | None = None,
    ) -> Tensor:
        """Mean over the pairs of the squared error in units of the guide's variance.

        That of the whole layer or, by channel, of each of its channels. Of a batch that is not all
        speech only what `spoken`, bool `[batch]`, names has an error: a guide that has learned from
        speech alone moves on other sound.
        """
        errors = []
        for pair in self.pairs:
            found, wanted = pair.aligned(student[pair.student], guide[pair.guide])
            if pair.student in self.projections:
                found = self.projections[pair.student](found)
            wanted = wanted.float()
            squared = (found.float() - wanted) ** 2
            if spoken is not None:
                squared = squared * spoken[:, None, None]
            if self.by_channel:
                scale = variance(wanted, by_channel=True)
                # A channel that hardly moves has nothing to teach, and a unit of almost nothing.
                moves = scale > STILL * scale.mean()
                errors.append((squared.mean((0, 2)) / (scale + 1e-6))[moves].mean())
            else:
                errors.append(squared.mean() / (variance(wanted) + 1e-6))
        return torch.stack(errors).mean()
