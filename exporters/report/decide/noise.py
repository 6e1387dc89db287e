"""What a comparison takes for the same: each figure's noise, and the reason for it."""

import math
import re
from dataclasses import replace

from exporters.report.decide.sampling_noise import sampling_noise
from exporters.report.figure import Allowance
from exporters.report.figures import FIGURES
from exporters.report.records.document import Tier

COMPARED = tuple(name for name, figure in FIGURES.items() if figure.noise is not None)
"""The figures that a comparison judges."""


def noise_between(
    metric: str, one: Tier, other: Tier, *, same_clips: bool, only_paired: bool = False
) -> tuple[Allowance, str]:
    """What two rows may differ by in a metric for being the same, and where that is from.

    `same_clips` says that both were judged on the same held-out speech. `only_paired` leaves the
    intervals of rows that cannot be paired alone: of the same clips they are far too wide.
    """
    known = FIGURES[metric].noise
    assert known is not None
    found = sampling_noise(metric, one, other, same_clips=same_clips, only_paired=only_paired)
    if found is None:
        return known.least, "fixed"
    if known.counted:
        return Allowance(absolute=found.difference), found.how
    return replace(known.least, absolute=max(known.least.absolute, found.difference)), found.how


_GIVEN = re.compile(r"(?P<name>\w+)=(?P<value>[^%\s]+)\s*(?P<percent>%?)")


def read_allowance(text: str) -> tuple[str, Allowance]:
    """``bytes=1%`` (of the value) or ``r2=0.01`` (in the figure's unit). Raises ValueError that says why not."""
    found = _GIVEN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not METRIC=VALUE or METRIC=VALUE%")
    name = found["name"]
    if name not in COMPARED:
        raise ValueError(f"{text!r} names no metric; there is {', '.join(COMPARED)}")
    try:
        value = float(found["value"])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(
            f"{text!r} has the value {found['value']}, expected a number of at least 0"
        )
    if not found["percent"]:
        return name, Allowance(absolute=value)
    if FIGURES[name].unit == "share":
        # A per cent of a share, or a point of it? Nobody can know.
        raise ValueError(
            f"{text!r}: {name} is a share of 0 to 1; give points as 0.02, not in per cent"
        )
    return name, Allowance(relative=value / 100)
