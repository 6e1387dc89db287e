"""The chain from teacher to file as the report holds it: what each hop cost."""

from dataclasses import dataclass

from exporters import records

TEACHER = "teacher"


@records.strict
@dataclass(frozen=True, kw_only=True)
class Proportion:
    """A share with its 95 % confidence interval."""

    value: float
    """The share, 0 to 1."""
    n: int
    """Out of how many."""
    low: float
    """Lower end of the interval, 0 to 1."""
    high: float
    """Upper end of the interval, 0 to 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.value <= self.high <= 1 or self.n < 1:
            raise ValueError(
                f"a proportion needs 0 <= low <= value <= high <= 1 and n >= 1, found "
                f"low {self.low}, value {self.value}, high {self.high}, n {self.n}"
            )


Measurements = dict[str, Proportion | float | None]


@records.strict
@dataclass(frozen=True, kw_only=True)
class Hop:
    """One link: a student at one step in PyTorch, or a file of it in its own runtime."""

    student: str
    """Which student's chain it is in."""
    name: str
    """The step, or the file relative to the folder of the run."""
    made_of: str
    """Name of the hop before: what it was made of."""
    runs_in: str
    """What computed it; the MIL evaluator is no device."""
    max_abs: float | None
    """Largest difference of a file's numbers from those of the hop before; null for a step."""
    mse_ratio: float | None
    """MSE to the teacher by that of the hop before; null after the teacher, or where not known."""
    against_teacher: Measurements
    """Metrics against the teacher's curves on held-out speech."""
    against_truth: Measurements
    """Metrics against known truth."""
