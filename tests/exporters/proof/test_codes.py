"""Codes that rounding explains, and codes that a wrong scale or another rounding gave."""

import numpy as np
import pytest
from numpy.typing import NDArray

from exporters.proof.codes import compare_codes

Codes = NDArray[np.int8]

# A layer behind a ReLU: half of its sums are below 0, the others up to 255 codes above.
SUMS = np.clip(np.random.default_rng(0).normal(0, 70, (20, 72, 16)), 0, 255)
EDGE = 1e-2  # how near to the middle of two codes a sum is rounded by chance


def coded(sums: NDArray[np.float64], how: np.ufunc = np.rint) -> Codes:
    return (np.clip(how(sums), 0, 255) - 128).astype(np.int8)


def moved(codes: Codes, places: list[int], steps: int) -> Codes:
    wide = codes.astype(np.int32).ravel()
    for place in places:
        wide[place] += steps if wide[place] < 100 else -steps
    return wide.reshape(codes.shape).astype(np.int8)


EXPECTED = coded(SUMS)
FREE = np.flatnonzero(EXPECTED.ravel() > -128)


def test_float_noise_passes() -> None:
    near = np.random.default_rng(1).uniform(-EDGE, EDGE, SUMS.shape)
    found = compare_codes(coded(SUMS + near), EXPECTED, 1)
    assert (found.largest, found.beyond, found.fault) == (1, 0, "")
    assert compare_codes(EXPECTED, EXPECTED, 0).fault == ""


def test_one_in_a_thousand_may_be_two_steps_off() -> None:
    allowed = EXPECTED.size // 1000
    few = moved(EXPECTED, list(FREE[:allowed]), 2)
    assert compare_codes(few, EXPECTED, 1).fault == ""
    assert compare_codes(few, EXPECTED, 1).beyond == allowed
    more = moved(EXPECTED, list(FREE[: allowed + 1]), 2)
    assert "24 differ by more than 1 steps, limit one in 1,000" in (
        compare_codes(more, EXPECTED, 1).fault
    )


def test_one_code_three_steps_off_fails() -> None:
    found = compare_codes(moved(EXPECTED, [int(FREE[0])], 3), EXPECTED, 1)
    assert "the largest difference is 3 steps, limit 2" in found.fault


def test_whoever_allows_no_step_gets_none() -> None:
    found = compare_codes(moved(EXPECTED, [int(FREE[0])], 1), EXPECTED, 0)
    assert "the largest difference is 1 steps, limit 0" in found.fault


@pytest.mark.parametrize(
    "wrong",
    [
        coded(SUMS, np.floor),
        coded(SUMS, np.ceil),
        coded(SUMS, np.trunc),
        coded(SUMS * 1.004),  # a scale in error by one part in 250: no code is two steps off
        coded(SUMS + 0.5),  # a bias of half a step
        moved(EXPECTED, list(FREE), 1),  # a zero point beside its place
    ],
    ids=["down", "up", "towards zero", "scale", "bias", "zero point"],
)
def test_what_is_wrong_by_a_single_step_everywhere_fails(wrong: Codes) -> None:
    """The largest difference alone would pass all of these."""
    found = compare_codes(wrong, EXPECTED, 1)
    assert found.largest == 1
    assert "the file has another scale or rounds in another way" in found.fault


def test_ends_of_the_range_do_not_hide_another_rounding() -> None:
    """All but a tenth are clamped to 0, and only every second of the others rounds otherwise."""
    quiet = SUMS.copy()
    quiet[2:] = 0
    found = compare_codes(coded(quiet, np.floor), coded(quiet), 1)
    assert "limit one in 5" in found.fault


def test_few_codes_that_leave_their_end_pass() -> None:
    """In silence a layer gives nothing; what differs there is all that is free."""
    still = np.full((4, 72, 16), -128, np.int8)
    assert compare_codes(moved(still, [5, 900, 2000, 3000], 1), still, 1).fault == ""


def test_a_handful_of_codes_is_no_share() -> None:
    few = np.zeros((1, 2, 2), np.int8)
    one = few.copy()
    one[0, 0, 0] = 1
    assert compare_codes(one, few, 1).fault == ""
    assert compare_codes(few[:0], few[:0], 1).fault == ""


def test_the_difference_of_the_ends_is_not_one() -> None:
    """In int8 arithmetic 127 − −128 would be −1."""
    ends = np.array([[[127]]], np.int8), np.array([[[-128]]], np.int8)
    assert compare_codes(*ends, 1).largest == 255
