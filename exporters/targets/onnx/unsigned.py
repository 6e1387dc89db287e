"""Codes of an int8 ONNX graph as uint8, which ONNX Runtime computes exactly on every processor.

On x86 it makes int8 activations uint8. Beside int8 weights it then adds products in pairs into 16
bits, with saturation, on processors without VNNI: AMD before Zen 4, Intel's desktop processors before
the eleventh generation. Two products of 255 and 127 do not fit, and codes are dozens of
steps off. Products of uint8 and uint8 it adds into 32 bits. Codes shift by 128 with their zero
points, so values are the same to the bit.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

SHIFT = 128


def with_unsigned_codes(model: "ModelProto") -> "ModelProto":
    """The same values from uint8 codes: of activations, and of weights beside them; it is changed.

    Weights of a layer with float activations stay int8: they become floats before anything is added.
    """
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    quantized = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    codes = {node.output[0] for node in quantized}
    read = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in codes]
    for node in (*quantized, *read):
        _shift(graph, node.input, 2)
    for value in graph.value_info:
        if value.name in codes:
            value.type.tensor_type.elem_type = _unsigned()
    dequantized = {node.output[0] for node in read}
    for layer in graph.node:
        if layer.op_type in ("Conv", "Gemm", "MatMul") and layer.input[0] in dequantized:
            weights = made_by.get(layer.input[1])
            if weights is not None and weights.op_type == "DequantizeLinear":
                _shift(graph, weights.input, 0)
                _shift(graph, weights.input, 2)
    _remove_unused(graph)
    return model


def _unsigned() -> int:
    from onnx import TensorProto

    return int(TensorProto.UINT8)


def _shift(graph: "GraphProto", inputs: "list[str]", place: int) -> None:
    """Give a node a shifted copy of an int8 constant: others may use the constant itself."""
    from onnx import TensorProto, numpy_helper

    name = inputs[place]
    stored = {value.name: value for value in graph.initializer}
    if stored[name].data_type != TensorProto.INT8:
        return
    shifted = f"{name}_unsigned"
    if shifted not in stored:
        codes = (numpy_helper.to_array(stored[name]).astype(np.int16) + SHIFT).astype(np.uint8)
        graph.initializer.append(numpy_helper.from_array(codes, shifted))
    inputs[place] = shifted


def _remove_unused(graph: "GraphProto") -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [value for value in graph.initializer if value.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
