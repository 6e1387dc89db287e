"""Post-training quantization: ranges of activations found on training speech, weights as they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from compress.quantize.graph import StudentQuantizer, captured_dense, ranges, tensors_of
from compress.quantize.pt2e import (
    HistogramObserver,
    MinMaxObserver,
    PerChannelMinMaxObserver,
    prepare_pt2e,
)
from compress.students.contract import Plan, Student
from compress.students.integers import Choice, Quantization

OBSERVERS = {"histogram": HistogramObserver, "minmax": MinMaxObserver}


@torch.no_grad()
def calibrate(
    student: Student, batches: Sequence[Tensor], observer: str = "histogram"
) -> Quantization:
    """The codes of a student with every layer in int8, found on audio `[batch, 1, samples]`.

    What a layer's codes are does not depend on the other layers' choices, so `choosing` takes a
    part of them. `student` has its batch norm folded and is left as it is; `observer` is
    ``histogram``, which cuts off what is rare where that lowers the error, or ``minmax``.
    """
    activation: Any = OBSERVERS[observer]
    choices: dict[str, Choice] = dict.fromkeys(student.config.layer_names, "int8")
    tool = StudentQuantizer(
        student.config, choices, lambda name: activation, lambda layer: PerChannelMinMaxObserver
    )
    prepared = prepare_pt2e(captured_dense(student), tool)
    for audio in batches:
        prepared(audio)
    tensors, weights = ranges(prepared, tool.names)
    return Quantization(choices, tensors, weights, {"observer": observer})


def choosing(
    quantization: Quantization,
    config: Plan,
    choices: Mapping[str, Choice],
    made_by: Mapping[str, str | int | float] | None = None,
) -> Quantization:
    """Those codes that the layers need which are chosen to have some."""
    names = {
        name
        for layer, choice in choices.items()
        if choice == "int8"
        for name in tensors_of(config, layer)
    }
    return replace(
        quantization,
        layers=dict(choices),
        tensors={name: found for name, found in quantization.tensors.items() if name in names},
        weights={
            layer: scales
            for layer, scales in quantization.weights.items()
            if choices[layer] != "float"
        },
        made_by=dict(made_by or quantization.made_by),
    )
