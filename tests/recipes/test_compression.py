"""The rows on smaller students, and the section that is made of their figures."""

import json
from typing import Any

import pytest

from compress.recipe.recipe import load_recipe
from compress.students.storing import load_student
from recipes.ablation.table import DOCS
from recipes.compression.packing import ASSETS, LARGEST_BYTES
from recipes.compression.rows import Row, read_rows
from recipes.compression.table import ENGLISH, QUIET, UNSEEN, against, goals, section

ROWS = read_rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_row_is_of_a_reference_student_with_settings_that_a_recipe_takes(row: Row) -> None:
    assert row.student in {student.name for student in load_recipe("reference").students}
    assert row.quantization_settings is not None
    if row.pruning is not None:
        assert row.pruning_settings is not None
        assert row.id == f"{row.student}-{100 * row.pruning_settings.remove:.0f}"


def judged(squares: float, shaking: float, closed: list[int]) -> dict[str, Any]:
    """Two clips of equal weight, the second twice as bad."""
    group = {
        "squared_errors": [squares, 2 * squares],
        "shaking": [shaking, 2 * shaking],
        "pbm_cases": [closed, closed],
    }
    return {"groups": dict.fromkeys((ENGLISH, UNSEEN, QUIET), group), "bytes": 1}


def test_against_by_hand() -> None:
    """Ratios of sums are exact where every clip has the same one; one closure in four less is −25."""
    result, whole = judged(3.0, 11.0, [1, 1, 0, 0]), judged(2.0, 10.0, [1, 1, 1, 0])
    pbm, mse, jitter, n = against(result, whole, (ENGLISH, UNSEEN))
    assert n == 16
    assert pbm == pytest.approx((-25.0, -25.0, -25.0))
    assert mse == pytest.approx((1.5, 1.5, 1.5))
    assert jitter == pytest.approx((1.1, 1.1, 1.1))


def test_a_goal_that_is_missed_says_by_how_much() -> None:
    worse = judged(2.2, 10.0, [1, 1, 1, 0]) | {"tflite": {"bytes": 200_001}}
    table = goals({"tiny": {"fp32": judged(2.0, 10.0, [1, 1, 1, 0]), "ptq": worse}, "tiny-60": {}})
    lines = {line.split(" | ")[1]: line for line in table.splitlines() if "(PTQ)" in line}
    assert lines[".tflite bytes"].endswith("| 200,001 | no | 1 |")
    assert "1.100 (1.100 to 1.100) | no | 0.05 |" in lines["MSE, × fp32"]
    assert lines["jitter, × fp32"].endswith("| yes |  |")


def test_the_section_is_made_of_the_figures_in_docs() -> None:
    found = json.loads((DOCS / "compression.json").read_text("utf-8"))
    assert section(found) in (DOCS / "results.md").read_text("utf-8")
    assert {row.id for row in ROWS} >= set(found) - {"cuts"}


@pytest.mark.parametrize("row", [row for row in ROWS if row.ships], ids=lambda row: row.id)
def test_what_ships_is_small_and_has_a_card(row: Row) -> None:
    folder = ASSETS / str(row.ships)
    assert sum(path.stat().st_size for path in folder.iterdir()) < LARGEST_BYTES
    student, card = load_student(folder)
    assert card.quantization is not None
    assert card.step == "int8"
    assert f"{student.parameters_count:,} parameters" in (folder / "README.md").read_text("utf-8")
