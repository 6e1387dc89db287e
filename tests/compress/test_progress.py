"""Progress is for terminals only."""

import pytest

from compress.progress import bar


def test_nothing_is_written_where_no_terminal_is(capfd: pytest.CaptureFixture[str]) -> None:
    with bar("label", 10.0) as progress:
        progress(5.0)
        progress(10.0, "loss 1e-3")
    assert capfd.readouterr() == ("", "")


def test_a_terminal_sees_what_is_done(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with bar("label", 10.0) as progress:
        progress(5.0, "loss 1e-3")
    out, err = capfd.readouterr()
    assert out == ""
    assert "label" in err
    assert "50%" in err
    assert "loss 1e-3" in err
