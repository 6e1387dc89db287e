"""Stretches of speech: a label belongs to its sample, and a batch to its seed and step."""

from itertools import islice

import numpy as np
import pytest
import torch

from compress.distill.stretches import Stretches, between_hops
from compress.errors import AudioError, UsageError
from compress.labels.examples import Example
from compress.recipe.recipe import TrainingSettings
from compress.recipe.students import AugmentationSettings
from compress.speech.audio import HOP

PLAIN = {"gain_db": (0.0, 0.0), "noise_share": 0.0, "speed_share": 0.0, "room_share": 0.0}
COUNT = 2.0**-16  # from one sample of a counting clip to the next


def asked(batch: int, frames: int, **augmentation: object) -> TrainingSettings:
    """Settings without augmentation but what is named."""
    return TrainingSettings(
        batch=batch,
        frames=frames,
        augmentation=AugmentationSettings.model_validate(PLAIN | augmentation),
    )


def counting_clip(hops: int) -> Example:
    """A clip in which sample s has the value s / 2¹⁶, and hop j the curve of its sample."""
    samples = (np.arange(hops * HOP) * COUNT).astype(np.float32)
    return Example(samples, samples[::HOP, None].copy())


@pytest.mark.parametrize(("past", "future"), [(512, 256), (0, 700), (5000, 0)])
def test_a_label_belongs_to_the_sample_that_its_frame_stands_for(past: int, future: int) -> None:
    """Frame j of the dense form stands for the sample j · HOP + past of what the student hears."""
    stretches = Stretches([counting_clip(8), counting_clip(12)], asked(16, 8), seed=1)
    heard, labelled = stretches.batch(3, past, future)
    assert heard.shape == (16, 1, past + future + 7 * HOP)
    assert labelled.shape == (16, 1, 8)
    assert heard.dtype == labelled.dtype == torch.float32
    if future:
        # Labels between hops are interpolated in float32, and the samples count linearly.
        torch.testing.assert_close(heard[:, :, past::HOP][..., :8], labelled, atol=1e-8, rtol=0)
    starts = (labelled[:, 0, 0] / COUNT).round().int()
    for row, start in zip(heard[:, 0], starts.tolist(), strict=True):
        before = min(past, max(0, past - start))
        assert not row[:before].any(), "silence before the clip"
    assert len({start % HOP for start in starts.tolist()}) > 2, "stretches begin at any sample"


@pytest.mark.parametrize("speed", [0.8, 0.93, 1.07, 1.25])
@pytest.mark.parametrize(("past", "future"), [(512, 512), (32, 1600), (1600, 256)])
def test_at_another_speed_a_label_still_belongs_to_its_sample(
    speed: float, past: int, future: int
) -> None:
    """Some 12 samples at both ends of what is heard are the resampler's run-up, so `past` is more."""
    stretches = Stretches(
        [counting_clip(24)], asked(12, 8, speed_share=1.0, speed=(speed, speed)), seed=1
    )
    heard, labelled = stretches.batch(3, past, future)
    assert heard.shape == (12, 1, past + future + 7 * HOP)
    there, wanted = heard[:, 0, past::HOP][:, :8] / COUNT, labelled[:, 0] / COUNT
    # Half a sample, since a stretch is cut at a whole one; and the resampler's ripple, 5e-4.
    assert ((there - wanted).abs() <= 0.6 + 6e-4 * wanted).all()
    torch.testing.assert_close(wanted.diff(), torch.full((12, 7), speed * HOP), atol=0.01, rtol=0)


def test_a_stretch_that_is_too_long_when_faster_keeps_its_speed() -> None:
    """8 frames at speed 2 need 15 hops; of the two clips only the one of 16 has them."""
    stretches = Stretches(
        [counting_clip(8), counting_clip(16)], asked(40, 8, speed_share=1.0, speed=(2.0, 2.0)), 1
    )
    _, labelled = stretches.batch(1, 64, 64)
    hops = (labelled[:, 0].diff() / COUNT / HOP).round().int()
    assert set(hops.flatten().tolist()) == {1, 2}
    assert (hops == hops[:, :1]).all()


def test_labels_between_hops_are_linear_and_stay_at_the_clips_ends() -> None:
    curves = np.array([[0.0, 1.0], [1.0, 1.0], [4.0, 0.0]], np.float32)
    found = between_hops(curves, np.array([0.0, 0.25, 1.5, 2.0]))
    assert found.tolist() == [[0.0, 1.0], [0.25, 1.0], [2.5, 0.5], [4.0, 0.0]]


def test_longer_clips_are_heard_in_proportion() -> None:
    loud = Example(np.ones(30 * HOP, np.float32), np.ones((30, 1), np.float32))
    soft = Example(np.zeros(10 * HOP, np.float32), np.zeros((10, 1), np.float32))
    _, labelled = Stretches([loud, soft], asked(400, 4), seed=1).batch(1, 0, HOP)
    # Four standard deviations of a binomial with p = 3/4.
    assert float(labelled[:, 0, 0].mean()) == pytest.approx(0.75, abs=4 * (0.1875 / 400) ** 0.5)


def test_what_is_heard_is_augmented_and_its_labels_are_not() -> None:
    ones = Example(np.ones(64 * HOP, np.float32), np.ones((64, 1), np.float32))
    varied = asked(4, 60, gain_db=(-20.0, -20.0), noise_share=1.0, snr_db=(20.0, 20.0))
    heard, labelled = Stretches([ones], varied, seed=1).batch(1, 0, HOP)
    assert float(heard.mean()) == pytest.approx(0.1, abs=2e-3)
    assert float(heard.std()) == pytest.approx(0.01, rel=0.02)
    assert (labelled == 1).all()


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    everything = TrainingSettings(batch=3, frames=4)
    clips = [counting_clip(40), counting_clip(25)]

    def batch(seed: int, step: int) -> torch.Tensor:
        return Stretches(clips, everything, seed).batch(step, 64, 64)[0]

    assert torch.equal(batch(1, 5), batch(1, 5))
    assert not torch.equal(batch(1, 5), batch(1, 6))
    assert not torch.equal(batch(1, 5), batch(2, 5))


def test_processes_have_shares_of_the_batch_of_one() -> None:
    settings = TrainingSettings(batch=8, frames=4)
    clips = [counting_clip(20 + i) for i in range(12)]
    whole = Stretches(clips, settings, 5)
    parts = [Stretches(clips, settings, 5, rank, 4) for rank in range(4)]
    for step in (1, 2, 100):
        for one, shares in zip(
            whole.batch(step, 64, 32),
            zip(*(part.batch(step, 64, 32) for part in parts), strict=True),
            strict=True,
        ):
            assert [len(share) for share in shares] == [2] * 4
            assert torch.equal(torch.cat(shares), one)
    with pytest.raises(UsageError, match="cannot be shared equally by 3 processes"):
        Stretches(clips, settings, 5, 0, 3)


def test_batches_made_ahead_are_those_of_their_steps() -> None:
    stretches = Stretches([counting_clip(40)], TrainingSettings(batch=3, frames=4), seed=1)
    for step, (heard, labelled) in enumerate(islice(stretches.batches(7, 64, 32), 4), 7):
        expected = stretches.batch(step, 64, 32)
        assert torch.equal(heard, expected[0])
        assert torch.equal(labelled, expected[1])


def test_what_fails_while_a_batch_is_made_ahead_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    stretches = Stretches([counting_clip(40)], asked(1, 4), seed=1)
    whole = stretches.batch

    def failing(step: int, past: int, future: int) -> tuple[torch.Tensor, torch.Tensor]:
        if step == 3:
            raise MemoryError("no more")
        return whole(step, past, future)

    monkeypatch.setattr(stretches, "batch", failing)
    batches = stretches.batches(1, 64, 64)
    next(batches), next(batches)
    with pytest.raises(MemoryError, match="no more"):
        next(batches)


def test_clips_shorter_than_a_stretch_are_left_out_and_refused_when_all_are() -> None:
    short, long = counting_clip(10), Example(np.ones(40 * HOP), np.ones((40, 1), np.float32))
    _, labelled = Stretches([short, long], asked(30, 11), seed=1).batch(1, 64, 64)
    assert (labelled == 1).all()
    message = r"frames = 96 needs 1.54 s, the longest clip has 0.64 s"
    with pytest.raises(AudioError, match=message):
        Stretches([counting_clip(40), counting_clip(30)], TrainingSettings(frames=96), seed=1)
    with pytest.raises(AudioError, match=r"longest clip has 0\.00 s"):
        Stretches([], TrainingSettings(frames=96), seed=1)
