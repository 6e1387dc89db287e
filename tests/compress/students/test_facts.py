"""What a student costs: by hand, and against what torch counts while it runs."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from compress.recipe.recipe import load_recipe, shipped_recipes
from compress.speech.audio import HOP
from compress.students.conv_fc import ConvFC, ConvFCConfig, Layer, build
from compress.students.facts import StudentFacts, facts_of

BY_HAND = ConvFCConfig(
    first_layer="gabor_log",
    first=Layer(32, 16, 8),
    layers=(Layer(3, 2, 4),),
    head_kernel=2,
    head_channels=(6, 6),
    past=256,
    future=192,
    outputs=5,
    energy=Layer(3, 2, 0),
)


def counted(config: ConvFCConfig, samples: int) -> int:
    """Multiply-adds of the folded student on so many samples, as torch counts them."""
    with torch.device("meta"):
        student = ConvFC(replace(config, batch_norm=False))
        audio = torch.empty(1, 1, samples)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        student(audio)
    assert counter.get_total_flops() % 2 == 0  # a multiplication and an addition each
    return counter.get_total_flops() // 2


def test_facts_by_hand() -> None:
    """Of 448 samples the filters make 27 steps, their averages 13, conv1 6 and head1 5.

    In a hop of 256 samples these are 16, 8, 4 and 4; the rest is made once.
    """
    weights = {"first": 32 * 16, "conv1": 3 * 8 * 4, "head1": 2 * 4 * 6, "head2": 5 * 6 * 6}
    rig = 6 * 5
    parameters = sum(weights.values()) + rig + (4 + 6 + 6 + 5)
    assert parameters == 887
    assert facts_of(BY_HAND) == StudentFacts(
        parameters=parameters,
        multiply_adds_window=27 * 512 + 6 * 96 + 5 * 48 + 180 + 30,
        multiply_adds_hop=16 * 512 + 4 * 96 + 4 * 48 + 180 + 30,
        receptive_field=448,
        receptive_field_ms=28.0,
        past_ms=16.0,
        future_ms=12.0,
        bytes_fp32=4 * 887,
        bytes_fp16=2 * 887,
    )


def assert_counted(config: ConvFCConfig) -> None:
    """Against torch: the window, and what each further hop of the dense form adds to it."""
    facts = facts_of(config)
    one, three, eight = (counted(config, config.window + hops * HOP) for hops in (0, 2, 7))
    assert facts.multiply_adds_window == one
    assert facts.multiply_adds_hop == (eight - three) / 5 == (three - one) / 2
    with torch.device("meta"):
        folded = ConvFC(replace(config, batch_norm=False))
    assert facts.parameters == folded.parameters_count
    assert facts_of(folded.config) == facts, "of a student that is folded and of one that is not"


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_torch_counts_the_same(plans: st.SearchStrategy[ConvFCConfig], data: st.DataObject) -> None:
    assert_counted(data.draw(plans))


@pytest.mark.parametrize("recipe", shipped_recipes())
def test_torch_counts_the_same_of_every_shipped_student(recipe: str) -> None:
    for student in load_recipe(recipe).students:
        with torch.device("meta"):
            config = build(student, 26, None).config
        assert_counted(config)


def test_facts_go_into_json() -> None:
    fields = facts_of(BY_HAND).to_json()
    assert StudentFacts(**json.loads(json.dumps(fields))) == facts_of(BY_HAND)
