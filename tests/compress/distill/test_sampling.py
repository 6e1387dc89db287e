"""Which clips a step is made of: all of them every epoch, each in one process, the same ones always."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.distill.sampling import BLOCK, Sampler, divided, divisors
from compress.errors import AudioError, UsageError

FRAMES = 96

corpora = st.lists(st.integers(FRAMES, 3000), min_size=1, max_size=80)
batches = st.sampled_from([1, 2, 4, 6, 8, 12, 16, 24])
seeds = st.integers(0, 2**32)


def epoch(sampler: Sampler, number: int) -> np.ndarray:
    """The clips of one epoch, `[steps, batch]`."""
    first = number * sampler.steps + 1
    return np.stack([sampler.clips(step) for step in range(first, first + sampler.steps)])


def shares(sampler: Sampler, world: int) -> list[Sequence[int]]:
    return [sampler.slots(rank, world) for rank in range(world)]


@given(corpora, batches, seeds, st.integers(0, 3))
def test_every_clip_is_visited_in_every_epoch(
    hops: list[int], batch: int, seed: int, number: int
) -> None:
    """Even in a lane that is too long: what it loses is less than its shortest clip has."""
    sampler = Sampler(hops, FRAMES, batch, seed)
    visits = [max(1, round(length / FRAMES)) for length in hops]
    assert sampler.steps == -(-sum(visits) // batch)
    found = epoch(sampler, number)
    assert found.shape == (sampler.steps, batch)
    assert set(found.flat) == set(range(len(hops)))


@given(corpora, batches, seeds)
def test_a_clip_belongs_to_one_lane_of_an_epoch(hops: list[int], batch: int, seed: int) -> None:
    sampler = Sampler(hops, FRAMES, batch, seed)
    visits = [max(1, round(length / FRAMES)) for length in hops]
    assert batch % sampler.lanes == 0
    assert sampler.lanes <= min(len(hops), sum(visits) / max(visits))
    lanes = np.split(epoch(sampler, 1), sampler.lanes, axis=1)
    heard = [set(lane.flat) for lane in lanes]
    assert sum(map(len, heard)) == len(hops), "no clip is in two lanes"


@pytest.mark.parametrize("world", [2, 4])
@given(corpora, batches, seeds)
def test_processes_share_the_clips_and_the_batch_of_one(
    world: int, hops: list[int], batch: int, seed: int
) -> None:
    sampler = Sampler(hops, FRAMES, batch, seed)
    if sampler.lanes % world:
        with pytest.raises((AudioError, UsageError), match=f"{world} processes"):
            sampler.slots(0, world)
        return
    parts = shares(sampler, world)
    assert [slot for part in parts for slot in part] == list(sampler.slots(0, 1))
    for number in (0, 1):
        found = epoch(sampler, number)
        heard = [set(found[:, list(part)].flat) for part in parts]
        assert sum(map(len, heard)) == len(set().union(*heard)) == len(hops)


@given(corpora, batches, seeds, st.integers(1, 10**9))
def test_a_step_is_the_same_from_wherever_it_is_come_to(
    hops: list[int], batch: int, seed: int, step: int
) -> None:
    one, other = (Sampler(hops, FRAMES, batch, seed) for _ in range(2))
    one.clips(1)
    one.clips(step + 2 * one.steps)
    assert np.array_equal(one.clips(step), other.clips(step))
    assert one.rng(step, 0).random() == other.rng(step, 0).random()


@settings(max_examples=30)
@given(st.lists(st.integers(FRAMES, 1200), min_size=40, max_size=80), batches, seeds)
def test_longer_clips_are_visited_in_proportion(hops: list[int], batch: int, seed: int) -> None:
    """Over ten epochs: a lane is at most a clip's visits too long or too short, now and then."""
    sampler = Sampler(hops, FRAMES, batch, seed)
    found = np.concatenate([epoch(sampler, number) for number in range(10)])
    count = Counter(found.flat)
    for clip, length in enumerate(hops):
        wanted = 10 * max(1, round(length / FRAMES))
        # Rounding to whole steps and lanes gives away a share of an epoch, of each clip alike.
        longest = max(1, round(max(hops) / FRAMES))
        slack = 10 * (batch + sampler.lanes * longest) / sum(sampler.visits) * wanted
        assert abs(count[clip] - wanted) <= slack + 10


def test_a_large_corpus_is_visited_in_proportion_to_its_lengths() -> None:
    """10,000 clips of 1.5 to 15 s: each gets its visits, but for a few at the ends of lanes."""
    hops = np.random.default_rng(0).integers(FRAMES, 10 * FRAMES, 10_000)
    sampler = Sampler(hops.tolist(), FRAMES, 64, 7)
    assert sampler.lanes == 64
    found = np.bincount(epoch(sampler, 0).ravel(), minlength=len(hops))
    wanted = np.rint(hops / FRAMES)
    assert (found != wanted).mean() < 0.01
    assert np.abs(found - wanted).max() <= 2


def test_a_seed_and_an_epoch_have_an_order_of_their_own() -> None:
    hops = [FRAMES * (1 + i % 7) for i in range(60)]
    first = Sampler(hops, FRAMES, 12, 1)
    orders = [epoch(first, 0), epoch(first, 1), epoch(Sampler(hops, FRAMES, 12, 2), 0)]
    for one, other in pairwise(orders):
        assert (one != other).mean() > 0.5
    numbers = [first.rng(*which).random() for which in ((1, 0), (1, 1), (2, 0))]
    numbers.append(Sampler(hops, FRAMES, 12, 2).rng(1, 0).random())
    assert len(set(numbers)) == 4


def test_a_lane_hears_a_few_clips_at_a_time() -> None:
    """So that what is decoded is used up before other clips come."""
    hops = [8 * FRAMES] * 400
    sampler = Sampler(hops, FRAMES, 4, 3)
    found = epoch(sampler, 0)
    for lane in found.T:
        blocks = [set(lane[i : i + 8 * BLOCK]) for i in range(0, len(lane), 8 * BLOCK)]
        assert all(len(block) <= BLOCK for block in blocks)
        assert len(set(lane[: 2 * BLOCK])) > BLOCK / 2, "several of them in turns"


def test_lanes_are_filled_by_hand() -> None:
    """5, 4, 3, 3, 3 over two: 5 and 4, then 3 to the 4, 3 to the 5, 3 to the 7."""
    assert divided(np.array([3, 5, 3, 4, 3]), 2).tolist() == [1, 0, 0, 1, 1]
    assert divided(np.array([1, 1]), 1).tolist() == [0, 0]


def test_what_cannot_be_shared_says_what_can() -> None:
    twelve = Sampler([FRAMES] * 30, FRAMES, 12, 1)
    with pytest.raises(UsageError, match=r"batch = 12 .* by 5 processes.*1, 2, 3, 4, 6, 12 proc"):
        twelve.slots(0, 5)
    three = Sampler([FRAMES] * 3, FRAMES, 12, 1)
    assert three.lanes == 3
    with pytest.raises(AudioError, match=r"3 clips .* 33% .* 3 equal parts .* Train with 1, 3 of"):
        three.slots(0, 2)
    one = Sampler([20 * FRAMES, FRAMES], FRAMES, 12, 1)
    with pytest.raises(AudioError, match=r"2 clips .* 95% .* 1 equal part of .* Train with 1 of"):
        one.slots(1, 2)
    with pytest.raises(ValueError, match="no clip"):
        Sampler([], FRAMES, 12, 1)


def test_divisors_by_hand() -> None:
    assert divisors(12) == [1, 2, 3, 4, 6, 12]
    assert divisors(1) == [1]
