"""Long audio in pieces: where it is cut, how curves are joined, and the contract of a teacher."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from compress.errors import TeacherError
from compress.speech.audio import SAMPLE_RATE
from compress.teachers.pieces import Cutting, Piece, animate_long, cross_fade, cut


def ramp(seconds: float, clips: int = 1) -> np.ndarray:
    """Audio whose samples say when they are: from 0 to 1 over a minute, `[clips, samples]`."""
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.tile((time_s / 60).astype(np.float32), (clips, 1))


def paths(clips: int = 1) -> list[Path]:
    return [Path(f"clip-{i}.wav") for i in range(clips)]


@given(
    st.integers(1, 60 * SAMPLE_RATE),
    st.sampled_from([24.0, 25.0, 29.97, 30.0, 49.95, 60.0]),
    st.floats(1.0, 30.0),
)
@settings(max_examples=200, deadline=None)
def test_pieces_cover_all_and_overlap(samples: int, rate_hz: float, max_chunk_s: float) -> None:
    pieces = cut(samples, rate_hz, Cutting(max_chunk_s))
    assert pieces[0].start == 0
    assert pieces[-1].stop == samples
    for piece in pieces:
        assert 0 < piece.stop - piece.start <= max_chunk_s * SAMPLE_RATE
        assert abs(piece.start - piece.frame / rate_hz * SAMPLE_RATE) <= 0.5
    for one, other in pairwise(pieces):
        shared_s = (one.stop - other.start) / SAMPLE_RATE
        assert shared_s >= min(2.0, max_chunk_s / 4) - 1e-3
        assert one.stop < other.stop


def test_pieces_by_hand() -> None:
    """Ten seconds in pieces of 4 s at 30 frames a second: each starts 3 s, 90 frames, later."""
    second = SAMPLE_RATE
    assert cut(10 * second, 30.0, Cutting(4.0)) == [
        Piece(0, 0, 4 * second),
        Piece(90, 3 * second, 7 * second),
        Piece(180, 6 * second, 10 * second),
    ]
    assert cut(4 * second, 30.0, Cutting(4.0)) == [Piece(0, 0, 4 * second)]


def test_pieces_too_short_to_overlap_are_refused() -> None:
    with pytest.raises(
        TeacherError, match=r"max_chunk_s = 0.5 .* overlap by 0.125 s; .* needs 4 frames, 0.13 s"
    ):
        cut(SAMPLE_RATE, 30.0, Cutting(0.5))
    assert len(cut(SAMPLE_RATE // 2, 30.0, Cutting(0.5))) == 1


def test_the_later_piece_fades_in_by_equal_steps_over_the_middle_half() -> None:
    zeros, ones = np.zeros((1, 10, 1), np.float32), np.ones((1, 10, 1), np.float32)
    pieces = [Piece(0, 0, 0), Piece(3, 0, 0)]
    faded = cross_fade(pieces, [zeros, ones])
    rising = [0, 0, 0.25, 0.5, 0.75, 1, 1]
    np.testing.assert_allclose(faded[0, :, 0], [0, 0, 0, *rising, 1, 1, 1])


def test_the_last_piece_says_where_the_clip_ends() -> None:
    zeros, ones = np.zeros((1, 9, 1), np.float32), np.ones((1, 5, 1), np.float32)
    faded = cross_fade([Piece(0, 0, 0), Piece(3, 0, 0)], [zeros, ones])
    np.testing.assert_allclose(faded[0, 3:, 0], [0, 1 / 6, 1 / 2, 5 / 6, 1], atol=1e-6)


@pytest.mark.parametrize("rate_hz", [25.0, 29.97, 30.0, 60.0])
def test_curves_do_not_tell_where_they_were_cut(known_teacher: Any, rate_hz: float) -> None:
    samples = ramp(11.3, clips=2)
    whole = animate_long(known_teacher(rate_hz), samples, Cutting(30.0), paths(2))
    teacher = known_teacher(rate_hz)
    pieces = animate_long(teacher, samples, Cutting(4.0), paths(2))
    assert len(teacher.calls) == 4
    # A piece starts on a whole sample: its frames are off by half a sample, and one by rounding.
    np.testing.assert_allclose(pieces, whole, atol=1.5 / SAMPLE_RATE / 60 + 1e-7)
    expected = np.arange(whole.shape[1]) / rate_hz / 60
    np.testing.assert_allclose(pieces[0, :, 0], expected, atol=1.5 / SAMPLE_RATE / 60 + 1e-7)


def test_what_a_teacher_gets_wrong_at_the_edges_is_faded_out(known_teacher: Any) -> None:
    """The frames at each end of a piece have no weight in its overlap."""

    def bad_edges(curves: Tensor) -> Tensor:
        curves[:, :7] += 1.0
        curves[:, -7:] += 1.0
        return curves

    good = animate_long(known_teacher(), ramp(10.0), Cutting(30.0), paths())
    bad = animate_long(known_teacher(spoil=bad_edges), ramp(10.0), Cutting(4.0), paths())
    error = (bad - good)[0, :, 0]
    # Of the 30 frames shared 7 are left out at each end. The clip's own ends are nobody's overlap.
    np.testing.assert_allclose(error[7:-7], 0, atol=1e-5)
    assert error[6] > 0.9


def test_a_teacher_that_drops_a_frame_leaves_no_hole(known_teacher: Any) -> None:
    """As encoders do whose last window would reach beyond the audio."""

    def drop(curves: Tensor) -> Tensor:
        return curves[:, :-1]

    curves = animate_long(known_teacher(spoil=drop), ramp(10.0), Cutting(4.0), paths())
    assert curves.shape == (1, 299, 3)
    np.testing.assert_allclose(curves[0, :, 0], np.arange(299) / 30 / 60, atol=1e-5)


def test_the_teacher_hears_its_own_sample_rate(known_teacher: Any) -> None:
    teacher = known_teacher(sample_rate_hz=24_000)
    curves = animate_long(teacher, ramp(1.5), Cutting(30.0), paths())
    assert teacher.calls == [(1, 36_000)]
    inner = slice(2, -2)  # the resampling filter rings at the clip's ends
    expected = np.arange(45) / 30 / 60
    np.testing.assert_allclose(curves[0, inner, 0], expected[inner], atol=1e-4)


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda curves: curves[0], r"\[30, 3\]"),
        (lambda curves: curves[..., :2], r"\[2, 30, 2\]"),
        (lambda curves: curves[:1], r"\[1, 30, 3\]"),
        (lambda curves: curves.repeat(1, 2, 1), r"\[2, 60, 3\]"),
    ],
    ids=["no batch", "a control short", "a clip short", "another rate"],
)
def test_curves_of_another_shape_are_refused(known_teacher: Any, spoil: Any, found: str) -> None:
    with pytest.raises(TeacherError, match=f"{found} .*clip-0.wav and 1 .*expected .*2, 30, 3"):
        animate_long(known_teacher(spoil=spoil), ramp(1.0, clips=2), Cutting(30.0), paths(2))


def test_curves_that_are_no_numbers_are_refused(known_teacher: Any) -> None:
    def spoil(curves: Tensor) -> Tensor:
        curves[1, 7, 1] = torch.nan
        return curves

    with pytest.raises(TeacherError, match=r"nan for mouthClose at frame 7 of clip-1\.wav"):
        animate_long(known_teacher(spoil=spoil), ramp(1.0, clips=2), Cutting(30.0), paths(2))
