"""Scale, rests and units of a rig, by hand from the ranges of its controls."""

import numpy as np
import pytest
import torch

from compress.rig.rig import ARKIT
from compress.rig.units import Measured, Units, measure, units_of
from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer
from compress.students.folding import in_own_units, in_rig_units

Ranges = dict[str, tuple[float, float]]

BLENDSHAPES: Ranges = {
    "jawOpen": (0.0, 1.0),
    "eyeBlinkLeft": (0.0, 0.002),
    "mouthClose": (0.0, 0.4),
}


def found(
    ranges: Ranges, limits: tuple[float, float] | None = None, *, mesh: bool = False
) -> Measured:
    lowest, highest = np.array(list(ranges.values())).T
    return measure(tuple(ranges), lowest, highest, limits, mesh=mesh)


@pytest.mark.parametrize(
    ("ranges", "scale"),
    [
        ([(0.0, 0.31)], 1.0),
        ([(0.0, 1.0), (0.2, 0.3)], 1.0),
        ([(-1.4, 1.5)], 1.0),
        ([(-1.6, 1.5)], 10.0),
        ([(0.0, 1.0), (-20.0, 25.0)], 100.0),
        ([(0.0, 1e-3)], 1e-3),
        ([(0.5, 1.1)], 1.0),  # as far from 0 as it moves: no rest value
        ([(90.0, 100.0)], 10.0),  # around its rest value
        ([(-120.0, -90.0)], 10.0),
        ([(165.0, 166.0), (0.0, 0.8)], 1.0),
        ([(0.0, 0.02), (40.0, 40.0)], 0.01),  # the other one never moves
        ([(0.0, 0.5), (40.0, 40.0001)], 1.0),  # but by rounding
        ([(0.25, 0.25)], 1.0),
    ],
)
def test_the_scale_is_the_power_of_ten_nearest_to_how_far_controls_move(
    ranges: list[tuple[float, float]], scale: float
) -> None:
    assert found({f"c{i}": each for i, each in enumerate(ranges)}).scale == pytest.approx(scale)


def plain(measured: Measured) -> bool:
    return (measured.scale, measured.rests, measured.units) == (1.0, {}, {})


def test_blendshapes_stay_as_they_are() -> None:
    """Whatever they do: known by ARKit's names, by limits around 0, or by being of one size."""
    assert plain(found(BLENDSHAPES | {"browInnerUp": (0.3, 0.35)}))
    named = {name.upper(): each for name, each in BLENDSHAPES.items()}
    assert plain(found(named | {"x": (0.3, 0.35)}, (0.0, 1.0)))
    assert plain(found({"a": (0.0, 1.0), "b": (0.0, 0.004), "c": (-0.3, 0.9)}))
    assert plain(found({"pca_0": (-1.0, 1.2), "pca_1": (-0.001, 0.001)}, mesh=True))
    assert set(BLENDSHAPES) <= set(ARKIT)


def test_constants_of_blendshapes_are_what_they_were() -> None:
    measured = found({"a": (0.0, 1.0), "b": (0.0, 1e-4), "c": (0.0, 1.1e-4), "d": (0.2, 0.2)})
    assert measured.moving.tolist() == [True, False, True, False]


def test_units_of_one_rig_may_differ() -> None:
    """A blendshape, a head's height in cm, a lip in metres; and degrees beside metres."""
    measured = found({"jawOpen": (0.0, 1.0), "headY": (165.0, 166.0), "lipMM": (0.0, 1e-3)})
    assert measured.moving.all()
    assert measured.rests == {"headY": 165.5}
    assert measured.units == {"lipMM": pytest.approx(1e-3)}
    measured = found(
        {"jaw": (0.0, 45.0), "head": (-20.0, 20.0), "lip": (0.0, 1e-3), "x": (5.0, 5.0)}
    )
    assert measured.moving.tolist() == [True, True, True, False]
    assert (measured.scale, measured.units) == (100.0, {"lip": pytest.approx(1e-3)})


def test_a_lip_in_metres_beside_a_blendshape_has_a_unit_of_its_own() -> None:
    measured = found({"open": (0.0, 1.0), "lip": (0.0, 1e-3)})
    assert measured.units == {"lip": pytest.approx(1e-3)}


def test_blendshapes_beside_degrees_keep_what_they_weigh_among_themselves() -> None:
    """They share the unit of the one that moves most of them."""
    measured = found({"turn": (-120.0, 130.0), "a": (0.0, 0.9), "b": (0.0, 0.05), "c": (0.0, 0.2)})
    assert measured.scale == 100.0
    assert measured.units == dict.fromkeys("abc", 1.0)


def test_limits_say_that_a_rig_has_one_unit() -> None:
    measured = found({"jaw": (80.0, 110.0), "lip": (89.0, 89.1)}, (0.0, 180.0))
    assert (measured.scale, measured.units) == (10.0, {})
    assert measured.rests == {"jaw": 95.0, "lip": pytest.approx(89.05)}


def test_nothing_moves() -> None:
    measured = found({"a": (0.5, 0.5), "b": (7.0, 7.0), "c": (1e6, 1e6 + 1)})
    assert not measured.moving.any()
    assert plain(measured)


def test_own_values_by_hand() -> None:
    units = units_of(("head", "jaw", "lip"), 10.0, {"head": 90.0}, {"lip": 1e-3})
    assert units == Units((90.0, 0.0, 0.0), (10.0, 10.0, 1e-3), 10.0)
    assert not units.plain
    assert not units.alike
    values = np.array([[95.0, -20.0, 5e-4], [80.0, 1.0, 0.0]], np.float32)
    assert units.own(values) == pytest.approx(np.array([[0.5, -2.0, 0.5], [-1.0, 0.1, 0.0]]))
    assert units.evening is not None
    assert units.evening.tolist() == pytest.approx([1.0, 1.0, 1e4])


def test_plain_units_change_nothing() -> None:
    units = units_of(("a", "b"), 1.0, {}, {})
    values = np.array([[0.1, 0.7]], np.float32)
    student = ConvFC(ConvFCConfig("conv", Layer(16, 16, 8), (), 1, (8, 8), 128, 128, 2))
    assert units.plain
    assert units.evening is None
    assert units.own(values) is values
    assert in_own_units(student, units) is student
    assert in_rig_units(student, units, (0.0, 1.0)) is student
    degrees = units_of(("a", "b"), 100.0, {}, {})
    assert (degrees.plain, degrees.alike, degrees.evening) == (False, True, None)


@torch.no_grad()
def test_units_go_into_the_last_layer_and_out_of_it() -> None:
    torch.manual_seed(0)
    units = units_of(("head", "lip"), 10.0, {"head": 90.0}, {"lip": 1e-3})
    student = ConvFC(ConvFCConfig("conv", Layer(16, 16, 8), (), 1, (8, 8), 128, 128, 2)).eval()
    folded = in_rig_units(student, units, (-200.0, 200.0))
    assert folded.config.limits == (-200.0, 200.0)
    assert not folded.training
    audio = torch.rand(1, 1024) - 0.5
    own, rig = student.animate(audio)[0].numpy(), folded.animate(audio)[0].numpy()
    assert own.std(0).min() > 1e-3
    assert rig == pytest.approx(np.array([90.0, 0.0]) + own * np.array([10.0, 1e-3]), abs=1e-5)
    again = in_own_units(folded, units)
    assert again.config.limits is None
    for name, value in student.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-5, atol=1e-6)
