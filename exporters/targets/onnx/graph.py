"""Reading and rewriting the graph of an ONNX model: what it is made of, float16 weights, cuts."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from exporters.targets.onnx.unsigned import SHIFT
from exporters.targets.structure import Convolution, Storage, Structure
from exporters.targets.upstream import upstream

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto


def with_half_weights(model: "ModelProto") -> "ModelProto":
    """The weights and biases of a float32 model as float16, cast back where they are used.

    Not those before a logarithm, nor single numbers, nor what the last convolution adds where that
    would lose more than its products do: a rest value far from 0. The arithmetic stays float32: ONNX Runtime has
    no float16 convolution for CPUs, and casts that it would put around each cost more than they
    save; these casts of constants it does once, when the file is opened. The model is changed.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    kept = {name for node in _before_logarithms(graph) for name in node.input}
    kept |= _far_from_0(graph)
    casts = []
    for value in graph.initializer:
        if value.name in kept or value.data_type != TensorProto.FLOAT or not value.dims:
            continue
        name, half = value.name, f"{value.name}.half"
        numbers = numpy_helper.to_array(value).astype("float16")
        value.CopyFrom(numpy_helper.from_array(numbers, half))
        casts.append(helper.make_node("Cast", [half], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    return model


def _far_from_0(graph: "GraphProto") -> set[str]:
    """The last convolution's bias, where a number of it is larger than its weights' sum."""
    import numpy as np
    from onnx import numpy_helper

    values = {value.name: value for value in graph.initializer}
    last = [node for node in graph.node if node.op_type == "Conv"][-1:]
    for node in last:
        if len(node.input) == 3 and set(node.input[1:]) <= set(values):
            weight, bias = (numpy_helper.to_array(values[name]) for name in node.input[1:])
            axes = tuple(range(1, weight.ndim))
            if len(weight) == bias.size and (np.abs(bias.ravel()) > np.abs(weight).sum(axes)).any():
                return {node.input[2]}
    return set()


def _before_logarithms(graph: "GraphProto") -> "Iterator[NodeProto]":
    """Every node whose result goes into a logarithm, at any distance."""
    made_by = {name: node for node in graph.node for name in node.output}
    wanted = [name for node in graph.node if node.op_type == "Log" for name in node.input]
    return upstream(wanted, made_by, lambda node: node.input)


def structure_of(model: "ModelProto") -> Structure:
    """What the graph of a model is made of."""
    from onnx import TensorProto, numpy_helper

    nodes = model.graph.node
    counts = Counter(node.op_type for node in nodes)
    return Structure(
        operations=dict(counts),
        layout_changes=counts["Transpose"],
        convolutions=tuple(_convolutions(model.graph)),
        weight_bytes=sum(
            numpy_helper.to_array(tensor).nbytes
            for tensor in _constants(model.graph)
            if tensor.data_type != TensorProto.INT64  # shapes and axes
        ),
    )


def _constants(graph: "GraphProto") -> "Iterator[TensorProto]":
    yield from graph.initializer
    for node in graph.node:
        if node.op_type == "Constant":
            yield from (attribute.t for attribute in node.attribute if attribute.name == "value")


def _convolutions(graph: "GraphProto") -> Iterator[Convolution]:
    from onnx import TensorProto

    storages = {
        TensorProto.FLOAT: "float32",
        TensorProto.FLOAT16: "float16",
        TensorProto.INT8: "int8",
        TensorProto.UINT8: "int8",  # the same codes, shifted (`exporters.targets.onnx.unsigned`)
    }
    stored = {value.name: storages.get(value.data_type) for value in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    used_by: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            used_by.setdefault(name, []).append(node)

    def codes_follow(name: str) -> bool:
        following = used_by.get(name, [])
        if [node.op_type for node in following] == ["Relu"]:
            following = used_by.get(following[0].output[0], [])
        return [node.op_type for node in following] == ["QuantizeLinear"]

    for node in graph.node:
        if node.op_type != "Conv":
            continue
        audio, weights = node.input[:2]
        source = made_by.get(weights)
        storage = stored.get(weights if source is None else source.input[0])
        before = made_by.get(audio)
        codes = before is not None and before.op_type == "DequantizeLinear"
        yield Convolution(
            compute="int8" if codes and codes_follow(node.output[0]) else "float",
            weights=cast(Storage, storage),
        )


def until_last_codes(model: "ModelProto", entry: str) -> "tuple[ModelProto, float, int] | None":
    """The model as far as the place where its last quantized activation is dequantized.

    With that tensor's scale and the zero point of its int8 codes; None if no activation is quantized. Its only output is
    the dequantized tensor.
    """
    import numpy as np
    import onnx

    # The checker saw to it that nodes stand in topological order.
    made = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    if not made:
        return None
    read = next(node for node in model.graph.node if node.input and node.input[0] == made[-1])
    values = {value.name: value for value in model.graph.initializer}
    scale, zero_point = (onnx.numpy_helper.to_array(values[name]) for name in read.input[1:])
    part = onnx.utils.Extractor(model).extract_model([entry], [read.output[0]])
    shift = SHIFT if zero_point.dtype == np.uint8 else 0
    return part, scale.item(), zero_point.item() - shift


def with_all_outputs(model: "ModelProto") -> "ModelProto":
    """A model that gives every float tensor it computes, in order; it is changed.

    Not what is made of constants alone.
    """
    import onnx

    graph: Any = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value for value in (*graph.value_info, *graph.output)}
    moving = {value.name for value in graph.input}
    shown = []
    for node in graph.node:
        if moving.intersection(node.input):
            moving.update(node.output)
            shown += [types[name] for name in node.output if name in types]
    del model.graph.output[:]
    model.graph.output.extend(
        value for value in shown if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    )
    return model
