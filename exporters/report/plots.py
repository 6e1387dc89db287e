"""Pictures of a report as PNG bytes; the same data gives the same picture."""

import io
import textwrap
from typing import TYPE_CHECKING, Any

from exporters.report.document import ClipCurves, Training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with any common form of colour blindness, and in print by
# lightness and width.
_TEACHER = "#b5b5b5"
_STUDENT = "#0072b2"
_SECOND = "#d55e00"
# Of the terms of a loss, in their order.
_LINES = ((_STUDENT, "-"), (_SECOND, "-"), ("#009e73", "--"), ("#cc79a7", ":"))
_SEALED = "#e69f00"
_TEXT = "#333333"
_FAINT = "#777777"

_WIDTH_INCHES = 10.0
_DPI = 120
_FONT = "DejaVu Sans"  # travels with matplotlib, so the picture is the same everywhere
_STYLE: dict[Any, Any] = {
    "font.family": _FONT,
    "font.size": 9,
    "text.color": _TEXT,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": _TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eeeeee",
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "lines.solid_capstyle": "round",
}


def plot_clip(curves: ClipCurves) -> bytes:
    """Teacher under student over time in seconds, one panel a control, as PNG.

    Sealed-lip intervals are shaded, and phones named above the first panel, where known.
    """
    import matplotlib
    from matplotlib.figure import Figure

    controls = list(curves.teacher_values)
    # The picture is titled by name where its font lacks the script; the Markdown has the text.
    quoted = textwrap.fill(f"“{curves.text}”", 90)
    title = quoted if curves.text and _drawable(quoted) == quoted else _drawable(curves.clip)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, 1.4 + 1.25 * len(controls)))
        panels = _stack_panels(figure, len(controls))
        _title(figure, title)
        for control, axes in zip(controls, panels, strict=True):
            _draw_control(axes, curves, control)
        panels[0].set_xlim(curves.times_s[0], curves.times_s[-1])
        _label_phones(panels[0], curves)
        panels[-1].set_xlabel("time (s)")
        handles, labels = panels[0].get_legend_handles_labels()
        if curves.sealed:  # drawn first to lie at the back, named last
            handles, labels = handles[1:] + handles[:1], labels[1:] + labels[:1]
        figure.legend(handles, labels, loc="outside lower right", ncols=3, frameon=False)
        return _png(figure)


def plot_training(training: Training) -> bytes:
    """Loss terms, and R² on clips set aside where it was computed, over optimiser steps, as PNG."""
    import matplotlib
    from matplotlib.figure import Figure

    points = training.curve
    judged = [
        (point.step, point.validation_r2) for point in points if point.validation_r2 is not None
    ]
    rows = 2 if judged else 1
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, 1.0 + 2.0 * rows))
        panels = _stack_panels(figure, rows)
        _title(figure, _drawable(f"{training.student}: training"))
        steps = [point.step for point in points]
        marker = "o" if len(points) == 1 else ""
        names = list(points[0].losses) if points else []
        for name, (colour, style) in zip(names, _LINES, strict=False):
            losses = [point.losses[name] for point in points]
            panels[0].plot(steps, losses, style, color=colour, lw=1.6, marker=marker, label=name)
        if all(loss > 0 for point in points for loss in point.losses.values()):
            panels[0].set_yscale("log")
        panels[0].set_ylabel("loss on training speech")
        # Above the panel: inside, some line would run through it.
        panels[0].legend(
            frameon=False,
            ncols=max(1, len(names)),
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.2,
        )
        if judged:
            panels[1].plot(*zip(*judged, strict=True), color=_TEXT, lw=1.6, marker="o", ms=3.5)
            panels[1].set_ylabel("R² on clips set aside")
        panels[-1].set_xlabel("optimiser step")
        return _png(figure)


def _stack_panels(figure: "Figure", rows: int) -> "list[Axes]":
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    panels = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    for axes in panels[:-1]:
        axes.tick_params(bottom=False)
    return panels


def _title(figure: "Figure", text: str) -> None:
    # Dollar signs in speech are money, not mathematics.
    figure.suptitle(text, x=0.01, ha="left", fontsize=12, fontweight="bold", parse_math=False)


def _drawable(text: str) -> str:
    """Replace what the font cannot draw by an empty box, so that matplotlib need not warn of it."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=_FONT))).get_charmap()
    return "".join(sign if ord(sign) in known or sign == "\n" else "□" for sign in text)


def _draw_control(axes: "Axes", curves: ClipCurves, control: str) -> None:
    teacher, student = curves.teacher_values[control], curves.student_values[control]
    for index, span in enumerate(curves.sealed):
        label = "lips should be shut" if index == 0 else None
        axes.axvspan(span.start_s, span.end_s, color=_SEALED, alpha=0.22, lw=0, label=label)
    axes.plot(curves.times_s, teacher, color=_TEACHER, lw=4, label="teacher")
    axes.plot(
        curves.times_s,
        student,
        color=_STUDENT,
        lw=1.4,
        label=_drawable(f"student: {curves.student}"),
    )
    axes.set_ylabel(
        _drawable(control),
        rotation=0,
        ha="right",
        va="center",
        fontweight="bold",
        parse_math=False,
    )
    # Zero is always in view, so that a control that hardly moves does not look as if it did.
    low, high = min(0.0, *teacher, *student), max(0.0, *teacher, *student)
    margin = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.locator_params(axis="y", nbins=4)


def _label_phones(axes: "Axes", curves: ClipCurves) -> None:
    """Name phones above the panel: all if they have room, else only the sealed ones."""
    seconds = curves.times_s[-1] - curves.times_s[0]
    crowded = len(curves.phones) > 9 * _WIDTH_INCHES or seconds <= 0
    for span in curves.sealed if crowded or not curves.phones else curves.phones:
        middle = (span.start_s + span.end_s) / 2
        if curves.times_s[0] <= middle <= curves.times_s[-1]:
            axes.annotate(
                _drawable(span.label),
                (middle, 1.0),
                xytext=(0, 3),
                textcoords="offset points",
                xycoords=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=7,
                color=_FAINT,
                parse_math=False,
            )


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    # Without this matplotlib writes its version into the file.
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
