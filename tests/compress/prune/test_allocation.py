"""Which channels go: by hand on a plan of round numbers, and what must hold for any plan."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.assets import resolve
from compress.distill.losses import reconstruction
from compress.errors import UsageError
from compress.prune.allocation import (
    MOST_CUTS,
    Allocation,
    Quantity,
    allocate,
    comparable,
    loss_rises,
    measure,
)
from compress.prune.channels import mean_activations, pruned, scores
from compress.speech import audio
from compress.students.contract import Window
from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer
from compress.students.facts import facts_of
from compress.students.storing import load_student, save_student

# Every kernel has one step but the first, so a layer has as many weights as input × output.
PLAN = ConvFCConfig(
    first_layer="conv",
    first=Layer(4, 4, 16),
    layers=(Layer(1, 1, 24),),
    head_kernel=1,
    head_channels=(16, 8),
    past=4,
    future=0,
    outputs=2,
    batch_norm=False,
)
WEIGHTS = {"first": 4 * 16, "conv1": 16 * 24, "head1": 24 * 16, "head2": 16 * 8, "rig": 8 * 2}
BIASES = {"first": 16, "conv1": 24, "head1": 16, "head2": 8, "rig": 2}
# Higher for channels with higher numbers; conv1 is the least important, then first.
RISING = {
    "first": torch.arange(16) + 2.0,
    "conv1": torch.arange(24) + 1.0,
    "head1": torch.arange(16) + 50.0,
    "head2": torch.arange(8) + 0.0,
}


def kept_widths(keep: Mapping[str, list[int]]) -> dict[str, int]:
    return {name: len(kept) for name, kept in keep.items()}


def test_measures_by_hand() -> None:
    assert measure(PLAN, "parameters") == sum(WEIGHTS.values()) + sum(BIASES.values()) == 1042
    assert measure(PLAN, "multiply_adds") == sum(WEIGHTS.values()) == 976
    assert measure(PLAN, "channels") == 16 + 24 + 16 + 8
    whole = 4 * (64 + 16) + 4 * (16 + 2)
    assert measure(PLAN, "bytes") == whole + (384 + 384 + 128) + (4 + 4) * (24 + 16 + 8)


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_measures_are_the_facts(
    plans: st.SearchStrategy[ConvFCConfig], data: st.DataObject
) -> None:
    config = data.draw(plans)
    assert measure(config, "parameters") == facts_of(config).parameters
    assert measure(config, "multiply_adds") == facts_of(config).multiply_adds_window


@pytest.mark.parametrize(
    ("remove", "widths"),
    [
        (0.05, {"first": 16, "conv1": 16, "head1": 16, "head2": 8}),  # from a share of 4/24 on
        (0.125, {"first": 16, "conv1": 16, "head1": 16, "head2": 8}),  # exactly
        (0.13, {"first": 8, "conv1": 16, "head1": 8, "head2": 8}),  # from 4/16 on
        (0.4, {"first": 8, "conv1": 8, "head1": 8, "head2": 8}),  # from 12/24 on
        (0.5, {"first": 8, "conv1": 8, "head1": 8, "head2": 8}),
    ],
)
def test_uniform_takes_the_smallest_share(remove: float, widths: dict[str, int]) -> None:
    keep = allocate(PLAN, RISING, "channels", remove, "uniform", 8)
    own = PLAN.prunable()
    assert keep == {name: list(range(own[name] - n, own[name])) for name, n in widths.items()}


def test_a_budget_that_is_just_met_is_met() -> None:
    """1 − 0.9 is less than 0.1 in floating point."""
    wide = PLAN.narrowed({"first": 80, "conv1": 80, "head1": 80, "head2": 80})
    keep = allocate(wide, {n: torch.zeros(80) for n in RISING}, "channels", 0.9, "uniform", 8)
    assert kept_widths(keep) == dict.fromkeys(RISING, 8)


def test_the_lowest_scores_of_a_layer_go() -> None:
    torch.manual_seed(1)
    mixed = {name: torch.rand(channels) for name, channels in PLAN.prunable().items()}
    keep = allocate(PLAN, mixed, "channels", 0.5, "uniform", 8)
    for name, kept in keep.items():
        gone = sorted(set(range(len(mixed[name]))) - set(kept))
        assert kept == sorted(kept)
        if gone:
            assert mixed[name][gone].max() < mixed[name][kept].min()


def test_channels_that_are_no_multiple_go_first() -> None:
    odd = PLAN.narrowed({"conv1": 21, "head2": 3})
    mixed = RISING | {"conv1": torch.arange(21) + 0.0, "head2": torch.zeros(3)}
    keep = allocate(odd, mixed, "channels", 0.05, "global", 8)
    assert kept_widths(keep) == {"first": 16, "conv1": 16, "head1": 16, "head2": 3}
    keep = allocate(odd, mixed, "channels", 0.5, "global", 8)
    assert kept_widths(keep) == {"first": 8, "conv1": 8, "head1": 8, "head2": 3}


def test_global_takes_the_lowest_blocks() -> None:
    """Block means: first 5.5; conv1 4.5 and 12.5; head1 53.5."""

    def widths(remove: float) -> list[int]:
        found = kept_widths(allocate(PLAN, RISING, "channels", remove, "global", 8))
        return list(found.values())

    assert widths(1 / 8) == [16, 16, 16, 8]
    assert widths(2 / 8) == [8, 16, 16, 8]
    assert widths(3 / 8) == [8, 8, 16, 8]
    assert widths(4 / 8) == [8, 8, 8, 8]


def test_a_block_that_is_not_needed_comes_back() -> None:
    """first goes first and saves 40 + 192 of 1042; conv1's block alone saves 136 + 128."""
    mixed = RISING | {"first": torch.zeros(16)}
    keep = allocate(PLAN, mixed, "parameters", 264 / 1042 - 1e-6, "global", 8)
    assert kept_widths(keep) == {"first": 16, "conv1": 16, "head1": 16, "head2": 8}


def test_comparable_scores() -> None:
    found = {"first": torch.tensor([1.0, 3.0]), "conv1": torch.zeros(2)}
    torch.testing.assert_close(
        comparable(found, "magnitude"),
        {"first": torch.tensor([0.5, 1.5]), "conv1": torch.zeros(2)},
    )
    assert comparable(found, "taylor") == found


def test_sensitivity_takes_what_costs_least_for_what_it_saves() -> None:
    """A block of first saves 40 + 192 parameters, of conv1 136 + 128, of head1 200 + 64."""
    rise: dict[str, list[float]] = {
        "first": [0.20],
        "conv1": [0.22, 9],
        "head1": [0.23],
        "head2": [],
    }

    def widths(remove: float) -> list[int]:
        keep = allocate(PLAN, RISING, "parameters", remove, "sensitivity", 8, rise)
        return list(kept_widths(keep).values())

    assert widths(0.2) == [16, 16, 16, 8], "0.22 / 264 is less than 0.20 / 232"
    # Then one of first saves 40 + 128, of head1 136 + 64: 0.23 / 200 is less than 0.20 / 168, while
    # 0.23 / 264 was more than 0.20 / 232.
    assert widths(0.3) == [16, 16, 8, 8]


def test_a_fall_of_the_loss_is_taken_for_chance() -> None:
    """Blocks of conv1 cost 0.1, nothing and 0.05: all before the one of first."""
    wide, scored = PLAN.narrowed({"conv1": 32}), RISING | {"conv1": torch.arange(32) + 0.0}
    rise: dict[str, list[float]] = {
        "first": [0.2],
        "conv1": [0.1, -0.2, 0.15],
        "head1": [0.3],
        "head2": [],
    }
    for blocks, conv1 in ((1, 24), (2, 16), (3, 8)):
        keep = allocate(wide, scored, "channels", blocks / 9, "sensitivity", 8, rise)
        assert kept_widths(keep) == {"first": 16, "conv1": conv1, "head1": 16, "head2": 8}


def test_sensitivity_needs_rises() -> None:
    with pytest.raises(ValueError, match="needs the rises"):
        allocate(PLAN, RISING, "channels", 0.1, "sensitivity", 8)


def test_a_budget_out_of_reach_names_the_layer_and_what_works() -> None:
    with pytest.raises(UsageError) as caught:
        allocate(PLAN, RISING, "channels", 0.6, "uniform", 8)
    assert str(caught.value) == (
        "pruning.remove is 0.6 of the channels, but taken evenly from all layers, that would empty "
        "first, which has 16 channels. The largest pruning.remove that works here is 0.50; a "
        "smaller pruning.multiple (now 8) or another pruning.allocation (now uniform) may allow "
        "more."
    )
    # 8 channels everywhere: 64 + 64 + 64 weights, 40 in the first layer, 32 biases, 18 in the rig.
    with pytest.raises(UsageError, match="274 of 1,042 are left, most of them, 72, in conv1"):
        allocate(PLAN, RISING, "parameters", 0.9, "global", 8)
    with pytest.raises(UsageError, match=r"is 0\.73; a smaller"):
        allocate(PLAN, RISING, "parameters", 0.9, "global", 8)
    with pytest.raises(UsageError, match=r"of the multiply-adds, .* leave pruning out"):
        allocate(PLAN, RISING, "multiply_adds", 0.1, "uniform", 24)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_plan_fits_its_budget_or_says_which_one_it_could(
    plans: st.SearchStrategy[ConvFCConfig], data: st.DataObject
) -> None:
    channels = st.integers(1, 30)
    config = data.draw(plans)
    config = config.narrowed({name: data.draw(channels) for name in config.prunable()})
    of, how = (
        data.draw(st.sampled_from(get_args(Quantity))),
        data.draw(st.sampled_from(get_args(Allocation))),
    )
    multiple = data.draw(st.sampled_from([1, 3, 8]))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    rated = {name: torch.rand(n) for name, n in config.prunable().items()}
    rise = {name: torch.rand(n).tolist() for name, n in config.prunable().items()}

    def widths(remove: float) -> dict[str, int]:
        return kept_widths(allocate(config, rated, of, remove, how, multiple, rise))

    remove = data.draw(st.integers(1, 99)) / 100
    try:
        found = widths(remove)
    except UsageError as refusal:
        largest = re.search(r"works here is (0\.\d\d);", str(refusal))
        if largest is None:
            with pytest.raises(UsageError):
                widths(0.01)
            return
        assert float(largest[1]) < remove
        with pytest.raises(UsageError):
            widths(round(float(largest[1]) + 0.01, 2))
        remove = float(largest[1])
        found = widths(remove)
    whole = measure(config, of)
    # In hundredths, exactly.
    assert 100 * measure(config.narrowed(found), of) <= round(100 - 100 * remove) * whole
    for name, width in found.items():
        own = config.prunable()[name]
        assert width == own or (width % multiple == 0 and 0 < width < own)
        if width < own and how != "uniform":
            back = min(own, width + multiple)
            more = measure(config.narrowed(found | {name: back}), of)
            assert 100 * more > round(100 - 100 * remove) * whole, "no more goes than must"


def fixed() -> ConvFC:
    torch.manual_seed(2)
    return ConvFC(PLAN).eval()


def test_loss_rises_of_each_layer_alone() -> None:
    """The judge counts biases: 66 and a layer's block of 8 less, if nothing else is touched."""

    def judge(student: ConvFC) -> float:
        return -float(sum(p.numel() for n, p in student.named_parameters() if "bias" in n))

    found = loss_rises(fixed(), RISING, None, 8, judge)
    assert found == {"first": [8], "conv1": [8, 16], "head1": [8], "head2": []}


@torch.no_grad()
def test_loss_rises_are_of_the_lowest_channels() -> None:
    student = fixed()
    torch.manual_seed(3)
    heard = torch.randn(4, 1, 4)
    batches = [(heard, torch.zeros(4, 2, 1))]
    means = mean_activations(student, batches)

    def judge(small: ConvFC) -> float:
        return float((small(heard) - student(heard)).square().mean())

    found = loss_rises(student, RISING, means, 8, judge)
    by_hand = judge(pruned(student, {"conv1": range(8, 24)}, means))
    assert by_hand > 0
    assert found["conv1"][0] == pytest.approx(by_hand, rel=1e-4)
    assert found["conv1"][0] != loss_rises(student, RISING, None, 8, judge)["conv1"][0]


def test_a_scan_of_many_blocks_is_thinned() -> None:
    judged = []

    def judge(student: ConvFC) -> float:
        judged.append(student.config)
        return 100.0 - student.config.layers[0].channels

    found = loss_rises(fixed(), RISING, None, 1, judge)
    assert found["conv1"] == pytest.approx(range(1, 24)), "a straight line stays one"
    assert len(judged) == 1 + 3 * MOST_CUTS + 7
    assert {1, 23} <= {config.layers[0].channels for config in judged}


def test_half_of_the_packaged_student(tmp_path: Path) -> None:
    """Its parameters, evenly; what is left is stored, read and run like any student."""
    student, card = load_student(resolve("builtin:tiny", Path()))
    folder = resolve("builtin:speech", Path())
    longest = max(folder.rglob("*.opus"), key=lambda path: path.stat().st_size)
    clip = torch.from_numpy(audio.read(longest))[None, None]
    heard = clip[..., : student.config.window + 50 * audio.HOP]
    batches = [(heard, torch.zeros(1, student.config.outputs, 51))]
    means = mean_activations(student, batches)
    rated = scores(student, "activation", batches, reconstruction)
    keep = allocate(student.config, rated, "parameters", 0.5, "uniform", 8)
    small = pruned(student, keep, means)
    assert 0.3 * student.parameters_count < small.parameters_count <= 0.5 * student.parameters_count
    assert small.parameters_count == measure(small.config, "parameters")
    assert all(width % 8 == 0 for width in small.config.prunable().values())

    save_student(tmp_path, small, replace(card, step="pruned", parameters=small.parameters_count))
    again, _ = load_student(tmp_path)
    assert again.config == small.config
    torch.testing.assert_close(again.state_dict(), small.state_dict(), atol=0, rtol=0)
    with torch.no_grad():
        dense = again.limited(again(heard))
        frames = [heard[..., j * audio.HOP :][..., : student.config.window] for j in range(51)]
        windows = Window(again)(torch.cat(frames)).T[None]
    # Both forms sum the same products in another order.
    torch.testing.assert_close(dense, windows, atol=1e-5, rtol=0)
    assert dense.std(2).max() > 0.01, "the mouth still moves"
