"""Text files of people: the mark that editors put at the beginning is no part of what they say."""

import json
import shutil
from pathlib import Path

import pytest

from compress.rig.rig_file import read_rig
from compress.speech.sources import shar
from compress.students.storing import load_student
from compress.teachers.loading import find_teacher
from compress.teachers.mesh.teacher import read_lips
from compress.texts import decoded, read_text

MARKED = ("utf-8-sig", "utf-16")


@pytest.mark.parametrize("encoding", ["utf-8", *MARKED])
def test_marks_and_line_ends(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("é\r\n\ufeffx\ry".encode(encoding))
    assert read_text(path) == "é\n\ufeffx\ny"
    assert decoded(b"") == ""


def test_bytes_that_are_no_text() -> None:
    for content in (b"a\xff", b"\xff\xfea"):
        with pytest.raises(ValueError, match="codec can't decode"):
            decoded(content)


@pytest.mark.parametrize("encoding", MARKED)
def test_files_that_people_write(encoding: str, workshop: Path, tmp_path: Path) -> None:
    teacher = shutil.copytree(workshop / "teacher", tmp_path / "teacher")
    config = teacher / "config.json"
    config.write_text(config.read_text("utf-8"), encoding)
    assert find_teacher("teacher", tmp_path).format == "reference"
    (tmp_path / "rig.yaml").write_text("name: größer\n", encoding)
    assert read_rig(tmp_path / "rig.yaml").settings.name == "größer"
    (tmp_path / "lips.txt").write_text("1, 2\n", encoding)
    assert read_lips("lips.txt", tmp_path) == (1, 2)
    student = shutil.copytree(Path(shar.__file__).parents[2] / "assets" / "tiny", tmp_path / "tiny")
    card = student / "student.json"
    card.write_text(card.read_text("utf-8"), encoding)
    assert load_student(student)[1].name == json.loads(read_text(card))["name"]


def test_a_list_of_shards_may_be_marked_and_holds_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "shards.yaml"
    path.write_text("cuts: [a.jsonl.gz]\nrecording: [a.tar]\n", "utf-8-sig")
    assert list(shar._listed(str(path), tmp_path, 1.0)) == [
        (str(tmp_path / "a.jsonl.gz"), str(tmp_path / "a.tar"))
    ]
    lines = ["a0: &a0 [x, y]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    path.write_text("\n".join([*lines, "cuts: [*a29]", "recording: [*a29]"]))
    with pytest.raises(Exception, match="anchors"):
        list(shar._listed(str(path), tmp_path, 1.0))
