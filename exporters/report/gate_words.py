"""A limit and what was found of it, in words: by how much it is missed, and no digit too few."""

import math

from exporters.report.records.document import Comparison, Gate


def in_words(gate: Gate) -> str:
    """``187,201, expected <= 100,000 (87 % over)``, or why there is no value."""
    if gate.value is None and gate.status == "failed":
        return f"no number, expected {gate.comparison} {plain(gate.limit)}"
    found = found_and_asked(gate.value, gate.limit, gate.comparison)
    return f"{found}, {gate.beside}" if gate.beside else found


def found_and_asked(value: float | None, limit: float, comparison: Comparison) -> str:
    """The same of a value and a limit; None was not measured."""
    if value is None:
        return f"not measured, expected {comparison} {plain(limit)}"
    found, asked = apart(value, limit)
    off = off_by(value, limit, comparison)
    return f"{found}, expected {comparison} {asked}" + (f" ({off})" if off else "")


def off_by(value: float, limit: float, comparison: Comparison) -> str:
    """How far a value is beyond its limit; empty if the limit is kept.

    Above a limit in percent of it, or in multiples from twice on; short of one as a difference, since
    what is asked to be high (R², shares) lies between 0 and 1, or below 0.
    """
    beyond = value - limit if comparison in ("<=", "<") else limit - value
    if math.isnan(beyond):
        return "no number"
    if beyond < 0 or (beyond == 0 and comparison in ("<=", ">=")):
        return ""
    if beyond == 0:
        return "just at it"
    if comparison in (">=", ">"):
        return f"{_digits(beyond)} short"
    if limit <= 0 or value > 1e6 * limit:  # a multiple that says nothing any more
        return f"{_digits(beyond)} over"
    if value < 2 * limit:
        return f"{_digits(100 * beyond / limit)} % over"
    return f"{_digits(value / limit)} times the limit"


def apart(value: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart, 4 at least."""
    texts = ("", "")
    for digits in range(4, 18):
        texts = (plain(value, digits), plain(other, digits))
        if value == other or texts[0] != texts[1]:
            break
    return texts


def plain(value: float, digits: int = 4) -> str:
    """187,201 or 0.6123: whole numbers whole, others to so many significant digits."""
    if math.isfinite(value) and abs(value) >= 1000:
        return f"{value:,.{0 if value == round(value) else max(0, digits - 4)}f}"
    return f"{value:.{digits}g}"


def _digits(value: float) -> str:
    """Two significant digits, and whole from 10 on."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"
