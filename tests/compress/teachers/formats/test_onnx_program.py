"""ONNX files as teachers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from compress.errors import TeacherError
from compress.teachers.loading import describe, find_teacher

RANDOM = np.random.default_rng(1)
# Audio2Face-3D: 272 of the skin, 10 of the tongue, 15 of the jaw, 4 of the eyes.
SKIN, EMOTION = RANDOM.normal(size=(8320, 301)), RANDOM.normal(size=(26, 301))


def save(
    path: Path, nodes: list[Any], inputs: Any, outputs: Any, weights: Any = (), **more: Any
) -> None:
    def values(ports: Any) -> list[Any]:
        return [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in ports]

    stored = [numpy_helper.from_array(array, name) for name, array in weights]
    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs), stored)
    opsets = [helper.make_opsetid("", 18), *more.pop("opsets", [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path, **more)


def audio2face(path: Path) -> None:
    """As Audio2Face-3D's network: `input` and `emotion` of any batch → `result` [batch, 1, 301]."""
    save(
        path,
        [
            helper.make_node("MatMul", ["input", "skin"], ["heard"]),
            helper.make_node("MatMul", ["emotion", "mood"], ["felt"]),
            helper.make_node("Add", ["heard", "felt"], ["result"]),
        ],
        [
            ("input", TensorProto.FLOAT, [-1, 1, 8320]),
            ("emotion", TensorProto.FLOAT, [-1, 1, 26]),
        ],
        [("result", TensorProto.FLOAT, [-1, 1, 301])],
        [("skin", np.float32(SKIN / 8320)), ("mood", np.float32(EMOTION / 26))],
    )


A2F = """
rate_hz: {rate}
audio: input
inputs: {{emotion: [0, 0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]}}
window: {{samples: 8320, moment: 4160}}
columns:
  - {{stop: 272, prefix: skin}}
  - {{start: 272, stop: 282, prefix: tongue}}
  - {{start: 282, stop: 297, prefix: jaw}}
  - {{start: 297, names: [eyeLeftX, eyeLeftY, eyeRightX, eyeRightY]}}
"""


@pytest.mark.parametrize("rate_hz", [30, 60])
def test_an_audio2face_network_is_read(
    open_named: Any, tmp_path: Path, noise: Tensor, rate_hz: int
) -> None:
    audio2face(tmp_path / "network.onnx")
    teacher = open_named("network.onnx", A2F.format(rate=rate_hz), trust=False)
    assert teacher.controls[:2] == ("skin_000", "skin_001")
    assert (teacher.controls[281], teacher.controls[296]) == ("tongue_009", "jaw_014")
    assert (len(teacher.controls), teacher.controls[-1]) == (301, "eyeRightY")
    assert teacher.parameters_count == (8320 + 26) * 301
    padded = np.pad(noise.numpy().astype(float), ((0, 0), (4160, 8320)))
    starts = [round(i * 16000 / rate_hz) for i in range(int(0.3 * rate_hz))]
    heard = np.stack([padded[:, s : s + 8320] for s in starts], 1) @ SKIN / 8320
    expected = heard + (EMOTION[1] * 0.5 + EMOTION[25]) / 26
    np.testing.assert_allclose(teacher.animate(noise), expected, atol=1e-5)


def test_curves_do_not_depend_on_the_batch(open_named: Any, tmp_path: Path, noise: Tensor) -> None:
    audio2face(tmp_path / "network.onnx")
    interface = A2F.format(rate=60)
    teacher = open_named("network.onnx", interface)
    together = teacher.animate(noise)
    alone = torch.cat([teacher.animate(clip[None]) for clip in noise])
    single = open_named("network.onnx", interface + "max_batch: 1\n").animate(noise)
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
    torch.testing.assert_close(single, together, rtol=0, atol=1e-5)


def test_it_is_described_without_being_run(tmp_path: Path) -> None:
    audio2face(tmp_path / "network.onnx")
    found = describe(find_teacher("network.onnx", tmp_path))
    assert [(p.name, p.dtype, p.shape) for p in found.inputs] == [
        ("input", "float32", ("?", 1, 8320)),
        ("emotion", "float32", ("?", 1, 26)),
    ]
    assert [(p.name, p.dtype, p.shape) for p in found.outputs] == [
        ("result", "float32", ("?", 1, 301))
    ]
    assert (found.parameters, found.trust, found.interface) == ((8320 + 26) * 301, False, True)
    assert found.facts["opset"] == "ai.onnx 18"


def test_without_an_interface_it_says_what_it_has(open_named: Any, tmp_path: Path) -> None:
    audio2face(tmp_path / "network.onnx")
    said = r"network\.onnx is a program.*input float32 \[\?, 1, 8320\]; emotion.*rate_hz.*inspect"
    with pytest.raises(TeacherError, match=said):
        open_named("network.onnx")


@pytest.mark.slow
def test_a_program_that_torch_exported_is_read(
    open_named: Any, tmp_path: Path, strided: nn.Module, noise: Tensor
) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            strided,
            (torch.zeros(2, 3200),),
            tmp_path / "strided.onnx",
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch"), 1: torch.export.Dim("n", min=160)},),
        )
    teacher = open_named("strided.onnx", "{rate_hz: 100}")
    torch.testing.assert_close(teacher.animate(noise), strided(noise), rtol=0, atol=1e-6)
    assert teacher.controls == ("control_000", "control_001")


def scaled(path: Path, **more: Any) -> None:
    """`audio` [1, 1600] → `rig` [1, 1600, 1], times a stored weight."""
    nodes = [
        helper.make_node("Mul", ["audio", "weight"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "axis"], ["rig"]),
    ]
    weights = [("weight", np.full(1600, 2, np.float32)), ("axis", np.array([2]))]
    ports = [("audio", TensorProto.FLOAT, [1, 1600])], [("rig", TensorProto.FLOAT, None)]
    save(path, nodes, *ports, weights, **more)


def test_weights_in_another_file_are_part_of_it(open_named: Any, tmp_path: Path) -> None:
    scaled(tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=100)
    interface = "{rate_hz: 1000, window: {samples: 1600, moment: 0, frame: 3}}"
    assert open_named("m.onnx", interface).animate(torch.ones(1, 40)).tolist()[0][0] == [2]
    file = find_teacher("m.onnx", tmp_path)
    assert file.bytes == sum((tmp_path / n).stat().st_size for n in ("m.onnx", "m.bin"))
    (tmp_path / "m.bin").write_bytes(np.full(1600, 3, np.float32).tobytes())
    assert find_teacher("m.onnx", tmp_path).hash != file.hash
    (tmp_path / "m.bin").unlink()
    with pytest.raises(TeacherError, match=r"m\.bin cannot be read"):
        find_teacher("m.onnx", tmp_path)


@pytest.mark.parametrize("damage", ["empty", "half", "text"])
def test_a_damaged_file_is_refused(
    open_named: Any, tmp_path: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.onnx"
    audio2face(path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "text": b"no model"}[damage])
    with pytest.raises(TeacherError, match=r"m\.onnx") as caught:
        open_named("m.onnx", "{rate_hz: 30}")
    assert "\n" not in str(caught.value)
    with pytest.raises(TeacherError, match=r"m\.onnx cannot be read as ONNX"):
        describe(find_teacher("m.onnx", tmp_path))
    assert capfd.readouterr() == ("", "")


def test_operators_that_onnx_runtime_lacks_are_named(
    open_named: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save(
        tmp_path / "m.onnx",
        [helper.make_node("Animate", ["audio"], ["rig"], domain="com.example")],
        [("audio", TensorProto.FLOAT, [1, "n"])],
        [("rig", TensorProto.FLOAT, [1, "n", 2])],
        opsets=[helper.make_opsetid("com.example", 1)],
    )
    with pytest.raises(
        TeacherError, match=r"needs the operators com\.example\.Animate, which ONNX"
    ):
        open_named("m.onnx", "{rate_hz: 30}")
    assert capfd.readouterr() == ("", "")


def test_what_onnx_runtime_refuses_is_said_once(
    open_named: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save(
        tmp_path / "m.onnx",
        [helper.make_node("Reshape", ["audio", "shape"], ["rig"])],
        [("audio", TensorProto.FLOAT, [1, "n"])],
        [("rig", TensorProto.FLOAT, [1, "t", 7])],
        [("shape", np.array([1, -1, 7]))],
    )
    with pytest.raises(TeacherError, match=r"could not be opened: it raised .*Reshape") as caught:
        open_named("m.onnx", "{rate_hz: 30}")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
