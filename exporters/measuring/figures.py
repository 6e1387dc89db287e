"""What a model file costs: its size, the time and the memory that it takes, and how they are measured.

Everything is measured by ``python -m exporters.measuring`` in a fresh process, so that the thread
pools, the warm caches and the heap of whoever asks are no part of the figures.
"""

from dataclasses import dataclass

from exporters import records

# One hop of the training grid: 256 samples at 16 kHz. A pose that takes longer cannot keep up.
FRAME_MS = 16.0


@records.strict
@dataclass(frozen=True, kw_only=True)
class Size:
    """A file, or all files of a package."""

    bytes: int
    """As it lies on the disk."""
    download_bytes: int
    """As a download: compressed with DEFLATE at its highest level, as a .zip, .apk or .ipa is."""
    weight_bytes: int | None
    """What its weights take of that uncompressed, or null where they cannot be told apart."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time for one window, as called from Python, in milliseconds."""

    median_ms: float
    """Half of the calls were faster."""
    p95_ms: float
    """95 in 100 calls were faster."""
    p99_ms: float
    """99 in 100 calls were faster."""
    runs: int
    """Timed calls, after the warm-up."""
    frame_share: float
    """Median as a share of a frame of 16 ms; above 1 it cannot keep up."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a file is with some number of threads, beside what took turns with it.

    What else the machine does meets both alike: judge by the ratio. A file that takes turns with
    itself shows by its spread what this machine cannot tell apart.
    """

    threads: int
    """Threads that the runtime was given."""
    latency: Latency
    """Of the file."""
    reference: str | None
    """What took turns with it, or null."""
    reference_latency: Latency | None
    """Latency of that."""
    ratio: float | None
    """Median of the file by median of the reference; below 1 the file is faster."""
    ratio_low: float | None
    """The lowest such ratio among ten stretches of the run."""
    ratio_high: float | None
    """The highest."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a fresh process grows by when it loads the file and runs it."""

    peak_bytes: int
    """Peak resident memory less that of the process before, its runtime imported already."""
    how: str
    """By which figure of the system it was told."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Arena:
    """What TensorFlow Lite Micro's allocator recorded for an int8 .tflite file."""

    bytes: int | None
    """Bytes of the arena, or null where it was not run."""
    detail: str
    """The version that recorded it, or why it did not run."""


@records.strict
@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """All figures of one file, beside what they were taken on."""

    file: str
    """Name of the file."""
    sha256: str
    """Its hash."""
    size: Size
    """Its size."""
    paces: tuple[Pace, ...]
    """With one thread and with all; empty where its runtime only evaluates it."""
    memory: Memory | None
    """The memory that it takes, or null where its runtime only evaluates it, and on Windows."""
    arena: Arena | None
    """Of an int8 file for TensorFlow Lite; null for others."""
    machine: dict[str, str]
    """CPU, instruction sets, runtime and its version."""

    @property
    def single(self) -> Pace | None:
        """Its pace with one thread."""
        return next((pace for pace in self.paces if pace.threads == 1), None)
