"""Write a report, and make its readable parts again from ``report.json`` alone."""

from dataclasses import dataclass
from pathlib import Path

from exporters import records
from exporters.files import write_atomically
from exporters.report.document import ReportDocument, read_report
from exporters.requirements import require

REPORT_JSON = "report.json"
REPORT_MARKDOWN = "report.md"
REPORT_JUNIT = "parity.junit.xml"


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """What was written."""

    json: Path
    markdown: Path
    junit: Path
    images: tuple[Path, ...]


def write_report(document: ReportDocument, folder: Path) -> ReportFiles:
    """Write ``report.json``, then all that is made from it, into ``folder``.

    Each file appears whole or not at all. Raises ValueError that names every number which is not
    finite, before anything is written, and MissingToolError.
    """
    text = records.to_json(document)
    write_atomically(folder / REPORT_JSON, text.encode())
    return render(folder)


def render(folder: Path) -> ReportFiles:
    """Make ``report.md``, ``parity.junit.xml`` and the pictures from ``folder / "report.json"``.

    Raises ModelFileError if that file is missing or wrong, and MissingToolError.
    """
    require("jinja2", "matplotlib", purpose="render reports")
    from exporters.report.cases import cases
    from exporters.report.junit import to_junit
    from exporters.report.markdown import to_markdown
    from exporters.report.plots import plot_clip, plot_training

    document = read_report(folder / REPORT_JSON)
    pictures = [(training.image, plot_training(training)) for training in document.training]
    pictures += [(curves.image, plot_clip(curves)) for curves in document.curves]
    for image, content in pictures:
        write_atomically(folder / image, content)
    write_atomically(folder / REPORT_MARKDOWN, to_markdown(document).encode())
    junit = to_junit(list(cases(document)), suite=document.name, properties=document.versions)
    write_atomically(folder / REPORT_JUNIT, junit.encode())
    return ReportFiles(
        json=folder / REPORT_JSON,
        markdown=folder / REPORT_MARKDOWN,
        junit=folder / REPORT_JUNIT,
        images=tuple(folder / image for image, _ in pictures),
    )
