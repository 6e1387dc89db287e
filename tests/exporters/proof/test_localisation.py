"""The first layer that departs is named, in float and in codes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from exporters.proof.localisation import first_departure
from exporters.proof.parity import check_parity
from exporters.signature import Signature
from exporters.targets.onnx import target as onnx_target
from exporters.targets.onnx.target import OnnxRuntime
from tests.exporters.conftest import TinyStudent


class Layered(TinyStudent):
    """TinyStudent that tells its layers."""

    def layers(self, audio: torch.Tensor) -> dict[str, torch.Tensor]:
        features = torch.relu(self.features(audio))
        return {"features": features, "head": self.head(features)}


@pytest.fixture
def window() -> np.ndarray:
    draw = np.random.default_rng(5)
    return draw.uniform(-0.5, 0.5, (1, 1, 64)).astype(np.float32)


def spoiled(model_file: Path, folder: Path, initializer: str, factor: float) -> OnnxRuntime:
    """The file with one initializer multiplied."""
    model = onnx.load(model_file)
    (value,) = [v for v in model.graph.initializer if v.name.endswith(initializer)]
    value.CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(value) * factor, value.name)
    )
    onnx.save(model, folder / "model.onnx")
    return onnx_target.open_runtime(folder / "model.onnx")


@pytest.mark.parametrize("layer", ["features", "head"])
def test_the_layer_whose_weights_were_changed(
    layer: str, model_file: Path, tmp_path: Path, window: np.ndarray
) -> None:
    runtime = spoiled(model_file, tmp_path, f"{layer}.weight", np.float32(1.5))
    said = first_departure(runtime, Layered(), window, 1e-5, 1)
    assert said.startswith(f"the first layer to depart is {layer}: tensor ")
    assert said.endswith("where 1e-05 may be")


def test_parity_says_it(model_file: Path, tmp_path: Path, window: np.ndarray) -> None:
    runtime = spoiled(model_file, tmp_path, "head.bias", np.float32(2))
    (item,) = check_parity(runtime, Layered(), {"speech": window}, max_abs=1e-5).sets
    assert item.status == "failed"
    assert "; the first layer to depart is head: tensor conv1d_1 of the file" in item.reason


def test_a_faithful_file_departs_nowhere(model_file: Path, window: np.ndarray) -> None:
    runtime = onnx_target.open_runtime(model_file)
    assert first_departure(runtime, Layered(), window, 1e-5, 1).startswith("no layer departs")
    assert first_departure(runtime, TinyStudent(), window, 1e-5, 1) == ""


def test_a_value_that_is_no_number_departs(
    model_file: Path, tmp_path: Path, window: np.ndarray
) -> None:
    runtime = spoiled(model_file, tmp_path, "features.weight", np.float32("nan"))
    assert "is features" in first_departure(runtime, Layered(), window, 1e-5, 1)
    (item,) = check_parity(runtime, Layered(), {"speech": window}, max_abs=1e-5).sets
    assert item.reason.startswith("the file gives nan; the first layer to depart is features")


def test_channels_may_come_last_and_layers_may_be_missing(window: np.ndarray) -> None:
    source, signature = Layered(), None

    class ChannelsLast:
        def __init__(self, tensors: dict[str, np.ndarray], signature: Signature) -> None:
            self._tensors, self.signature = tensors, signature

        def tensors(self, audio: np.ndarray) -> dict[str, np.ndarray]:
            return self._tensors

    with torch.no_grad():
        layers = {name: x.numpy() for name, x in source.layers(torch.from_numpy(window)).items()}
    signature = Signature(
        student="tiny",
        precision="int8",
        controls=("a", "b", "c"),
        driven=("a", "b", "c"),
        constants={},
        sample_rate_hz=16000,
        hop=256,
        window=64,
        past=48,
        future=16,
        smoothing=(1.0,),
        made_from="",
        teacher="",
        tool_versions={},
        quantization={"layers": {}, "tensors": {"features": {"scale": 0.1, "zero_point": 0}}},
    )
    last = {"t1": layers["features"][:, None].transpose(0, 1, 3, 2), "t2": layers["head"][:, None]}
    whole = ChannelsLast(last, signature)
    assert first_departure(whole, source, window, 1e-5, 1).startswith("no layer departs")
    one_code = ChannelsLast(last | {"t1": last["t1"] + np.float32(0.1)}, signature)
    assert first_departure(one_code, source, window, 1e-5, 1).startswith("no layer departs")
    assert "is features" in first_departure(one_code, source, window, 1e-5, 0)
    assert "is features" in first_departure(
        ChannelsLast(one_code._tensors, replace(signature, quantization={})), source, window, 0, 1
    )
    fused = ChannelsLast({"t2": last["t2"] + np.float32(1)}, signature)
    assert "is head: tensor t2" in first_departure(fused, source, window, 1e-5, 1)
    assert isinstance(source, nn.Module)
