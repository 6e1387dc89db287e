"""The card of a tier says what was measured, and its folder can be checked from the files alone."""

from pathlib import Path

import pytest

from compress.prove import source_stage as judging
from compress.prove import verify_stage as checking
from compress.recipe.recipe import Recipe, load_recipe
from compress.report import card as bundling
from compress.run.jobs import Inputs, Plan
from compress.run.planning import find_inputs, plan
from exporters.bundle.folder import check_bundle


def nothing() -> None:
    raise AssertionError("nothing is measured")


@pytest.fixture
def planned(workshop: Path, run: Path) -> tuple[Recipe, Inputs, Plan]:
    recipe = load_recipe(workshop / "recipe.yaml")
    return recipe, (inputs := find_inputs(recipe)), plan(recipe, inputs, run)


def test_a_finished_tier_is_a_bundle_that_holds(finished: Path) -> None:
    folder = finished / "models" / "small-fp32"
    checks = check_bundle(folder)
    assert [check.status for check in checks] == ["passed"] * 3
    card = (folder / "README.md").read_text("utf-8")
    quality = judging.read_quality(finished / "checks/small-fp32/onnx-verify/quality.json")
    assert f"| MSE (onnx) | {quality.against_teacher['mse']:.3g} | the teacher" in card
    assert "| lips closed on /p b m/ (onnx) | not run |" in card, "nobody knows these clips' phones"
    assert "of speech (speech/train), on curves of the teacher teacher" in card
    assert "| Licence | not stated |" in card


def tier_parameters(folder: Path) -> int:
    (row,) = [
        line for line in (folder / "README.md").read_text().splitlines() if "| Parameters |" in line
    ]
    return int(row.split("|")[2].replace(",", ""))


def test_an_export_alone_has_a_card_without_figures(
    planned: tuple[Recipe, Inputs, Plan],
) -> None:
    recipe, inputs, plan = planned
    tier = plan.students[0].tiers[0]
    folder = tier.export.folder
    whole = (folder / "README.md").read_bytes()
    found = checking.verified_before(tier.verify)
    bundling.run(recipe, inputs, tier, tier_parameters(folder), found)
    assert (folder / "README.md").read_bytes() == whole, "figures that are there stay"
    licensed = recipe.export.model_copy(update={"license": "CC0-1.0"})
    other = recipe.model_copy(update={"export": licensed})
    bundling.run(other, inputs, tier, tier_parameters(folder), found)
    assert b"CC0-1.0" in (folder / "README.md").read_bytes(), "of the recipe as it is now"
    bundling.run(recipe, inputs, tier, 123, {})
    assert b"MSE" not in (folder / "README.md").read_bytes()
    check_bundle(folder)
    source = judging.source(tier.source, nothing)  # type: ignore[arg-type]
    verified = {"onnx": checking.verify(tier.verify["onnx"], nothing, source)}  # type: ignore[arg-type]
    bundling.run(recipe, inputs, tier, 123, verified)
    card = (folder / "README.md").read_text("utf-8")
    assert "| MSE (onnx) |" in card
    assert "| Parameters | 123 |" in card
    check_bundle(folder)


def test_a_card_says_nothing_secret_of_a_url(planned: tuple[Recipe, Inputs, Plan]) -> None:
    recipe, inputs, plan = planned
    secret = ("https://me:hush@there/shar/?key=hush",)
    speech = recipe.speech.model_copy(update={"train": secret})
    tier = plan.students[0].tiers[0]
    (tier.export.folder / "README.md").unlink()
    bundling.run(recipe.model_copy(update={"speech": speech}), inputs, tier, 123, {})
    card = (tier.export.folder / "README.md").read_text("utf-8")
    assert "of speech (https://there/shar/), on curves" in card
    assert "hush" not in card
