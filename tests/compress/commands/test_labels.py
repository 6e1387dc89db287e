"""The commands ``lipstill labels``, from files on the disk to exit codes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def labelled_once(workshop: Path, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the workshop's recipe as far as its labels. Read, never written."""
    run = tmp_path_factory.mktemp("labelled") / "run"
    ended = cli("label", workshop / "recipe.yaml", "--out", run)
    assert ended.code == 0, ended.err
    return run


@pytest.fixture
def labelled(labelled_once: Path, tmp_path: Path) -> Path:
    """A copy of it to go on with, or to spoil."""
    return shutil.copytree(labelled_once, tmp_path / "run")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shards(run: Path) -> list[Path]:
    return sorted((run / "labels").glob("shard-*"))


def flip(path: Path) -> None:
    spoiled = bytearray(path.read_bytes())
    spoiled[-100] ^= 1
    path.write_bytes(spoiled)


def test_whole_labels_are_verified(labelled: Path, cli: Cli) -> None:
    ended = cli("labels", "verify", labelled)
    assert (ended.code, ended.err) == (0, "")
    assert "clips     11," in ended.out
    assert "controls  52, 2" in ended.out
    found = json.loads(cli("labels", "verify", labelled / "labels", "--json").out)
    assert found["finished"]
    assert found["faults"] == found["missing"] == found["removed"] == []
    assert found["shards"] == len(shards(labelled)) == 4


def test_one_flipped_byte_costs_one_shard(
    labelled: Path, labelled_once: Path, workshop: Path, cli: Cli
) -> None:
    """Found, named, removed, made again: byte for byte what it was, and nothing else is touched."""
    spoiled, *others = shards(labelled)
    flip(spoiled)
    assert cli("labels", "verify", labelled).failed(
        3,
        f"{spoiled.name}: its SHA-256 is",
        "labels verify",
        f"lipstill label RECIPE --out {labelled}",
    )
    relabelled = cli("label", workshop / "recipe.yaml", "--out", labelled, "--dry-run")
    assert "is done" in relabelled.out, "sizes alone do not tell"

    assert cli("labels", "verify", labelled, "--remove-damaged").failed(3, "is removed")
    assert shards(labelled) == others
    times = {path: path.stat().st_mtime_ns for path in others}
    assert cli("label", workshop / "recipe.yaml", "--out", labelled).code == 0
    assert content(labelled / "labels") == content(labelled_once / "labels")
    assert {path: path.stat().st_mtime_ns for path in others} == times
    assert cli("labels", "verify", labelled).code == 0


def test_what_is_said_for_machines_says_all(labelled: Path, cli: Cli) -> None:
    flip(shards(labelled)[0])
    ended = cli("labels", "verify", labelled, "--remove-damaged", "--json")
    assert ended.failed(3, "is removed")
    found = json.loads(ended.out)
    assert found["removed"] == [found["faults"][0]["file"]]
    assert found["folder"] == str(labelled / "labels")


def test_a_folder_without_labels(tmp_path: Path, cli: Cli) -> None:
    assert cli("labels", "verify", tmp_path).failed(3, "holds no labels", "lipstill label")


def test_labels_go_by_parquet_to_a_run_that_does_not_label_again(
    labelled: Path, workshop: Path, tmp_path: Path, cli: Cli
) -> None:
    file, there = tmp_path / "labels.parquet", tmp_path / "elsewhere" / "run"
    ended = cli("labels", "export", labelled, "--to", file)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("4 shards, 11 clips, ")
    ended = cli("labels", "import", file, "--out", there)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (f"4 shards, byte for byte as they were, 11 clips: {there / 'labels'}\n")
    assert content(there / "labels") == content(labelled / "labels")

    rows = json.loads(
        cli("distill", workshop / "recipe.yaml", "--out", there, "--dry-run", "--json").out
    )
    assert [(row["stage"], row["to_do"]) for row in rows] == [
        ("label", ""),
        ("label", "not made yet"),  # the rest pose, which is no part of the labels
        ("distill", "not made yet"),
    ]
    times = {path: path.stat().st_mtime_ns for path in shards(there)}
    assert cli("label", workshop / "recipe.yaml", "--out", there).code == 0
    assert {path: path.stat().st_mtime_ns for path in shards(there)} == times


def test_a_folder_of_copied_labels_will_do_as_well(
    labelled: Path, workshop: Path, tmp_path: Path, cli: Cli
) -> None:
    there = tmp_path / "copied"
    shutil.copytree(labelled / "labels", there / "labels")
    rows = json.loads(
        cli("label", workshop / "recipe.yaml", "--out", there, "--dry-run", "--json").out
    )
    assert [row["to_do"] for row in rows] == ["", "not made yet"], "the rest pose is elsewhere"
    (there / "labels" / "stage.json").unlink()
    assert cli("label", workshop / "recipe.yaml", "--out", there).failed(2, "not empty")


def test_the_line_of_the_help_works(labelled: Path, tmp_path: Path, cli: Cli) -> None:
    import re

    import pandas

    said = " ".join(cli("labels", "export", "--help").out.split())
    found = re.search(r"pandas\.read_parquet\(\S+\)\S+", said)
    assert found is not None
    file = tmp_path / "labels.parquet"
    cli("labels", "export", labelled, "--to", file)
    line = found[0].replace("labels.parquet", str(file))
    highest = eval(line, {"pandas": pandas})
    assert len(highest) == 11
    assert highest.dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("export", "{run}", "--to", "a.csv"), 2, "expected a file ending in .parquet"),
        (("export", "{tmp}", "--to", "{tmp}/a.parquet"), 3, "holds no labels"),
        (("import", "{tmp}/none.parquet", "--out", "{tmp}/b"), 3, "No such file"),
        (("import", "{run}/run.json", "--out", "{tmp}/b"), 3, "cannot be read as labels"),
    ],
)
def test_mistakes_end_in_words(
    labelled: Path, tmp_path: Path, cli: Cli, arguments: tuple[str, ...], code: int, said: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    filled = [argument.format(run=labelled, tmp=other) for argument in arguments]
    assert cli("labels", *filled).failed(code, said)
    assert list(other.iterdir()) == []


def test_a_run_that_has_labels_keeps_them(labelled: Path, tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "labels.parquet"
    cli("labels", "export", labelled, "--to", file)
    assert cli("labels", "import", file, "--out", labelled).failed(2, "labels is not empty")
