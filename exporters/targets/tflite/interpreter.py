"""The interpreter of whatever TFLite runtime is installed: what it gives, and what it has read."""

from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, cast

import numpy as np

from exporters.requirements import require
from exporters.targets.runtime import Floats
from exporters.targets.silence import silence
from exporters.targets.structure import Convolution, Storage, Structure

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def library() -> tuple[Any, str, str]:
    """The module of the runtime that is installed, its name and version. Raises MissingToolError."""
    if find_spec("tflite_runtime") and not find_spec("ai_edge_litert"):
        import tflite_runtime  # type: ignore[import-not-found]
        from tflite_runtime import interpreter

        return interpreter, "TensorFlow Lite", tflite_runtime.__version__
    require("ai_edge_litert", purpose="run TFLite files")
    import ai_edge_litert
    from ai_edge_litert import interpreter

    return interpreter, "LiteRT", ai_edge_litert.__version__


def opened(content: bytes, threads: int = 1, *, plain: bool = False) -> Any:
    """An interpreter of a file, ready to run, with XNNPACK where that knows the operations.

    Or a plain one: an operation at a time, and every tensor stays. Raises ValueError, RuntimeError.
    """
    module, _, _ = library()
    kernels = module.OpResolverType
    with silence():  # XNNPACK announces itself
        interpreter = module.Interpreter(
            model_content=content,
            num_threads=threads,
            experimental_op_resolver_type=(
                kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else kernels.AUTO
            ),
            experimental_preserve_all_tensors=plain,
        )
        interpreter.allocate_tensors()
    return interpreter


def outputs(interpreter: Any, audio: Floats) -> Iterator[Any]:
    """What an interpreter gives for each window of float32 [n, 1, window]."""
    (entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    for window in audio:
        interpreter.set_tensor(entry["index"], window[np.newaxis])
        interpreter.invoke()
        yield interpreter.get_tensor(end["index"])


def computed(interpreter: Any) -> list[dict[str, Any]]:
    """The tensors of a plain interpreter that depend on its input, in order of computation."""
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    moving = {interpreter.get_input_details()[0]["index"]}
    order: list[int] = []
    for operator in interpreter._get_ops_details():
        if moving.intersection(operator["inputs"]):
            moving.update(operator["outputs"])
            order += operator["outputs"].tolist()
    return [tensors[index] for index in order]


def structure_of(interpreter: Any, weight_bytes: int) -> Structure:
    """What the graph of a plain interpreter is made of; ``weight_bytes`` only its file tells."""
    counts = Counter(operator["op_name"] for operator in interpreter._get_ops_details())
    return Structure(
        operations=dict(counts),
        layout_changes=counts["TRANSPOSE"],
        convolutions=tuple(_convolutions(interpreter)),
        weight_bytes=weight_bytes,
    )


def _convolutions(interpreter: Any) -> Iterator[Convolution]:
    operators = interpreter._get_ops_details()
    types = {
        tensor["index"]: tensor["dtype"].__name__ for tensor in interpreter.get_tensor_details()
    }
    stored = {
        operator["outputs"][0]: operator["inputs"][0]
        for operator in operators
        if operator["op_name"] == "DEQUANTIZE"
    }
    for operator in operators:
        if operator["op_name"] in CONVOLUTIONS:
            audio, weights = operator["inputs"][:2]
            ends = {types[audio], types[operator["outputs"][0]]}
            yield Convolution(
                compute="int8" if ends == {"int8"} else "float",
                weights=cast(Storage, types[stored.get(weights, weights)]),
            )
