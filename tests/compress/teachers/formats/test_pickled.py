"""Pickles by weights-only rules: tensors are read, whatever else they ask for is not."""

import json
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from compress.errors import TeacherError
from compress.teachers import Opening
from compress.teachers.formats import pickled, reference
from compress.teachers.loading import describe, find_teacher
from compress.teachers.networks.voice2face import Voice2Face, save_checkpoint

AUDIO = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32))


class Harmful:
    """Makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def folder(tiny_voice2face: Voice2Face, tmp_path: Path) -> Path:
    """A config of the reference teacher, its weights yet to be written."""
    save_checkpoint(tiny_voice2face, tmp_path / "teacher")
    (tmp_path / "teacher" / "model.safetensors").unlink()
    return tmp_path / "teacher"


def refused(folder: Path) -> str:
    with pytest.raises(TeacherError) as caught:
        reference.open_checkpoint(folder, Opening(trust=True))
    assert "\n" not in str(caught.value), "one paragraph"
    return str(caught.value)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before zips"])
@pytest.mark.parametrize(
    "name", ["model.pt", "model.pth", "pytorch_model.bin", "model.ckpt", "epoch=3-step=100.ckpt"]
)
def test_weights_in_a_pickle_are_read(
    folder: Path, tmp_path: Path, tiny_voice2face: Voice2Face, name: str, new: bool
) -> None:
    torch.save(tiny_voice2face.state_dict(), folder / name, _use_new_zipfile_serialization=new)
    for checkpoint in ("teacher", f"teacher/{name}"):
        file = find_teacher(checkpoint, tmp_path)
        assert file.format == "reference"
        teacher = reference.open_checkpoint(file.path, Opening())
        assert torch.equal(teacher.animate(AUDIO), tiny_voice2face.animate(AUDIO))
    size = (folder / name).stat().st_size + (folder / "config.json").stat().st_size
    assert find_teacher("teacher", tmp_path).bytes == size


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_weights_within_a_checkpoint_are_unwrapped(
    folder: Path, tiny_voice2face: Voice2Face, key: str
) -> None:
    checkpoint = {
        "epoch": 3,
        "optimizer_states": [{"state": {0: {"step": torch.zeros(1)}}}],
        "hyper_parameters": {"rate": 0.1},
        key: OrderedDict(tiny_voice2face.state_dict()),
    }
    torch.save(checkpoint, folder / "model.pt")
    teacher = reference.open_checkpoint(folder, Opening())
    assert torch.equal(teacher.animate(AUDIO), tiny_voice2face.animate(AUDIO))


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"model": {"a": torch.zeros(1)}, "ema": {"a": torch.ones(1)}}, "holds 2 sets of weights"),
        ({"state_dict": {"a": 1}}, "no sets of weights: it is a pickle with state_dict"),
        ({}, "with nothing in it"),
        ([torch.zeros(1)], "of type list"),
        (7, "of type int"),
    ],
)
def test_what_is_not_one_set_of_weights_is_said(
    folder: Path, checkpoint: object, message: str
) -> None:
    torch.save(checkpoint, folder / "model.pt")
    assert message in refused(folder)


def harmful_files(harm: object, folder: Path) -> list[Path]:
    """Pickles of every kind."""
    torch.save({"w": torch.zeros(1), "h": harm}, folder / "zip.pt")
    torch.save({"h": harm}, folder / "old.pt", _use_new_zipfile_serialization=False)
    torch.save({"w": torch.zeros(1), "h": harm}, folder / "new-zip.pt", pickle_protocol=4)
    for protocol in (0, 2, 4, 5):
        (folder / f"{protocol}.pt").write_bytes(pickle.dumps(harm, protocol=protocol))
    return sorted(folder.glob("*.pt"))


def test_what_a_pickle_asks_for_is_named_and_not_given(folder: Path, tmp_path: Path) -> None:
    harm, place = tmp_path / "harm", tmp_path / "place"
    place.mkdir()
    files = harmful_files(Harmful(harm), place)
    assert len(files) == 7
    for file in files:
        shutil.copy(file, folder / "model.pt")
        message = refused(folder)
        assert "mkdir" in message, file
        assert str(folder / "model.pt") in message
        assert "whatever teacher.trust says" in message
        with pytest.raises(TeacherError, match="mkdir"):
            pickled.open_checkpoint(file, Opening(trust=True))
        found = describe(find_teacher(file.name, place))
        assert found.parameters is None
        assert "mkdir" in found.facts["refused"]
    assert not harm.exists()
    pickle.loads((place / "4.pt").read_bytes())
    assert harm.exists(), "it would have"


def test_a_pickled_module_is_named(tmp_path: Path) -> None:
    for new in (True, False):
        torch.save(nn.Linear(2, 3), tmp_path / "m.pt", _use_new_zipfile_serialization=new)
        file = find_teacher("m.pt", tmp_path)
        with pytest.raises(TeacherError, match=r"asks for torch\.nn\.modules\.linear\.Linear") as e:
            pickled.open_checkpoint(file.path, Opening(trust=True))
        assert "torch.save(model.state_dict(), PATH)" in str(e.value)
        assert "MODULE:FUNCTION" in str(e.value)


def test_a_pickle_alone_says_what_it_holds(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)).state_dict(), tmp_path / "m.pt")
    file = find_teacher("m.pt", tmp_path)
    assert file.format == "pickled"
    with pytest.raises(TeacherError) as caught:
        pickled.open_checkpoint(file.path, Opening())
    message = str(caught.value)
    for said in ("4 weights (0.weight; 0.bias; 1.weight, and 1 more)", "config.json", "MODULE:"):
        assert said in message
    found = describe(file)
    assert (found.kind, found.parameters, found.trust) == ("a pickle", 6 + 3 + 12 + 4, False)
    assert found.facts["holds"].startswith("4 tensors, 0.weight")


@pytest.mark.parametrize("new", [True, False], ids=["zip", "before zips"])
@pytest.mark.parametrize("kept", [0, 1, 100, 600, -1])
def test_damaged_pickles_are_refused(
    folder: Path, tiny_voice2face: Voice2Face, new: bool, kept: int
) -> None:
    path = folder / "model.pt"
    torch.save(tiny_voice2face.state_dict(), path, _use_new_zipfile_serialization=new)
    path.write_bytes(path.read_bytes()[:kept])
    assert "is a pickle that cannot be read as weights" in refused(folder)


def test_bytes_that_are_no_pickle_are_refused(folder: Path) -> None:
    random = np.random.default_rng(0)
    for data in (b"hello world" * 50, *(random.bytes(300) for _ in range(100))):
        (folder / "model.pt").write_bytes(data)
        assert "is a pickle that cannot be read as weights" in refused(folder)
        (folder / "model.pt").write_bytes(b"\x80\x02" + data)
        refused(folder)


def test_safetensors_come_first(folder: Path, tiny_voice2face: Voice2Face, tmp_path: Path) -> None:
    """Left beside them may lie what they were converted from."""
    torch.save({"old": torch.zeros(1)}, folder / "model.pt")
    save_checkpoint(tiny_voice2face, folder)
    file = find_teacher("teacher", tmp_path)
    assert file.format == "reference"
    assert reference.open_checkpoint(file.path, Opening()).parameters_count > 1000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_programs_are_no_pickles(tmp_path: Path) -> None:
    linear = nn.Linear(2, 3)
    torch.jit.trace(linear, torch.zeros(1, 2)).save(tmp_path / "script.pt")
    exported = torch.export.export(linear, (torch.zeros(1, 2),))
    torch.export.save(exported, tmp_path / "program.pt2")
    torch.save(linear.state_dict(), tmp_path / "weights.pt2")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    for name in ("script.pt", "program.pt2", "other.pt"):
        assert pickled.find(name, tmp_path) is None
    assert pickled.find("weights.pt2", tmp_path) is not None
    assert pickled.find(".", tmp_path) is not None, "a folder that has one"


def test_a_config_of_something_else_does_not_make_it_a_teacher(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")
    assert find_teacher("teacher", tmp_path).format == "pickled"
