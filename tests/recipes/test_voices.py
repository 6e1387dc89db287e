"""The page on voices never heard: rows that can be run, figures of a real run, and what was not run."""

import json
from dataclasses import replace

import pytest

from compress.recipe import load_recipe
from recipes.ablation.rows import Row, read_rows
from recipes.ablation.running import BASE, Bench, _first, run_row
from recipes.voices import table
from recipes.voices.__main__ import ROWS

STAGE_1 = Row("small", "small", "small", part="shipped")


def test_every_row_can_be_run_and_stands_in_a_table() -> None:
    students = {student.name for student in load_recipe(BASE).students}
    rows = read_rows(ROWS)
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert row.part in {"shipped", *table.PARTS}, row.id
        assert row.student in students | {"teacher"} or row.student.startswith("builtin:"), row.id


def test_nothing_run_says_so_everywhere() -> None:
    page = table.page({row.id: [] for row in read_rows(ROWS)})
    shipped = [row for row in read_rows(ROWS) if row.part == "shipped"]
    for row in read_rows(ROWS):
        lines = [line for line in page.splitlines() if f"(`{row.id}`)" in line]
        assert len(lines) == (len(table.KINDS) if row in shipped else 1)
        assert all(table.NOT_RUN in line for line in lines)
    assert page.count(f"| {table.NOT_RUN} |") >= len(table.GOALS) + len(table.LEAST_R2)


def test_a_run_shows_what_a_closure_costs_and_who_was_judged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = replace(STAGE_1, id="teacher", student="teacher")
    monkeypatch.setattr(table, "read_rows", lambda _: (teacher, STAGE_1))
    for row in (teacher, STAGE_1):
        run_row(bench, row, 7)
    found = table.collected(bench.folder)
    judged = found["small"][0]["groups"]["natural"]
    lips, truth = judged["lips"], judged["against_truth"]
    sealed, sounds = sum(lips["sealed_at_1pct"]), sum(lips["sounds"])
    assert sounds == truth["pbm_at_1pct"]["n"]
    assert sealed / sounds == pytest.approx(truth["pbm_at_1pct"]["value"])
    page = table.page(found)
    (line,) = table.figures([STAGE_1], found, "natural").splitlines()[2:]
    assert f"({sounds}, " in line
    assert f"{100 * truth['closed_outside']['value']:.2f} %" in line
    goal = next(line for line in page.splitlines() if line.startswith("| small: PBM at F"))
    of_teacher = sum(found["teacher"][0]["groups"]["natural"]["lips"]["sealed_at_1pct"])
    assert f"{100 * sealed / of_teacher:.1f} % (" in goal
    json.dumps(found)


def test_minutes_are_the_first_by_number(bench: Bench) -> None:
    clips = list(bench.labels.side("train"))
    numbered = [replace(clip, id=f"natural/en/{i:05d}-0") for i, clip in enumerate(clips)]
    minutes = numbered[0].hops * 0.016 / 60
    assert _first(numbered[::-1], minutes * 0.5) == numbered[:1]
    assert _first(numbered[::-1], 1e6) == numbered
