"""Losses by hand."""

import pytest
import torch

from compress import losses


def test_by_hand() -> None:
    label = torch.zeros(1, 2, 3)
    predicted = torch.tensor([[[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]]])
    reconstruction = losses.reconstruction(predicted, label).item()
    assert reconstruction == pytest.approx((0 + 1 + 9 + 4 + 4 + 4) / 6)
    # Steps of 1 and 2 in the first control, none in the second: a constant error has no velocity.
    assert losses.velocity(predicted, label).item() == (1 + 4 + 0 + 0) / 4
