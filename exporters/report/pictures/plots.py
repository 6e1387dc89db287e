"""Pictures of a report as PNG bytes; the same data gives the same picture."""

import textwrap
from typing import TYPE_CHECKING

from exporters.report.pictures.drawing import (
    FAINT,
    LINES,
    SEALED,
    STUDENT,
    STYLE,
    TEACHER,
    TEXT,
    WIDTH_INCHES,
    drawable,
    fit_panel,
    headline,
    name_panel,
    png,
    stack_panels,
)
from exporters.report.records.clips import Clip
from exporters.report.records.document import Training

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_clip(curves: Clip) -> bytes:
    """Teacher under the first tier over time in seconds, one panel a control, as PNG.

    Sealed-lip intervals are shaded, and phones named above the first panel, where known.
    """
    import matplotlib
    from matplotlib.figure import Figure

    controls = list(curves.shown)
    # The picture is titled by name where its font lacks the script; the Markdown has the text.
    quoted = textwrap.fill(f"“{curves.text}”", 90)
    title = quoted if curves.text and drawable(quoted) == quoted else drawable(curves.clip)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 1.4 + 1.25 * len(controls)))
        panels = stack_panels(figure, len(controls))
        headline(figure, title)
        for control, axes in zip(controls, panels, strict=True):
            _draw_control(axes, curves, control)
        panels[0].set_xlim(curves.times_s[0], curves.times_s[-1])
        _label_phones(panels[0], curves)
        panels[-1].set_xlabel("time (s)")
        handles, labels = panels[0].get_legend_handles_labels()
        if curves.sealed:  # drawn first to lie at the back, named last
            handles, labels = handles[1:] + handles[:1], labels[1:] + labels[:1]
        figure.legend(handles, labels, loc="outside lower right", ncols=3, frameon=False)
        return png(figure)


def plot_training(training: Training) -> bytes:
    """Loss terms, and R² on clips set aside where it was computed, over optimiser steps, as PNG."""
    import matplotlib
    from matplotlib.figure import Figure

    points = training.curve
    judged = [
        (point.step, point.validation_r2) for point in points if point.validation_r2 is not None
    ]
    rows = 2 if judged else 1
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 1.0 + 2.0 * rows))
        panels = stack_panels(figure, rows)
        headline(figure, drawable(f"{training.student}: training"))
        steps = [point.step for point in points]
        marker = "o" if len(points) == 1 else ""
        names = list(points[0].losses) if points else []
        for name, (colour, style) in zip(names, LINES, strict=False):
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
            panels[1].plot(*zip(*judged, strict=True), color=TEXT, lw=1.6, marker="o", ms=3.5)
            panels[1].set_ylabel("R² on clips set aside")
        panels[-1].set_xlabel("optimiser step")
        return png(figure)


def _draw_control(axes: "Axes", curves: Clip, control: str) -> None:
    teacher, student = curves.teacher[control], curves.tiers[0].values[control]
    for index, span in enumerate(curves.sealed):
        label = "lips should be shut" if index == 0 else None
        axes.axvspan(span.start_s, span.end_s, color=SEALED, alpha=0.22, lw=0, label=label)
    axes.plot(curves.times_s, teacher, color=TEACHER, lw=4, label="teacher")
    axes.plot(
        curves.times_s,
        student,
        color=STUDENT,
        lw=1.4,
        label=drawable(f"student: {curves.tiers[0].tier}"),
    )
    name_panel(axes, control)
    fit_panel(axes, *teacher, *student)


def _label_phones(axes: "Axes", curves: Clip) -> None:
    """Name phones above the panel: all if they have room, else only the sealed ones."""
    seconds = curves.times_s[-1] - curves.times_s[0]
    crowded = len(curves.phones) > 9 * WIDTH_INCHES or seconds <= 0
    for span in curves.sealed if crowded or not curves.phones else curves.phones:
        middle = (span.start_s + span.end_s) / 2
        if curves.times_s[0] <= middle <= curves.times_s[-1]:
            axes.annotate(
                drawable(span.label),
                (middle, 1.0),
                xytext=(0, 3),
                textcoords="offset points",
                xycoords=axes.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=7,
                color=FAINT,
                parse_math=False,
            )
