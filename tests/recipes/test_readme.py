"""README and reference report: the figures of the one are those of the other."""

from dataclasses import replace

import pytest

from exporters.report.page.html import to_page
from exporters.report.records.document import ReportDocument, read_report
from exporters.report.records.tiers import tiers_of
from recipes.readme import BEGIN, README, REPORT, table, with_table
from tests.conftest import Cli


@pytest.fixture(scope="module")
def reference() -> ReportDocument:
    return read_report(REPORT)


def test_the_readme_has_the_reference_reports_figures(reference: ReportDocument) -> None:
    text = README.read_text("utf-8")
    assert with_table(text, reference) == text, "run: python -m recipes.readme"
    changed = replace(reference.tiers[1], bytes=123_456_789)
    other = replace(reference, tiers=(reference.tiers[0], changed, *reference.tiers[2:]))
    assert with_table(text, other) != text


def test_every_tier_has_a_row_in_both_tables(reference: ReportDocument) -> None:
    costs, qualities = (part.splitlines() for part in table(reference).split("\n\n"))
    baselines = sum(row.kind == "baseline" for row in reference.tiers)
    assert len(costs) == 2 + 1 + len(tiers_of(reference))
    assert len(qualities) == len(costs) + baselines
    for rows in (costs, qualities):
        assert len({row.count("|") for row in rows}) == 1


def test_a_readme_without_marks_is_not_written(reference: ReportDocument) -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        with_table(README.read_text("utf-8").replace(BEGIN, ""), reference)


def test_the_reference_is_of_a_run_that_passed(reference: ReportDocument) -> None:
    assert reference.name == "demo"
    assert {gate.status for gate in reference.gates} <= {"passed"}
    assert {entry.result.status for entry in reference.parity} == {"passed"}
    assert "failed" not in {check.status for check in reference.checks}
    assert "with changes" not in "".join(reference.commits.values()), "made of what is committed"
    kinds = {row.provenance for row in reference.tiers if row.made}
    assert kinds == {"trained in this run", "reference weights"}


def test_ci_can_compare_with_it(cli: Cli) -> None:
    ended = cli("compare", REPORT.parent, REPORT.parent, "--markdown")
    assert ended.code == 0
    assert ended.out.startswith("## No change beyond the noise")


def test_a_page_is_made_of_it_without_clips(reference: ReportDocument) -> None:
    page = to_page(reference, None, {})
    assert all(view.title in page for view in tiers_of(reference))
