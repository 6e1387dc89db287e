"""When the lips of a mesh are closed: a rule on coefficients that means a gap between vertices."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.errors import RecipeError, TeacherError
from compress.recipe.recipe import load_recipe
from compress.recipe.teacher import MeshClosureSettings, MeshSettings
from compress.teachers.mesh.teacher import mesh_rig, names
from exporters.report.records.document import read_report
from tests.compress.meshes import mesh_of, moving, of_swelling, write_swelling

VERTICES = moving(400, 20, 5)
MESH = mesh_of(VERTICES, MeshSettings(components=5))


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_the_aperture_is_the_gap_between_vertices(axis: Any) -> None:
    coefficients = MESH.project(VERTICES)
    faces = MESH.rebuild(coefficients).reshape(-1, 20, 3)[:, :, "xyz".index(axis)]
    gap = faces[:, [3, 4]].mean(1) - faces[:, 9]
    limit = float(np.median(gap))
    rule = mesh_rig(
        MESH, MeshClosureSettings(upper=(3, 4), lower=(9,), axis=axis, below=limit)
    ).closure_of(names(5))
    assert rule is not None
    found = rule.aperture(coefficients, names(5)) < rule.closed_below
    certain = np.abs(gap - limit) > 1e-4  # float32 of vertices 100 from the origin
    assert certain.mean() > 0.9
    assert (found == (gap < limit))[certain].all()
    assert rule.in_words(names(5)) == (
        f"the upper lip is less than {limit:g} above the lower, in the mesh's units"
    )


def test_coefficients_that_hardly_move_may_be_missing() -> None:
    rig = mesh_rig(MESH, MeshClosureSettings(upper=(0,), lower=(1,), below=0.1))
    assert rig.closure_of(names(5)[:2]) is not None
    assert rig.closure_of(names(5)[1:]) is None


def test_vertices_that_the_mesh_lacks() -> None:
    with pytest.raises(TeacherError, match=r"lips_closed names vertex 20, .* 0 to 19"):
        mesh_rig(MESH, MeshClosureSettings(upper=(0,), lower=(20,), below=0.1))


RULE = "lips_closed: {upper: [3], lower: [7], below: 0.5}"


@pytest.mark.slow
def test_closures_of_a_mesh_are_judged_and_weighed(own: Path, cli: Callable[..., Any]) -> None:
    """All the way; and another limit labels nothing again, but judges and trains anew."""
    write_swelling(own)
    text = of_swelling((own / "recipe.yaml").read_text(), f"{{components: 4, {RULE}}}")
    recipe = own / "mesh.yaml"
    recipe.write_text(text.replace("{steps: 6,", "{closure_weight: 0.5, steps: 6,"))
    run = own / "run"
    ended = cli("compress", recipe, "--out", run)
    assert ended.code == 0, ended.err
    report = read_report(run / "report" / "report.json")
    assert report.teacher.rig is not None
    assert report.teacher.rig.closed_lips is not None
    assert report.teacher.rig.closed_lips.startswith("the upper lip is less than 0.5")
    assert "closure" in report.training[0].final_losses
    recipe.write_text(recipe.read_text().replace("below: 0.5", "below: 0.6"))
    steps = cli("compress", recipe, "--out", run, "--dry-run").out.splitlines()
    again = {line.split()[0]: "would run" in line for line in steps}
    assert not again["label"]
    assert again["distill"]
    assert again["verify"]


def test_one_place_says_when_lips_are_closed(own: Path) -> None:
    text = (own / "recipe.yaml").read_text()
    teacher = f"{{checkpoint: teacher, rig: rig.yaml, mesh: {{{RULE}}}}}"
    (own / "two.yaml").write_text(text.replace("{checkpoint: teacher}", teacher))
    with pytest.raises(RecipeError, match=r"found rig and mesh.lips_closed, expected one of them"):
        load_recipe(own / "two.yaml")
