"""The small table at the end of a run."""

from dataclasses import replace

from exporters.report.sections.terminal import MOST_ROWS, summary
from tests.exporters.documents import teacher_row
from tests.exporters.told import told_report


def test_a_line_a_tier_below_its_headings() -> None:
    head, student = summary(told_report())
    assert " ".join(head.split()) == "size waits R² PBM at F = 1 % (95 % CI) PBM (F)"
    assert " ".join(student.split()) == "demo, fp32 655 kB 272 ms 0.812 0.84 93.1 % (4.5 %)"


def test_many_tiers_are_few_lines() -> None:
    document = told_report()
    (row,) = (tier for tier in document.tiers if tier.made)
    assert row.made is not None
    many = tuple(
        replace(row, name=f"s{i}", made=replace(row.made, tier=f"s{i}", student=f"s{i}"))
        for i in range(20)
    )
    teacher = teacher_row()
    lines = summary(replace(document, tiers=(*many, teacher)))
    assert len(lines) == 1 + 1 + MOST_ROWS + 1
    assert lines[1].startswith(teacher.name)
    assert lines[-1] == f"and {20 - MOST_ROWS} more tiers, in the report"
