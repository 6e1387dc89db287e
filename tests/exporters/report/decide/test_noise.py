"""What is given as noise or limit: read, or refused in words."""

import pytest

from exporters.report.decide.noise import read_allowance
from exporters.report.figure import Allowance


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=1%", ("bytes", Allowance(relative=0.01))),
        (" r2=0.01 ", ("r2", Allowance(absolute=0.01))),
        ("mse=1e-4", ("mse", Allowance(absolute=1e-4))),
        ("pbm=0.05", ("pbm", Allowance(absolute=0.05))),
    ],
)
def test_an_allowance_is_read(text: str, expected: tuple[str, Allowance]) -> None:
    assert read_allowance(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bytes", "not METRIC=VALUE"),
        ("bites=1", "names no metric; there is r2, pbm_at_1pct"),
        ("ms=1", "names no metric"),
        ("r2=-1", "at least 0"),
        ("r2=nan", "at least 0"),
        ("r2=inf", "at least 0"),
        ("r2=x", "at least 0"),
        ("pbm=2%", "give points as 0.02"),
    ],
)
def test_a_wrong_allowance_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_allowance(text)
