"""The first layer `gabor_log`: its filters, and the log of their averaged energy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from compress.speech.audio import SAMPLE_RATE
from compress.students.gabor import LOG_FLOOR, LogEnergy, gabor_pairs


@pytest.mark.parametrize("kernel", [2, 3, 160])
def test_gabor_filters_have_unit_norm_and_no_dead_edge(kernel: int) -> None:
    filters = gabor_pairs(8, kernel).double()
    assert filters.shape == (16, 1, kernel)
    torch.testing.assert_close(filters.norm(dim=-1), torch.ones(16, 1).double(), atol=1e-6, rtol=0)
    lowest = filters[[0, 8], 0]
    assert (lowest[:, [0, -1]].abs().sum(0) > 0).all()


def test_gabor_filters_ring_at_frequencies_equally_spaced_in_mel() -> None:
    filters = gabor_pairs(12, 640)[:, 0].double().numpy()
    spectrum = np.abs(np.fft.rfft(filters, 1 << 15))
    peaks_hz = spectrum.argmax(1) * SAMPLE_RATE / (1 << 15)
    mel = 2595 * np.log10(1 + np.array([90, 7200]) / 700)
    expected_hz = 700 * (10 ** (np.linspace(mel[0], mel[1], 12) / 2595) - 1)
    # The mirror image at −90 Hz pulls the lowest filters aside, a sine and a cosine differently.
    np.testing.assert_allclose(peaks_hz[2:12], expected_hz[2:], rtol=0.01)
    np.testing.assert_allclose(peaks_hz[14:], expected_hz[2:], rtol=0.01)


def test_log_energy_of_a_steady_tone_is_steady() -> None:
    """Cosine and sine are in quadrature: their energy does not follow the phase of the tone."""
    time_s = torch.arange(4000) / SAMPLE_RATE
    tone = 0.5 * torch.sin(2 * math.pi * 1000 * time_s)[None, None]
    filters = gabor_pairs(12, 320)
    energy = LogEnergy()(nn.functional.conv1d(tone, filters, stride=7))[0]
    loudest = energy[energy.mean(1).argmax()]
    assert float(loudest.max() - loudest.min()) < 0.01
    assert torch.equal(LogEnergy()(torch.zeros(1, 2, 3)), torch.zeros(1, 1, 3)), "silence is 0"


def test_energies_are_averaged_before_the_log() -> None:
    """Two pairs, five steps, three at a time and every second: by hand."""
    cosine = torch.tensor([[3.0, 0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    sine = torch.tensor([[4.0, 1.0, 2.0, 0.0, 2.0], [0.0, 0.0, 0.0, 6.0, 0.0]])
    energies = [[(25 + 1 + 5) / 3, (5 + 4 + 4) / 3], [0.0, 36 / 3]]
    expected = torch.log(torch.tensor([energies], dtype=torch.double) / LOG_FLOOR + 1)
    found = LogEnergy(3, 2)(torch.cat([cosine, sine])[None])
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-6)


def test_averaged_energy_of_a_voice_does_not_follow_its_pulses() -> None:
    """A pulse every 8 ms, 125 Hz: averages over 16 ms of steps of 2 ms hold two of them each."""
    pulses = torch.zeros(1, 1, 8000)
    pulses[..., ::128] = 1.0
    energies = nn.functional.conv1d(pulses, gabor_pairs(12, 160), stride=32)
    bare, averaged = LogEnergy()(energies)[0, 6], LogEnergy(8, 4)(energies)[0, 6]
    assert float(bare.std()) > 1
    assert float(averaged.std()) < 0.02
