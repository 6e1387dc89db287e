"""Batch norm taken out and put back: the same function each time."""

import pytest
import torch

from compress.recipe.recipe import StudentSettings
from compress.students.conv_fc import ConvFC, build
from compress.students.folding import fold_batch_norm, unfold_batch_norm


@pytest.fixture
def folded(student_settings: StudentSettings) -> ConvFC:
    torch.manual_seed(3)
    return fold_batch_norm(build(student_settings, 2, (0.0, 1.0)))


def test_unfolded_it_is_the_same_function(folded: ConvFC) -> None:
    batches = [0.1 * torch.randn(2, 1, 3000) for _ in range(3)]
    unfolded = unfold_batch_norm(folded, batches)
    assert unfolded.config.batch_norm
    audio = 0.1 * torch.randn(1, 1, 2048)
    torch.testing.assert_close(unfolded(audio), folded(audio), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        fold_batch_norm(unfolded)(audio), folded(audio), atol=1e-5, rtol=1e-4
    )


def test_in_training_its_norms_find_what_they_hold(folded: ConvFC) -> None:
    """With the statistics of the very batch, training mode gives what evaluation gives."""
    audio = 0.1 * torch.randn(4, 1, 4000)
    unfolded = unfold_batch_norm(folded, [audio])
    expected = unfolded(audio)
    torch.testing.assert_close(unfolded.train()(audio), expected, atol=1e-4, rtol=1e-3)


def test_the_given_student_stays_as_it_is(folded: ConvFC) -> None:
    before = {name: value.clone() for name, value in folded.state_dict().items()}
    unfold_batch_norm(folded, [0.1 * torch.randn(2, 1, 3000)])
    after = folded.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
