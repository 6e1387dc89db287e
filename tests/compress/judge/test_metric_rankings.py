"""Each metric ranks last the failure that it is there to catch, on the packaged speech.

The reference are the rule-based curves of its alignments; the models are what can be done to them.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from compress.assets import resolve
from compress.judge import closures, metrics
from compress.judge.closures import Interval
from compress.rig.rig import ARKIT
from compress.speech import visemes
from compress.speech.alignments import read_alignments
from compress.speech.audio import HOP_RATE, SAMPLE_RATE

Clips = list[np.ndarray]
Models = dict[str, Clips]

DELAY_MS = 80
DELAY_FRAMES = 5
assert DELAY_FRAMES == DELAY_MS / 1000 * HOP_RATE


class Speech:
    """Curves `[frames, 52]` at the hop rate, /p b m/ and clear vowels of the packaged speech."""

    def __init__(self) -> None:
        self.curves: Clips = []
        self.bilabials: list[list[Interval]] = []
        self.vowels: list[list[Interval]] = []
        for alignment in read_alignments([resolve("builtin:speech", Path())]).values():
            segments = alignment.segments
            seconds = segments[-1].end
            samples = np.full(round(seconds * SAMPLE_RATE), 0.1, np.float32)
            self.curves.append(visemes.curves(segments, seconds, HOP_RATE, samples))
            self.bilabials.append(visemes.bilabials(segments))
            self.vowels.append(visemes.clear_vowels(segments))


@pytest.fixture(scope="module")
def speech() -> Speech:
    found = Speech()
    assert len(found.curves) > 20
    assert sum(map(len, found.bilabials)) > 50
    return found


@pytest.fixture(scope="module")
def models(speech: Speech) -> Models:
    """Two decent models, and one for each way to fail."""
    random = np.random.default_rng(0)
    pose = np.concatenate(speech.curves).mean(0)
    made: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "smoothed": lambda c: gaussian_filter1d(c, 0.03 * HOP_RATE, axis=0),
        "noisy": lambda c: c + random.normal(0, 0.02, c.shape) * (c.std(0) > 0),
        "mean": lambda c: np.tile(pose, (len(c), 1)),
        "zeros": np.zeros_like,
        "late": lambda c: c[np.maximum(0, np.arange(len(c)) - DELAY_FRAMES)],
    }
    return {
        name: [make(c).astype(np.float32) for c in speech.curves] for name, make in made.items()
    }


def ranked(scores: dict[str, float]) -> list[str]:
    """Models from best to worst; each has a score of its own, and a number."""
    assert all(math.isfinite(score) for score in scores.values()), scores
    assert len(set(scores.values())) == len(scores), scores
    return sorted(scores, key=lambda name: -scores[name])


@pytest.mark.parametrize("measure", [metrics.r2, metrics.correlation])
def test_what_stands_still_is_last_in_likeness(
    measure: Callable[[Clips, Clips], float], speech: Speech, models: Models
) -> None:
    scores = {name: measure(clips, speech.curves) for name, clips in models.items()}
    zeros = scores.pop("zeros")  # stands still as well, at a worse place
    assert ranked(scores)[-2:] == ["late", "mean"]
    assert scores["mean"] == pytest.approx(0, abs=1e-6)
    assert zeros <= scores["mean"] + 1e-9
    assert scores["smoothed"] > 0.9


def test_a_mouth_that_never_closes_is_last_in_pbm(speech: Speech, models: Models) -> None:
    scores = {
        name: closures.pbm_accuracy(clips, speech.bilabials, ARKIT, HOP_RATE).value
        for name, clips in models.items()
    }
    assert scores["zeros"] == 1, "why false closures are counted too"
    del scores["zeros"]
    assert ranked(scores)[-1] == "mean"
    assert scores["mean"] == 0
    assert scores["smoothed"] > 0.9


def test_a_mouth_that_never_opens_is_last_on_vowels_and_by_error(
    speech: Speech, models: Models
) -> None:
    false = {
        name: closures.false_closures(clips, speech.vowels, ARKIT, HOP_RATE).value
        for name, clips in models.items()
    }
    assert max(false, key=lambda name: false[name]) == "zeros"
    assert false["zeros"] == 1
    assert sorted(false.values())[-2] < 0.1
    errors = {name: -metrics.mse(clips, speech.curves) for name, clips in models.items()}
    assert ranked(errors)[-1] == "zeros"


def test_what_moves_late_is_last_by_lag(speech: Speech, models: Models) -> None:
    lags = {name: metrics.lag_ms(clips, speech.curves, HOP_RATE) for name, clips in models.items()}
    assert math.isnan(lags.pop("mean"))
    assert math.isnan(lags.pop("zeros"))
    assert ranked({name: -abs(lag) for name, lag in lags.items()})[-1] == "late"
    assert lags["late"] == pytest.approx(DELAY_MS, abs=1)
    assert abs(lags["smoothed"]) < 1
    assert abs(lags["noisy"]) < 1
    early = metrics.lag_ms(speech.curves, models["late"], HOP_RATE)
    assert early == pytest.approx(-DELAY_MS, abs=1)


def test_closures_follow_the_teacher_in_decent_models_alone(speech: Speech, models: Models) -> None:
    found = {
        name: closures.closure_scores(clips, speech.curves, ARKIT, HOP_RATE)
        for name, clips in models.items()
    }
    order = ranked({name: scores.f1 for name, scores in found.items()})
    assert set(order[:2]) == {"smoothed", "noisy"}
    assert order[2:] == ["late", "zeros", "mean"]
    assert found["mean"].recall == 0
    assert found["zeros"].recall < 0.5, "it closes once a clip"


def test_what_shakes_is_last_by_jitter(speech: Speech, models: Models) -> None:
    shaking = {name: metrics.jitter_ratio(clips, speech.curves) for name, clips in models.items()}
    assert max(shaking, key=lambda name: shaking[name]) == "noisy"
    assert shaking["smoothed"] < 1


def test_what_twitches_on_silence_is_last_at_rest() -> None:
    rest = visemes.curves([], 20.0, HOP_RATE, np.zeros(20 * SAMPLE_RATE, np.float32))
    noise = np.random.default_rng(0).normal(0, 0.02, rest.shape)
    breath = 0.02 * np.sin(2 * np.pi * 0.25 * np.arange(len(rest)) / HOP_RATE)[:, None]
    found = [metrics.stillness([c], HOP_RATE) for c in (rest, rest + breath, rest + noise)]
    assert found[0] == pytest.approx(0, abs=1e-4)
    # A sine passes four amplitudes a period of 4 s; two draws of the noise are 2 σ / √π apart.
    assert found[1] == pytest.approx(0.02, rel=0.01)
    assert found[2] == pytest.approx(2 * 0.02 / math.sqrt(math.pi) * HOP_RATE, rel=0.01)
