"""The tree of errors: every leaf has an exit code, and messages stay readable."""

import inspect
import pickle
import re

import pytest

from compress import errors


def _tree() -> list[type[errors.LipstillError]]:
    found = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.LipstillError)
    ]
    return [value for value in found if value is not errors.LipstillError]


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    drawn = {}
    stack: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^ {4}([│ ]*)[├└]── (\w+) +(\d)", line):
            depth, name, code = len(match[1]) // 4, match[2], int(match[3])
            stack[depth:] = [name]
            drawn[name] = (stack[depth - 1] if depth else "LipstillError", code)
    actual = {cls.__name__: (cls.__bases__[0].__name__, cls.exit_code) for cls in _tree()}
    assert len(actual) > 5
    assert drawn == actual
    assert set(errors.__all__) == {*actual, "LipstillError"}


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_every_documented_exit_code_is_used(code: int) -> None:
    assert code in {cls.exit_code for cls in _tree()}


def test_one_mistake_is_a_sentence_and_several_are_a_list() -> None:
    assert str(errors.RecipeError("demo", ["seed: missing"])) == "recipe demo: seed: missing"
    message = str(errors.RecipeError("demo", ["seed: missing", "name: missing"]))
    assert message == "recipe demo has 2 mistakes:\n  - seed: missing\n  - name: missing"


@pytest.mark.parametrize(
    "error",
    [errors.RecipeError("demo", ["a: b", "c: d"]), errors.BadAudio("a.wav", "silent")],
    ids=["recipe", "audio"],
)
def test_errors_with_parts_survive_a_process_boundary(error: errors.LipstillError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
