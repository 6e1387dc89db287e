"""Moonshine tiny's encoder weights, read from the public wheel ``moonshine-voice`` 0.0.54 (MIT).

The wheel carries an ONNX Runtime flatbuffer whose matrices are int8; what comes back here is dequantized, so it is the
quantized model's weights in float, not the original float weights.
"""

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compress.teachers.networks.moonshine import MoonshineConfig, MoonshineEncoder

PACKAGE, VERSION = "moonshine-voice", "0.0.54"
_DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 7: np.int64}  # onnx.TensorProto.DataType
_GROUP_NORM = {"onnx::Mul_2080": "group_norm.weight", "onnx::Add_2081": "group_norm.bias"}
_ROTARY = "onnx::Expand_202"


def load_encoder() -> MoonshineEncoder:
    """The encoder with the wheel's weights. Raises `ValueError` when another version of the wheel is installed."""
    if version(PACKAGE) != VERSION:
        raise ValueError(
            f"the weights' names were read from {PACKAGE} {VERSION}; found {version(PACKAGE)}"
        )
    spec = find_spec("moonshine_voice")
    assert spec is not None
    assert spec.origin is not None
    graph = _graph(Path(spec.origin).parent / "assets" / "tiny-en" / "encoder_model.ort")
    tensors = _initializers(graph)
    state = _dequantized_matrices(graph, tensors)
    for name, value in tensors.items():
        if name.startswith("layers.") or (name.startswith("conv") and "const" not in name):
            state[name.replace("_add_tensor", "")] = value
        elif name in _GROUP_NORM:
            state[_GROUP_NORM[name]] = value.reshape(-1)
        elif name == _ROTARY:
            state["inverse_frequencies"] = value.reshape(-1)
    encoder = MoonshineEncoder(MoonshineConfig())
    known = encoder.state_dict()
    encoder.load_state_dict(
        {k: torch.from_numpy(np.array(v, np.float32)) for k, v in state.items() if k in known}
    )
    return encoder.eval()


def _graph(path: Path) -> Any:
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import (
        InferenceSession,
    )

    return InferenceSession.GetRootAs(path.read_bytes(), 0).Model().Graph()


def _initializers(graph: Any) -> dict[str, np.ndarray]:
    tensors = {}
    for i in range(graph.InitializersLength()):
        tensor = graph.Initializers(i)
        shape = [tensor.Dims(k) for k in range(tensor.DimsLength())]
        values = np.frombuffer(tensor.RawDataAsNumpy().tobytes(), _DTYPES[tensor.DataType()])
        tensors[tensor.Name().decode()] = values.reshape(shape)
    return tensors


def _dequantized_matrices(graph: Any, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Linear weights `[out, in]` by module name, from the graph's integer matrix products."""
    state = {}
    for i in range(graph.NodesLength()):
        node = graph.Nodes(i)
        if node.OpType().decode() not in ("MatMulIntegerToFloat", "DynamicQuantizeMatMul"):
            continue
        inputs = [node.Inputs(k).decode() for k in range(node.InputsLength())]
        name = next(n for n in inputs if n.endswith("_quantized") and n in tensors)
        stem = name.removesuffix("_quantized")
        matrix = (
            tensors[name].astype(np.float32) - tensors[stem + "_zero_point"].astype(np.float32)
        ) * tensors[stem + "_scale"]
        module = node.Name().decode().strip("/").replace("/MatMul_quant", "").replace("/", ".")
        state[module + ".weight"] = matrix.T.copy()
    return state
