"""The Moonshine encoder against NumPy and against its own arithmetic."""

import numpy as np
import pytest
import torch

from compress.teachers.networks.moonshine import (
    MoonshineConfig,
    MoonshineEncoder,
    _rotate,
    pretrained_fields,
    read_encoder,
)

CONFIG = MoonshineConfig(dim=16, layers=2, heads=2, rotary_dim=4)
MIN_SAMPLES, STRIDE = CONFIG.least_samples, CONFIG.stride


@pytest.fixture
def encoder() -> MoonshineEncoder:
    torch.manual_seed(2)
    encoder = CONFIG.build().eval()
    encoder.inverse_frequencies.copy_(torch.tensor([1.0, 0.1]))
    return encoder


@torch.inference_mode()
def test_every_layer_comes_out_with_a_frame_a_stride(encoder: MoonshineEncoder) -> None:
    outputs = encoder(torch.randn(3, MIN_SAMPLES + 4 * STRIDE + 1))
    assert [tuple(output.shape) for output in outputs] == [(3, 5, 16)] * 3
    assert encoder(torch.randn(1, MIN_SAMPLES))[0].shape[1] == 1
    with pytest.raises(RuntimeError, match="size"):
        encoder(torch.randn(1, MIN_SAMPLES - 1))


def test_the_first_frame_is_centred_where_the_teacher_believes(encoder: MoonshineEncoder) -> None:
    """Gradients of the stem, without the group norm that sees the whole clip."""
    audio = torch.randn(1, MIN_SAMPLES + STRIDE, requires_grad=True)
    encoder.group_norm = torch.nn.Identity()  # type: ignore[assignment]
    encoder(audio)[0][0, 0].sum().backward()
    assert audio.grad is not None
    seen = audio.grad[0].nonzero()[:, 0]
    assert (int(seen.min()), int(seen.max())) == (0, MIN_SAMPLES - 1)
    assert (MIN_SAMPLES - 1) / 2 == CONFIG.first_centre == 447, "63 + 3 · 64 + 1 · 192"


def test_rotary_positions_turn_pairs_of_channels() -> None:
    """As complex numbers: channel pair k of frame t turns by t · frequency k; others stay."""
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 2, 5, 8))
    frequencies = np.array([1.0, 0.1])
    angle = np.arange(5)[:, None] * frequencies
    pairs = x[..., 0:4:2] + 1j * x[..., 1:4:2]
    turned = pairs * np.exp(1j * angle)
    expected = x.copy()
    expected[..., 0:4:2], expected[..., 1:4:2] = turned.real, turned.imag
    doubled = torch.from_numpy(angle).repeat_interleave(2, -1)
    found = _rotate(torch.from_numpy(x), doubled.cos(), doubled.sin())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@torch.inference_mode()
def test_equal_lengths_can_be_batched_and_padding_is_heard(encoder: MoonshineEncoder) -> None:
    audio = torch.randn(2, 8000)
    together = encoder(audio)[-1]
    for i in range(2):
        torch.testing.assert_close(together[i], encoder(audio[i : i + 1])[-1][0], atol=1e-5, rtol=0)
    padded = torch.nn.functional.pad(audio[:1], (0, 4000))
    assert not torch.allclose(encoder(padded)[-1][0, :15], together[0, :15], atol=1e-3)


def test_the_config_comes_back() -> None:
    assert read_encoder(CONFIG.to_json()) == CONFIG
    assert read_encoder({}) == MoonshineConfig(dim=288, layers=6, heads=8, rotary_dim=32)


def test_no_hugging_face_folder_is_read() -> None:
    with pytest.raises(ValueError, match="no encoder_weights"):
        pretrained_fields({"model_type": "moonshine"}, {})
