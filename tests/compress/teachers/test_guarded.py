"""What runs a teacher: its errors, its time, and its thread."""

import gc
import threading
import time

import pytest
import torch
from torch import Tensor

from compress.errors import BadAudio, TeacherError
from compress.teachers import guarded as module
from compress.teachers.guarded import Guarded, at_work

LET_GO = threading.Event()


class Moody:
    """Does what the first sample says."""

    controls = ("a",)
    rate_hz, offset_s, sample_rate_hz = 30.0, 0.0, 16_000
    limits = None
    description, parameters_count = "moody", 0

    def animate(self, audio: Tensor) -> Tensor:
        mood = int(audio[0, 0])
        if mood == 1:
            raise ValueError("two\nlines")
        if mood == 2:
            raise SystemExit(5)
        if mood == 3:
            raise BadAudio("clip.wav", "silent")
        if mood == 4:
            LET_GO.wait()
        return audio[:, :, None] * 2


def guarded() -> Guarded:
    return Guarded(Moody, "mine", 600.0)


def audio(mood: float) -> Tensor:
    return torch.full((1, 3), mood)


def test_it_answers_for_its_teacher() -> None:
    teacher = guarded()
    assert (teacher.controls, teacher.rate_hz, teacher.description) == (("a",), 30.0, "moody")
    assert torch.equal(teacher.animate(audio(0.5)), audio(1.0)[:, :, None])


@pytest.mark.parametrize(
    ("mood", "said"), [(1, "it raised ValueError: two lines"), (2, "it raised SystemExit: 5")]
)
def test_whatever_it_raises_is_an_error_of_the_teacher(mood: float, said: str) -> None:
    teacher = guarded()
    with pytest.raises(TeacherError, match=said) as caught:
        teacher.animate(audio(mood))
    assert "\n" not in str(caught.value)
    assert torch.equal(teacher.animate(audio(0.0)), audio(0.0)[:, :, None]), "it goes on"


def test_our_own_errors_stay_what_they_are() -> None:
    with pytest.raises(BadAudio, match="silent"):
        guarded().animate(audio(3))


def test_what_takes_too_long_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is still at work when the answer is there: nobody waited for its end."""
    teacher = guarded()
    monkeypatch.setattr(teacher, "_limit_s", 0.2)  # for this call alone, not for its opening
    with pytest.raises(TeacherError, match=r"no answer within 0.2 s.*teacher.time_limit_s"):
        teacher.animate(audio(4))
    assert at_work()
    LET_GO.set()
    while at_work():  # so that no later test finds it
        time.sleep(0.01)


def test_nothing_is_at_work_when_an_answer_is_there() -> None:
    teacher = guarded()
    for _ in range(50):
        teacher.animate(audio(0.0))
        assert not at_work()


def test_its_thread_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    class Kept(threading.Thread):
        def start(self) -> None:
            threads.append(self)
            super().start()

    monkeypatch.setattr(module.threading, "Thread", Kept)  # type: ignore[attr-defined]
    teachers = [guarded() for _ in range(5)]
    assert [thread.is_alive() for thread in threads] == [True] * 5
    del teachers
    gc.collect()
    for thread in threads:
        thread.join(timeout=100)
        assert not thread.is_alive(), "its teacher is gone"
