"""Programs of torch.export as teachers."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from compress.errors import TeacherError
from compress.teachers.loading import describe, find_teacher

INTERFACE = """
rate_hz: 60
audio: audio
inputs: {emotion: [0.25, 0.5]}
window: {samples: 800, moment: 400}
"""


def export(module: nn.Module, path: Path, batch: Any) -> None:
    example = (torch.zeros(2, 800), torch.zeros(2, 2))
    shapes = {"audio": {0: batch}, "emotion": {0: batch}}
    torch.export.save(torch.export.export(module, example, dynamic_shapes=shapes), path)


@pytest.fixture
def exported(tmp_path: Path, windows: nn.Module) -> Path:
    export(windows, tmp_path / "windows.pt2", torch.export.Dim("batch"))
    return tmp_path / "windows.pt2"


def by_hand(windows: nn.Module, noise: Tensor) -> Tensor:
    """Every window of every clip at 60 poses a second, through the network itself."""
    padded = torch.nn.functional.pad(noise, (400, 800))
    cut = [padded[:, (s := round(i * 16000 / 60)) : s + 800] for i in range(18)]
    emotion = torch.tensor([[0.25, 0.5]]).expand(len(noise), -1)
    with torch.no_grad():
        return torch.stack([windows(window, emotion) for window in cut], 1)


def test_its_curves_are_the_networks(
    open_named: Any, exported: Path, windows: nn.Module, noise: Tensor
) -> None:
    teacher = open_named("windows.pt2", INTERFACE)
    curves = teacher.animate(noise)
    torch.testing.assert_close(curves, by_hand(windows, noise), rtol=0, atol=1e-6)
    alone = torch.cat([teacher.animate(clip[None]) for clip in noise])
    torch.testing.assert_close(alone, curves, rtol=0, atol=1e-5)
    assert teacher.parameters_count == 15


def test_a_fixed_batch_is_read_from_the_file(
    open_named: Any, tmp_path: Path, windows: nn.Module, noise: Tensor
) -> None:
    export(windows, tmp_path / "two.pt2", None)
    curves = open_named("two.pt2", INTERFACE).animate(noise[:1])
    torch.testing.assert_close(curves, by_hand(windows, noise[:1]), rtol=0, atol=1e-6)


def test_it_is_described_without_trust(tmp_path: Path, exported: Path) -> None:
    found = describe(find_teacher("windows.pt2", tmp_path))
    (batch,) = {port.shape[0] for port in found.inputs if port.shape}
    assert isinstance(batch, str)
    assert batch.isidentifier()
    assert [(p.name, p.dtype, p.shape) for p in found.inputs] == [
        ("audio", "float32", (batch, 800)),
        ("emotion", "float32", (batch, 2)),
    ]
    assert [(p.name, p.shape) for p in found.outputs] == [("output", (batch, 3))]
    assert (found.parameters, found.trust, found.interface) == (15, True, True)


class Rig(nn.Module):
    """Gives a dict, and a nest in it."""

    def forward(self, audio: Tensor) -> dict[str, Any]:
        return {"jaw": audio[:, :, None], "rest": (audio[:, :, None] + 1, audio[:, :, None] + 2)}


def test_outputs_have_the_names_that_a_run_gives(open_named: Any, tmp_path: Path) -> None:
    program = torch.export.export(Rig(), (torch.zeros(1, 16000),))
    torch.export.save(program, tmp_path / "rig.pt2")
    found = describe(find_teacher("rig.pt2", tmp_path))
    assert [port.name for port in found.outputs] == ["jaw", "rest_0", "rest_1"]
    columns = "[{output: rest_1, prefix: b}, {output: jaw, prefix: a}]"
    window = "{samples: 16000, moment: 0, frame: 5}"
    teacher = open_named("rig.pt2", f"{{rate_hz: 10, window: {window}, columns: {columns}}}")
    assert teacher.animate(torch.full((1, 1600), 3.0)).tolist() == [[[5, 3]]]


def test_untrusted_it_is_not_opened(open_named: Any, exported: Path) -> None:
    with pytest.raises(
        TeacherError, match=r"windows\.pt2 is a \.pt2 program: .* --trust.*trust: true"
    ):
        open_named("windows.pt2", INTERFACE, trust=False)


def test_one_of_a_network_in_training_is_refused(
    open_named: Any, tmp_path: Path, windows: nn.Module
) -> None:
    export(windows.train(), tmp_path / "windows.pt2", None)
    with pytest.raises(TeacherError, match=r"in training .*dropout.*Call eval"):
        open_named("windows.pt2", INTERFACE)


def test_no_other_archive_is_one(tmp_path: Path, exported: Path) -> None:
    assert find_teacher("windows.pt2", tmp_path).format == "exported"
    exported.rename(tmp_path / "renamed.pt")
    assert find_teacher("renamed.pt", tmp_path).format == "exported", "its layout says it"
    torch.save({"a": torch.zeros(3)}, tmp_path / "weights.pt2")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    assert find_teacher("weights.pt2", tmp_path).format == "pickled"
    with pytest.raises(TeacherError, match="of no format"):
        find_teacher("arrays.npz", tmp_path)


@pytest.mark.parametrize("damage", ["half", "text", "no model", "bad json"])
def test_a_damaged_archive_is_refused(
    open_named: Any, tmp_path: Path, exported: Path, damage: str
) -> None:
    whole, broken = exported.read_bytes(), tmp_path / "broken.pt2"
    broken.write_bytes(whole[: len(whole) // 2] if damage == "half" else b"text")
    if damage in ("no model", "bad json"):
        with zipfile.ZipFile(exported) as old, zipfile.ZipFile(broken, "w") as new:
            for name in old.namelist():
                if not name.endswith("models/model.json"):
                    new.writestr(name, old.read(name))
                elif damage == "bad json":
                    new.writestr(name, b"{")
    file = find_teacher("broken.pt2", tmp_path)
    with pytest.raises(
        TeacherError, match=r"broken\.pt2 cannot be read as a \.pt2 program"
    ) as caught:
        describe(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(TeacherError, match=r"broken\.pt2"):
        open_named("broken.pt2", INTERFACE)
