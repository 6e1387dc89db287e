"""Programs as teachers: windows, batches and whole clips, against what NumPy computes by hand."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.errors import TeacherError
from compress.teachers import Opening, Port
from compress.teachers.programs.program import Program, ProgramTeacher
from tests.compress.teachers.made_programs import AUDIO, Heard, Opens, energies, hops


def by_hand(clip: np.ndarray, rate_hz: float, samples: int, moment: int) -> np.ndarray:
    """What `energies` gives for a clip's windows, one at a time."""
    poses = []
    i = 0
    while i * 16000 / rate_hz < len(clip):
        start = round(i * 16000 / rate_hz) - moment
        window = [clip[n] if 0 <= n < len(clip) else 0.0 for n in range(start, start + samples)]
        poses.append([np.square(window).sum(), window[0], window[-1]])
        i += 1
    return np.array(poses)


@pytest.mark.parametrize("rate_hz", [30.0, 60.0, 37.5])
@pytest.mark.parametrize("moment", [0, 400, 800])
def test_frame_i_is_the_window_whose_moment_is_i_over_rate(
    opening: Opens, noise: Tensor, rate_hz: float, moment: int
) -> None:
    interface = f"{{rate_hz: {rate_hz}, window: {{samples: 800, moment: {moment}}}}}"
    teacher = ProgramTeacher(Heard(energies).program, opening(interface))
    curves = teacher.animate(noise).numpy()
    expected = [by_hand(clip, rate_hz, 800, moment) for clip in noise.numpy().astype(float)]
    np.testing.assert_allclose(curves, expected, rtol=1e-5, atol=1e-5)  # sums of 800 in float32


def test_a_stride_is_a_rate(opening: Opens, noise: Tensor) -> None:
    teacher = ProgramTeacher(
        Heard(energies).program, opening("{window: {samples: 800, moment: 1, stride: 320}}")
    )
    assert (teacher.rate_hz, teacher.animate(noise).shape) == (50, (2, 15, 3))


def test_properties_are_those_of_the_interface(opening: Opens) -> None:
    teacher = ProgramTeacher(
        Heard(hops).program,
        opening("{rate_hz: 50, sample_rate_hz: 8000, offset_s: 0.01, limits: [-1, 2]}"),
    )
    assert (teacher.rate_hz, teacher.offset_s, teacher.sample_rate_hz) == (50, 0.01, 8000)
    assert (teacher.limits, teacher.parameters_count) == ((-1, 2), 7)
    assert teacher.description == "a program"


@pytest.mark.parametrize("most", [1, 5, 64, 1000])
def test_curves_do_not_depend_on_max_batch(opening: Opens, noise: Tensor, most: int) -> None:
    interface = "{{rate_hz: 60, max_batch: {}, window: {{samples: 800, moment: 400}}}}"
    heard = Heard(energies)
    whole = ProgramTeacher(heard.program, opening(interface.format(7))).animate(noise)
    heard.calls.clear()
    curves = ProgramTeacher(heard.program, opening(interface.format(most))).animate(noise)
    assert torch.equal(curves, whole)
    assert max(len(call["audio"]) for call in heard.calls) == min(most, 36)


def test_windows_are_gathered_64_at_a_time(opening: Opens, noise: Tensor) -> None:
    heard = Heard(energies)
    teacher = ProgramTeacher(
        heard.program, opening("{rate_hz: 8000, window: {samples: 800, moment: 400}}")
    )
    teacher.animate(noise)
    assert {len(call["audio"]) for call in heard.calls} == {1, 64}, "1 is the probe"


def test_memory_does_not_grow_with_the_clip(opening: Opens) -> None:
    import tracemalloc

    program = Program("p", "keeps nothing", 0, (AUDIO,), (), energies)
    interface = "{rate_hz: 60, window: {samples: 8320, moment: 4160}}"
    teacher = ProgramTeacher(program, opening(interface))
    minute = torch.zeros(1, 60 * 16000)
    tracemalloc.start()
    teacher.animate(minute)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All 3600 windows would be 120 MB; a padded minute is 4 MB, a block and its squares 4 MB.
    assert peak < 15e6


def test_whole_clips_go_together_or_in_calls_of_max_batch(opening: Opens, noise: Tensor) -> None:
    heard = Heard(hops)
    curves = ProgramTeacher(heard.program, opening("{rate_hz: 100}")).animate(noise)
    expected = noise.numpy().reshape(2, 30, 160).mean(2)
    np.testing.assert_allclose(curves[..., 0], expected, atol=1e-6)
    np.testing.assert_allclose(curves[..., 1], expected - 1, atol=1e-6)
    assert [call["audio"].shape for call in heard.calls] == [(1, 16000), (2, 4800)]
    heard.calls.clear()
    alone = ProgramTeacher(heard.program, opening("{rate_hz: 100, max_batch: 1}")).animate(noise)
    assert torch.equal(alone, curves)
    assert [call["audio"].shape for call in heard.calls][1:] == [(1, 4800), (1, 4800)]


@pytest.mark.parametrize("fixed", [1, 2, 4])
def test_a_fixed_batch_is_filled_up(opening: Opens, fixed: int) -> None:
    heard = Heard(hops, Port("audio", "float32", (fixed, 1, "n")))
    noise = torch.rand(5, 1600)
    curves = ProgramTeacher(heard.program, opening("{rate_hz: 100}")).animate(noise)
    assert {call["audio"].shape[:2] for call in heard.calls} == {(fixed, 1)}
    expected = noise.numpy().reshape(5, 10, 160).mean(2)
    np.testing.assert_allclose(curves[..., 0], expected, atol=1e-6)


def test_a_fixed_batch_beyond_max_batch_is_refused(opening: Opens) -> None:
    heard = Heard(hops, Port("audio", "float32", (4, "n")))
    with pytest.raises(TeacherError, match=r"takes 4 at once.*max_batch is 2"):
        ProgramTeacher(heard.program, opening("{rate_hz: 100, max_batch: 2}"))


@pytest.mark.parametrize(
    ("window", "said"),
    [("", "has no window"), (", window: {samples: 800, moment: 0}", "has a window of 800")],
)
def test_a_fixed_stretch_needs_its_window(opening: Opens, window: str, said: str) -> None:
    program = Heard(energies, Port("audio", "float32", ("b", 8320))).program
    with pytest.raises(
        TeacherError, match=re.escape(f"stretches of 8320 samples, and teacher.interface {said}")
    ):
        ProgramTeacher(program, opening(f"{{rate_hz: 9{window}}}"))


def test_a_program_without_an_interface_is_said_with_its_ports() -> None:
    program = Heard(hops, Port("audio", "float32", ("b", "n"))).program
    with pytest.raises(
        TeacherError, match=r"audio float32 \[b, n\].*Add teacher.interface.*rate_hz"
    ):
        ProgramTeacher(program, Opening())


def test_a_clip_of_whole_frames_has_no_more_by_rounding(opening: Opens) -> None:
    for stride in (441, 533, 267):  # 16000 / stride · stride is more than 16000 for some
        interface = f"{{window: {{samples: 8, moment: 0, stride: {stride}}}}}"
        teacher = ProgramTeacher(Heard(energies).program, opening(interface))
        frames = [teacher.animate(torch.zeros(1, n * stride)).shape[1] for n in (1, 3, 7, 30)]
        assert frames == [1, 3, 7, 30]
