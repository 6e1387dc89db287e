"""What is known of ARKit's rig."""

import numpy as np
import pytest

from compress import rig


def test_arkit_has_52_blendshapes_that_come_in_pairs() -> None:
    assert len(set(rig.ARKIT)) == len(rig.ARKIT) == 52
    left = {name.removesuffix("Left") for name in rig.ARKIT if name.endswith("Left")}
    right = {name.removesuffix("Right") for name in rig.ARKIT if name.endswith("Right")}
    assert left == right


def test_lips_need_a_jaw_and_a_seal() -> None:
    assert rig.has_lips(rig.ARKIT)
    assert not rig.has_lips(("jawOpen", "mouthPucker"))


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
    assert rig.lip_aperture(curves, rig.ARKIT)[0] == pytest.approx(aperture)


def test_a_rig_without_some_controls_has_an_aperture_all_the_same() -> None:
    curves = np.array([[[0.1, 0.5]]])
    assert rig.lip_aperture(curves, ("mouthClose", "jawOpen")).tolist() == [[0.4]]
