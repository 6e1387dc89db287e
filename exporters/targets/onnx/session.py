"""ONNX Runtime, opening a file: its settings, and what it means when it refuses one."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.errors import ModelFileError
from exporters.reading import SUMS_HELP, reason

if TYPE_CHECKING:
    import onnxruntime

# How ONNX Runtime says that a file is newer than itself: the file's version, and its own newest.
_NEWER_IR = re.compile(
    r"model IR version: (?P<file>\d+), max supported IR version: (?P<newest>\d+)"
)
_NEWER_OPSET = re.compile(
    r"Opset (?P<file>\d+) is under development.* domain \S+ is till opset (?P<newest>\d+)",
    re.DOTALL,
)


def opened(
    model: str | bytes, threads: int, path: Path, *, optimized: bool = True
) -> "onnxruntime.InferenceSession":
    """Open a file by its name, or a model's bytes; ``path`` is where they came from, for errors.

    Raises ModelFileError.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Else the threads of a pool go round in circles for milliseconds after a call, on the cores that
    # the rest of the frame needs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except refusals() as error:
        raise ModelFileError(
            too_new(path, error)
            or f"ONNX Runtime {onnxruntime.__version__} cannot read {path} "
            f"({path.stat().st_size} bytes; {reason(error)}). {SUMS_HELP}"
        ) from error


def refusals() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a file that it cannot open: its errors have no common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
        UnicodeDecodeError,  # names in the file are no text, and its message quotes them
    )


def too_new(path: Path, error: Exception) -> str:
    """What to do about a file that this ONNX Runtime is too old for; empty if that is not why."""
    import onnxruntime

    for what, pattern in (("IR version", _NEWER_IR), ("opset", _NEWER_OPSET)):
        if found := pattern.search(str(error)):
            newest = found["newest"]
            return (
                f"{path} has ONNX {what} {found['file']}, and ONNX Runtime "
                f"{onnxruntime.__version__} reads {what} {newest} and older. Update onnxruntime, or "
                f"export the file again for {what} {newest} or an older one."
            )
    return ""
