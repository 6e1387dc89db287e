"""What a run says while it works: lines in a pipe, one display in a terminal."""

import time

import pytest

from compress.progress import bar
from compress.run import steps as steps_module
from compress.run.steps import Steps, span, steps


def test_a_pipe_has_a_line_a_step_that_took_work() -> None:
    said: list[str] = []
    with steps(3, said.append) as told:
        with told.step("label", "", done_before=True, of=2):
            pass
        with told.step("distill", "tiny"), bar("distill", 10, unit="steps") as progress:
            progress(10)
    (line,) = said
    assert line.startswith("distill    tiny  0.")
    assert line.endswith(" s")


def test_a_long_step_is_never_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    said: list[str] = []
    told = Steps(1, said.append, None)
    told.still()
    with told.step("distill", "tiny"):
        now[0] += steps_module.QUIET_S - 1
        told.still()
        assert said == [], "something was said a moment ago"
        now[0] += 1
        told.still()
        with told.bar("distill", 2000, "steps") as progress:
            progress(0)
            now[0] += 50
            progress(500, "loss 5.2e-3")
            told.still()
    now[0] += 1000
    told.still()
    assert said == [
        "distill    tiny: still at it, since 30 s",
        "distill    tiny: 500 of 2,000 steps, 10 steps/s, 2 min 30 s left, loss 5.2e-3, since 1 min 20 s",
        "distill    tiny  1 min 20 s",
    ]


def test_the_thread_speaks_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps_module, "QUIET_S", 0.02)
    said: list[str] = []
    with steps(1, said.append) as told, told.step("benchmark", "tiny-int8 onnx"):
        deadline_s = time.monotonic() + 20
        while not said and time.monotonic() < deadline_s:
            time.sleep(0.01)
    assert said[0].startswith("benchmark  tiny-int8 onnx: still at it, since 0.")


def test_a_terminal_sees_one_display_and_a_line_a_stage(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    said: list[str] = []
    with steps(3, said.append) as told:
        for name in ("tiny", "small"):
            with told.step("distill", name), bar("distill", 10, unit="steps") as progress:
                progress(5, "loss 1e-3")
        with told.step("export", "tiny-int8"):
            pass
    assert [line.rsplit(", ", 1)[0] for line in said] == [
        "distill    2 steps",
        "export     1 step",
    ]
    out, err = capfd.readouterr()
    assert out == ""
    for text in ("distill    tiny", "step 1 of 3", "50%", "loss 1e-3"):
        assert text in err, text


def test_times_in_words() -> None:
    assert [span(s) for s in (0.04, 9.94, 9.96, 59.6, 725)] == [
        "0.0 s",
        "9.9 s",
        "10 s",
        "1 min 0 s",
        "12 min 5 s",
    ]
