"""Figures from devices that are attached to this machine: one module a kind, found by its name.

A device is sent something only where the environment names what it takes: a program for Android, a
team for an iPhone. One that is not there is no error: `obstacle` says in words why it is not asked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from exporters import records
from exporters.contracts import Kind
from exporters.measuring.figures import FRAME_MS


@records.strict
@dataclass(frozen=True, kw_only=True)
class DeviceLatency:
    """Time for one window on a device, in milliseconds; null is what its tool does not say."""

    runs: int
    """Timed calls, after the warm-up."""
    mean_ms: float | None
    """The mean, which a single slow call moves."""
    median_ms: float | None
    """Half of the calls were faster."""
    p95_ms: float | None
    """95 in 100 calls were faster."""
    p99_ms: float | None
    """99 in 100 calls were faster."""

    @property
    def frame_share(self) -> float | None:
        """Median, or without one the mean, as a share of a frame of 16 ms."""
        typical = self.mean_ms if self.median_ms is None else self.median_ms
        return None if typical is None else typical / FRAME_MS


@records.strict
@dataclass(frozen=True, kw_only=True)
class DeviceBenchmark:
    """One file on one unit of a device."""

    file: str
    """Name of the file."""
    sha256: str
    """Its hash."""
    device: str
    """Model of the device, its chip and system."""
    runtime: str
    """What ran the file, and which version of it."""
    unit: str
    """Where it ran, such as `CPU, 1 thread`."""
    latency: DeviceLatency | None
    """How long a window takes, or null where it was not run."""
    memory_bytes: int | None
    """What the process grew by, or null where the tool does not say it."""
    detail: str
    """What the tool said and what it did not, or why it was not run."""


class Device(Protocol):
    """What a module of this package offers."""

    SUFFIX: str
    """How the names of files end that it runs."""

    def obstacle(self) -> str:
        """Why nothing can be measured on such a device now, in words; empty if it can.

        It looks which devices are attached, and sends nothing to any.
        """
        ...

    def measure(
        self, path: Path, *, runs: int, warmup: int, threads: Sequence[int]
    ) -> Iterator[DeviceBenchmark]:
        """Time a file on all units there are. Raises DeviceError, ModelFileError, MissingToolError.

        ``threads`` are for units that have a say in it. What a unit refuses is a record without a
        latency.
        """
        ...


DEVICES: Kind[Device] = Kind("kind of device", __name__, Device)


def available_devices() -> tuple[str, ...]:
    """Names of all kinds of devices, sorted; whether one is attached is not looked at."""
    return DEVICES.available()


def load_device(name: str) -> Device:
    """Find a kind of device by its name. Raises ContractError: what it lacks, or which there are."""
    return DEVICES.load(name)
