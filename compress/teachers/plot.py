"""A picture of a teacher's liveliest controls."""

from typing import TYPE_CHECKING

from exporters.report.pictures.drawing import (
    STUDENT,
    STYLE,
    WIDTH_INCHES,
    drawable,
    fit_panel,
    headline,
    name_panel,
    png,
    stack_panels,
)

if TYPE_CHECKING:
    from compress.teachers.check import Excerpt, TeacherCheck


def plot_liveliest(found: "TeacherCheck", excerpt: "Excerpt") -> bytes:
    """Curves over time in seconds, one panel a control, those that move most first, as PNG."""
    import matplotlib
    from matplotlib.figure import Figure

    names = [reach.control for reach in found.reach[: len(excerpt.liveliest)]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 1.2 + 1.1 * len(names)))
        panels = stack_panels(figure, len(names))
        headline(
            figure,
            drawable(f"{found.name}: the {len(names)} liveliest of {found.controls} controls"),
        )
        for name, column, axes in zip(names, excerpt.liveliest, panels, strict=True):
            values = excerpt.curves[:, column]
            axes.plot(excerpt.times_s, values, color=STUDENT, lw=1.4)
            name_panel(axes, name)
            fit_panel(axes, float(values.min()), float(values.max()))
        panels[0].set_xlim(excerpt.times_s[0], excerpt.times_s[-1])
        panels[-1].set_xlabel("time (s)")
        return png(figure)
