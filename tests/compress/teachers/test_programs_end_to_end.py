"""A recipe, a program of each format for its teacher, model files that are checked again."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from compress.labels.store import curves_of, read_labels
from compress.recipe.recipe import load_recipe
from compress.speech.gathering import gather

# All of torch.jit is deprecated; what it wrote is still about.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]

Cli: TypeAlias = Callable[..., Any]
Arrays: TypeAlias = Callable[[np.ndarray], np.ndarray]

WHOLE = "{rate_hz: 100, columns: [{names: [jawOpen, mouthClose]}]}"
WINDOWED = """
rate_hz: 60
audio: audio
inputs: {emotion: [0.25, 0.5]}
window: {samples: 800, moment: 400}
columns: [{names: [jawOpen, mouthClose, mouthFunnel]}]
"""

# As `Strided`, for a recipe's folder.
PYTHON = """
import torch
from torch import nn


class Strided(nn.Module):
    controls = ("jawOpen", "mouthClose")
    rate_hz, offset_s, sample_rate_hz, limits = 100.0, 0.0, 16_000, None
    description, parameters_count = "means and peaks", 2

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0, 0.5]))

    def forward(self, audio):
        hops = audio.unfold(1, 160, 160)
        return torch.stack([hops.abs().mean(2), hops.amax(2)], 2) * self.scale


class Answering(Strided):
    def animate(self, audio):
        return self(audio)
"""


def strided(clip: np.ndarray) -> np.ndarray:
    """The mean and the greatest of every 160 samples."""
    hops = clip[: len(clip) // 160 * 160].reshape(-1, 160)
    return np.stack([2 * np.abs(hops).mean(1), 0.5 * hops.max(1)], 1)


def windowed(mix: np.ndarray, bias: np.ndarray) -> Arrays:
    """Mean squares of a window's quarters, mixed, plus 0.75."""

    def animate(clip: np.ndarray) -> np.ndarray:
        padded = np.pad(clip, (400, 800))
        poses = range(int(np.ceil(len(clip) * 60 / 16000)))
        cut = np.stack([padded[(s := round(i * 16000 / 60)) : s + 800] for i in poses])
        quarters = np.square(cut.reshape(-1, 4, 200)).mean(2) * 10
        return np.asarray(quarters @ mix.T + bias + 0.75)

    return animate


def save_onnx(path: Path, nodes: Any, inputs: Any, output: Any, weights: Any) -> None:
    made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (*inputs, output)]
    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "teacher", made[:-1], made[-1:], stored)
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


def write_onnx_windows(folder: Path, windows: nn.Module) -> tuple[str, str, Arrays]:
    mix, bias = (weight.detach().numpy() for weight in (windows.mix.weight, windows.mix.bias))
    node = helper.make_node
    nodes = [
        node("Reshape", ["audio", "quarters"], ["cut"]),
        node("Mul", ["cut", "cut"], ["squares"]),
        node("ReduceMean", ["squares", "axis"], ["means"], keepdims=0),
        node("MatMul", ["means", "mix"], ["mixed"]),
        node("Add", ["mixed", "bias"], ["heard"]),
        node("ReduceSum", ["emotion", "last"], ["felt"], keepdims=1),
        node("Add", ["heard", "felt"], ["rig"]),
    ]
    weights = {
        "quarters": np.array([-1, 4, 200]),
        "axis": np.array([2]),
        "mix": np.ascontiguousarray(10 * mix.T),
        "bias": bias,
        "last": np.array([1]),
    }
    inputs = ("audio", ["batch", 800]), ("emotion", ["batch", 2])
    save_onnx(folder / "teacher.onnx", nodes, inputs, ("rig", ["batch", 3]), weights)
    return "teacher.onnx", WINDOWED, windowed(mix, bias)


def write_onnx_clips(folder: Path, windows: nn.Module) -> tuple[str, str, Arrays]:
    """Time comes last here, and audio in a channel."""
    kernel = np.stack([np.full(160, 1 / 160), np.eye(1, 160)[0]])[:, None].astype(np.float32)
    nodes = [
        helper.make_node("Abs", ["audio"], ["sizes"]),
        helper.make_node("Conv", ["sizes", "kernel"], ["rig"], strides=[160]),
    ]
    inputs = (("audio", ["batch", 1, "samples"]),)
    output = ("rig", ["batch", 2, "frames"])
    save_onnx(folder / "teacher.onnx", nodes, inputs, output, {"kernel": kernel})

    def animate(clip: np.ndarray) -> np.ndarray:
        hops = np.abs(clip).reshape(-1, 160)
        return np.stack([hops.mean(1), hops[:, 0]], 1)

    return "teacher.onnx", WHOLE[:-1] + ", time_last: true}", animate


def write_exported(folder: Path, windows: nn.Module) -> tuple[str, str, Arrays]:
    batch = torch.export.Dim("batch")
    example = torch.zeros(2, 800), torch.zeros(2, 2)
    shapes = {"audio": {0: batch}, "emotion": {0: batch}}
    torch.export.save(
        torch.export.export(windows, example, dynamic_shapes=shapes), folder / "teacher.pt2"
    )
    weights = (weight.detach().numpy() for weight in (windows.mix.weight, windows.mix.bias))
    return "teacher.pt2", WINDOWED, windowed(*weights)


def write_torchscript(folder: Path, windows: nn.Module) -> tuple[str, str, Arrays]:
    torch.jit.save(torch.jit.script(windows), folder / "teacher.pt")
    weights = (weight.detach().numpy() for weight in (windows.mix.weight, windows.mix.bias))
    return "teacher.pt", WINDOWED, windowed(*weights)


def write_callable(folder: Path, windows: nn.Module) -> tuple[str, str, Arrays]:
    (folder / "means.py").write_text(PYTHON)
    return "means:Strided", WHOLE, strided


def write_contract(folder: Path, windows: nn.Module) -> tuple[str, str, Arrays]:
    (folder / "means.py").write_text(PYTHON)
    return "means:Answering", "", strided


FORMATS = (
    *(write_onnx_windows, write_onnx_clips, write_exported),
    *(write_torchscript, write_callable, write_contract),
)


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__.removeprefix("write_"))
def test_a_recipe_runs_to_checked_model_files(
    own: Path, cli: Cli, windows: nn.Module, write: Callable[..., tuple[str, str, Arrays]]
) -> None:
    checkpoint, interface, animate = write(own, windows)
    recipe, run = own / "recipe.yaml", own / "run"
    said = f"teacher:\n  checkpoint: {checkpoint}\n"
    if interface:
        said += "  interface:\n" + textwrap.indent(interface.strip(), "    ") + "\n"
    recipe.write_text(recipe.read_text().replace("teacher: {checkpoint: teacher}\n", said))

    trust = [] if checkpoint.endswith(".onnx") else ["--trust"]
    made = cli("compress", recipe, "--until", "export", "--out", run, *trust)
    assert made.code == 0, made.err
    checked = cli("verify", run)
    assert checked.code == 0, f"{checked.out}\n{checked.err}"

    names = ["jawOpen", "mouthClose", "mouthFunnel"][: 3 if "emotion" in interface else 2]
    (signature,) = run.glob("models/*/signature.json")
    assert json.loads(signature.read_text())["controls"] == names

    loaded = load_recipe(str(recipe))
    spoken = gather(loaded.speech, loaded.folder).spoken
    labels = read_labels(run / "labels", {s.clip.id: s.clip for s in spoken})
    assert labels.controls == labels.driven == tuple(names)
    curves = curves_of(labels, labels.clips, "frames")
    assert len(curves) == 11
    for clip, found in zip(labels.clips, curves, strict=True):
        expected = animate(clip.audio.read().astype(np.float64))
        np.testing.assert_allclose(found, expected, atol=1e-5)  # float32 sums of hundreds
