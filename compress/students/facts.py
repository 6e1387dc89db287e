"""What a student is and costs, by arithmetic on its plan: nothing is built and nothing is run."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from compress.speech.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from compress.students.contract import Plan


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


def facts_of(config: "Plan") -> StudentFacts:
    """The facts of a plan, whether its batch norm is folded already or not."""
    found = list(config.convolutions())
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
