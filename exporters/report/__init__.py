"""The report of a run: ``report.json`` is the source, Markdown and pictures are made from it."""

from exporters.report.records.document import ReportDocument, read_report
from exporters.report.writer import ReportFiles, render, write_report

__all__ = ["ReportDocument", "ReportFiles", "read_report", "render", "write_report"]
