"""Rewriting a converter's ``.tflite`` as one of ours: ends, names, metadata, float16 weights."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from exporters.errors import ExportFailed
from exporters.signature import INPUT_NAME, OUTPUT_NAME, Signature
from exporters.targets.metadata import metadata
from exporters.targets.tflite.file import DIGEST_KEY, IDENTIFIER, NO_DIGEST, sealed
from exporters.targets.tflite.interpreter import CONVOLUTIONS
from exporters.targets.upstream import upstream

# Of the converter's own metadata; the rest is of no use after it.
_KEPT = "min_runtime_version"
# Of every constant, by the schema; kernels load 16 bytes at once.
_ALIGNMENT = 16


def finished(content: bytes, signature: Signature) -> bytes:
    """A converter's file as one of ours: our names, the signature, the digest of its bytes.

    In fp16 also weights in float16. Raises ExportFailed if it does not fit the signature.
    """
    model = _unpacked(content)
    (graph,) = model.subgraphs
    _make_leaky_float(model)
    _make_ends_float(model)
    _check_interface(graph, signature)
    if signature.precision == "fp16":
        _halve_weights(model)
    _name(model)
    graph.name = signature.student
    model.description = f"lipstill: {signature.student}, {signature.precision}"
    _describe(model, {**metadata(signature), DIGEST_KEY: NO_DIGEST.decode()})
    return sealed(_packed(model))


def _make_ends_float(model: Any) -> None:
    """Quantize the input and dequantize the output inside, where the converter left codes there."""
    kinds, operators = _schema().TensorType, _schema().BuiltinOperator
    (graph,), (entry,) = model.subgraphs, model.signatureDefs
    (audio,), (rig,) = graph.inputs.tolist(), graph.outputs.tolist()
    if graph.tensors[audio].type == kinds.INT8:
        whole = _float_twin(graph, audio)
        graph.operators.insert(0, _operator(model, operators.QUANTIZE, whole, audio))
        graph.inputs, entry.inputs[0].tensorIndex = _vector(whole), whole
    if graph.tensors[rig].type == kinds.INT8:
        whole = _float_twin(graph, rig)
        graph.operators.append(_operator(model, operators.DEQUANTIZE, rig, whole, version=2))
        graph.outputs, entry.outputs[0].tensorIndex = _vector(whole), whole


def _make_leaky_float(model: Any) -> None:
    """Leaky ReLUs of codes as leaky ReLUs of the values that the codes stand for.

    XNNPACK's kernel for codes multiplies by whole 256ths: a slope of 0.01 becomes 0.0117, and large
    codes land on a neighbour. In float every runtime gives the codes of the source.
    """
    kinds, operators = _schema().TensorType, _schema().BuiltinOperator
    (graph,) = model.subgraphs
    written = []
    for operator in graph.operators:
        (given,) = operator.outputs.tolist()
        if _kind(model, operator) != "LEAKY_RELU" or graph.tensors[given].type != kinds.INT8:
            written.append(operator)
            continue
        (taken,) = operator.inputs.tolist()
        before, after = _float_twin(graph, taken), _float_twin(graph, given)
        operator.inputs, operator.outputs = _vector(before), _vector(after)
        written += [
            _operator(model, operators.DEQUANTIZE, taken, before, version=2),
            operator,
            _operator(model, operators.QUANTIZE, after, given),
        ]
    graph.operators = written


def _check_interface(graph: Any, signature: Signature) -> None:
    kinds = {number: name for name, number in vars(_schema().TensorType).items()}
    found = [
        (kinds[graph.tensors[end].type], np.asarray(graph.tensors[end].shape).tolist())
        for end in (*graph.inputs, *graph.outputs)
    ]
    expected = [("FLOAT32", [1, 1, signature.window]), ("FLOAT32", [1, len(signature.driven)])]
    if found != expected:
        raise ExportFailed(
            f"{signature.student} became a graph with {found}, expected {expected} (element type, "
            "shape). Does the module give one value for each driven control "
            f"({len(signature.driven)})?"
        )


def _halve_weights(model: Any) -> None:
    """Weights of convolutions as float16, dequantized where they are used.

    Not those before a logarithm. No biases: the operation for each would outweigh what it saves.
    The arithmetic stays float32; runtimes dequantize constants once, when they open the file.
    """
    schema = _schema()
    (graph,) = model.subgraphs
    kept = {tensor for operator in _before_logarithms(model) for tensor in operator.inputs.tolist()}
    twins: dict[int, int] = {}
    dequantizing = []
    for operator in graph.operators:
        if _kind(model, operator) not in CONVOLUTIONS:
            continue
        audio, weights, *bias = operator.inputs.tolist()
        half = graph.tensors[weights]
        content = model.buffers[half.buffer].data
        if weights in kept or content is None:
            continue
        if weights not in twins:
            twins[weights] = _float_twin(graph, weights)
            half.type, half.buffer = schema.TensorType.FLOAT16, len(model.buffers)
            numbers = content.view("<f4").astype("<f2")
            model.buffers.append(schema.BufferT(numbers.view(np.uint8)))
            code = schema.BuiltinOperator.DEQUANTIZE
            dequantizing.append(_operator(model, code, weights, twins[weights], version=3))
        operator.inputs = _vector(audio, twins[weights], *bias)
    graph.operators[:0] = dequantizing


def _before_logarithms(model: Any) -> Iterator[Any]:
    """Every operator whose result goes into a logarithm, at any distance."""
    operators = model.subgraphs[0].operators
    made_by = {tensor: operator for operator in operators for tensor in operator.outputs.tolist()}
    logarithms = [operator for operator in operators if _kind(model, operator) == "LOG"]
    wanted = [tensor for operator in logarithms for tensor in operator.inputs.tolist()]
    return upstream(wanted, made_by, lambda operator: operator.inputs.tolist())


def _name(model: Any) -> None:
    """Name tensors for the operator that gives them, constants for the first that takes them.

    The converter's names are made of the module's classes, and an eighth of a small file.
    """
    (graph,) = model.subgraphs
    names: dict[int, str] = {}
    for number, operator in enumerate(graph.operators):
        name = f"{_kind(model, operator).lower()}_{number}"
        for place, tensor in enumerate(operator.inputs):
            names.setdefault(tensor, f"{name}.{place}")
        for tensor in operator.outputs:
            names[tensor] = name
    names |= {graph.inputs[0]: INPUT_NAME, graph.outputs[0]: OUTPUT_NAME}
    for number, tensor in enumerate(graph.tensors):
        tensor.name = names.get(number, "")
    (entry,) = model.signatureDefs
    entry.inputs[0].name, entry.outputs[0].name = INPUT_NAME, OUTPUT_NAME


def _describe(model: Any, facts: dict[str, str]) -> None:
    """Put metadata into a model, and leave out every buffer that nothing uses."""
    schema = _schema()
    # By the schema the first is empty: that of every tensor which is computed.
    buffers = [schema.BufferT()]
    moved: dict[int, int] = {}
    for tensor in model.subgraphs[0].tensors:
        buffer = model.buffers[tensor.buffer]
        if buffer.data is not None and tensor.buffer not in moved:
            moved[tensor.buffer] = len(buffers)
            buffers.append(buffer)
        tensor.buffer = moved.get(tensor.buffer, 0)
    values = {
        entry.name.decode(): model.buffers[entry.buffer].data
        for entry in model.metadata
        if entry.name.decode() == _KEPT
    }
    for key, text in facts.items():
        values[key] = np.frombuffer(text.encode(), np.uint8)
    model.metadata = []
    for key, value in values.items():
        model.metadata.append(schema.MetadataT(key, len(buffers)))
        buffers.append(schema.BufferT(value))
    model.buffers = buffers


def _unpacked(content: bytes) -> Any:
    schema = _schema()
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def _packed(model: Any) -> bytes:
    import flatbuffers

    class Aligned(flatbuffers.Builder):  # type: ignore[misc]
        """Aligns data as the schema says; flatbuffers for Python does not."""

        def StartVector(self, size: int, count: int, alignment: int) -> Any:  # noqa: N802
            return super().StartVector(size, count, _ALIGNMENT if size == 1 else alignment)

    builder = Aligned(0)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _kind(model: Any, operator: Any) -> str:
    """The schema's name of what an operator does."""
    operators = _schema().BuiltinOperator
    code = model.operatorCodes[operator.opcodeIndex]
    # The older field has one byte; newer operations are in the other alone.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    names = {found: name for name, found in vars(operators).items()}
    return str(names[number])


def _float_twin(graph: Any, number: int) -> int:
    """The number of a new float32 tensor of the shape of another."""
    twin = copy.copy(graph.tensors[number])
    twin.type, twin.buffer, twin.quantization = _schema().TensorType.FLOAT32, 0, None
    graph.tensors.append(twin)
    return len(graph.tensors) - 1


def _operator(model: Any, kind: int, taken: int, given: int, version: int = 1) -> Any:
    """A new operator that makes one tensor of one."""
    schema = _schema()
    codes = [(code.builtinCode, code.version) for code in model.operatorCodes]
    if (kind, version) not in codes:
        codes.append((kind, version))
        model.operatorCodes.append(schema.OperatorCodeT(kind, version=version, builtinCode=kind))
    return schema.OperatorT(codes.index((kind, version)), _vector(taken), _vector(given))


def _vector(*tensors: int) -> Any:
    return np.array(tensors, np.int32)


def _schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated
