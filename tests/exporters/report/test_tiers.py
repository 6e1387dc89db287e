"""Tiers in their order, by figures of the teacher's curves alone."""

import pytest

from exporters.report.page.view import view_of
from exporters.report.records.tiers import (
    against_teacher,
    against_truth,
    pareto,
    point_of,
    tiers_of,
)
from tests.exporters.documents import document, file_row, row, share, teacher_row

TRUE = {"mse": 1e-6, "r2": 0.99, "jitter_ratio": 1.0, "pbm": share(0.7)}


def test_a_metric_against_the_truth_never_stands_for_one_against_the_teacher() -> None:
    """Both have an MSE: a tier that was not judged by the teacher is not the nearest to it."""
    judged = file_row("small", mse=0.004)
    other = file_row("tiny", mse=None, r2=None)
    unknown = row(
        other.name,
        bytes=other.bytes,
        path=other.path,
        made=other.made,
        algorithmic_latency_ms=80.0,
        against_teacher={"mse": None},
        against_truth=TRUE,
    )
    report = document(teacher_row(), unknown, judged)
    assert [view.name for view in tiers_of(report)] == ["small-int8", "tiny-int8"]
    assert point_of(tiers_of(report)[1]) is None
    assert pareto(tiers_of(report)) == {"small-int8"}
    (_, shown) = view_of(report, tiers_of(report), None)["tiers"]
    assert shown["figures"]["r2"]["value"] is None
    assert shown["figures"]["pbm"]["value"] == pytest.approx(70)


def test_each_question_has_its_own_answer() -> None:
    one = row("one", against_teacher={"mse": 0.004, "lag_ms": None}, against_truth=TRUE)
    assert (against_teacher(one, "mse"), against_truth(one, "mse")) == (0.004, 1e-6)
    assert (against_teacher(one, "pbm"), against_truth(one, "pbm")) == (None, 0.7)
    assert (against_teacher(one, "lag_ms"), against_teacher(one, "nothing")) == (None, None)
