"""What a face does on sound that is not speech, by hand, and of which sounds that is said."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.judge.rest import AtRest
from compress.judge.rest_curves import read_curves, write_curves
from compress.judge.rest_sounds import (
    CLIP_S,
    HELD_OUT_S,
    Heard,
    chosen_heldout,
    fixed_sounds,
    sounds_of,
)
from compress.labels.rest_pose import RestClip
from compress.rig.rig import ARKIT_CLOSURE
from compress.speech.audio import SAMPLE_RATE
from compress.speech.sources import Clip
from compress.speech.sources.folder import scan
from exporters.report.records.not_speech import HELD_OUT, Moved, NotSpeech, OnSound

DRIVEN = ("jawOpen", "mouthClose")
AT_REST = AtRest(np.array([0.1, 0.1], np.float32), DRIVEN, 10.0, ARKIT_CLOSURE)


def heard(kind: str, seconds: float = 0.4) -> Heard:
    return Heard(kind, np.zeros(round(seconds * SAMPLE_RATE), np.float32))


def test_a_face_on_a_sound_by_hand() -> None:
    """Four frames a tenth of a second apart; the jaw opens by 0.4 and closes half of that again."""
    curves = np.array([[0.1, 0.1], [0.5, 0.1], [0.3, 0.1], [0.1, 0.1]], np.float32)
    (found,) = AT_REST.judged([heard("noise")], [curves])
    assert found.moved is not None
    assert found.moved.movement == pytest.approx((0.4 + 0.2 + 0.2) / 6 * 10)
    assert found.moved.distance == pytest.approx((0.4 + 0.2) / 8)
    assert found.farthest == pytest.approx(0.4)
    assert found.lips_changed == 0.5  # apertures 0, 0.4, 0.2 and 0 with a limit of 0.08
    assert found.seconds == 0.4


def test_lips_that_are_open_at_rest_change_where_they_close() -> None:
    open_at_rest = replace(AT_REST, pose=np.array([0.5, 0.1], np.float32))
    curves = np.array([[0.5, 0.1], [0.5, 0.1], [0.1, 0.1], [0.5, 0.1]], np.float32)
    assert open_at_rest.judged([heard("noise")], [curves])[0].lips_changed == 0.25
    unknown = replace(AT_REST, rule=None)
    assert unknown.judged([heard("noise")], [curves])[0].lips_changed is None


def test_a_sound_is_of_all_its_clips_and_no_movement_crosses_their_edges() -> None:
    low, high = np.full((3, 2), 0.1, np.float32), np.full((5, 2), 0.9, np.float32)
    noise, hum = AT_REST.judged([heard("noise"), heard("noise"), heard("hum")], [low, high, low])
    assert noise.moved == Moved(movement=0.0, distance=pytest.approx(0.8 * 5 / 8))
    assert (noise.seconds, hum.seconds) == (0.8, 0.4)
    assert hum.moved == Moved(movement=0.0, distance=0.0)


def test_what_is_no_number_is_not_measured() -> None:
    curves = np.array([[0.1, 0.1], [np.nan, 0.1]], np.float32)
    (found,) = AT_REST.judged([heard("noise")], [curves])
    assert (found.moved, found.farthest, found.lips_changed) == (None, None, None)


def test_controls_of_several_units_count_alike() -> None:
    evened = replace(AT_REST, evening=np.array([1.0, 100.0]), rule=None)
    curves = np.array([[0.1, 0.1], [0.1, 0.101]], np.float32)
    (found,) = evened.judged([heard("noise")], [curves])
    assert found.moved is not None
    assert found.moved.movement == pytest.approx(0.1 / 2 * 10, rel=1e-3)
    assert found.farthest == pytest.approx(0.1, rel=1e-3)


def on(sound: str, seconds: float, movement: float, distance: float) -> OnSound:
    moved = Moved(movement=movement, distance=distance)
    return OnSound(sound=sound, seconds=seconds, moved=moved, farthest=1.0, lips_changed=0.0)


def test_the_sounds_of_every_report_relative_to_speech() -> None:
    sounds = (on("silence", 9.0, 7.0, 7.0), on("noise", 3.0, 0.1, 0.2), on("hum", 1.0, 0.5, 0.0))
    teacher = (on("noise", 3.0, 1.0, 0.0), on("hum", 1.0, 1.0, 0.0))
    found = NotSpeech(
        sounds=sounds, in_speech=Moved(movement=0.4, distance=0.3), of_teacher=teacher
    )
    assert found.movement == pytest.approx((3 * 0.1 + 0.5) / 4 / 0.4)
    assert found.distance == pytest.approx(3 * 0.2 / 4 / 0.3)
    own = on("rest material held out", 60.0, 9.0, 9.0)
    assert replace(found, sounds=(*sounds, own)).movement == found.movement
    assert found.movement_on("hum") == pytest.approx(0.5 / 0.4)
    assert found.teacher_movement == pytest.approx(2.5)
    broken = replace(sounds[1], moved=None)
    assert replace(found, sounds=(broken, sounds[2])).movement is None
    assert replace(found, in_speech=None).movement is None
    assert replace(found, in_speech=Moved(movement=0.0, distance=0.0)).movement is None
    assert replace(found, of_teacher=()).teacher_movement is None


# ------------------------------------------------------------------------------------------------
# the sounds


def test_every_report_has_the_same_half_minute() -> None:
    sounds = fixed_sounds()
    kinds = list(dict.fromkeys(sound.kind for sound in sounds))
    assert kinds == ["silence", "noise", "hum", "typing", "music"]
    assert sum(len(sound.samples) for sound in sounds) / SAMPLE_RATE == 26
    levels = [
        round(20 * np.log10(np.sqrt(np.mean(sound.samples.astype(float) ** 2))))
        for sound in sounds
        if sound.kind == "noise"
    ]
    assert levels == [-50, -20, -50, -20]
    assert not sounds[0].samples.any()
    for sound in sounds[5:]:
        assert np.abs(sound.samples).max() == pytest.approx(10 ** (-10 / 20), rel=1e-5)
    fixed_sounds.cache_clear()
    for one, again in zip(sounds, fixed_sounds(), strict=True):
        assert np.array_equal(one.samples, again.samples)


def test_a_recipes_own_sounds_are_those_held_out_and_a_minute_at_most(
    tmp_path: Path, make_speech: Callable[..., object]
) -> None:
    make_speech(tmp_path / "sounds", (0.5, 0.6, 0.7))
    clips = scan(str(tmp_path / "sounds"), min_clip_s=0.1).clips
    own = tuple(RestClip(c, s) for c, s in zip(clips, ("train", "heldout", "heldout"), strict=True))
    found = sounds_of(own)[len(fixed_sounds()) :]
    assert {sound.kind for sound in found} == {HELD_OUT}
    assert sorted(len(sound.samples) for sound in found) == [9600, 11200]
    long = [replace(clips[0], id=str(i), samples=20 * SAMPLE_RATE) for i in range(9)]
    chosen = chosen_heldout([RestClip(clip, "heldout") for clip in long])
    assert sum(samples for _, samples in chosen) == HELD_OUT_S * SAMPLE_RATE
    assert max(samples for _, samples in chosen) == CLIP_S * SAMPLE_RATE
    assert isinstance(chosen[0][0], Clip)
    assert chosen == chosen_heldout([RestClip(clip, "heldout") for clip in reversed(long)])


def test_the_teachers_curves_are_kept_in_their_order(tmp_path: Path) -> None:
    curves = [np.full((i + 1, 3), i, np.float32) for i in range(12)]
    write_curves(tmp_path / "curves.safetensors", curves)
    for one, other in zip(read_curves(tmp_path / "curves.safetensors"), curves, strict=True):
        assert np.array_equal(one, other)
