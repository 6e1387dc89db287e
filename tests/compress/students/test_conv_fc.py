"""The student: one set of weights, two forms; its receptive field; plans that cannot work."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import compress
from compress.recipe.recipe import LayerSettings, StudentSettings, load_recipe, shipped_recipes
from compress.speech import audio
from compress.speech.audio import HOP
from compress.students.contract import Window
from compress.students.conv_fc import ACTIVATIONS, ConvFC, ConvFCConfig, Layer, build, from_config
from compress.students.folding import fold_batch_norm

FRAMES = 4
Plans = st.SearchStrategy[ConvFCConfig]


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


def without_activations(student: ConvFC) -> ConvFC:
    """A unit that is off would hide what it sees."""
    for name, module in student.steps.named_children():
        if isinstance(module, tuple(ACTIVATIONS.values())):
            setattr(student.steps, name, nn.Identity())
    return student


def noise(config: ConvFCConfig, frames: int = FRAMES) -> Tensor:
    """Noise that some frames see, `[1, 1, samples]`."""
    random = np.random.default_rng(4)
    samples = random.uniform(-0.5, 0.5, config.window + (frames - 1) * HOP)
    return torch.from_numpy(samples.astype(np.float32))[None, None]


def assert_forms_agree(student: ConvFC, heard: Tensor, tolerance: float) -> None:
    """Every frame of the dense form and every window by itself, for `[1, 1, samples]`."""
    config = student.config
    dense = student.limited(student(heard))[0]
    assert dense.shape == (config.outputs, (heard.shape[2] - config.window) // HOP + 1)
    windows = heard[0, 0].unfold(0, config.window, HOP)[:, None]
    torch.testing.assert_close(Window(student)(windows).T, dense, atol=tolerance, rtol=0)


@given(st.data())
@settings(max_examples=40, deadline=None)
@torch.inference_mode()
def test_dense_form_equals_window_form(plans: Plans, data: st.DataObject) -> None:
    config = data.draw(plans)
    student, heard = trained(config), noise(config)
    # Float32 rounding of sums in another order; values are of any size here.
    tolerance = 1e-5 * max(1.0, float(student(heard).abs().max()))
    assert_forms_agree(student, heard, tolerance)
    assert_forms_agree(fold_batch_norm(student), heard, tolerance)


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_both_forms_have_the_same_gradients(plans: Plans, data: st.DataObject) -> None:
    config = data.draw(plans)
    student, heard = trained(config), noise(config)
    wanted = torch.linspace(-1, 1, FRAMES).repeat(config.outputs, 1)
    ((student(heard)[0] - wanted) ** 2).sum().backward()
    dense = [p.grad.clone() for p in student.parameters() if p.grad is not None]
    student.zero_grad()
    for frame in range(FRAMES):
        window = heard[..., frame * HOP : frame * HOP + config.window]
        ((Window(student)(window)[0] - wanted[:, frame]) ** 2).sum().backward()
    assert len(dense) == len(list(student.parameters()))
    for found, (name, parameter) in zip(dense, student.named_parameters(), strict=True):
        assert parameter.grad is not None
        # Float32 sums in another order, over all steps of all frames.
        tolerance = 1e-4 * max(1.0, float(found.abs().max()))
        torch.testing.assert_close(
            parameter.grad, found, atol=tolerance, rtol=0, msg=lambda text, name=name: name + text
        )


@cache
def real_speech(samples: int) -> Tensor:
    """The loudest packaged clip's beginning, `[1, 1, samples]`."""
    folder = Path(compress.__file__).parent / "assets" / "speech" / "en"
    clips = [audio.read(path) for path in sorted(folder.rglob("*.*"))[:20]]
    clip = max((c for c in clips if len(c) >= samples), key=lambda c: float(np.abs(c).mean()))
    assert np.abs(clip[:samples]).max() > 0.1
    return torch.from_numpy(clip[:samples])[None, None]


@cache
def assert_forms_of_a_plan_agree(config: ConvFCConfig) -> None:
    """With batch norms that have heard both, and random weights: curves from -1 to 1, as of a rig."""
    torch.manual_seed(3)
    trainee = ConvFC(config)
    heard, hiss = real_speech(config.window + 39 * HOP), noise(config, 40)
    for module in trainee.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.weight.uniform_(0.5, 2.0)
            module.bias.uniform_(-1.0, 1.0)
            module.momentum = None  # its statistics are those of what it hears now
    trainee.train()(torch.cat([heard, hiss]))
    trainee.eval()
    sounds = (heard, 0.01 * heard, hiss)
    largest = max(float(trainee(sound).abs().max()) for sound in sounds)
    for parameter in trainee.get_submodule("steps.rig").parameters():
        parameter /= largest
    folded = fold_batch_norm(trainee)
    for sound in sounds:
        rig = trainee(sound)
        assert float(rig.std(2).mean()) > 0.01, "they move"
        assert_forms_agree(folded, sound, 1e-5)
        torch.testing.assert_close(folded(sound), rig, atol=1e-5, rtol=0)


@pytest.mark.parametrize("recipe", shipped_recipes())
@torch.inference_mode()
def test_both_forms_of_every_shipped_student_agree_on_speech_and_on_noise(recipe: str) -> None:
    for student in load_recipe(recipe).students:
        with torch.device("meta"):
            config = build(student, 26, None).config
        assert_forms_of_a_plan_agree(config)  # once for equal plans


@given(st.data(), st.integers(0, FRAMES - 1))
@settings(max_examples=40, deadline=None)
@torch.inference_mode()
def test_the_receptive_field_is_past_and_future_exactly(
    plans: Plans, data: st.DataObject, frame: int
) -> None:
    config = data.draw(plans)
    student = without_activations(trained(config)).double()
    heard = noise(config).double()
    before = student(heard)[0, :, frame]
    first, last = frame * HOP, frame * HOP + config.past + config.future - 1

    outside = heard + 0.5
    outside[..., first : last + 1] = heard[..., first : last + 1]
    assert torch.equal(student(outside)[0, :, frame], before)

    for edge in (first, last):
        inside = heard.clone()
        inside[..., edge] += 5.0
        assert not torch.equal(student(inside)[0, :, frame], before), f"sample {edge}"


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_grid_says_where_a_layers_steps_lie(plans: Plans, data: st.DataObject) -> None:
    """By the gradient: the samples that a step hears, and their middle, in time of frame 0."""
    config = data.draw(plans)
    student = without_activations(trained(config))
    names = [*(f"conv{i}" for i in range(1, len(config.layers) + 1)), "head1", "head2"]
    heard = noise(config).requires_grad_()
    found = student.tapped(heard, names)[1]
    assert sorted(found) == sorted(names)
    for name in names:
        assert found[name].shape[1] == config.channels(name)
        stride, origin = config.grid(name)
        for step in (0, found[name].shape[2] - 1):
            (slope,) = torch.autograd.grad(found[name][0, :, step].sum(), heard, retain_graph=True)
            heard_by = slope[0, 0].nonzero().flatten()
            first, last = int(heard_by[0]), int(heard_by[-1])
            at = origin + step * stride
            if name == "head2":
                assert (first, last) == (at, at + config.window - 1)
            else:
                assert (first + last) / 2 - config.past == at


@pytest.mark.parametrize("name", ["conv0", "conv3", "head3", "first", "rig"])
def test_a_layer_that_is_not_there_has_no_grid(name: str) -> None:
    two = replace(WORKS, layers=(Layer(3, 4, 8), Layer(1, 1, 8)))
    assert two.grid("conv2") == two.grid("conv1") == (64, 31.5 - 256)
    with pytest.raises(KeyError, match=name):
        two.grid(name)


@torch.inference_mode()
def test_what_is_tapped_is_what_the_dense_form_passes_through() -> None:
    student, heard = trained(WORKS), noise(WORKS)
    rig, found = student.tapped(heard, ["conv1", "head2"])
    assert torch.equal(rig, student(heard))
    assert sorted(found) == ["conv1", "head2"]
    assert (found["conv1"] >= 0).all(), "behind its activation"
    assert torch.equal(student.steps.rig(found["head2"]), rig)
    last, found = student.tapped(heard, ["conv1"], rig=False)
    assert torch.equal(last, found["conv1"])


@torch.inference_mode()
def test_waveform_energies_and_rig_stay_float32_under_autocast() -> None:
    student = trained(replace(WORKS, first_layer="gabor_log", energy=Layer(5, 1, 0)))
    heard = noise(student.config)
    types = {}
    for name, module in student.steps.named_children():
        module.register_forward_hook(
            lambda _, _inputs, out, name=name: types.update({name: out.dtype})
        )
    with torch.autocast("cpu", torch.bfloat16):
        rig = student.tapped(heard)[0]
    whole = {"first", "first_log", "rig"}
    assert {types.pop(name) for name in whole} == {torch.float32}
    assert {types[name] for name in ("conv1", "head1", "head2")} == {torch.bfloat16}
    expected = student(heard)
    assert not torch.equal(rig, expected)
    torch.testing.assert_close(rig, expected, atol=0.05 * float(expected.std()), rtol=0)


@given(st.data())
@settings(max_examples=40, deadline=None)
@torch.inference_mode()
def test_folding_batch_norm_changes_nothing(plans: Plans, data: st.DataObject) -> None:
    config = data.draw(plans)
    student, heard = trained(config), noise(config)
    folded = fold_batch_norm(student)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in folded.modules())
    expected = student(heard)
    tolerance = 1e-5 * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(folded(heard), expected, atol=tolerance, rtol=0)
    assert torch.equal(fold_batch_norm(folded)(heard), folded(heard)), "folding twice is once"
    assert not folded.training


@given(st.data(), st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_a_window_that_the_kernels_do_not_fill_is_refused_with_two_that_they_do(
    plans: Plans, data: st.DataObject, more: int
) -> None:
    config = data.draw(plans)
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


@given(st.data(), st.integers(1, 9000))
@settings(max_examples=60, deadline=None)
def test_a_window_shorter_than_the_kernels_is_refused_with_both_lengths(
    plans: Plans, data: st.DataObject, window: int
) -> None:
    config = data.draw(plans)
    shortest = config.window - (config.long_kernel - 1) * config.total_stride
    past = data.draw(st.integers(0, min(window, shortest - 1)))
    future = min(window, shortest - 1) - past
    message = (
        f"see {shortest} samples, more than the window of {past} \\+ {future} = {past + future}"
    )
    with pytest.raises(ValueError, match=message):
        replace(config, past=past, future=future)


@given(st.data(), st.integers(2, 600))
@settings(max_examples=60, deadline=None)
def test_strides_that_do_not_divide_the_hop_are_refused_with_their_product(
    plans: Plans, data: st.DataObject, stride: int
) -> None:
    config = data.draw(plans)
    total = config.total_stride // config.first.stride * stride
    if HOP % total == 0:
        return
    with pytest.raises(ValueError, match=rf"strides {stride}\b.* = {total} samples do not divide"):
        replace(config, first=replace(config.first, stride=stride))


WORKS = ConvFCConfig(
    first_layer="conv",
    first=Layer(32, 16, 8),
    layers=(Layer(3, 4, 8),),
    head_kernel=2,
    head_channels=(8, 8),
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
            {"energy": Layer(8, 4, 0)},
            "`conv` has no energies to average, but its energy kernel is 8 and its energy stride 4",
        ),
        (
            {"first_layer": "gabor_log", "energy": Layer(1, 8, 0)},
            "the strides 16 × 8 × 4 = 512 samples do not divide the hop of 256",
        ),
        (
            {"first_layer": "gabor_log", "energy": Layer(3, 1, 0)},
            # 2 · 16 samples more under each step than 128.
            r"leaves 32 samples .* are 480 and 544",
        ),
        (
            {"first": Layer(32, 12, 8)},
            "the strides 12 × 4 = 48 samples do not divide the hop of 256",
        ),
        ({"first": Layer(32, 256, 8)}, "256 × 4 = 1024"),
        ({"past": 64, "future": 32}, r"see 128 samples, more than the window of 64 \+ 32 = 96"),
        ({"past": 300}, r"leaves 44 samples .* are 512 and 576"),
        ({"first_layer": "gabor_log", "first": Layer(1, 16, 8)}, "kernel of 1 samples.*at least 2"),
    ],
    ids=[
        "energies of none",
        "energy stride",
        "energy kernel",
        "stride",
        "stride over a hop",
        "short window",
        "rest",
        "gabor",
    ],
)
def test_plans_that_cannot_work_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(WORKS, **change)  # type: ignore[arg-type]


def test_a_plan_survives_json() -> None:
    averaging = {"first_layer": "gabor_log", "energy": Layer(5, 1, 0), "activation": "silu"}
    for config in (
        WORKS,
        replace(WORKS, limits=(0.0, 1.0), batch_norm=False),
        replace(WORKS, **averaging),  # type: ignore[arg-type]
    ):
        assert from_config(config.to_json()).config == config


def test_width_scales_every_layer_but_the_rig() -> None:
    asked = StudentSettings(
        name="a",
        past_ms=16.0,
        future_ms=16.0,
        filters=72,
        first_kernel=32,
        first_stride=16,
        energy_kernel=1,
        energy_stride=1,
        layers=(LayerSettings(kernel=3, stride=4, channels=20),),
        head_channels=256,
        head_kernel=2,
        width=0.25,
    )
    config = build(asked, 26, (0.0, 1.0)).config
    # 18 is nearer to 16 than to 24; 5 is nearer to 8 than to 0, and no layer is empty.
    assert (config.first.channels, config.layers[0].channels, config.head_channels) == (
        16,
        8,
        (64, 64),
    )
    assert (config.past, config.future) == (256, 256)
    assert (config.outputs, config.limits) == (26, (0.0, 1.0))


@torch.inference_mode()
def test_animate_gives_one_frame_a_hop_with_silence_around() -> None:
    student = trained(replace(WORKS, past=384, future=128, limits=(-0.1, 0.1)))
    samples = 5 * HOP + 1
    heard = noise(WORKS)[0, :, :samples]
    assert heard.shape[1] < samples, "one hop is short, so that the end is padded"
    heard = torch.cat([heard, heard[:, : samples - heard.shape[1]]], 1)
    curves = student.animate(heard)
    assert curves.shape == (1, 6, 3)
    for hop in range(6):
        window = torch.zeros(512)
        for place in range(512):
            sample = hop * HOP - 384 + place
            if 0 <= sample < samples:
                window[place] = heard[0, sample]
        torch.testing.assert_close(
            curves[0, hop], Window(student)(window[None, None])[0], atol=1e-6, rtol=0
        )
    assert curves.abs().max() <= 0.1
    assert (student(noise(WORKS)).abs() > 0.1).any(), "the limits had something to do"


def test_no_future_leaves_the_end_unseen() -> None:
    student = trained(replace(WORKS, past=512, future=0))
    assert student.animate(torch.zeros(2, 3 * HOP)).shape == (2, 3, 3)
