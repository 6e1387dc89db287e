"""What is known of ARKit's rig."""

import math

import numpy as np
import pytest

from compress.rig import rig
from compress.rig.rig import ARKIT_CLOSURE, ARKIT_RIG, ClosureRule, Rig


def test_arkit_has_52_blendshapes_that_come_in_pairs() -> None:
    assert len(set(rig.ARKIT)) == len(rig.ARKIT) == 52
    left = {name.removesuffix("Left") for name in rig.ARKIT if name.endswith("Left")}
    right = {name.removesuffix("Right") for name in rig.ARKIT if name.endswith("Right")}
    assert left == right


def test_lips_need_a_jaw_and_a_seal() -> None:
    assert ARKIT_RIG.closure_of(rig.ARKIT) is ARKIT_CLOSURE
    assert ARKIT_RIG.closure_of(("jawOpen", "mouthPucker")) is None
    assert Rig().closure_of(rig.ARKIT) is None


@pytest.mark.parametrize(
    ("pose", "aperture"),
    [
        ({"jawOpen": 0.6}, 0.6),
        ({"jawOpen": 0.6, "mouthClose": 0.6}, 0.0),
        ({"mouthLowerDownLeft": 0.4, "mouthUpperUpLeft": 0.2}, 0.21),
        ({"mouthFunnel": 0.2}, 0.03),
        ({"eyeBlinkLeft": 1.0}, 0.0),
    ],
)
def test_lip_aperture_by_hand(pose: dict[str, float], aperture: float) -> None:
    curves = np.zeros((1, 52))
    for name, value in pose.items():
        curves[0, rig.ARKIT.index(name)] = value
    assert ARKIT_CLOSURE.aperture(curves, rig.ARKIT)[0] == pytest.approx(aperture)


def test_a_rig_without_some_controls_has_an_aperture_all_the_same() -> None:
    curves = np.array([[[0.1, 0.5]]])
    assert ARKIT_CLOSURE.aperture(curves, ("mouthClose", "jawOpen")).tolist() == [[0.4]]


def test_each_control_of_arkit_is_in_one_region() -> None:
    found = ARKIT_RIG.regions(rig.ARKIT)
    assert list(found) == ["jaw", "lips", "tongue and cheeks", "rest"]
    assert sorted(column for columns in found.values() for column in columns) == list(range(52))
    assert [len(columns) for columns in found.values()] == [4, 23, 4, 21]


def test_only_regions_with_a_control() -> None:
    controls = ("tongueOut", "jawOpen", "mouthClose", "cheekPuff", "mouthLeft")
    found = {"jaw": (1,), "lips": (2, 4), "tongue and cheeks": (0, 3)}
    assert ARKIT_RIG.regions(controls) == found
    assert ARKIT_RIG.regions(("noseSneerLeft",)) == {"rest": (0,)}


def test_a_rig_of_which_nothing_is_known_is_one_region() -> None:
    assert ARKIT_RIG.regions(("lipGap", "lipPress")) == {"all": (0, 1)}
    assert Rig().regions(("jawOpen", "mouthClose")) == {"all": (0, 1)}


def test_what_is_in_no_region_is_a_region_of_its_own() -> None:
    found = ARKIT_RIG.regions(("jawOpen", "lipGap", "mouthClose"))
    assert found == {"jaw": (0,), "lips": (2,), "other": (1,)}


def test_labels_are_for_people() -> None:
    assert ARKIT_RIG.label("mouthLowerDownLeft") == "mouth lower down, left"
    assert ARKIT_RIG.label("mouthLeft") == "mouth, left"
    assert ARKIT_RIG.label("jawOpen") == "jaw open"
    assert ARKIT_RIG.label("control_017") == "control_017"


def test_a_rule_is_a_weighted_sum_of_the_controls_that_it_names() -> None:
    rule = ClosureRule({"gap": 2.0, "press": -1.0}, 0.5, optional=frozenset({"press"}))
    curves = np.array([[9.0, 0.5, 0.1], [9.0, 0.5, 0.9]])
    assert rule.aperture(curves, ("other", "gap", "press")) == pytest.approx([0.9, 0.1])
    assert rule.aperture(curves[:, :2], ("other", "gap")).tolist() == [1.0, 1.0]
    assert rule.aperture(curves[None], ("other", "gap", "press")).shape == (1, 2)
    # What the rule does not name may be of no number.
    curves[:, 0] = math.nan
    assert np.isfinite(rule.aperture(curves, ("other", "gap", "press"))).all()


def test_a_rule_in_words() -> None:
    words = ARKIT_CLOSURE.in_words(("mouthClose", "jawOpen", "mouthFunnel"))
    assert words == "jawOpen − mouthClose + 0.15 mouthFunnel < 0.08"
    assert ClosureRule({"gap": -2.0}, -0.8).in_words(("gap",)) == "− 2 gap < -0.8"


def test_a_rule_says_nothing_of_a_rig_that_lacks_a_control() -> None:
    """An aperture of nothing would be 0, and so sealed."""
    rule = ClosureRule({"gap": 1.0, "press": -1.0}, 0.5)
    assert rule.applies_to(("press", "other", "gap"))
    assert not rule.applies_to(("gap", "other"))
    with pytest.raises(ValueError, match=r"needs \['press'\]"):
        rule.aperture(np.zeros((1, 2)), ("gap", "other"))
    with pytest.raises(ValueError, match=r"needs \['jawOpen', 'mouthClose'\]"):
        ARKIT_CLOSURE.aperture(np.zeros((1, 1)), ("tongueOut",))


@pytest.mark.parametrize(
    ("weights", "closed_below", "optional"),
    [
        ({}, 0.1, frozenset()),
        ({"gap": 1.0}, 0.1, frozenset({"gap"})),
        ({"gap": 1.0}, 0.1, frozenset({"lips"})),
        ({"gap": math.nan}, 0.1, frozenset()),
        ({"gap": 1.0}, math.inf, frozenset()),
    ],
)
def test_a_rule_that_cannot_be(
    weights: dict[str, float], closed_below: float, optional: frozenset[str]
) -> None:
    with pytest.raises(ValueError, match="closure rule"):
        ClosureRule(weights, closed_below, optional)


def test_the_rule_of_arkit_is_written_for_its_names() -> None:
    assert set(ARKIT_CLOSURE.weights) <= set(rig.ARKIT)
    assert ARKIT_CLOSURE.closed_below == rig.CLOSED_BELOW
