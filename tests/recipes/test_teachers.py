"""The stand-ins that docs/teachers.md walks through: each is written, checked and labelled from."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.assets import resolve
from compress.recipe.recipe import load_recipe
from compress.students.storing import load_student
from recipes.teachers.__main__ import NAMES, write

ROOT = Path(__file__).parent.parent.parent
RECIPES = ROOT / "recipes" / "teachers"
WIDTHS = {"hubert": 52, "audio2face": 301, "mesh": 3600}


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each. Read, never written."""
    folder = tmp_path_factory.mktemp("teachers")
    for name in NAMES:
        write(name, folder / name)
    return folder


def test_every_stand_in_is_known() -> None:
    assert {path.name for path in RECIPES.iterdir() if (path / "recipe.yaml").exists()} == set(
        NAMES
    )
    assert set(WIDTHS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_shows_each_recipe_as_it_is(name: str) -> None:
    blocks = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs" / "teachers.md").read_text(), re.DOTALL
    )
    assert (RECIPES / name / "recipe.yaml").read_text() in blocks
    load_recipe(RECIPES / name / "recipe.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_keeps_the_contract_of_teachers(
    stand_ins: Path, workshop: Path, cli: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    speech = f"speech.train=[{workshop / 'speech' / 'train'}]"
    recipe = stand_ins / name / "recipe.yaml"
    ended = cli("teacher", "check", recipe, "--set", speech, "--plot", tmp_path / "a.png", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["controls"] == WIDTHS[name]
    assert found["breaches"] == []
    assert found["still"] < found["controls"]


@pytest.mark.slow
def test_what_inspect_says_of_the_network_of_a_face(
    stand_ins: Path, cli: Callable[..., Any]
) -> None:
    ended = cli("inspect", stand_ins / "audio2face" / "face.onnx", "--json")
    facts = json.loads(ended.out)
    assert facts["is"] == "an ONNX program"
    assert facts["inputs"] == ("input float32 ['batch', 1, 8320]; emotion float32 ['batch', 1, 26]")
    assert facts["outputs"] == "result float32 ['batch', 1, 301]"
    for line in ("samples: 8320", "audio: input", "emotion: ???", "stop: 301", "rate_hz: ???"):
        assert line in facts["recipe"]


@pytest.mark.slow
def test_a_face_of_a_mesh_rests_where_it_should(stand_ins: Path) -> None:
    """An open jaw takes the lower lip down by most of its 18 mm, and the forehead nowhere."""
    import torch

    from recipes.teachers.mesh.talking_mesh import build, face, lips

    mesh, rest = build(), face()
    wide = torch.zeros(1, mesh.moved.shape[0])
    _, card = load_student(resolve("builtin:small", Path()))
    wide[0, card.driven.index("jawOpen")] = 1.0
    moved = (mesh.rest + wide @ mesh.moved).reshape(-1, 3) - rest
    mouth = lips()
    assert moved[mouth, 1].min() < -0.010
    assert moved[rest[:, 1] > 0.03].abs().max() < 1e-4
    written = (stand_ins / "mesh" / "lips.txt").read_text().split()
    assert [int(vertex) for vertex in written] == mouth
