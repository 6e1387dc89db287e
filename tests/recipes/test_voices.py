"""The page on voices never heard: rows that can be run, figures of a real run, and what was not run."""

import json
from dataclasses import replace
from typing import Any

from compress.recipe.recipe import load_recipe
from recipes.ablation.rows import Row, read_rows
from recipes.ablation.running import BASE, Bench, _first, run_row
from recipes.ablation.table import DOCS
from recipes.readme import README
from recipes.voices import table
from recipes.voices.rows import ROWS

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


def judged(sealed: list[int], r2: float) -> dict[str, Any]:
    """A result as a run leaves it: three voices of two, one and one clips with four sounds each."""
    share = {"value": sum(sealed) / 16, "n": 16, "low": 0.1, "high": 0.9}
    group = {
        "against_teacher": {"r2": r2, "closure_f1": 0.8, "jitter_ratio": 2.0},
        "against_truth": {
            "pbm_at_1pct": share,
            "pbm": share,
            "closed_outside": share | {"value": 0.0123},
            "phone_f1": 0.9,
        },
        "lips": {"voices": ["a", "a", "b", "c"], "sounds": [4] * 4, "sealed_at_1pct": sealed},
    }
    groups = dict.fromkeys((*table.KINDS, "natural en"), group)
    return {
        "groups": groups,
        "parameters": 1_000,
        "future_ms": 64.0,
        "smoothing": [1],
        "steps": 9_000,
    }


def test_figures_stand_with_what_a_closure_costs_and_goals_are_ratios() -> None:
    found = {
        "teacher": [judged([4, 4, 4, 4], 1.0)],
        "small": [judged([4, 4, 3, 4], 0.8)],
        "tiny": [judged([2, 4, 3, 3], 0.7)],
    }
    page = table.page({row.id: found.get(row.id, []) for row in read_rows(ROWS)})
    (line,) = table.figures([STAGE_1], found, "natural").splitlines()[2:]
    assert "| 1,000 | 80 | 9,000 | 0.800 | 93.8% (16, 10.0% to 90.0%) | 93.8 % | 1.23 % |" in line
    assert "| small: PBM at F = 1 % ≥ 95% of teacher's | 93.8 % (75.0 to 100.0) | 16 | no |" in page
    assert "| tiny: PBM at F = 1 % ≥ 97% of small's | 80.0 % (" in page
    assert "| small: R² to the teacher ≥ 0.78 | 0.800 |  | yes |" in page
    assert "| tiny: R² to the teacher ≥ 0.72 | 0.700 |  | no |" in page
    assert "| natural en | 1.00, 100% (16) | 0.80, 94% (16) | 0.70, 75% (16) |" in page


def test_page_and_readme_have_the_figures_in_docs() -> None:
    found = json.loads((DOCS / "voices.json").read_text("utf-8"))
    assert (DOCS / "voices.md").read_text("utf-8") == table.page(found)
    readme = README.read_text("utf-8")
    assert table.with_shipped(readme, found) == readme, "run: python -m recipes.voices table"
    assert found["tiny"], "what ships was judged"


def test_a_real_run_has_what_the_page_asks_for(bench: Bench) -> None:
    group = run_row(bench, STAGE_1, 7)["groups"]["natural"]
    assert {"r2", "closure_f1", "jitter_ratio"} <= set(group["against_teacher"])
    assert {"pbm_at_1pct", "pbm", "closed_outside", "phone_f1"} <= set(group["against_truth"])
    assert set(group["lips"]) == {"voices", "sounds", "sealed_at_1pct"}
    assert len(group["lips"]["voices"]) == len(group["lips"]["sounds"]) == len(group["pbm_cases"])
    json.dumps(group)


def test_minutes_are_the_first_by_number(bench: Bench) -> None:
    clips = list(bench.labels.side("train"))
    numbered = [replace(clip, id=f"natural/en/{i:05d}-0") for i, clip in enumerate(clips)]
    minutes = numbered[0].hops * 0.016 / 60
    assert _first(numbered[::-1], minutes * 0.5) == numbered[:1]
    assert _first(numbered[::-1], 1e6) == numbered
