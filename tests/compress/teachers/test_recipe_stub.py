"""A recipe to fill in: refused with its blanks, read without them."""

from pathlib import Path

import pytest

from compress.errors import RecipeError
from compress.recipe.recipe import load_recipe
from compress.teachers import Description, Port
from compress.teachers.recipe_stub import BLANK, recipe_stub

FACE = Description(
    kind="an ONNX program",
    parameters=10,
    trust=False,
    interface=True,
    inputs=(
        Port("input", "float32", ("batch", 1, 8320)),
        Port("emotion", "float32", ("batch", 1, 26)),
    ),
    outputs=(Port("result", "float32", ("batch", 1, 301)),),
)


def filled(stub: str, *values: str) -> str:
    for value in values:
        stub = stub.replace(BLANK, value, 1)
    return stub


def test_a_stub_with_its_blanks_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "stub.yaml"
    path.write_text(recipe_stub("a2f.onnx", FACE))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    said = str(caught.value)
    for field in ("rate_hz", "window.moment", "inputs.emotion", "columns.0.prefix"):
        assert f"teacher.interface.{field}" in said


def test_a_stub_that_is_filled_in_is_a_recipe(tmp_path: Path) -> None:
    stub = recipe_stub("folder/My Face.onnx", FACE)
    # After the comment that explains them: rate, moment, emotion, prefix, speech.
    head, rest = stub.split("\n", 1)
    text = head + "\n" + filled(rest, "30", "4160", "0.0", "skin", "speech")
    path = tmp_path / "stub.yaml"
    path.write_text(text)
    recipe = load_recipe(path)
    assert recipe.name == "my-face"
    interface = recipe.teacher.interface
    assert interface is not None
    assert (interface.audio, interface.rate_hz) == ("input", 30)
    assert interface.window is not None
    assert (interface.window.samples, interface.window.moment) == (8320, 4160)
    assert interface.inputs == {"emotion": 0.0}
    assert [(c.output, c.stop, c.prefix) for c in interface.columns] == [("result", 301, "skin")]
    assert not recipe.teacher.trust
    assert [student.name for student in recipe.students] == ["small", "tiny"]


def test_what_a_file_does_not_say_is_not_guessed() -> None:
    unknown = Port("a", "float32", None)
    found = Description("a program", None, True, True, (unknown, Port("b", "int64", (1,))))
    stub = recipe_stub("mine:build", found)
    assert "trust: true" in stub
    assert f"audio: {BLANK}  # which input takes audio: a, b" in stub
    assert "window" not in stub
    assert "name: build" in stub


def test_what_only_running_would_tell_is_left_open() -> None:
    stub = recipe_stub("mine:build", Description("Python", None, trust=True, interface=None))
    assert "# interface: {rate_hz: ...}" in stub


def test_a_checkpoint_that_says_it_all_needs_no_interface() -> None:
    stub = recipe_stub("builtin:voice2face-demo", Description("a teacher", 1, False, False))
    assert "interface" not in stub
    assert "checkpoint: builtin:voice2face-demo" in stub
    assert "trust" not in stub
