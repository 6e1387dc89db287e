"""How much this process grows by what it is asked to do."""

import ctypes
import gc
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from exporters.measuring.figures import Memory
from exporters.targets.contract import load_target, target_of

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_RUNS = 3


def memory_here(path: Path) -> Memory:
    """What this process grows by when it opens a file and runs it with one thread.

    NumPy, the runtime and what reads a signature are imported before: what every process that runs
    some file has is no part of it. Raises ModelFileError, MissingToolError.
    """
    import numpy as np

    target = load_target(target_of(path))
    target.import_runtime()

    def use() -> object:
        runtime = target.open_runtime(path, threads=1)
        window = np.zeros((1, 1, runtime.signature.window), np.float32)
        for _ in range(_RUNS):
            runtime.run(window)
        return runtime

    return grown_by(use)


def can_tell() -> bool:
    """Whether this system says what a process takes: Linux and macOS do, Windows is not asked."""
    return _RESET.exists() or find_spec("resource") is not None


def grown_by(use: Callable[[], object], *, least: int = 0) -> Memory:
    """Peak resident memory while ``use`` runs, less what is resident before, in bytes.

    On Linux the system's peak can be set back. There ``use`` is called twice and the second time
    counts: the first also touches code and tables of libraries that whatever came next would share.
    Where that grows by less than ``least`` something was kept from the first, which then counts.
    Elsewhere it is called once; a growth below an earlier peak is not seen. ``how`` says which.
    """
    before = _reset_peak()
    if before is None:
        peak = _peak_of_process()
        use()
        return Memory(
            peak_bytes=_peak_of_process() - peak,
            how="growth of the peak of the process from its start",
        )
    use()
    first = _status("VmHWM") - before
    before = _reset_peak() or 0
    use()
    second = _status("VmHWM") - before
    megabytes = f"{first / 1e6:.1f} MB"
    if second < least:
        return Memory(peak_bytes=first, how="VmHWM, set back before, less VmRSS then")
    return Memory(
        peak_bytes=max(0, second),
        how=f"VmHWM, set back before, less VmRSS then, for a second time in one process; the first "
        f"time was {megabytes}, code and tables of libraries with it",
    )


def _give_back() -> None:
    """Have the C library return what it holds free: what is taken from there would not be seen."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)


def _reset_peak() -> int | None:
    """Set the peak back to what is resident now, and say what that is; None where it cannot be."""
    gc.collect()
    _give_back()
    try:
        _RESET.write_text(_RESET_PEAK, encoding="ascii")
        return _status("VmRSS")
    except (OSError, KeyError):
        return None


def _status(field: str) -> int:
    """A field of /proc/self/status, in bytes. Raises OSError, KeyError."""
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024  # "kB" there means 1024 bytes
    raise KeyError(field)


def _peak_of_process() -> int:
    """Most resident memory since the process was started, in bytes."""
    if sys.platform == "linux":
        # getrusage begins with what the parent had there, which would hide any growth below that.
        return _status("VmHWM")
    else:  # noqa: RET505 - mypy knows that one of the two branches is of another system
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
