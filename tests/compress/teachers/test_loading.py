"""Finding and opening a teacher: its key, and what is never opened."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.errors import InputError, TeacherError
from compress.recipe.teacher import TeacherSettings
from compress.teachers.guarded import Guarded
from compress.teachers.loading import TeacherFile, find_teacher, open_teacher
from compress.teachers.networks.voice2face import Voice2Face, save_checkpoint


@pytest.fixture
def folder(tiny_voice2face: Voice2Face, tmp_path: Path) -> Path:
    save_checkpoint(tiny_voice2face, tmp_path / "teacher")
    return tmp_path / "teacher"


def opened(file: TeacherFile, **settings: Any) -> Guarded:
    return open_teacher(file, TeacherSettings(checkpoint=file.name, **settings), Path())


def test_a_teacher_is_found_and_opened(folder: Path, tmp_path: Path) -> None:
    file = find_teacher("teacher", tmp_path)
    assert (file.name, file.path) == ("teacher", folder)
    teacher = opened(file)
    assert teacher.controls == ("jawOpen", "mouthClose", "eyeBlinkLeft")
    assert teacher.animate(torch.zeros(1, 1600)).shape == (1, 3, 3)


def test_a_card_beside_the_weights_is_not_the_teacher(folder: Path, tmp_path: Path) -> None:
    before = find_teacher("teacher", tmp_path)
    weights, config = folder / "model.safetensors", folder / "config.json"
    assert before.bytes == weights.stat().st_size + config.stat().st_size
    (folder / "README.md").write_text("a card")
    assert find_teacher("teacher", tmp_path) == before
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert find_teacher("teacher", tmp_path).hash != before.hash


def test_the_hash_of_another_format_is_that_of_every_file(folder: Path, tmp_path: Path) -> None:
    (folder / "config.json").unlink()
    torch.save({}, folder / "model.pt")
    (folder / "a").mkdir()
    (folder / "a" / "extra.txt").write_text("one")
    found = {find_teacher("teacher", tmp_path).hash}
    (folder / "a" / "extra.txt").write_text("two")
    found.add(find_teacher("teacher", tmp_path).hash)
    (folder / "b").mkdir()
    (folder / "b" / "extra.txt").write_text("two")
    found.add(find_teacher("teacher", tmp_path).hash)
    (folder / "b" / "extra.txt").write_text("three")
    found.add(find_teacher("teacher", tmp_path).hash)
    assert len(found) == 4, "files of one name in two folders are two files"
    folder.rename(tmp_path / "moved")
    assert find_teacher("moved", tmp_path).hash in found, "where it lies is no part of it"


def test_the_hash_of_a_file_holds_its_config(folder: Path, tmp_path: Path) -> None:
    before = find_teacher("teacher/model.safetensors", tmp_path).hash
    config = folder / "config.json"
    config.write_text(config.read_text() + "\n")
    assert find_teacher("teacher/model.safetensors", tmp_path).hash != before


@pytest.mark.parametrize("name", ["nothing", "teacher/nothing.pt"])
def test_no_file_is_said_with_its_path(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(TeacherError, match=f"nothing is at {tmp_path / name}") as caught:
        find_teacher(name, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TeacherError, match="an empty folder is at"):
        find_teacher("empty", tmp_path)


def test_an_unknown_builtin_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no builtin:nobody; lipstill ships .*builtin:speech"):
        find_teacher("builtin:nobody", tmp_path)


class Harmful:
    """Writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def harmful_torch(path: Path, harm: Harmful) -> None:
    torch.save({"weights": harm}, path)


def harmful_old_torch(path: Path, harm: Harmful) -> None:
    torch.save({"weights": harm}, path, _use_new_zipfile_serialization=False)


def harmful_pickle(path: Path, harm: Harmful) -> None:
    path.write_bytes(pickle.dumps(harm))


def harmful_text(path: Path, harm: Harmful) -> None:
    path.write_bytes(pickle.dumps(harm, protocol=0))


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(
    ("write", "name"),
    [
        (harmful_torch, "model.pt"),
        (harmful_torch, "model.of-no-ending"),
        (harmful_old_torch, "model.pth"),
        (harmful_pickle, "model.pkl"),
        (harmful_pickle, "model.safetensors"),
        (harmful_text, "model.bin"),
    ],
)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "with a config"])
def test_a_pickle_is_refused_and_does_nothing(
    tmp_path: Path, write: Any, name: str, trust: bool, beside: bool, folder: Path
) -> None:
    place = folder if beside else tmp_path / "place"
    place.mkdir(exist_ok=True)
    harm = tmp_path / "harm"
    write(place / name, Harmful(harm))
    file = find_teacher(str(place / name), tmp_path)
    with pytest.raises(TeacherError) as caught:
        opened(file, trust=trust)
    assert not harm.exists()
    message = str(caught.value)
    assert "\n" not in message
    assert ("is a pickle" in message) or (beside and "cannot be read as safetensors" in message)


@pytest.mark.parametrize("write", [harmful_torch, harmful_old_torch])
def test_those_pickles_do_harm_when_they_are_loaded(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "model.pt", Harmful(tmp_path / "harm"))
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "harm").exists()


def test_a_pickle_in_a_folder_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    harmful_torch(folder / "pytorch_model.bin", Harmful(tmp_path / "harm"))
    with pytest.raises(TeacherError, match=r"pytorch_model\.bin is a pickle"):
        opened(find_teacher("hub", tmp_path))
    assert not (tmp_path / "harm").exists()


def test_a_file_of_no_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a teacher")
    with pytest.raises(TeacherError, match=r"notes\.txt is of no format that lipstill reads"):
        find_teacher("notes.txt", tmp_path)
