"""Whatever a parser raises for a damaged file is one error in words; all else goes through."""

import errno
import struct
from pathlib import Path

import pytest

from exporters.errors import ExporterError, MissingToolError, ModelFileError
from exporters.reading import reading

PATH = Path("models/model.onnx")


class OwnError(Exception):
    """What a caller wants to be raised."""


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        KeyError("itemInfoEntries"),
        IndexError("list index out of range"),
        RecursionError("maximum recursion depth exceeded"),
        struct.error("unpack requires a buffer of 4 bytes"),
        OverflowError("too large"),
        MemoryError(),
        EOFError(),
        ZeroDivisionError("division by zero"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", str(PATH)),
    ],
)
def test_damage_is_told(error: Exception) -> None:
    with pytest.raises(ModelFileError) as raised, reading(PATH, "an ONNX model"):
        raise error
    message = str(raised.value)
    assert message.startswith(f"{PATH} cannot be read as an ONNX model ({type(error).__name__}: ")
    assert "SHA256SUMS" in message
    assert "\n" not in message
    assert raised.value.__cause__ is error


def test_words_and_advice_are_those_of_the_caller() -> None:
    with pytest.raises(OwnError) as raised, reading(PATH, "a spoon", OwnError, "Buy another."):
        raise ValueError("it\nis   bent")
    assert str(raised.value) == (
        "models/model.onnx cannot be read as a spoon (ValueError: it is bent). Buy another."
    )


def test_a_long_text_is_cut_in_its_middle() -> None:
    with pytest.raises(ModelFileError) as raised, reading(PATH, "a spoon"):
        raise ValueError("begin" + "x" * 10_000 + "end")
    assert len(str(raised.value)) < 600
    assert "begin" in str(raised.value)
    assert "end)" in str(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        MissingToolError("onnx is not installed"),
        ExporterError("in words already"),
        ModuleNotFoundError("No module named 'onnx'"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        KeyboardInterrupt(),
    ],
)
def test_what_is_no_fault_of_the_file_stays(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, reading(PATH, "a spoon"):
        raise error
    assert raised.value is error
