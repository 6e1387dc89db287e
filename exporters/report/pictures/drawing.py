"""What all pictures share: one style, panels over time, and the same data as the same bytes."""

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any common form of colour blindness, and in print by
# lightness and width.
TEACHER = "#b5b5b5"
STUDENT = "#0072b2"
SECOND = "#d55e00"
# Of the terms of a loss, in their order.
LINES = ((STUDENT, "-"), (SECOND, "-"), ("#009e73", "--"), ("#cc79a7", ":"))
SEALED = "#e69f00"
TEXT = "#333333"
FAINT = "#777777"

WIDTH_INCHES = 10.0
DPI = 120
FONT = "DejaVu Sans"  # travels with matplotlib, so the picture is the same everywhere
STYLE: dict[Any, Any] = {
    "font.family": FONT,
    "font.size": 9,
    "text.color": TEXT,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eeeeee",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "lines.solid_capstyle": "round",
}


def stack_panels(figure: "Figure", rows: int) -> "list[Axes]":
    """Panels over each other that share their time."""
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    panels = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for axes in panels[:-1]:
        axes.tick_params(bottom=False)
    return panels


def headline(figure: "Figure", text: str) -> None:
    """Above all panels."""
    # Dollar signs in speech are money, not mathematics.
    figure.suptitle(text, x=0.01, ha="left", fontsize=12, fontweight="bold", parse_math=False)


def drawable(text: str) -> str:
    """Replace what the font cannot draw by an empty box, so that matplotlib need not warn of it."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=FONT))).get_charmap()
    return "".join(sign if ord(sign) in known or sign == "\n" else "□" for sign in text)


def name_panel(axes: "Axes", text: str) -> None:
    """Beside the panel, where a long name has room."""
    axes.set_ylabel(
        drawable(text),
        rotation=0,
        ha="right",
        va="center",
        fontweight="bold",
        parse_math=False,
    )


def fit_panel(axes: "Axes", *values: float) -> None:
    """Zero is always in view, so that a control that hardly moves does not look as if it did."""
    low, high = min(0.0, *values), max(0.0, *values)
    margin = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.locator_params(axis="y", nbins=4)


def png(figure: "Figure") -> bytes:
    """The picture; the same one has the same bytes."""
    buffer = io.BytesIO()
    # Without this matplotlib writes its version into the file.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
