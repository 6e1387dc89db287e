"""Stage 2: what is compared of a student and its guide stands for the same time."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from compress.distill.guidance import Guidance, Pair, align
from compress.errors import UsageError
from compress.speech.audio import HOP
from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer

STUDENT = ConvFCConfig(
    first_layer="gabor_log",
    first=Layer(32, 16, 8),
    layers=(Layer(3, 2, 8), Layer(3, 2, 4)),
    head_kernel=2,
    head_channels=(8, 8),
    past=256,
    future=256,
    outputs=3,
    batch_norm=False,
    energy=Layer(1, 1, 0),
)
FRAMES = 6


def shared(student: ConvFCConfig, guide: ConvFCConfig) -> tuple[ConvFC, ConvFC]:
    """Two students with the same weights, but for the steps that only one head spans."""
    torch.manual_seed(2)
    one, other = ConvFC(student).eval(), ConvFC(guide).eval()
    weights = {k: v for k, v in one.state_dict().items() if k != "steps.head2.weight"}
    other.load_state_dict(weights, strict=False)
    return one, other


def heard_by(config: ConvFCConfig, audio: Tensor, past: int, future: int) -> Tensor:
    """What one of the two hears of audio with `past` and `future` samples around its frames."""
    end = audio.shape[2] - (future - config.future)
    return audio[:, :, past - config.past : end]


@pytest.mark.parametrize(
    ("past", "future"),
    [(256, 256), (256 + 192, 256), (256, 256 + 128), (256 + 64, 256 - 64), (128, 128), (512, 64)],
)
@torch.no_grad()
def test_equal_layers_of_other_contexts_give_equal_features(past: int, future: int) -> None:
    """What is aligned is made of the same samples, so only rounding may differ."""
    config = replace(STUDENT, past=past, future=future)
    student, guide = shared(STUDENT, config)
    most = max(256, past), max(256, future)
    audio = torch.randn(2, 1, sum(most) + (FRAMES - 1) * HOP)
    names = ("conv1", "conv2", "head1")
    found = student.tapped(heard_by(STUDENT, audio, *most), names)[1]
    wanted = guide.tapped(heard_by(config, audio, *most), names)[1]
    for name in names:
        pair = align(STUDENT, config, name, name)
        mine, its = pair.aligned(found[name], wanted[name])
        # Not fewer than lie in the time that both hear.
        assert mine.shape == its.shape
        assert mine.shape[2] >= ((FRAMES - 1) * HOP) // STUDENT.grid(name)[0]
        assert float(its.std()) > 0.01
        torch.testing.assert_close(mine, its, atol=1e-5, rtol=0)
        shifted = replace(pair, guide_first=pair.guide_first + 1).aligned(found[name], wanted[name])
        assert float((shifted[0] - shifted[1]).abs().max()) > 0.01, "one step aside is not equal"


@torch.no_grad()
def test_the_heads_of_other_contexts_are_compared_frame_by_frame() -> None:
    """The guide hears 128 samples more of the past and 64 of the future, and ignores them."""
    config = replace(STUDENT, past=256 + 128, future=256 + 64)
    student, guide = shared(STUDENT, config)
    assert config.long_kernel == STUDENT.long_kernel + 3
    wider = guide.get_parameter("steps.head2.weight").zero_()
    wider[:, :, 2 : 2 + STUDENT.long_kernel] = student.get_parameter("steps.head2.weight")
    audio = torch.randn(2, 1, config.window + (FRAMES - 1) * HOP)
    heard = heard_by(STUDENT, audio, config.past, config.future)
    guidance = Guidance(STUDENT, guide, {"head2": "head2"})
    found = student.tapped(heard, ["head2"])[1]
    wanted = guidance.features(audio)
    assert found["head2"].shape[2] == wanted["head2"].shape[2] == FRAMES
    assert float(wanted["head2"].std()) > 0.01
    assert float(guidance(found, wanted)) < 1e-9
    later = {"head2": found["head2"].roll(1, 2)}
    assert float(guidance(later, wanted)) > 0.01


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_aligned_steps_lie_within_half_a_step_of_the_finer_layer(
    plans: st.SearchStrategy[ConvFCConfig], data: st.DataObject
) -> None:
    student, guide = data.draw(plans), data.draw(plans)
    assume(student.layers and guide.layers)
    name, guide_name = data.draw(
        st.sampled_from([("conv1", "conv1"), ("head1", "head1"), ("conv1", "head1")])
    )
    (stride, origin), (guide_stride, guide_origin) = student.grid(name), guide.grid(guide_name)
    pair = align(student, guide, name, guide_name)
    assert stride * pair.student_stride == guide_stride * pair.guide_stride
    assert 1 in (pair.student_stride, pair.guide_stride), "every step of the coarser layer"
    for k in range(3):
        at = origin + stride * (pair.student_first + k * pair.student_stride)
        guide_at = guide_origin + guide_stride * (pair.guide_first + k * pair.guide_stride)
        assert abs(at - guide_at) <= min(stride, guide_stride) / 2
    assert min(pair.student_first, pair.guide_first) >= 0
    # One step earlier would be before the beginning of one of them.
    assert (
        min(
            pair.student_first - pair.student_stride,
            pair.guide_first - pair.guide_stride,
        )
        < 0
    )


def test_strides_that_differ_meet_at_every_step_of_the_coarser_layer() -> None:
    """By hand: a step of conv1 hears 64 samples, one of conv2 128, and they come in 32 and 64.

    Step 0 of conv2 has its middle at sample 63.5, where step 1 of conv1 has its own.
    """
    assert STUDENT.grid("conv1") == (32, 31.5 - 256)
    assert STUDENT.grid("conv2") == (64, 63.5 - 256)
    finer = align(STUDENT, STUDENT, "conv1", "conv2")
    assert finer == Pair("conv1", "conv2", 1, 2, 0, 1)
    coarser = align(STUDENT, STUDENT, "conv2", "conv1")
    assert coarser == Pair("conv2", "conv1", 0, 1, 1, 2)
    steps = torch.arange(20.0).reshape(1, 1, 20)
    mine, its = coarser.aligned(steps[..., :7], steps)
    assert mine.flatten().tolist() == list(range(7))
    assert its.flatten().tolist() == [1, 3, 5, 7, 9, 11, 13]


def test_layers_that_are_not_there_are_refused_with_those_that_are() -> None:
    for names in (("conv3", "conv1"), ("conv1", "conv3")):
        with pytest.raises(
            UsageError, match=r"no layer 'conv3'.*Its layers are conv1, conv2.*the guide's conv1"
        ):
            align(STUDENT, STUDENT, *names)


def test_strides_that_are_no_multiples_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """All strides divide a hop, a power of two, so that this needs another hop."""
    monkeypatch.setattr("compress.students.conv_fc.HOP", 6 * 64)
    third = replace(STUDENT, layers=(Layer(3, 3, 8),), past=16 * 64, future=96, head_kernel=1)
    with pytest.raises(UsageError, match=r"every 32 samples.*head1, one every 48: expected"):
        align(STUDENT, third, "conv1", "head1")


def test_the_loss_by_hand() -> None:
    """Mean over pairs of the squared error over the guide's variance: no matter how loud it is."""
    _, guide = shared(STUDENT, STUDENT)
    guidance = Guidance(STUDENT, guide, {"conv1": "conv1", "head2": "head2"})
    assert not list(guidance.parameters()), "equal widths need no projection"
    wanted = {"conv1": 100 * torch.randn(2, 8, 15), "head2": torch.randn(2, 8, 6)}
    found = {"conv1": wanted["conv1"] + 50, "head2": wanted["head2"] - 2}
    expected = (2500 / wanted["conv1"].var() + 4 / wanted["head2"].var()) / 2
    assert float(guidance(found, wanted)) == pytest.approx(float(expected), rel=1e-4)
    assert float(guidance(wanted, wanted)) == 0


def test_by_channel_a_quiet_channel_counts_as_much_as_a_loud_one_and_a_still_one_not_at_all() -> (
    None
):
    _, guide = shared(STUDENT, STUDENT)
    guidance = Guidance(STUDENT, guide, {"conv1": "conv1"}, by_channel=True)
    wanted = torch.randn(2, 8, 500)
    wanted[:, 0] *= 100
    wanted[:, 7] = 0.5
    deviation = wanted.std((0, 2))[:, None]
    found = wanted + 0.5 * deviation
    found[:, 7] += 3  # of a unit of nothing
    assert float(guidance({"conv1": found}, {"conv1": wanted})) == pytest.approx(0.25, rel=1e-3)
    # By layer the loud channel is nearly all of it.
    layer = Guidance(STUDENT, guide, {"conv1": "conv1"})
    quiet = wanted.clone()
    quiet[:, 1:7] = 0
    assert float(layer({"conv1": quiet}, {"conv1": wanted})) < 0.01
    assert float(guidance({"conv1": quiet}, {"conv1": wanted})) > 0.5


def test_other_widths_are_projected_and_projections_learn_while_the_guide_does_not() -> None:
    narrow = replace(STUDENT, layers=(Layer(3, 2, 5), Layer(3, 2, 4)), head_channels=(3, 3))
    torch.manual_seed(1)
    student, guide = ConvFC(narrow), ConvFC(STUDENT).train()
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    guidance = Guidance(narrow, guide, {"conv1": "conv1", "conv2": "conv2", "head2": "head2"})
    shapes = {name: tuple(module.weight.shape) for name, module in guidance.projections.items()}
    assert shapes == {"conv1": (8, 5, 1), "head2": (8, 3, 1)}
    audio = torch.randn(2, 1, STUDENT.window + 5 * HOP)
    found = student.tapped(audio, ["conv1", "conv2", "head2"])[1]
    guidance(found, guidance.features(audio)).backward()
    for name, parameter in guidance.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    assert len(list(guidance.parameters())) == 4
    assert not guide.training
    assert not any(p.requires_grad or p.grad is not None for p in guide.parameters())
    assert all(torch.equal(value, before[name]) for name, value in guide.state_dict().items())
    assert student.get_parameter("steps.conv1.weight").grad is not None


def test_the_guide_goes_no_further_than_its_last_layer_compared() -> None:
    guide = ConvFC(STUDENT)
    last, found = guide.tapped(torch.randn(1, 1, 600), ["conv1"], rig=False)
    assert torch.equal(last, found["conv1"])
    assert guide.tapped(torch.randn(1, 1, 600), ["conv1"])[0].shape == (1, 3, 1)
