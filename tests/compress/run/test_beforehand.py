"""What cannot work is said by `recipe check`, and by a run before it labels anything."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Cli = Callable[..., Any]

TEACHER = """
import torch

class Face:
    controls = ("jawOpen", "mouthClose", "browInnerUp")
    rate_hz, offset_s, sample_rate_hz, limits, parameters_count = 50.0, 0.0, 16000, None, 1
    description = "a mouth"

    def animate(self, audio):
        raise SystemExit("it was asked for curves")

def face():
    return Face()
"""


def refused(cli: Cli, own: Path, code: int, *said: str, sets: tuple[str, ...]) -> None:
    """`recipe check` and a run refuse it with the same words, and the run has labelled nothing."""
    options = [part for text in sets for part in ("--set", text)]
    assert cli("recipe", "check", own / "recipe.yaml", *options).failed(code, *said)
    ended = cli("distill", own / "recipe.yaml", "--out", own / "run", *options)
    assert ended.failed(code, *said)
    assert not (own / "run" / "labels").exists()


def outside(own: Path, shrunk: Path, **card: object) -> Path:
    """A trained student beside the recipe, its card changed."""
    folder = shutil.copytree(shrunk / "students" / "small" / "distilled", own / "outside")
    written = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps(written | card))
    return folder


def test_a_weight_of_a_control_that_does_not_move(cli: Cli, own: Path) -> None:
    sets = ("students.0.training.control_weights={jawOpen: 2, eyeBlinkLeft: 2}",)
    refused(cli, own, 2, "Student small", "names eyeBlinkLeft, which the teacher", sets=sets)


def test_a_closure_loss_without_lips(cli: Cli, own: Path) -> None:
    (own / "rig.yaml").write_text("name: slider\n")
    sets = ("teacher.rig=rig.yaml", "students.0.training.closure_weight=0.5")
    refused(cli, own, 2, "Student small", "the lips of this rig (slider) are closed", sets=sets)


def test_a_rig_file_with_a_mistake(cli: Cli, own: Path) -> None:
    (own / "rig.yaml").write_text("name: slider\nregions: {jaw: [jawOpn]}\n")
    refused(cli, own, 2, "rig.yaml", sets=("teacher.rig=rig.yaml",))


def test_a_guide_from_elsewhere(cli: Cli, own: Path, shrunk: Path) -> None:
    refused(cli, own, 3, "The guide of small", "no student.json", sets=("students.0.guide=./no",))
    outside(own, shrunk)
    sets = ("students.0.guide=./outside", "students.0.training.feature_layers={conv1: conv7}")
    refused(cli, own, 2, "Student small cannot be guided", "no layer 'conv7'", sets=sets)


@pytest.mark.parametrize("role", ["guide", "start"])
def test_a_student_from_elsewhere_with_another_rig(
    role: str, cli: Cli, own: Path, shrunk: Path
) -> None:
    outside(own, shrunk, driven=["slider1", "slider2"])
    name = "students.0"
    sets = (f"{name}={{name: hero, {role}: ./outside, training: {{feature_weight: 0}}}}",)
    refused(cli, own, 3, f"The {role} of hero", "moves 2 controls, slider1", sets=sets)


def test_students_without_files_and_with_the_same(cli: Cli, own: Path) -> None:
    recipe = own / "recipe.yaml"
    only = cli("recipe", "check", recipe, "--set", "export.precisions=[int8]")
    assert only.failed(2, "student small can be had in fp32, fp16", "a quantization")
    text = recipe.read_text().replace("export:", "  - {name: small-fp32}\nexport:")
    recipe.write_text(text)
    assert cli("recipe", "check", recipe).failed(2, "Two students would write", "small-fp32")


def test_a_shape_beyond_reason(cli: Cli, own: Path) -> None:
    sets = ("students.0.head_channels=8192", "students.0.width=2", "students.0.past_ms=2000")
    refused(cli, own, 2, "Student small cannot be built", "million parameters, expected", sets=sets)


def test_speech_that_is_shorter_than_a_stretch(cli: Cli, own: Path) -> None:
    ended = cli(
        *("distill", own / "recipe.yaml", "--out", own / "run"),
        *("--set", "students.0.training.frames=200"),
    )
    assert ended.failed(3, "training.frames = 200 needs 3.20 s, the longest clip has 0.8")
    assert not (own / "run" / "labels").exists()


def test_speech_that_processes_cannot_share(cli: Cli, own: Path) -> None:
    ended = cli(
        *("distill", own / "recipe.yaml", "--out", own / "run", "--devices", 16),
        *("--set", "students.0.training.batch=16"),
    )
    assert ended.failed(3, "clips to train on", "16 processes (training.devices) cannot share")
    assert not (own / "run" / "labels").exists()


@pytest.mark.parametrize("kind", ["cuda", "mps"])
@pytest.mark.parametrize("field", ["students.0.training.accelerator", "teacher.device"])
def test_an_accelerator_that_is_not_here(field: str, kind: str, cli: Cli, own: Path) -> None:
    here = torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()
    if here:
        pytest.skip(f"this machine has {kind}")
    for command in ("distill", "compress"):
        ended = cli(command, own / "recipe.yaml", "--out", own / "run", "--set", f"{field}={kind}")
        assert ended.failed(4, f"is {kind}", "on this machine", "lipstill doctor")
        assert not (own / "run" / "labels").exists()
    # A recipe for another machine is in order, and labels need no accelerator of a training.
    assert cli("recipe", "check", own / "recipe.yaml", "--set", f"{field}={kind}").code == 0
    if field != "teacher.device":
        ended = cli("label", own / "recipe.yaml", "--out", own / "run", "--set", f"{field}={kind}")
        assert ended.code == 0, ended.err


def test_more_processes_than_a_machine_can_have(cli: Cli, own: Path) -> None:
    ended = cli(
        *("distill", own / "recipe.yaml", "--out", own / "run", "--devices", 250),
        *("--set", "students.0.training.batch=250"),
    )
    assert ended.failed(4, "asks for 250 on this machine", "for cpu")
    assert not (own / "run" / "labels").exists()


def test_a_teacher_that_only_tells_when_it_is_open_is_asked_before_it_works(
    cli: Cli, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own / "known_face.py").write_text(TEACHER)
    monkeypatch.syspath_prepend(str(own))
    sets = ("teacher={checkpoint: 'known_face:face', trust: true}",)
    sets = (*sets, "students.0.training.control_weights={jawOpn: 2}")
    options = [part for text in sets for part in ("--set", text)]
    ended = cli("distill", own / "recipe.yaml", "--out", own / "run", *options)
    assert ended.failed(2, "Student small", "names jawOpn", "It moves jawOpen, mouthClose")
