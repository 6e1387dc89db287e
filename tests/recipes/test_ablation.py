"""The table of results: rows that can be run, results made once, and a page that hides no gap."""

import json
from dataclasses import replace

import pytest

from compress.recipe.recipe import load_recipe
from recipes.ablation import table
from recipes.ablation.rows import Row, read_rows
from recipes.ablation.running import BASE, Bench, run_row


def test_every_row_can_be_run() -> None:
    students = {student.name for student in load_recipe(BASE).students}
    rows = read_rows()
    assert len(rows) > 15
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        if row.trained and row.student != "teacher":
            assert row.student in students, row.id


def test_rows_of_one_table_take_equal_steps() -> None:
    students = {student.name: student for student in load_recipe(BASE).students}
    trained = [row for row in read_rows() if row.student in students]
    assert len({students[row.student].training.steps for row in trained}) == 1
    assert not any("steps" in row.settings for row in trained)


def test_a_row_hears_what_it_names() -> None:
    row = Row("x", "x", "tiny", speech=("en/*", "espeak/*"), without=("*/fr/*",))
    heard = [clip for clip in ("en/a", "es/a", "espeak/en/1", "espeak/fr/1") if row.hears(clip)]
    assert heard == ["en/a", "espeak/en/1"]


GUIDED = Row(
    "c",
    "stage 2",
    "small",
    guided=True,
    settings={"feature_layers": {"head2": "head2"}},
    seeds=(7,),
)


def test_a_row_is_trained_and_judged_once(bench: Bench) -> None:
    made = run_row(bench, GUIDED, 7)
    path = bench.result(GUIDED, 7)
    written = path.stat().st_mtime_ns
    assert "feature" in made["log"][-1]
    assert made["parameters"] > 0
    assert json.loads(path.read_text())["row"] == "c"
    assert run_row(bench, GUIDED, 7)["groups"].keys() == made["groups"].keys()
    assert path.stat().st_mtime_ns == written


def test_the_page_has_every_row_and_says_what_was_not_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (GUIDED, replace(GUIDED, id="d", title="never run"))
    monkeypatch.setattr(table, "read_rows", lambda: rows)
    monkeypatch.setattr(table, "GOALS", (("d", "c", 0.97),))
    run_row(bench, GUIDED, 7)
    found = table.collected(bench.folder)
    assert found["d"] == []
    assert "log" not in found["c"][0]
    page = table.page(found | {"small": found["c"]})
    lines = [line for line in page.splitlines() if "never run (`d`)" in line]
    assert len(lines) == 4
    assert all("not run" in line for line in lines)
    assert "| d ≥ 97% of c |" in page


def test_several_seeds_are_a_mean_and_a_spread() -> None:
    assert table.spread([1.0, 2.0, 3.0], ".1f") == "2.0 ± 1.0"
    assert table.spread([2.0], ".1f") == "2.0"


def test_a_goal_is_a_paired_ratio() -> None:
    def result(hits: list[list[int]]) -> list[dict[str, object]]:
        groups = {name: {"pbm_cases": hits} for name in (table.ENGLISH, table.SYNTHETIC)}
        return [{"groups": groups}]

    found = {"small": result([[1, 1], [1, 0]]), "teacher": result([[1, 1], [1, 1]])}
    page = table.goals(found | {name: [] for name in ("tiny", "realtime", "tiny-realtime")})
    assert "| small ≥ 95% of teacher | english | 4 | -25.0 points" in page
    assert "| 75.0 % (50.0 to 100.0) | no |" in page
    assert "| tiny ≥ 97% of small |" in page
