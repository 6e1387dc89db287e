"""The student: one set of weights, two forms; its receptive field; plans that cannot work."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compress.audio import HOP, SAMPLE_RATE
from compress.recipe import LayerSettings, StudentSettings
from compress.students.conv_fc import (
    ConvFC,
    ConvFCConfig,
    Layer,
    LogEnergy,
    Window,
    build,
    fold_batch_norm,
    from_config,
    gabor_pairs,
)

FRAMES = 4


def field(layers: list[Layer]) -> int:
    """Samples behind one output, counted backwards from it."""
    samples = 1
    for layer in reversed(layers):
        samples = (samples - 1) * layer.stride + layer.kernel
    return samples


@st.composite
def plans(draw: st.DrawFn) -> ConvFCConfig:
    """Plans that work: total strides that divide the hop, a window that the kernels just fill."""
    first = Layer(draw(st.integers(2, 40)), draw(st.sampled_from([4, 16, 32])), 8)
    strides = draw(st.sampled_from([(), (1,), (4,), (2, 4), (8, 1)]))
    kernels = st.integers(1, 4)
    layers = tuple(
        Layer(draw(kernels), stride, draw(st.sampled_from([3, 8]))) for stride in strides
    )
    head_kernel, long_kernel = draw(kernels), draw(kernels)
    head = [Layer(head_kernel, 1, 8), Layer(long_kernel, 1, 8)]
    window = field([first, *layers, *head])
    past = draw(st.integers(0, window))
    return ConvFCConfig(
        first_layer=draw(st.sampled_from(["gabor_log", "conv"])),
        first=first,
        layers=layers,
        head_kernel=head_kernel,
        head_channels=8,
        past=past,
        future=window - past,
        outputs=3,
    )


def trained(config: ConvFCConfig) -> ConvFC:
    """A student whose batch norms have seen something, in evaluation mode, always the same."""
    torch.manual_seed(3)
    student = ConvFC(config).eval()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm1d):
            for values, low, high in (
                (module.running_mean, -1.0, 1.0),
                (module.running_var, 0.5, 4.0),
                (module.weight.data, 0.5, 2.0),
                (module.bias.data, -1.0, 1.0),
            ):
                assert values is not None
                values.uniform_(low, high)
    return student


def speech(config: ConvFCConfig) -> torch.Tensor:
    """Noise that four frames see, `[1, 1, samples]`."""
    random = np.random.default_rng(4)
    samples = random.uniform(-0.5, 0.5, config.window + (FRAMES - 1) * HOP)
    return torch.from_numpy(samples.astype(np.float32))[None, None]


@given(plans())
@settings(max_examples=40, deadline=None)
@torch.inference_mode()
def test_dense_form_equals_window_form(config: ConvFCConfig) -> None:
    student, audio = trained(config), speech(config)
    dense = student(audio)[0]
    assert dense.shape == (3, FRAMES)
    windows = audio[0, 0].unfold(0, config.window, HOP)[:, None]
    one_by_one = Window(student)(windows).T
    # Float32 rounding of sums in another order.
    tolerance = 1e-5 * max(1.0, float(dense.abs().max()))
    torch.testing.assert_close(one_by_one, dense, atol=tolerance, rtol=0)


@given(plans(), st.integers(0, FRAMES - 1))
@settings(max_examples=40, deadline=None)
@torch.inference_mode()
def test_the_receptive_field_is_past_and_future_exactly(config: ConvFCConfig, frame: int) -> None:
    student, audio = trained(config), speech(config)
    for name, module in student.steps.named_children():
        if isinstance(module, nn.ReLU):  # a unit that is off would hide what it sees
            setattr(student.steps, name, nn.Identity())
    before = student(audio)[0, :, frame]
    first, last = frame * HOP, frame * HOP + config.window - 1

    outside = audio + 0.5
    outside[..., first : last + 1] = audio[..., first : last + 1]
    assert torch.equal(student(outside)[0, :, frame], before)

    for edge in (first, last):
        inside = audio.clone()
        inside[..., edge] += 5.0
        assert not torch.equal(student(inside)[0, :, frame], before), f"sample {edge}"


@given(plans())
@settings(max_examples=40, deadline=None)
@torch.inference_mode()
def test_folding_batch_norm_changes_nothing(config: ConvFCConfig) -> None:
    student, audio = trained(config), speech(config)
    folded = fold_batch_norm(student)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in folded.modules())
    expected = student(audio)
    tolerance = 1e-5 * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(folded(audio), expected, atol=tolerance, rtol=0)
    assert torch.equal(fold_batch_norm(folded)(audio), folded(audio)), "folding twice is once"
    assert not folded.training


@given(plans(), st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_a_window_that_the_kernels_do_not_fill_is_refused_with_two_that_they_do(
    config: ConvFCConfig, more: int
) -> None:
    longer = config.window + more
    if more % config.total_stride == 0:
        assert replace(config, past=longer, future=0).window == longer
        return
    with pytest.raises(ValueError, match=f"leaves {more % config.total_stride} samples") as caught:
        replace(config, past=longer, future=0)
    near = re.search(r"are (\d+) and (\d+);", str(caught.value))
    assert near is not None
    low, high = int(near[1]), int(near[2])
    assert low < longer < high
    for window in (low, high):
        assert replace(config, past=window, future=0).window == window


WORKS = ConvFCConfig(
    first_layer="conv",
    first=Layer(32, 16, 8),
    layers=(Layer(3, 4, 8),),
    head_kernel=2,
    head_channels=8,
    past=256,
    future=256,
    outputs=3,
)


def test_a_plan_by_hand() -> None:
    """One step of conv1 sees 32 + 2 · 16 = 64 samples, and they come every 64 samples.

    Two of these under the head's first kernel are 128 samples; 512 − 128 = 6 · 64 are left.
    """
    assert (WORKS.total_stride, WORKS.long_kernel, WORKS.window) == (64, 7, 512)
    weights = sum([32 * 8, 3 * 8 * 8, 2 * 8 * 8, 7 * 8 * 8, 8 * 3])
    biases = 8 * 4 + 3
    norms = 2 * 8 * 4
    assert ConvFC(WORKS).parameters_count == weights + biases + norms
    assert fold_batch_norm(ConvFC(WORKS)).parameters_count == weights + biases


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"first": Layer(32, 12, 8)},
            "the strides 12 × 4 = 48 samples do not divide the hop of 256",
        ),
        ({"first": Layer(32, 256, 8)}, "256 × 4 = 1024"),
        ({"past": 64, "future": 32}, r"see 128 samples, more than the window of 64 \+ 32 = 96"),
        ({"past": 300}, r"leaves 44 samples .* are 512 and 576"),
        ({"first_layer": "gabor_log", "first": Layer(1, 16, 8)}, "kernel of 1 samples.*at least 2"),
    ],
    ids=["stride", "stride over a hop", "short window", "rest", "gabor"],
)
def test_plans_that_cannot_work_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(WORKS, **change)  # type: ignore[arg-type]


def test_a_plan_survives_json() -> None:
    for config in (WORKS, replace(WORKS, limits=(0.0, 1.0), batch_norm=False)):
        assert from_config(config.to_json()).config == config


def test_width_scales_every_layer_but_the_rig() -> None:
    asked = StudentSettings(
        name="a",
        past_ms=16.0,
        future_ms=16.0,
        filters=72,
        first_kernel=32,
        first_stride=16,
        layers=(LayerSettings(kernel=3, stride=4, channels=20),),
        head_channels=256,
        head_kernel=2,
        width=0.25,
    )
    config = build(asked, 26, (0.0, 1.0)).config
    # 18 is nearer to 16 than to 24; 5 is nearer to 8 than to 0, and no layer is empty.
    assert (config.first.channels, config.layers[0].channels, config.head_channels) == (16, 8, 64)
    assert (config.past, config.future) == (256, 256)
    assert (config.outputs, config.limits) == (26, (0.0, 1.0))


@torch.inference_mode()
def test_animate_gives_one_frame_a_hop_with_silence_around() -> None:
    student = trained(replace(WORKS, past=384, future=128, limits=(-0.1, 0.1)))
    samples = 5 * HOP + 1
    audio = speech(WORKS)[0, :, :samples]
    assert audio.shape[1] < samples, "one hop is short, so that the end is padded"
    audio = torch.cat([audio, audio[:, : samples - audio.shape[1]]], 1)
    curves = student.animate(audio)
    assert curves.shape == (1, 6, 3)
    for hop in range(6):
        window = torch.zeros(512)
        for place in range(512):
            sample = hop * HOP - 384 + place
            if 0 <= sample < samples:
                window[place] = audio[0, sample]
        torch.testing.assert_close(
            curves[0, hop], Window(student)(window[None, None])[0], atol=1e-6, rtol=0
        )
    assert curves.abs().max() <= 0.1
    assert (student(speech(WORKS)).abs() > 0.1).any(), "the limits had something to do"


def test_no_future_leaves_the_end_unseen() -> None:
    student = trained(replace(WORKS, past=512, future=0))
    assert student.animate(torch.zeros(2, 3 * HOP)).shape == (2, 3, 3)


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
