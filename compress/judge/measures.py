"""Figures by name as they come out of a judgement, and what of them is no measure."""

import math

from compress.judge.bootstrap import Share

Measures = dict[str, float | Share | None]


def measured(found: Measures) -> Measures:
    """The same, with None for a share of no case and for what is no number."""
    return {name: _known(value) for name, value in found.items()}


def finite(value: float) -> float | None:
    """The value, or None where it is no number."""
    return float(value) if math.isfinite(value) else None


def _known(value: float | Share | None) -> float | Share | None:
    if isinstance(value, Share):
        return value if value.n else None
    return None if value is None else finite(value)
