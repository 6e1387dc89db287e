"""An ONNX network with the inputs and outputs of Audio2Face-3D v2.3, around the shipped small student.

Sizes: NVIDIA, network_info.json of Audio2Face-3D-v2.3-Mark: 8320 samples at 16 kHz, the pose at sample 4160, 10 explicit and 16
implicit emotions, 272 + 10 + 15 + 4 values.
"""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from compress.assets import resolve
from compress.students.contract import Window
from compress.students.storing import load_student

SAMPLES, MOMENT, EMOTIONS, VALUES = 8320, 4160, 26, 301


class Face(nn.Module):
    """`input` `[batch, 1, 8320]`, `emotion` `[batch, 1, 26]` → `[batch, 1, 301]`."""

    def __init__(self) -> None:
        super().__init__()
        student, card = load_student(resolve("builtin:small", Path()))
        self.window, self.config = Window(student), student.config
        generator = torch.Generator().manual_seed(0)
        shapes = torch.randn(len(card.driven), VALUES, generator=generator)
        self.register_buffer("shapes", shapes / shapes.norm(dim=0))
        self.register_buffer("moods", torch.randn(EMOTIONS, VALUES, generator=generator) / 10)

    def forward(self, input: Tensor, emotion: Tensor) -> Tensor:  # noqa: A002  the network's own name
        first = MOMENT - self.config.past
        rig = self.window(input[:, :, first : first + self.config.window])
        return rig[:, None] @ self.shapes + emotion @ self.moods


def write(folder: Path) -> None:
    """``face.onnx``, with any number of windows at once."""
    inputs = (torch.zeros(2, 1, SAMPLES), torch.zeros(2, 1, EMOTIONS))
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its exporter
        torch.onnx.export(
            Face().eval(),
            inputs,
            folder / "face.onnx",
            dynamo=True,
            dynamic_shapes=({0: batch}, {0: batch}),
            input_names=["input", "emotion"],
            output_names=["result"],
            external_data=False,
            verbose=False,
        )
