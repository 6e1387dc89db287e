"""Losses by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from compress.distill import losses
from compress.distill.losses import Criterion
from compress.errors import UsageError
from compress.recipe.recipe import TrainingSettings
from compress.rig.rig import ARKIT_CLOSURE, ClosureRule, Rig
from compress.rig.units import Units

DRIVEN = ("mouthClose", "jawOpen", "tongueOut")


def test_by_hand() -> None:
    label = torch.zeros(1, 2, 3)
    predicted = torch.tensor([[[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]]])
    reconstruction = losses.reconstruction(predicted, label).item()
    assert reconstruction == pytest.approx((0 + 1 + 9 + 4 + 4 + 4) / 6)
    # Steps of 1 and 2 in the first control, none in the second: a constant error has no velocity.
    assert losses.velocity(predicted, label).item() == (1 + 4 + 0 + 0) / 4


def test_terms_of_the_criterion_by_hand() -> None:
    """The lips are closed in the second frame alone, where the aperture 0.5 − 0.45 is below 0.08."""
    settings = TrainingSettings(
        velocity_weight=3.0, closure_weight=5.0, control_weights={"jawOpen": 2.0, "tongueOut": 0.0}
    )
    criterion = Criterion(settings, DRIVEN)
    assert criterion.weights == {"reconstruction": 1.0, "velocity": 3.0, "closure": 5.0}
    label = torch.tensor([[[0.0, 0.45, 0.0], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0]]])
    error = torch.tensor([[[0.0, 0.1, 0.1], [0.2, 0.4, 0.2], [1.0, 1.0, 1.0]]])
    terms = {name: term.item() for name, term in criterion(label + error, label).items()}
    squares = {"mouthClose": 0.01 + 0.01, "jawOpen": 0.04 + 0.16 + 0.04}
    assert terms == pytest.approx(
        {
            "reconstruction": (squares["mouthClose"] + 2 * squares["jawOpen"]) / 9,
            # Controls weigh the same here: steps of 0.1, 0; 0.2, −0.2; none.
            "velocity": (0.01 + 0.04 + 0.04) / 6,
            # Jaw 0.4 too open, lips 0.1 too close: apart by 0.3 in one frame of three.
            "closure": 0.3**2 / 3,
        },
        rel=1e-5,
    )


def test_without_weights_there_are_two_plain_terms_on_any_rig() -> None:
    criterion = Criterion(TrainingSettings(), ("wing", "tail"))
    assert criterion.weights == {"reconstruction": 1.0, "velocity": 12.0}
    predicted, label = torch.rand(2, 4, 2, 5)
    terms = criterion(predicted, label)
    assert sorted(terms) == ["reconstruction", "velocity"]
    assert terms["reconstruction"].item() == pytest.approx(
        losses.reconstruction(predicted, label).item()
    )
    assert terms["velocity"].item() == losses.velocity(predicted, label).item()


def test_the_criterion_adds_nothing_to_what_is_saved_or_trained() -> None:
    criterion = Criterion(TrainingSettings(closure_weight=1.0), DRIVEN)
    assert not criterion.state_dict()
    assert not list(criterion.parameters())


def test_a_weight_of_a_control_that_does_not_move_is_refused() -> None:
    settings = TrainingSettings(control_weights={"jawOpen": 2.0, "cheekPuff": 1.0, "browUp": 0.5})
    with pytest.raises(UsageError, match=r"names browUp, cheekPuff, .* moves mouthClose, jawOpen"):
        Criterion(settings, DRIVEN)


@pytest.mark.parametrize("driven", [("wing", "tail"), ("jawOpen", "tongueOut")])
def test_a_closure_weight_is_refused_where_lips_are_not_known(driven: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"closure_weight is 3, .* needs jawOpen, mouthClose"):
        Criterion(TrainingSettings(closure_weight=3.0), driven)


def test_another_rig_says_itself_when_its_lips_are_closed() -> None:
    rig = Rig("slider", closure=ClosureRule({"gap": 1.0}, 0.1))
    criterion = Criterion(TrainingSettings(closure_weight=1.0), ("wing", "gap"), rig)
    label = torch.tensor([[[0.0, 0.0], [0.05, 0.5]]])
    predicted = torch.tensor([[[0.0, 0.0], [0.25, 0.7]]])
    # Closed in the first of two frames only.
    assert criterion(predicted, label)["closure"].item() == pytest.approx(0.2**2 / 2)
    with pytest.raises(UsageError, match=r"of this rig \(slider\) are closed: that needs gap"):
        Criterion(TrainingSettings(closure_weight=1.0), ("wing",), rig)


@pytest.mark.parametrize("scale", [1e-3, 100.0])
@pytest.mark.parametrize("rest", [0.0, 90.0])
def test_a_rig_of_other_units_is_judged_alike(scale: float, rest: float) -> None:
    """Rest values cancel in no aperture but one whose limit has them too."""
    settings = TrainingSettings(closure_weight=1.0)
    generator = torch.Generator().manual_seed(0)
    predicted, label = torch.rand(2, 3, len(DRIVEN), 7, generator=generator) * 0.2
    expected = Criterion(settings, DRIVEN)(predicted, label)
    weights = ARKIT_CLOSURE.weights
    at_rest = rest * sum(weights[name] for name in DRIVEN if name in weights)
    closed_below = ARKIT_CLOSURE.closed_below * scale + at_rest
    in_rig_units = Rig("scaled", closure=replace(ARKIT_CLOSURE, closed_below=closed_below))
    units = Units((rest,) * len(DRIVEN), (scale,) * len(DRIVEN), scale)
    found = Criterion(settings, DRIVEN, units.rig(in_rig_units, DRIVEN))(predicted, label)
    assert expected["closure"] > 0
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-4)


def test_controls_of_units_of_their_own_close_the_same_lips() -> None:
    """An aperture of a jaw in degrees and lips in metres, by hand, in rig values and own ones."""
    driven = ("jaw", "lip")
    rig = Rig("mixed", closure=ClosureRule({"jaw": 0.01, "lip": -20.0}, 0.3))
    units = Units((40.0, 0.0), (10.0, 1e-3), 10.0)
    values = np.array([[41.0, 2e-3], [35.0, 0.01]])
    found = units.rig(rig, driven).closure_of(driven)
    assert found is not None
    own = units.own(values.astype(np.float32))
    assert own.tolist() == pytest.approx(np.array([[0.1, 2.0], [-0.5, 10.0]]), rel=1e-5)
    above = found.aperture(own, driven) - found.closed_below
    assert above * 10 == pytest.approx([0.41 - 0.04 - 0.3, 0.35 - 0.2 - 0.3], rel=1e-4)
