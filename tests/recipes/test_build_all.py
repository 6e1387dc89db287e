"""The one command that makes all assets again: its steps, what it says of one that fails, and where it goes on."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from recipes.build import __main__ as everything
from recipes.build.__main__ import STEPS, Step, chosen, run


def test_each_command_is_a_module_that_there_is() -> None:
    for step in STEPS:
        for command in step.commands:
            assert find_spec(command.split()[0]) is not None, command


def test_it_goes_on_from_a_step_and_runs_some_alone() -> None:
    assert [step.name for step in chosen("cards", [])] == ["cards"]
    assert [step.name for step in chosen(None, ["teacher", "packs"])] == ["packs", "teacher"]
    with pytest.raises(SystemExit, match="no step teachers; there are speech, packs"):
        chosen(None, ["teachers"])


def test_a_command_that_fails_ends_it_with_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"(?s)json.tool --nothing ended with 2; its log.*unrecognized arguments"
    ):
        run(Step("broken", ("json.tool --nothing",)), tmp_path)
    run(Step("works", ("this",)), tmp_path)
    logs = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert logs == ["broken-1.log", "works-1.log"]


def test_commands_of_a_step_write_below_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(everything, "_run", lambda *one: seen.append(one))
    run(Step("two", ("a {}/b", "c")), tmp_path)
    logs = tmp_path / "logs"
    assert sorted(seen) == [
        ("a {}/b", logs / "two-1.log", tmp_path),
        ("c", logs / "two-2.log", tmp_path),
    ]
