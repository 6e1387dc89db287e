"""Programs as teachers, against what NumPy computes by hand."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.errors import TeacherError
from compress.rig import ARKIT
from compress.teachers import Opening, Port
from compress.teachers.program import Program, ProgramTeacher

Opens = Callable[[str], Opening]
Run = Callable[[Mapping[str, Any]], dict[str, Any]]

AUDIO = Port("audio", "float32", ("batch", "samples"))


class Heard:
    """A program that notes the shapes of what it is fed."""

    def __init__(self, run: Run, *inputs: Port) -> None:
        self.calls: list[dict[str, np.ndarray]] = []
        self._run = run
        self.program = Program("p", "a program", 7, inputs or (AUDIO,), (), self.run)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append(dict(feeds))
        return self._run(feeds)


def energies(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Sum of squares, first and last sample of a window: `[batch, 3]`."""
    x = feeds["audio"].reshape(len(feeds["audio"]), -1)
    return {"out": np.stack([np.square(x).sum(1), x[:, 0], x[:, -1]], 1)}


def hops(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Mean of every 160 samples, and that minus 1: `[batch, frames, 2]`."""
    x = feeds["audio"].reshape(len(feeds["audio"]), -1)
    means = x[:, : x.shape[1] // 160 * 160].reshape(len(x), -1, 160).mean(2)
    return {"out": np.stack([means, means - 1], 2)}


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
    ("shape", "said", "fed"),
    [
        (("n",), "", (4800,)),
        (("b", "n"), "", (2, 4800)),
        (("b", 1, "n"), "", (2, 1, 4800)),
        (("?", "?", "?"), "", (2, 1, 4800)),
        (None, "", (2, 4800)),
        (None, ", layout: samples", (4800,)),
        (None, ", layout: 'batch,1,samples'", (2, 1, 4800)),
    ],
)
def test_audio_is_laid_out_as_the_file_or_the_recipe_says(
    opening: Opens, noise: Tensor, shape: Any, said: str, fed: tuple[int, ...]
) -> None:
    def run(feeds: Mapping[str, Any]) -> dict[str, Any]:
        one = feeds["audio"].ndim == 1
        found = hops({"audio": feeds["audio"][None] if one else feeds["audio"]})["out"]
        return {"out": found[0] if one else found}

    heard = Heard(run, Port("audio", "float32", shape))
    curves = ProgramTeacher(heard.program, opening(f"{{rate_hz: 100{said}}}")).animate(noise)
    assert heard.calls[-1]["audio"].shape == fed
    np.testing.assert_allclose(curves, hops({"audio": noise.numpy()})["out"], atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "layout", "found"),
    [
        (("b", "n"), "samples", r"\[b, n\], expected \[samples\]"),
        ((1, 1, 1, 5), None, "expected 1, 2 or 3 dimensions"),
        (("b", 2, "n"), None, r"expected one channel"),
    ],
)
def test_a_shape_that_contradicts_the_layout_is_refused(
    opening: Opens, shape: Any, layout: str | None, found: str
) -> None:
    heard = Heard(hops, Port("audio", "float32", shape))
    said = f", layout: '{layout}'" if layout else ""
    with pytest.raises(TeacherError, match=found):
        ProgramTeacher(heard.program, opening(f"{{rate_hz: 100{said}}}"))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_audio_has_the_type_of_the_input(opening: Opens, noise: Tensor, dtype: str) -> None:
    heard = Heard(hops, Port("audio", dtype, ("b", "n")))
    curves = ProgramTeacher(heard.program, opening("{rate_hz: 100}")).animate(noise)
    assert heard.calls[-1]["audio"].dtype == dtype
    assert curves.dtype == torch.float32


def test_audio_of_whole_numbers_is_refused(opening: Opens) -> None:
    heard = Heard(hops, Port("audio", "int16", ("b", "n")))
    with pytest.raises(TeacherError, match=r"audio int16 \[b, n\], expected floating-point"):
        ProgramTeacher(heard.program, opening("{rate_hz: 100}"))


def constant(opening: Opens, port: Port, value: str, said: str = "") -> np.ndarray:
    """What an input is fed for a constant, in a call with three clips of 320 samples."""
    heard = Heard(hops, Port("audio", "float32", ("b", "n")), port)
    interface = f"{{rate_hz: 100, inputs: {{{port.name}: {value}}}{said}}}"
    ProgramTeacher(heard.program, opening(interface)).animate(torch.zeros(3, 320))
    return np.asarray(heard.calls[-1][port.name])


@pytest.mark.parametrize(
    ("shape", "value", "expected"),
    [
        ((), "2", np.array(2)),
        (("b",), "2", np.full(3, 2)),
        (("b", 4), "2", np.full((3, 4), 2)),
        (("?", "?", 4), "2", np.full((3, 1, 4), 2)),
        (("b", "n"), "1", np.ones((3, 320))),  # such as a mask of all samples
        ((1, 4), "2", np.full((1, 4), 2)),
        ((2,), "[1, 2]", np.array([1, 2])),
        (("e",), "[1, 2]", np.array([1, 2])),
        (("b", 2), "[1, 2]", np.tile([1, 2], (3, 1))),
        (("?", 1, 2), "[1, 2]", np.tile([1, 2], (3, 1, 1))),
        (("b", "e"), "[1, 2]", np.tile([1, 2], (3, 1))),
        (("b", 2, 3), "[1, 2, 3, 4, 5, 6]", np.tile(np.arange(1, 7).reshape(2, 3), (3, 1, 1))),
        ((2, 3), "[1, 2, 3, 4, 5, 6]", np.arange(1, 7).reshape(2, 3)),
    ],
)
def test_constants_fill_the_shape_of_their_input(
    opening: Opens, shape: Any, value: str, expected: np.ndarray
) -> None:
    fed = constant(opening, Port("c", "float32", shape), value)
    assert fed.dtype == np.float32
    np.testing.assert_array_equal(fed, expected)


@pytest.mark.parametrize(
    ("array", "shape", "expected"),
    [
        (np.arange(4.0), ("b", 4), np.tile(np.arange(4), (3, 1))),
        (np.arange(4.0)[None], ("b", 4), np.tile(np.arange(4), (3, 1))),
        (np.arange(6).reshape(2, 3), ("b", "t", 3), np.tile(np.arange(6).reshape(2, 3), (3, 1, 1))),
        (np.arange(6).reshape(2, 3), (2, 3), np.arange(6).reshape(2, 3)),
        (np.array(5), ("b", 2), np.full((3, 2), 5)),
    ],
)
def test_constants_of_a_file_are_repeated_over_the_batch(
    opening: Opens, tmp_path: Path, array: np.ndarray, shape: Any, expected: np.ndarray
) -> None:
    np.save(tmp_path / "c.npy", array)
    fed = constant(opening, Port("c", "int64", shape), "{file: c.npy}")
    assert fed.dtype == np.int64
    np.testing.assert_array_equal(fed, expected)


def test_constants_without_a_known_shape_go_as_they_are(opening: Opens, tmp_path: Path) -> None:
    port = Port("c", "tensor", None)
    assert constant(opening, port, "2").shape == ()
    np.testing.assert_array_equal(constant(opening, port, "[1, 2]"), np.tile([1, 2], (3, 1)))
    np.save(tmp_path / "c.npy", np.arange(3))
    fed = constant(opening, port, "{file: c.npy}")
    assert (fed.dtype, fed.tolist()) == (np.int64, [0, 1, 2])
    np.save(tmp_path / "c.npy", np.arange(3.0)[None])
    fed = constant(opening, port, "{file: c.npy}")
    assert (fed.dtype, fed.shape) == (np.float32, (3, 3))


@pytest.mark.parametrize(
    ("dtype", "shape", "value", "said"),
    [
        ("float32", ("b", 26), "[1, 2, 3]", r"a list of 3 numbers is given for input c float32 \[b, 26\]"),
        ("float32", ("b", 26), "[1]", "a list of 1 numbers"),
        ("float32", (), "[1]", r"input c float32 \[\]"),
        ("float32", ("b", 2), "{file: five.npy}", r"five.npy is given.*shape \[5\]"),
        ("float32", ("b", 2), "{file: none.npy}", "cannot be read from .*none.npy"),
        ("float32", ("b", 2), "{file: text.npy}", "cannot be read from .*text.npy"),
        ("float32", ("b", 2), "{file: words.npy}", "holds no array of numbers"),
        ("int64", ("b", 2), "0.5", "takes whole numbers, and a number is given"),
    ],
)  # fmt: skip
def test_constants_that_do_not_fit_are_refused(
    opening: Opens, tmp_path: Path, dtype: str, shape: Any, value: str, said: str
) -> None:
    np.save(tmp_path / "five.npy", np.arange(5.0))
    np.save(tmp_path / "words.npy", np.array(["a"]))
    (tmp_path / "text.npy").write_text("text")
    with pytest.raises(TeacherError, match=said) as caught:
        constant(opening, Port("c", dtype, shape), value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("interface", "said"),
    [
        ("{rate_hz: 9}", r"has 3 inputs without a constant \(audio float32 \[b, n\]; c .*; d"),
        ("{rate_hz: 9, audio: audio, inputs: {c: 1}}", r"needs a constant for d int64 \[3\]"),
        ("{rate_hz: 9, inputs: {c: 1, d: 1, e: 1}}", r"has no input e; its inputs are: audio"),
        ("{rate_hz: 9, audio: sound}", "has no input sound; its inputs are: audio"),
        ("{rate_hz: 9, inputs: {c: 1, d: 1, audio: 1}}", "has 0 inputs without a constant"),
    ],
)
def test_inputs_that_the_recipe_does_not_settle_are_listed(
    opening: Opens, interface: str, said: str
) -> None:
    others = Port("c", "float32", ("b", 2)), Port("d", "int64", (3,))
    program = Heard(hops, Port("audio", "float32", ("b", "n")), *others).program
    with pytest.raises(TeacherError, match=said):
        ProgramTeacher(program, opening(interface))


def giving(**outputs: Any) -> Program:
    """A program of whole clips that gives the same arrays, one row a clip, whatever it hears."""

    def run(feeds: Mapping[str, Any]) -> dict[str, Any]:
        batch = len(feeds["audio"])
        return {name: np.repeat(value, batch, 0) for name, value in outputs.items()}

    return Heard(run).program


def test_time_may_come_last(opening: Opens) -> None:
    values = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    teacher = ProgramTeacher(giving(out=values), opening("{rate_hz: 9, time_last: true}"))
    curves = teacher.animate(torch.zeros(1, 100))
    assert curves.tolist() == [[[0, 3], [1, 4], [2, 5]]]


def test_further_dimensions_are_values(opening: Opens) -> None:
    vertices = np.arange(24, dtype=np.float32).reshape(1, 2, 4, 3)
    curves = ProgramTeacher(giving(out=vertices), opening("{rate_hz: 9}")).animate(
        torch.zeros(1, 9)
    )
    assert curves.tolist() == [[list(range(12)), list(range(12, 24))]]


def test_a_window_may_give_several_poses(opening: Opens) -> None:
    values = np.arange(6, dtype=np.float32).reshape(1, 3, 2)
    interface = "{{rate_hz: 9, window: {{samples: 8, moment: 0, frame: {}}}}}"
    teacher = ProgramTeacher(giving(out=values), opening(interface.format(2)))
    assert teacher.animate(torch.zeros(1, 100)).tolist() == [[[4, 5]]]
    with pytest.raises(TeacherError, match=r"gave 3 poses a window.*window.frame is 3"):
        ProgramTeacher(giving(out=values), opening(interface.format(3)))


def curves_with(opening: Opens, columns: str) -> ProgramTeacher:
    skin, jaw = np.arange(8.0).reshape(1, 2, 4), 10 + np.arange(4.0).reshape(1, 2, 2)
    return ProgramTeacher(giving(skin=skin, jaw=jaw), opening(f"{{rate_hz: 9{columns}}}"))


@pytest.mark.parametrize(
    ("columns", "controls", "first"),
    [
        ("", [f"control_00{i}" for i in range(6)], [0, 1, 2, 3, 10, 11]),
        ("[{output: jaw, names: [a, b]}]", ["a", "b"], [10, 11]),
        ("[{output: jaw, prefix: jaw}, {output: skin, start: 1, stop: 3}]",
            ["jaw_000", "jaw_001", "control_002", "control_003"], [10, 11, 1, 2]),
        ("[{output: skin, start: 3}, {output: skin, stop: 1, names: [x]}]",
            ["control_000", "x"], [3, 0]),
    ],
)  # fmt: skip
def test_columns_are_cut_and_named(
    opening: Opens, columns: str, controls: list[str], first: list[float]
) -> None:
    teacher = curves_with(opening, columns and f", columns: {columns}")
    assert list(teacher.controls) == controls
    assert teacher.animate(torch.zeros(1, 9))[0, 0].tolist() == first


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ("[{prefix: a}]", "has the outputs skin, jaw, and no output is named"),
        ("[{output: tongue}]", "has the outputs skin, jaw, and tongue is named"),
        ("[{output: jaw, stop: 5}]", "output jaw has 2 columns, and .* from 0 to 5"),
        ("[{output: jaw, start: 2}]", "output jaw has 2 columns, and .* from 2 to 2"),
        ("[{output: jaw, names: [a]}]", "1 names are given for 2 columns of output jaw"),
        ("[{output: skin, names: arkit}]", "52 names of ARKit are given for 4 columns"),
        ("[{output: jaw, names: [a, a]}]", "several controls of one name: a"),
        ("[{output: jaw, prefix: a}, {output: skin, prefix: a}]", "of one name: a_000, a_001"),
    ],
)
def test_columns_that_do_not_fit_are_refused(opening: Opens, columns: str, said: str) -> None:
    with pytest.raises(TeacherError, match=said):
        curves_with(opening, f", columns: {columns}")


def test_arkit_has_its_names(opening: Opens) -> None:
    program = giving(out=np.zeros((1, 1, 52)))
    teacher = ProgramTeacher(program, opening("{rate_hz: 9, columns: [{names: arkit}]}"))
    assert teacher.controls == ARKIT


def test_outputs_that_disagree_in_frames_are_refused(opening: Opens) -> None:
    both = giving(a=np.zeros((1, 4, 1)), b=np.zeros((1, 5, 1)))
    teacher = ProgramTeacher(both, opening("{rate_hz: 9}"))
    with pytest.raises(TeacherError, match="disagree in frames: 4 of a, 5 of b"):
        teacher.animate(torch.zeros(1, 9))
    one = ProgramTeacher(both, opening("{rate_hz: 9, columns: [{output: b}]}"))
    assert one.animate(torch.zeros(1, 9)).shape == (1, 5, 1)


@pytest.mark.parametrize(
    ("found", "window", "said"),
    [
        (np.zeros((1, 4)), False, r"output out of shape \[1, 4\].*expected \[1, frames, values"),
        (np.zeros((2, 4, 3)), False, r"shape \[2, 4, 3\].*expected \[1, frames"),
        (np.zeros(1), True, r"shape \[1\].*expected \[1, values\] or \[1, frames, values\]"),
        (np.zeros((3, 2)), True, r"shape \[3, 2\]"),
        (np.zeros((1, 2, 2), complex), False, "type complex128"),
    ],
)
def test_outputs_of_another_shape_are_refused(
    opening: Opens, found: np.ndarray, window: bool, said: str
) -> None:
    more = ", window: {samples: 8, moment: 0}" if window else ""
    program = Heard(lambda feeds: {"out": found}).program
    with pytest.raises(TeacherError, match=said):
        ProgramTeacher(program, opening(f"{{rate_hz: 9{more}}}"))


def test_a_width_that_changes_is_refused(opening: Opens) -> None:
    def run(feeds: Mapping[str, Any]) -> dict[str, Any]:
        return {"out": np.zeros((1, 4, 3 if feeds["audio"].shape[1] == 16000 else 2))}

    teacher = ProgramTeacher(Heard(run).program, opening("{rate_hz: 9}"))
    with pytest.raises(TeacherError, match=r"gave 2 values a pose as output out.*the 3 that"):
        teacher.animate(torch.zeros(1, 100))


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
