"""Training with rounding in place: what moves when, and that it is the int8 student's rounding."""

import copy
import itertools
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from compress.distill.distilling import Material, distill
from compress.distill.stretches import Stretches
from compress.labels.examples import examples
from compress.labels.store import Labels
from compress.quantize.calibration import calibrate, choosing
from compress.quantize.graph import IntegerDense
from compress.quantize.qat import FakeQuantized
from compress.recipe.recipe import StudentSettings, TrainingSettings
from compress.speech.audio import HOP
from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer, build
from compress.students.folding import fold_batch_norm
from compress.students.integers import Choice, from_codes, to_codes

pytestmark = pytest.mark.slow  # graphs are captured by the dozen

CONFIG = ConvFCConfig(
    first_layer="gabor_log",
    first=Layer(32, 16, 8),
    layers=(Layer(3, 4, 8),),
    head_kernel=2,
    head_channels=(8, 8),
    past=256,
    future=256,
    outputs=2,
    limits=(-1.0, 1.0),
    batch_norm=False,
)
ALL: dict[str, Choice] = dict.fromkeys(CONFIG.layer_names, "int8")
MIXED: dict[str, Choice] = {**ALL, "first": "float", "head1": "int8_weights", "rig": "float"}


def noise(seed: int, loud: float = 0.2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return loud * torch.randn(2, 1, CONFIG.window + 5 * HOP, generator=generator)


@pytest.fixture(scope="module")
def student() -> ConvFC:
    torch.manual_seed(2)
    return ConvFC(CONFIG).eval()


@pytest.fixture(scope="module")
def made(student: ConvFC) -> FakeQuantized:
    """All in int8, two taps, ranges that freeze after two batches. Copied, never changed."""
    return FakeQuantized(
        student, ALL, [noise(1)], observer="minmax", taps=("conv1", "head2"), freeze_after=2
    )


@pytest.fixture
def fake(made: FakeQuantized) -> FakeQuantized:
    return copy.deepcopy(made)


def ranges_of(fake: FakeQuantized) -> dict[str, Tensor]:
    """All that rounding goes by, weights aside."""
    ends = ("scale", "zero_point", "min_val", "max_val")
    return {name: v.clone() for name, v in fake.state_dict().items() if name.endswith(ends)}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


# ------------------------------------------------------------------------------------------------
# it rounds as the int8 student does


@pytest.mark.parametrize("choices", [ALL, MIXED])
def test_untrained_it_is_the_calibrated_student(
    student: ConvFC, choices: dict[str, Choice]
) -> None:
    """Each rounding is that of the int8 graph, which a sum's last bit may tip by one code."""
    fake = FakeQuantized(student, choices, [noise(1)], observer="minmax", freeze_after=2)
    codes = choosing(calibrate(student, [noise(1)], "minmax"), CONFIG, choices)
    assert_same_rounding(fake, IntegerDense(student, codes), codes.tensors)
    twin, found = fake.quantized({"method": "qat"})
    assert found.layers == choices
    assert found.made_by == {"method": "qat"}
    assert found.tensors == codes.tensors
    assert found.weights.keys() == codes.weights.keys()
    for layer, scales in found.weights.items():
        assert scales == pytest.approx(codes.weights[layer], rel=1e-6)
    assert_equal(twin.state_dict(), student.state_dict())
    assert not twin.training


def assert_same_rounding(fake: FakeQuantized, integers: IntegerDense, tensors: object) -> None:
    assert isinstance(tensors, dict)
    audio = noise(3)
    with torch.no_grad():
        found, expected = fake.eval()(audio), integers(audio)
    code = max(code.scale for name, code in tensors.items() if name in ("rig", "head2"))
    torch.testing.assert_close(found, expected, rtol=0, atol=1.01 * code)
    assert ((found - expected).abs() > 1e-5).float().mean() <= 0.05


def test_trained_it_is_the_student_that_it_gives(fake: FakeQuantized) -> None:
    """Also after ranges have moved, and weights beyond the scales that froze before."""
    trained(fake, steps=4)
    twin, codes = fake.quantized({})
    assert_same_rounding(fake, IntegerDense(twin, codes), codes.tensors)
    for layer, scales in codes.weights.items():
        weight = getattr(twin.steps, layer).weight
        assert not torch.equal(from_codes(to_codes(weight, scales), scales), weight)


def test_weights_of_one_sign_have_no_zero_point(fake: FakeQuantized) -> None:
    """A low Gabor filter is positive throughout: its codes are symmetric as all the others'."""
    weights = fake.prepared.get_parameter("student.steps.first.weight")
    assert (weights > 0).all((1, 2)).any() or (weights < 0).all((1, 2)).any()
    fake.train().tapped(noise(3))
    _, codes = fake.quantized({})
    expected = weights.detach().abs().amax((1, 2)) / 127
    torch.testing.assert_close(torch.tensor(codes.weights["first"]), expected, rtol=1e-6, atol=0)
    for name, value in fake.state_dict().items():
        if name.endswith("zero_point") and value.numel() > 1:
            assert not value.any(), name


# ------------------------------------------------------------------------------------------------
# what moves when


def trained(fake: FakeQuantized, steps: int) -> None:
    fake.train()
    optimizer = torch.optim.SGD(fake.parameters(), 0.05)
    for step in range(steps):
        rig, _ = fake.tapped(noise(10 + step, loud=0.5))
        optimizer.zero_grad()
        (rig - 0.5).square().mean().backward()
        optimizer.step()


def test_ranges_follow_training_and_then_freeze(fake: FakeQuantized) -> None:
    seen = [ranges_of(fake)]
    fake.train()
    for loud in (0.4, 0.6, 0.8, 1.0):
        fake.tapped(noise(3, loud))
        seen.append(ranges_of(fake))
    moved = [
        any(not torch.equal(now[name], before[name]) for name in now)
        for before, now in itertools.pairwise(seen)
    ]
    assert moved == [True, True, False, False]
    assert fake.seen == 4


def test_ranges_of_activations_move_by_a_hundredth(fake: FakeQuantized) -> None:
    """An exponential mean of least and most with a constant of 0.01, by hand."""
    before = {name: fake.quantized({})[1].tensors[name] for name in ("audio", "rig")}
    loud = noise(3, 2.0)
    fake.train().tapped(loud)
    now = fake.quantized({})[1].tensors["audio"]
    ends = [before["audio"].scale * (code - before["audio"].zero_point) for code in (-128, 127)]
    least, most = (
        0.99 * e + 0.01 * x.item() for e, x in zip(ends, (loud.min(), loud.max()), strict=True)
    )
    assert now.scale == pytest.approx((most - least) / 255, rel=1e-5)


def test_scales_of_weights_follow_the_weights(fake: FakeQuantized) -> None:
    with torch.no_grad():
        fake.prepared.get_parameter("student.steps.conv1.weight").mul_(3)
    before = fake.quantized({})[1].weights["conv1"]
    fake.train().tapped(noise(3))
    now = fake.quantized({})[1].weights["conv1"]
    assert now == pytest.approx([3 * scale for scale in before], rel=1e-6)


def test_only_training_moves_anything(fake: FakeQuantized) -> None:
    before = ranges_of(fake)
    loud = noise(3, 2.0)
    fake.train().animate(loud[:, 0])
    fake(loud)
    fake.eval().animate(loud[:, 0])
    fake(loud)
    fake.tapped(loud)
    assert_equal(ranges_of(fake), before)
    assert fake.seen == 0


def test_watching_changes_nothing_of_the_training(fake: FakeQuantized) -> None:
    """Of the one that is watched, and of the one it was copied from."""
    watched, beside = copy.deepcopy(fake), copy.deepcopy(fake)
    watched.animate(noise(3)[:, 0])
    copy.deepcopy(beside).eval().animate(noise(3)[:, 0])
    for one in (fake, watched, beside):
        trained(one, steps=3)
    assert_equal(watched.state_dict(), fake.state_dict())
    assert_equal(beside.state_dict(), fake.state_dict())


def test_the_student_that_it_is_made_of_stays_as_it_is(student: ConvFC) -> None:
    own = copy.deepcopy(student)
    trained(FakeQuantized(own, MIXED, [noise(1)], observer="minmax", freeze_after=2), steps=2)
    assert_equal(own.state_dict(), student.state_dict())
    assert not own.training
    assert all(p.requires_grad and p.grad is None for p in own.parameters())


def test_gradients_reach_every_weight(fake: FakeQuantized) -> None:
    rig, _ = fake.train().tapped(noise(3))
    rig.square().mean().backward()
    found = dict(fake.named_parameters())
    assert len(found) == 9, "five weights, four biases"
    for name, parameter in found.items():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
        assert parameter.grad.isfinite().all(), name


# ------------------------------------------------------------------------------------------------
# copies, states and taps


def test_a_copy_is_apart(fake: FakeQuantized) -> None:
    before = copy.deepcopy(fake.state_dict())
    other = copy.deepcopy(fake)
    trained(other, steps=1)
    assert_equal(fake.state_dict(), before)
    assert other.choices == fake.choices
    other.eval()
    assert fake.train().training
    assert fake.prepared.training
    assert not other.prepared.training


def test_its_state_goes_into_a_fresh_one(fake: FakeQuantized, student: ConvFC) -> None:
    """Made on other audio, so that nothing is right by chance."""
    trained(fake, steps=3)
    fresh = FakeQuantized(
        student,
        ALL,
        [noise(9, 0.02)],
        observer="minmax",
        taps=("conv1", "head2"),
        freeze_after=2,
    )
    fresh.load_state_dict(fake.state_dict())
    assert_equal(fresh.state_dict(), fake.state_dict())
    assert torch.equal(fresh.eval()(noise(3)), fake.eval()(noise(3)))
    for one in (fresh, fake):
        trained(one, steps=2)
    assert_equal(fresh.state_dict(), fake.state_dict())


def test_taps_are_what_was_asked_for(fake: FakeQuantized, student: ConvFC) -> None:
    fake.eval()
    audio = noise(3)
    rig, taps = fake.tapped(audio, ("head2",))
    assert set(taps) == {"head2"}
    assert torch.equal(rig, fake(audio))
    _, both = fake.tapped(audio, ("conv1", "head2"))
    _, expected = student.tapped(audio, ("conv1", "head2"))
    _, codes = fake.quantized({})
    for name, value in both.items():
        assert value.shape == expected[name].shape
        whole = value / codes.tensors[name].scale
        torch.testing.assert_close(whole, whole.round(), rtol=0, atol=1e-4)
    # What is tapped is what the next layer hears.
    weight, bias = student.steps.rig.weight, student.steps.rig.bias
    rounded = from_codes(to_codes(weight, codes.weights["rig"]), codes.weights["rig"])
    following = torch.nn.functional.conv1d(both["head2"], rounded, bias)
    half = 0.501 * codes.tensors["rig"].scale
    inside = (rig - rig.min()).abs() > half
    inside &= (rig - rig.max()).abs() > half  # not where a range ends
    torch.testing.assert_close(following[inside], rig[inside], rtol=0, atol=half)


def test_any_length_and_batch_may_come(fake: FakeQuantized) -> None:
    for batch, frames in ((1, 1), (3, 2)):
        audio = torch.zeros(batch, 1, CONFIG.window + (frames - 1) * HOP)
        assert fake.train().tapped(audio)[0].shape == (batch, 2, frames)
    curves = fake.animate(10 * noise(3)[:1, 0])
    assert curves.shape == (1, 7, 2)
    assert curves.abs().max() <= 1, "within the limits"


# ------------------------------------------------------------------------------------------------
# under distillation


@pytest.fixture
def material(labels: Labels) -> Material:
    train = examples(labels, labels.side("train"))
    return Material(train[:3], train[3:], labels.driven)


@pytest.fixture
def training(student_settings: StudentSettings) -> TrainingSettings:
    changes = {
        "learning_rate": 0.01,
        "feature_layers": {"conv1": "conv1", "head2": "head2"},
        "feature_weight": 0.5,
        "ema": 0.5,
    }
    return student_settings.training.model_copy(update=changes)


def test_training_lowers_the_loss_and_ends_where_it_was_validated(
    student: ConvFC, material: Material, training: TrainingSettings, tmp_path: Path
) -> None:
    """From a face that is far off: the last bias has to move by many codes."""
    longer = training.model_copy(update={"steps": 24, "learning_rate": 0.05})
    off = copy.deepcopy(student)
    with torch.no_grad():
        off.steps.get_parameter("rig.bias").add_(2)
    stretches = Stretches(material.train, longer, 7)
    batches = [stretches.batch(i, CONFIG.past, CONFIG.future)[0] for i in (1, 2)]
    make = partial(FakeQuantized, off, ALL, batches, observer="minmax", freeze_after=12)
    fake, log = distill(make, material, longer, 7, tmp_path / "work")
    assert log.rows[-1]["validation"] < 0.7 * log.rows[0]["validation"]
    assert log.rows[-1]["loss"] < log.rows[0]["loss"]
    twin, codes = fake.quantized({})
    assert_same_rounding(fake, IntegerDense(twin, codes), codes.tensors)


def test_a_guide_is_listened_to(
    made: FakeQuantized,
    material: Material,
    training: TrainingSettings,
    student_settings: StudentSettings,
    tmp_path: Path,
) -> None:
    guide = fold_batch_norm(build(student_settings, 2, None))
    make = partial(copy.deepcopy, made)
    alone, _ = distill(make, material, training, 7, tmp_path / "alone")
    guided, log = distill(make, material, training, 7, tmp_path / "guided", guide=guide)
    assert log.rows[-1]["feature"] < log.rows[0]["feature"]
    weights = [
        fake.quantized({})[0].steps.get_parameter("conv1.weight") for fake in (alone, guided)
    ]
    assert not torch.equal(*weights)


@pytest.mark.parametrize("step", [2, 6])
def test_an_interrupted_training_ends_in_the_same_bytes(
    made: FakeQuantized,
    material: Material,
    training: TrainingSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    """Before any checkpoint, and two steps after one; ranges freeze at the third step."""
    make = partial(copy.deepcopy, made)
    undisturbed, _ = distill(make, material, training, 7, tmp_path / "undisturbed")
    whole = Stretches.batch

    def interrupted(self: Stretches, now: int, past: int, future: int) -> tuple[Tensor, Tensor]:
        if now == step:
            raise KeyboardInterrupt
        return whole(self, now, past, future)

    with monkeypatch.context() as patch:
        patch.setattr(Stretches, "batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            distill(make, material, training, 7, tmp_path / "work")
    again, _ = distill(make, material, training, 7, tmp_path / "work")
    assert_equal(again.state_dict(), undisturbed.state_dict())
    one, other = again.quantized({}), undisturbed.quantized({})
    assert_equal(one[0].state_dict(), other[0].state_dict())
    assert one[1] == other[1]
