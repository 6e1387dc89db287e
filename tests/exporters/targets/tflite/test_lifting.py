"""1-D graphs as 2-D ones: the same numbers, in operations that TFLite has."""

import operator
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from exporters.targets.tflite.lifting import lifted

AUDIO = torch.linspace(-1, 1, 64).view(1, 1, 64).sin()


class Energies(nn.Module):
    """A layer of pairs with log energies, as a student begins."""

    def __init__(self, kernel: int, stride: int | None) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, 8, 9, stride=2, bias=False)
        self.kernel, self.stride = kernel, stride
        self.head = nn.Conv1d(4, 3, (56 // 2 - kernel) // (stride or kernel) + 1)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        cosine, sine = self.filters(audio).chunk(2, dim=1)
        energy = F.avg_pool1d(cosine * cosine + sine * sine, self.kernel, self.stride)
        return self.head(torch.log(1e4 * energy + 1))[:, :, 0].clamp(-1, 1)


class Lambda(nn.Module):
    """Convolution to 6 channels of 15 steps, then whatever is to be tried; then a mean."""

    def __init__(self, between: object) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 6, 8, stride=4)
        self.second = nn.LazyConv1d(3, 4, dilation=2)
        self.scale = nn.Parameter(torch.linspace(0.5, 2, 6).view(6, 1))
        self.between = between

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.second(self.between(self, self.first(audio))).mean(dim=2)


def captured(module: nn.Module) -> torch.fx.GraphModule:
    with torch.no_grad():
        module(AUDIO)
        for weights in module.parameters():
            count = torch.arange(weights.numel(), dtype=torch.float64)
            weights.copy_((torch.sin(1 + count) / 2).view_as(weights))
    program = torch.export.export(module.eval(), (AUDIO,))
    return program.module(check_guards=False)


def operations(graph: torch.fx.GraphModule) -> Counter[str]:
    calls = [node for node in graph.graph.nodes if node.op == "call_function"]
    return Counter(
        node.target.overloadpacket._qualified_op_name.removeprefix("aten::")
        for node in calls
        if node.target is not operator.getitem
    )


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (7, None)])
def test_student_becomes_2d_but_for_its_ends(kernel: int, stride: int | None) -> None:
    graph = captured(Energies(kernel, stride))
    expected = graph(AUDIO)
    found = lifted(graph, AUDIO)
    assert torch.equal(found(AUDIO), expected)
    counts = operations(found)
    assert counts.pop("unsqueeze") == 3, "the audio and both weights"
    assert (counts.pop("mul"), counts.pop("add")) == (3, 2)
    once = {"chunk", "avg_pool2d", "log", "flatten", "clamp"}
    assert counts == {"conv2d": 2, **dict.fromkeys(once, 1)}


BETWEEN = {
    "relu": lambda student, x: F.relu(x),
    "leaky_relu": lambda student, x: F.leaky_relu(x, 0.1),
    "silu": lambda student, x: F.silu(x),
    "a parameter for each channel": lambda student, x: student.scale * x,
    "a parameter for each step": lambda student, x: x + torch.arange(15.0),
    "a slice of channels": lambda student, x: x[:, 2:5],
    "a slice of steps": lambda student, x: x[:, :, 1::2],
    "steps counted from the end": lambda student, x: x.narrow(-1, 0, 9),
    "channels split": lambda student, x: torch.split(x, 3, dim=-2)[1],
    "channels split unevenly": lambda student, x: torch.split(x, [2, 4], dim=1)[1].tanh(),
    "maxima": lambda student, x: F.max_pool1d(x, 3, 2, padding=1),
    "padded": lambda student, x: F.conv1d(x, torch.ones(6, 1, 3), padding=1, groups=6),
    "padded by a word": lambda student, x: F.conv1d(x, torch.ones(4, 6, 3), padding="same"),
    "batch norm": lambda student, x: F.batch_norm(x, torch.ones(6), torch.full((6,), 4.0)),
    "dropout": lambda student, x: F.dropout(x, 0.5, training=False),
}
LOWERED = {
    "softmax": lambda student, x: x.softmax(dim=1),
    "steps backwards": lambda student, x: x.flip(2),
    "both together": lambda student, x: torch.cat([x, x.flip(2)], dim=1),
    "added to what is not lifted": lambda student, x: F.relu(x) + x.flip(2),
}


@pytest.mark.parametrize("name", [*BETWEEN, *LOWERED])
def test_the_numbers_stay(name: str) -> None:
    graph = captured(Lambda({**BETWEEN, **LOWERED}[name]))
    expected = graph(AUDIO)
    found = lifted(graph, AUDIO)
    # The kernels that PyTorch chooses for 2-D convolutions may sum in another order.
    torch.testing.assert_close(found(AUDIO), expected, atol=1e-6, rtol=1e-6)
    counts = operations(found)
    assert not [name for name in counts if name.endswith("1d")]
    # The mean at the end takes what it took; nothing else needs to, of the operations that are known.
    assert (counts["squeeze"] == 1) == (name in BETWEEN)


@pytest.mark.parametrize(
    "ending",
    [
        lambda x: x.squeeze(-1),
        lambda x: x.squeeze(2),
        lambda x: x.flatten(1),
        lambda x: x.select(2, 0),
        lambda x: x[..., 0],
        lambda x: x.view(1, 3),
        lambda x: x.reshape(1, -1),
    ],
)
def test_a_single_step_is_taken_out_without_a_transpose(ending: object) -> None:
    class Ended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv1d(1, 3, 64)

        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            return ending(self.head(audio))

    graph = captured(Ended())
    expected = graph(AUDIO)
    found = lifted(graph, AUDIO)
    torch.testing.assert_close(found(AUDIO), expected, atol=1e-6, rtol=1e-6)
    assert operations(found) == {"unsqueeze": 2, "conv2d": 1, "flatten": 1}


def test_steps_that_become_channels_are_not_taken_for_one() -> None:
    # Six channels of 15 steps laid end to end: the order of an image would mix them.
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv1d(1, 6, 8, stride=4)

        def forward(self, audio: torch.Tensor) -> torch.Tensor:
            return self.first(audio).flatten(1)[:, :3]

    graph = captured(Flat())
    expected = graph(AUDIO)
    torch.testing.assert_close(lifted(graph, AUDIO)(AUDIO), expected, atol=1e-6, rtol=1e-6)


def test_what_ends_lifted_is_lowered() -> None:
    graph = captured(nn.Conv1d(1, 3, 64))
    assert lifted(graph, AUDIO)(AUDIO).shape == (1, 3, 1)


def test_no_convolution_no_change() -> None:
    graph = captured(nn.Flatten())
    before = operations(graph)
    assert operations(lifted(graph, AUDIO)) == before
