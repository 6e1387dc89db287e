"""What a student is and costs, by arithmetic on its plan: nothing is built and nothing is run."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from compress.speech.audio import HOP, SAMPLE_RATE

if TYPE_CHECKING:
    from compress.students.conv_fc import ConvFCConfig


@dataclass(frozen=True)
class StudentFacts:
    """A student with its batch norm folded, as it ships.

    Multiply-adds are those of the convolutions; biases, energies and activations are not counted.
    `multiply_adds_window` are for one frame of the window form; `multiply_adds_hop` for one more
    frame of the dense form, which makes each step of the convolutions once and shares it among
    frames. `receptive_field` is in samples at 16 kHz. Bytes are of weights and biases alone, 4 or 2
    for each; a file has more.
    """

    parameters: int
    multiply_adds_window: int
    multiply_adds_hop: int
    receptive_field: int
    receptive_field_ms: float
    past_ms: float
    future_ms: float
    bytes_fp32: int
    bytes_fp16: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Convolution:
    """One of a student's convolutions, as large as it is, and how many steps it makes."""

    name: str
    weights: int
    biases: int
    steps_window: int
    steps_hop: int


def facts_of(config: "ConvFCConfig") -> StudentFacts:
    """The facts of a plan, whether its batch norm is folded already or not."""
    found = list(convolutions(config))
    parameters = sum(c.weights + c.biases for c in found)

    def ms(samples: int) -> float:
        return 1000 * samples / SAMPLE_RATE

    return StudentFacts(
        parameters=parameters,
        multiply_adds_window=sum(c.weights * c.steps_window for c in found),
        multiply_adds_hop=sum(c.weights * c.steps_hop for c in found),
        receptive_field=config.window,
        receptive_field_ms=ms(config.window),
        past_ms=ms(config.past),
        future_ms=ms(config.future),
        bytes_fp32=4 * parameters,
        bytes_fp16=2 * parameters,
    )


def convolutions(config: "ConvFCConfig") -> Iterator[Convolution]:
    """Every convolution in order: first, conv1 …, head1, head2 and rig."""
    channels, window, hop = 1, config.window, HOP
    log_energy = config.first_layer == "gabor_log"

    def convolution(
        name: str, kernel: int, stride: int, out: int, bias: bool = True
    ) -> Convolution:
        nonlocal channels, window, hop
        window, hop = (window - kernel) // stride + 1, hop // stride
        weights = kernel * channels * out
        channels = out
        return Convolution(name, weights, out if bias else 0, window, hop)

    first = config.first
    filters = first.channels * (2 if log_energy else 1)
    yield convolution("first", first.kernel, first.stride, filters, bias=not log_energy)
    if log_energy:
        energy = config.energy
        channels = first.channels
        window, hop = (window - energy.kernel) // energy.stride + 1, hop // energy.stride
    for i, layer in enumerate(config.layers, 1):
        yield convolution(f"conv{i}", layer.kernel, layer.stride, layer.channels)
    yield convolution("head1", config.head_kernel, 1, config.head_channels[0])
    # The dense form makes one step of it a hop.
    yield convolution("head2", config.long_kernel, hop, config.head_channels[1])
    yield convolution("rig", 1, 1, config.outputs)
