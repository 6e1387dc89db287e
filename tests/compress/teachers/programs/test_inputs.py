"""What a program is fed: audio in its layout, and constants in the shape of their inputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from compress.errors import TeacherError
from compress.teachers import Port
from compress.teachers.programs.program import ProgramTeacher
from tests.compress.teachers.made_programs import Heard, Opens, hops


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
        ("float32", ("b", 2), "{file: none.npy}", "none.npy cannot be read as the constant for input c"),
        ("float32", ("b", 2), "{file: text.npy}", "text.npy cannot be read as the constant for input c"),
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
