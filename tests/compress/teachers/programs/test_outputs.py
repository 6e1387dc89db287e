"""What a program gives: its axes, and columns with names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from compress.errors import TeacherError
from compress.rig.rig import ARKIT
from compress.teachers.programs.program import Program, ProgramTeacher
from tests.compress.teachers.made_programs import Heard, Opens


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
