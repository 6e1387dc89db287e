"""Curves as they are stored: how far off, which values are exact, and that storing again is free."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compress.labels.curve_codec import STEPS, Stored, pack, unpack

LARGEST = float(np.finfo(np.float32).max)
DENORMAL = float(np.finfo(np.float32).smallest_subnormal)

# Curves as teachers give them, and whatever else float32 can hold.
ordinary = st.floats(-2, 2, width=32)
anything = st.floats(-LARGEST, LARGEST, width=32, allow_subnormal=True)
extreme = st.sampled_from([0.0, 1e30, -1e30, LARGEST, -LARGEST, DENORMAL, -DENORMAL, 1e-3])
narrow = st.integers(0, 40).map(lambda steps: float(np.float32(1000) + steps * np.float32(2**-14)))


def curves_of(elements: st.SearchStrategy[float]) -> Any:
    sizes = st.tuples(st.integers(1, 30), st.integers(1, 4))
    return arrays(np.float32, sizes, elements=elements)


curves = st.one_of([curves_of(kind) for kind in (ordinary, anything, extreme, narrow)])


def stored_and_read(given: np.ndarray) -> np.ndarray:
    return unpack(pack(given), len(given))


def same(one: Stored, other: Stored) -> bool:
    return one.ends.tobytes() == other.ends.tobytes() and (
        one.packed.tobytes() == other.packed.tobytes()
    )


@given(curves)
@example(np.array([[-1e30], [1e-3]], np.float32))
@example(np.array([[0], [DENORMAL]], np.float32))
@settings(max_examples=300, deadline=None)
def test_no_value_is_off_by_more_than_half_a_step(given: np.ndarray) -> None:
    """Of the control's own range in the clip; what float32 itself rounds comes on top."""
    found = stored_and_read(given)
    assert found.dtype == np.float32
    assert found.shape == given.shape
    span = np.ptp(given.astype(np.longdouble), axis=0)
    rounding = np.abs(given).max(0).astype(np.longdouble) * 2.0**-24 + DENORMAL
    off = np.abs(found.astype(np.longdouble) - given.astype(np.longdouble))
    assert (off <= span / (2 * STEPS) * (1 + 1e-9) + rounding).all()


@given(curves)
@example(np.array([[-1e30], [1e-3]], np.float32))
@example(np.array([[1e-3], [1e30]], np.float32))
@example(np.array([[-LARGEST], [LARGEST]], np.float32))
@settings(max_examples=300, deadline=None)
def test_ends_are_exact_and_so_are_constants(given: np.ndarray) -> None:
    found = stored_and_read(given)
    for pick in (np.min, np.max):
        np.testing.assert_array_equal(pick(found, axis=0), pick(given, axis=0))
    at_an_end = (given == given.min(0)) | (given == given.max(0))
    np.testing.assert_array_equal(found[at_an_end], given[at_an_end])


@given(curves)
@example(np.array([[-1e30], [1e-3], [5.0]], np.float32))
@example(np.array([[-0.0], [0.0]], np.float32))
@settings(max_examples=300, deadline=None)
def test_storing_what_was_read_gives_the_same_bytes(given: np.ndarray) -> None:
    once = pack(given)
    assert same(once, pack(unpack(once, len(given))))
    assert same(once, pack(given)), "and so does storing the same again"


def test_a_half_of_the_range_is_a_step_away_at_most() -> None:
    """By hand: 0, a half and 1 are the codes 0, 32768 (of 32767.5, to even) and 65535."""
    found = stored_and_read(np.array([[0.0], [0.5], [1.0]], np.float32))
    np.testing.assert_array_equal(found[:, 0], np.array([0, 32768 / 65535, 1], np.float32))


def test_one_frame_is_exact() -> None:
    pose = np.array([[0.1, -1e30, DENORMAL, LARGEST]], np.float32)
    np.testing.assert_array_equal(stored_and_read(pose), pose)


def test_smooth_curves_take_less_than_a_third_of_float32() -> None:
    """26 controls that sway, 10 s at 30 frames a second."""
    times_s = np.arange(300)[:, None] / 30
    speeds = np.linspace(0.5, 3, 26)
    swaying = np.sin(2 * np.pi * speeds * times_s).astype(np.float32)
    stored = pack(swaying)
    assert stored.packed.nbytes + stored.ends.nbytes < swaying.nbytes / 3


@given(curves_of(ordinary), st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_are_said_to_be(given: np.ndarray, data: st.DataObject) -> None:
    """A flipped bit, or bytes that are missing. Only the two top bits of deflate's header say
    nothing of what is in it: the level that was used."""
    stored = pack(given)
    spoiled = stored.packed.copy()
    place = data.draw(st.integers(2, len(spoiled) - 1))
    if data.draw(st.booleans()):
        spoiled[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        spoiled = spoiled[:place]
    try:
        found = unpack(Stored(stored.ends, spoiled), len(given))
    except ValueError:
        return
    # Bits after the last block, up to the next whole byte, are not part of it.
    np.testing.assert_array_equal(found, unpack(stored, len(given)))


@pytest.mark.parametrize("frames", [4, 6, 0])
def test_another_number_of_frames_is_damage(frames: int) -> None:
    stored = pack(np.zeros((5, 3), np.float32))
    with pytest.raises(ValueError, match=re.escape(f"30 bytes, expected {6 * frames}")):
        unpack(stored, frames)
