"""Teachers in Python: found as files, opened only when trusted, and held to the contract."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compress.errors import TeacherError
from compress.teachers.loading import describe, find_teacher

CONTRACT = '''
"""A teacher of two controls."""
from pathlib import Path

import torch

Path(__file__).with_name("ran").touch()


class Mine:
    controls = ["jawOpen", "mouthClose"]
    rate_hz = 100
    offset_s = 0
    sample_rate_hz = 16000
    limits = (0, 1)
    description = "mine"
    parameters_count = 2
    weight = torch.nn.Parameter(torch.tensor([1.0, 0.5]))

    def animate(self, audio):
        return audio.unfold(1, 160, 160).abs().mean(2)[..., None] * self.weight


def make():
    return Mine()
'''

PROGRAM = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Linear(1, 2)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, audio, emotion, gain=1.0):
        hops = audio.unfold(1, 160, 160).mean(2)[..., None] * gain
        return {"jaw": self.dropout(hops) + emotion.sum(1)[:, None, None]}


def net():
    return Net()


def plain():
    return lambda audio, **constants: (audio.unfold(1, 160, 160), sum(constants.values()).expand(1, 1, 1))


def number():
    return 7


def broken():
    raise OSError("no weights here")


def leaving():
    import sys
    sys.exit(5)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CONTRACT)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "__init__.py").write_text("")
    (tmp_path / "nets" / "small.py").write_text(PROGRAM)
    return tmp_path


def test_an_object_that_answers_the_contract(open_named: Any, folder: Path, noise: Tensor) -> None:
    teacher = open_named("mine:make")
    curves = teacher.animate(noise)
    expected = noise.unfold(1, 160, 160).abs().mean(2)
    torch.testing.assert_close(curves, torch.stack([expected, expected / 2], 2))
    assert not curves.requires_grad
    assert (teacher.controls, teacher.limits) == (("jawOpen", "mouthClose"), (0, 1))
    assert (teacher.rate_hz, teacher.description, teacher.parameters_count) == (100, "mine", 2)


def test_untrusted_nothing_of_it_runs(open_named: Any, folder: Path) -> None:
    with pytest.raises(TeacherError, match=r"mine:make is Python: .* --trust"):
        open_named("mine:make", trust=False)
    describe(find_teacher("mine:make", folder))
    assert not (folder / "ran").exists()
    open_named("mine:make")
    assert (folder / "ran").exists()


def test_a_module_that_is_called(open_named: Any, folder: Path, noise: Tensor) -> None:
    interface = "{{rate_hz: 100, audio: audio, inputs: {{emotion: [0.5, 0.25]{}}}}}"
    teacher = open_named("nets.small:net", interface.format(""))
    hops = noise.unfold(1, 160, 160).mean(2)[..., None]
    torch.testing.assert_close(teacher.animate(noise), hops + 0.75)
    assert (teacher.controls, teacher.parameters_count) == (("control_000",), 4)
    louder = open_named("nets.small:net", interface.format(", gain: 3")).animate(noise)
    torch.testing.assert_close(louder, hops * 3 + 0.75)


def test_a_function_that_is_called(open_named: Any, folder: Path, noise: Tensor) -> None:
    interface = "{rate_hz: 100, inputs: {a: 1, b: 2}, columns: [{output: output_0}]}"
    teacher = open_named("nets.small:plain", interface)
    torch.testing.assert_close(teacher.animate(noise), noise.unfold(1, 160, 160))


@pytest.mark.parametrize(
    ("name", "interface", "said"),
    [
        ("mine:make", "{rate_hz: 30}", "says itself what it takes and gives.*Leave that out"),
        ("mine:other", None, r"mine\.py has no function other"),
        ("nets.small:net", None, "is a program, .*rate_hz"),
        ("nets.small:net", "{rate_hz: 30}", "has 2 inputs without a constant.*emotion"),
        ("nets.small:number", None, "made a int; expected an object with animate"),
        ("nets.small:broken", None, "could not be opened: it raised OSError: no weights here"),
        ("nets.small:leaving", None, "it raised SystemExit: 5"),
    ],
)
def test_what_does_not_fit_is_said(
    open_named: Any, folder: Path, name: str, interface: str | None, said: str
) -> None:
    with pytest.raises(TeacherError, match=said) as caught:
        open_named(name, interface)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    limits = (0, 1)\n    description", "    text", "without limits, description;"),
        ('["jawOpen", "mouthClose"]', '"jawOpen"', "controls are 'jawOpen', expected names"),
        ('["jawOpen", "mouthClose"]', '["a", "a"]', "controls has a more than once"),
        ("rate_hz = 100", "rate_hz = 0", "rates of 0.0 and 16000 Hz"),
        ("rate_hz = 100", "rate_hz = 'fast'", "could not convert string to float"),
        ("limits = (0, 1)", "limits = (1, 0)", "limits are .1, 0., expected the lower"),
    ],
)
def test_a_contract_that_is_broken_is_said(
    open_named: Any, folder: Path, old: str, new: str, said: str
) -> None:
    (folder / "mine.py").write_text(CONTRACT.replace(old, new))
    with pytest.raises(TeacherError, match=said):
        open_named("mine:make")


def test_curves_that_are_no_tensor_are_refused(open_named: Any, folder: Path) -> None:
    spoilt = CONTRACT.replace("* self.weight", "* self.weight).tolist()").replace(
        "return audio", "return (audio"
    )
    (folder / "mine.py").write_text(spoilt)
    teacher = open_named("mine:make")
    with pytest.raises(TeacherError, match="animate gave a list, expected a float32 tensor"):
        teacher.animate(torch.zeros(1, 320))


def test_its_files_are_hashed_without_running_them(folder: Path) -> None:
    first = find_teacher("mine:make", folder)
    assert (first.format, first.bytes) == ("python", None)
    (folder / "mine.py").write_text(CONTRACT + "\n")
    assert find_teacher("mine:make", folder).hash != first.hash
    package = find_teacher("nets.small:net", folder)
    (folder / "nets" / "other.py").write_text("")
    assert find_teacher("nets.small:net", folder).hash != package.hash, "it may import that"
    assert not (folder / "ran").exists()
    assert not list(folder.rglob("__pycache__"))


def test_a_package_is_a_module_too(open_named: Any, folder: Path) -> None:
    (folder / "pack").mkdir()
    (folder / "pack" / "__init__.py").write_text("from .inner import make")
    (folder / "pack" / "inner.py").write_text(CONTRACT)
    assert open_named("pack:make").description == "mine"


def test_what_is_installed_is_found_and_not_imported(folder: Path) -> None:
    sys.modules.pop("onnxruntime.quantization.calibrate", None)
    file = find_teacher("onnxruntime.quantization.calibrate:anything", folder)
    assert file.format == "python"
    assert "onnxruntime.quantization.calibrate" not in sys.modules


@pytest.mark.parametrize("name", ["nobody:make", "nets.nobody:make", "nobody.nets:make"])
def test_a_module_that_is_nowhere_is_said(folder: Path, name: str) -> None:
    module = name.partition(":")[0]
    with pytest.raises(TeacherError, match=rf"no Python module {module} below {folder}"):
        find_teacher(name, folder)


def test_two_recipes_may_have_modules_of_one_name(
    open_named: Any, folder: Path, noise: Tensor
) -> None:
    from compress.recipe.teacher import TeacherSettings
    from compress.teachers.loading import open_teacher

    helper = "def make():\n    from network import Mine\n    return Mine()\n"
    teachers = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "teacher.py").write_text(helper)
        (folder / name / "network.py").write_text(CONTRACT.replace('"mine"', f'"{name}"'))
        file = find_teacher("teacher:make", folder / name)
        settings = TeacherSettings(checkpoint="teacher:make", trust=True)
        teachers.append(open_teacher(file, settings, folder / name))
    assert [teacher.description for teacher in teachers] == ["one", "two"]
    assert torch.equal(teachers[0].animate(noise), teachers[1].animate(noise))
    assert not [place for place in sys.path if place.startswith(str(folder))]


def test_a_name_that_is_taken_is_said(open_named: Any, folder: Path) -> None:
    (folder / "json.py").write_text(CONTRACT)
    with pytest.raises(TeacherError, match=r"stands for .*json.__init__\.py already.*Rename"):
        open_named("json:make")
