"""A student that rounds as its int8 form will, so that training can answer to it (QAT)."""

import copy
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from compress.quantize.calibration import calibrate
from compress.quantize.graph import LEAST, MOST, StudentQuantizer, captured_dense, ranges
from compress.quantize.pt2e import (
    FakeQuantize,
    FusedMovingAvgObsFakeQuantize,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    allow_exported_model_train_eval,
    disable_observer,
    enable_observer,
    prepare_qat_pt2e,
)
from compress.students.contract import Student, Trainable
from compress.students.integers import Choice, Quantization, Range


class FakeQuantized(Trainable):
    """A float student with torchao's fake quantization where `choices` say.

    It starts with the ranges that calibration finds on `batches`, audio `[batch, 1, samples]`.
    Ranges of activations follow the training for `freeze_after` batches and then stay; scales of
    weights follow the weights as long. Only `tapped` in training moves them. `taps` are the layers
    that `tapped` can be asked for.
    """

    seen: Tensor

    def __init__(
        self,
        student: Student,
        choices: Mapping[str, Choice],
        batches: Sequence[Tensor],
        *,
        observer: str = "histogram",
        taps: Sequence[str] = (),
        freeze_after: int,
    ) -> None:
        super().__init__(student.config)
        self._architecture = type(student)
        self.choices, self.taps, self.freeze_after = dict(choices), tuple(taps), freeze_after
        start = calibrate(student, batches, observer)
        tool = StudentQuantizer(
            student.config, choices, lambda name: _ACTIVATION, lambda layer: _WEIGHT
        )
        # Of a copy: what is captured has the very weights of the student.
        captured = captured_dense(copy.deepcopy(student), taps)
        self.prepared = prepare_qat_pt2e(captured, tool)
        allow_exported_model_train_eval(self.prepared)
        self._names = tool.names
        # Ranges of weights are there once the first batch has passed, and a state dict needs them.
        with torch.no_grad():
            self.prepared(batches[0][:1])
        for name, fake in self._activations():
            _hold(fake, start.tensors[name])
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, audio: Tensor) -> Tensor:
        return self._all(audio, moving=False)[0]

    def tapped(
        self, audio: Tensor, taps: Collection[str] = (), rig: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.training:
            self.seen += 1
        moving = self.training and bool(self.seen <= self.freeze_after)
        found, *features = self._all(audio, moving)
        given = dict(zip(self.taps, features, strict=True))
        return found, {tap: given[tap] for tap in taps}

    def _all(self, audio: Tensor, moving: bool) -> tuple[Tensor, ...]:
        """The rig, then the taps; `moving` lets the ranges follow."""
        self.prepared.apply(enable_observer if moving else disable_observer)
        given: tuple[Tensor, ...] = self.prepared(audio)
        return given

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = memo[id(self)] = type(self).__new__(type(self))
        with warnings.catch_warnings():
            # torch's own, of how it copies a graph.
            warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
            copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def quantized(self, made_by: Mapping[str, str | int | float]) -> tuple[Student, Quantization]:
        """The float student with the trained weights, and the codes that it was trained for."""
        student = self._architecture(self.config).eval()
        weights = {
            name.removeprefix("student."): value.detach().clone()
            for name, value in self.prepared.named_parameters()
        }
        student.load_state_dict(weights)
        tensors, scales = ranges(self.prepared, self._names)
        return student, Quantization(self.choices, tensors, scales, dict(made_by))

    def _activations(self) -> list[tuple[str, Any]]:
        """Each fake quantization of an activation, by the name of its tensor."""
        modules = dict(self.prepared.named_modules())
        return [
            (self._names[node.args[0].name], modules[node.target])
            for node in self.prepared.graph.nodes
            if node.op == "call_module" and node.args[0].op != "get_attr"
        ]


_ACTIVATION = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, averaging_constant=0.01
)
# An averaging constant of 1: the scale is that of the weights as they are. Not the fused one, whose
# symmetric scales are others than those of every observer: 255 / 254 of them, and a zero point where
# all weights of a channel have one sign.
_WEIGHT = FakeQuantize.with_args(
    observer=MovingAveragePerChannelMinMaxObserver, averaging_constant=1.0
)


def _hold(fake: Any, found: Range) -> None:
    """Put a calibrated range in place of what a single batch showed."""
    observer = fake.activation_post_process
    observer.min_val.fill_(found.scale * (LEAST - found.zero_point))
    observer.max_val.fill_(found.scale * (MOST - found.zero_point))
    fake.scale.fill_(found.scale)
    fake.zero_point.fill_(found.zero_point)
