"""By how much a limit is missed, in words; expectations by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.report.gate_words import apart, found_and_asked, in_words, off_by, plain
from exporters.report.records.document import Comparison, Gate


@pytest.mark.parametrize(
    ("value", "limit", "comparison", "words"),
    [
        (187_201, 100_000, "<=", "87 % over"),
        (100_400, 100_000, "<=", "0.4 % over"),
        (250_000, 100_000, "<=", "2.5 times the limit"),
        (1e-2, 1e-5, "<=", "1,000 times the limit"),
        (0.5, 0.0, "<=", "0.5 over"),
        (5000, 5e-324, "<=", "5,000 over"),
        (0.65, 0.77, ">=", "0.12 short"),
        (-0.2, 0.5, ">=", "0.7 short"),
        (30.0, 50.0, ">=", "20 short"),
        (5.0, 5.0, "<", "just at it"),
        (5.0, 5.0, "<=", ""),
        (0.9, 0.5, ">=", ""),
        (math.nan, 0.5, ">=", "no number"),
    ],
)
def test_how_far_off(value: float, limit: float, comparison: Comparison, words: str) -> None:
    assert off_by(value, limit, comparison) == words


def test_a_gate_is_said_with_value_limit_and_distance() -> None:
    gate = Gate(name="bytes", value=187_201, limit=100_000, comparison="<=", status="failed")
    assert in_words(gate) == "187,201, expected <= 100,000 (87 % over)"
    kept = Gate(name="bytes", value=90_000, limit=100_000, comparison="<=", status="passed")
    assert in_words(kept) == "90,000, expected <= 100,000"
    missing = Gate(name="R²", value=None, limit=0.5, comparison=">=", status="not run")
    assert in_words(missing) == "not measured, expected >= 0.5"
    broken = Gate(name="R²", value=None, limit=0.5, comparison=">=", status="failed")
    assert in_words(broken) == "no number, expected >= 0.5"


def test_rounding_never_hides_a_miss() -> None:
    assert found_and_asked(0.699996, 0.7, ">=") == "0.699996, expected >= 0.7 (4e-06 short)"
    assert found_and_asked(16.00001, 16.0, "<=").startswith("16.00001, expected <= 16 (")
    assert found_and_asked(1000.25, 1000.0, "<=") == "1,000.2, expected <= 1,000 (0.025 % over)"


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_two_numbers_look_alike_only_if_they_are(one: float, other: float) -> None:
    texts = apart(one, other)
    assert one == other or texts[0] != texts[1]


def test_numbers_for_people() -> None:
    assert [plain(value) for value in (187_201, 0.61234, 1234.5678, 12, 1e-7, 0.0)] == [
        *("187,201", "0.6123", "1,235", "12", "1e-07", "0")
    ]
