"""Figures by name as they come out of a judgement, and what of them is no measure."""

import math

from exporters.report.records.chain import Measurements, Proportion


def measured(found: Measurements) -> Measurements:
    """The same, with None for what is no number."""
    return {name: _known(value) for name, value in found.items()}


def finite(value: float) -> float | None:
    """The value, or None where it is no number."""
    return float(value) if math.isfinite(value) else None


def _known(value: float | Proportion | None) -> float | Proportion | None:
    return value if value is None or isinstance(value, Proportion) else finite(value)
