"""What a talkative converter does must not show, nor stay behind."""

import logging
import os
import subprocess
import sys
import warnings

import pytest

from exporters.targets.silence import silence


def chatter() -> None:
    print("from Python")  # noqa: T201
    print("an error", file=sys.stderr)  # noqa: T201
    os.write(1, b"from C to output\n")
    os.write(2, b"from C to errors\n")
    logging.getLogger().warning("logged")
    warnings.warn("a warning", DeprecationWarning, stacklevel=1)
    subprocess.run(["echo", "from a child"], check=True)


def test_nothing_is_heard_and_all_is_heard_again(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(1, b"before ")
    with silence():
        chatter()
    os.write(1, b"after")
    os.write(2, b"errors too")
    assert capfd.readouterr() == ("before after", "errors too")


def test_what_is_raised_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError, match="inside"), silence():
        raise KeyError("inside")
    os.write(2, b"heard")
    assert capfd.readouterr() == ("", "heard")


def test_silence_inside_silence(capfd: pytest.CaptureFixture[str]) -> None:
    with silence():
        with silence():
            chatter()
        chatter()
    os.write(1, b"after")
    assert capfd.readouterr() == ("after", "")


def test_handlers_of_the_root_logger_rest(caplog: pytest.LogCaptureFixture) -> None:
    with silence():
        logging.getLogger("anybody").error("inside")
    logging.getLogger("anybody").error("outside")
    assert [record.message for record in caplog.records] == ["outside"]


def test_handlers_of_the_root_logger_go_again() -> None:
    before = list(logging.getLogger().handlers), logging.getLogger().level
    with silence():
        logging.getLogger().addHandler(logging.StreamHandler())
        logging.getLogger().setLevel(logging.ERROR)
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == before


def test_a_stream_that_was_kept_works_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    with silence():
        handler = logging.StreamHandler(sys.stderr)
        handler.stream.write("inside")
    handler.stream.write("outside")
    assert capsys.readouterr().err == "outside"


def test_a_process_that_closed_its_output() -> None:
    code = (
        "import os; os.close(1); os.close(2)\n"
        "from exporters.targets.silence import silence\n"
        "with silence(): os.system('echo loud')\n"
        "os._exit(7)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"")


def test_no_descriptor_is_left_open() -> None:
    before = os.listdir("/dev/fd")
    for _ in range(5):
        with silence():
            pass
    assert os.listdir("/dev/fd") == before
