"""Figures as people read them: with units, no more digits than they need, and words for metrics."""

from exporters.report.records.chain import Measurements, Proportion
from exporters.report.records.compression import Choice, KeptLimit
from exporters.report.records.document import Comparison

NOT_RUN = "not run"

HEADERS = {
    "mse": "MSE",
    "r2": "R²",
    "correlation": "correlation",
    "jitter_ratio": "jitter ratio",
    "closure_f1": "closure F1",
    "closure_precision": "closure precision",
    "closure_recall": "closure recall",
    "lag_ms": "lag (ms)",
    "vertex_error": "vertices off (RMS, mesh units)",
    "lip_vertex_error": "farthest lip vertex off (mean, mesh units)",
    "pbm_at_1pct": "PBM at F = 1 %",
    "pbm": "lips closed on /p b m/ (PBM)",
    "closed_outside": "lips closed on other speech (F)",
    "false_closures": "lips shut on vowels",
    "phone_f1": "closure F1 against the phones",
    "phone_precision": "closure precision against the phones",
    "phone_recall": "closure recall against the phones",
    "stillness": "movement on silence (1/s)",
}
CHOICES: dict[Choice, str] = {
    "int8": "int8 weights and activations",
    "int8_weights": "int8 weights, computed in float",
    "float": "float",
}
_LIMITS = {
    "mse": "MSE, × float",
    "quiet_mse": "MSE 30 dB quieter, × float",
    "jitter": "jitter, × float",
    "pbm_loss": "closures lost on /p b m/, points",
    "false_rise": "closures gained on other speech (F), points",
}
_POINTS = ("pbm_loss", "false_rise")
COMPARISON: dict[Comparison, str] = {"<=": "≤", "<": "<", ">=": "≥", ">": ">"}


def human_size(count: int | None) -> str:
    """Bytes as 950 B, 177 kB or 3.4 MB; thousands, not 1024, as on a download page."""
    return _scaled(count, (("B", 0), ("kB", 0), ("MB", 1), ("GB", 1)))


def human_count(count: int | None) -> str:
    """A number of parameters as 900, 160 k or 2.5 M."""
    return _scaled(count, (("", 0), ("k", 0), ("M", 1), ("G", 1))).strip()


def number(value: float | None) -> str:
    """Three significant digits, or whole above a thousand."""
    if value is None:
        return NOT_RUN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def figure(value: Proportion | float | None) -> str:
    """A metric: a number, or a share with what it stands on: ``93.1 % (n = 212, 95 % CI ...)``."""
    if isinstance(value, Proportion):
        interval = f"{100 * value.low:.1f}\N{EN DASH}{100 * value.high:.1f}"
        return f"{100 * value.value:.1f} % (n = {value.n}, 95 % CI {interval})"
    return number(value)


def pbm_with_false(truth: Measurements) -> str:
    """PBM accuracy and what it costs: ``83.1 % (n = 212, 95 % CI …) with F 2.7 %``."""
    pbm, false = truth.get("pbm"), truth.get("closed_outside")
    if pbm is None:
        return NOT_RUN
    value = false.value if isinstance(false, Proportion) else false
    return f"{figure(pbm)} with F {percent(value)}"


def percent(share: float | None) -> str:
    """A share of 0 to 1 as 51.2 %."""
    return NOT_RUN if share is None else f"{100 * share:.1f} %"


def _scaled(count: int | None, units: tuple[tuple[str, int], ...]) -> str:
    if count is None:
        return NOT_RUN
    value = float(count)
    for unit, digits in units[:-1]:
        # Compare what will be shown, or 999 999 would read as 1000 kB.
        if round(value, digits) < 1000:
            return f"{value:.{digits}f} {unit}"
        value /= 1000
    unit, digits = units[-1]
    return f"{value:.{digits}f} {unit}"


def ratio_text(value: float | None) -> str:
    """A ratio: near 1, where limits lie, to the third decimal; far off, in three digits."""
    if value is None:
        return NOT_RUN
    return f"{value:.3f}" if value < 10 else number(value)


def header(metric: str) -> str:
    """A metric's name in words."""
    return HEADERS.get(metric, metric.replace("_", " "))


def limit_cells(name: str, kept: KeptLimit) -> tuple[str, str, str, str]:
    """A limit of the int8 gate: what, measured, at most, and whether it holds: ``MSE, × float, 1.021, 1.050, yes``."""
    if name in _POINTS:  # shares in the document
        value, limit = (None if v is None else f"{100 * v:.1f}" for v in (kept.value, kept.limit))
    else:
        value, limit = (None if v is None else ratio_text(v) for v in (kept.value, kept.limit))
    held = {True: "yes", False: "NO", None: NOT_RUN}[kept.held]
    return _LIMITS.get(name, name), value or NOT_RUN, limit or NOT_RUN, held
