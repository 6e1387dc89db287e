"""TFLite: a torch module as a ``.tflite`` file, and that file in LiteRT or TensorFlow Lite."""

import copy
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exporters.atomic import write_atomically
from exporters.errors import ExportFailed, ModelFileError
from exporters.files import ExportedFile, describe_file
from exporters.reading import reading
from exporters.requirements import require
from exporters.scratch import scratch
from exporters.signature import INPUT_NAME, OUTPUT_NAME, Signature, import_schema
from exporters.targets.metadata import SIGNATURE_KEY
from exporters.targets.runtime import Codes, Floats, check_audio
from exporters.targets.silence import silence
from exporters.targets.source import IntegerSource, frozen_copy
from exporters.targets.structure import Structure
from exporters.targets.tflite.file import constant_bytes, read, with_output
from exporters.targets.tflite.graph import finished
from exporters.targets.tflite.interpreter import computed, library, opened, outputs, structure_of
from exporters.targets.tflite.lifting import lifted

if TYPE_CHECKING:
    from torch import fx, nn

SUFFIX = ".tflite"
PRECISIONS = ("fp32", "fp16", "int8")
TOOLS = ("torch", "litert-torch", "litert-converter", "jax", "ai-edge-litert", "flatbuffers")
RUNTIMES = ("ai-edge-litert",)
EVALUATED = False


def export(module: "nn.Module", signature: Signature, path: Path) -> ExportedFile:
    """Write ``module`` as one file: ``audio`` [1, 1, window] -> ``rig`` [1, driven].

    ``module`` takes float32 [batch, 1, window] and gives [batch, driven]; it is copied, so neither
    its device nor its mode changes. The file carries the signature and was opened once. The same
    weights, signature and tool versions give the same bytes.

    Raises MissingToolError, and ExportFailed if the module cannot be converted or does not fit the
    signature.
    """
    require("torch", "litert_torch", "ai_edge_litert", "flatbuffers", purpose="export TFLite files")
    with scratch():
        content = finished(_converted(module, signature), signature)
    try:
        opened(content)
    except (ValueError, RuntimeError) as error:
        raise ExportFailed(
            f"{signature.student} became a file that LiteRT does not run: {error}"
        ) from error
    write_atomically(path, content)
    return describe_file(path, "tflite")


def _converted(module: "nn.Module", signature: Signature) -> bytes:
    """The file that litert-torch makes of ``module``. Raises ExportFailed."""
    import torch

    silent_audio = torch.zeros(1, 1, signature.window)
    with silence():
        import litert_torch

        try:
            graph, settings = _captured(module, silent_audio)
            made = litert_torch.convert(lifted(graph, silent_audio), (silent_audio,), **settings)
            content: bytes = made.model_content()
        except ExportFailed:
            raise
        except Exception as error:
            # There is no telling what torch, JAX and MLIR raise in it.
            reason = str(error).strip().partition("\n")[0]
            raise ExportFailed(
                f"{signature.student} cannot be converted to TFLite: {reason} "
                f"({type(error).__name__}). Shapes and control flow must not depend on the "
                "samples; litert-torch must know every operation."
            ) from error
    return content


def _captured(module: "nn.Module", audio: Any) -> "tuple[fx.GraphModule, dict[str, Any]]":
    """The graph of ``module``, ours to change, and what litert-torch must be told of it."""
    import torch

    if not isinstance(module, IntegerSource):
        graph: Any = torch.export.export(frozen_copy(module), (audio,)).module(check_guards=False)
        return graph, {}
    from litert_torch.quantize.pt2e_quantizer import (
        PT2EQuantizer,
        get_symmetric_quantization_config,
    )
    from litert_torch.quantize.quant_config import QuantConfig

    # All that it reads of this quantizer is that ranges are fixed: the graph has its own.
    fixed = PT2EQuantizer().set_global(get_symmetric_quantization_config())
    graph = copy.deepcopy(module.unfolded()).cpu()
    _keep_limits_float(graph)
    return graph, {"quant_config": QuantConfig(pt2e_quantizer=fixed)}


def _keep_limits_float(graph: "fx.GraphModule") -> None:
    """Write x within limits as (x + 1 within limits + 1) - 1 where x was codes a moment ago.

    The converter would limit the codes themselves, to the codes nearest to the limits; a sum it
    leaves alone. Raises ExportFailed for limits of codes in a form that is not known here.
    """
    import torch

    aten = torch.ops.aten
    for node in list(graph.graph.nodes):
        if not _limits_codes(node):
            continue
        codes, *limits = node.args
        with graph.graph.inserting_before(node):
            shifted = graph.graph.call_function(aten.add.Tensor, (codes, 1.0))
        node.args = (shifted, *(None if limit is None else limit + 1.0 for limit in limits))
        with graph.graph.inserting_after(node):
            whole = graph.graph.call_function(aten.sub.Tensor, (node, 1.0))
        node.replace_all_uses_with(whole, lambda user, whole=whole: user is not whole)
    graph.recompile()


def _limits_codes(node: "fx.Node") -> bool:
    """Whether a node keeps within limits what one of PT2E's operations made of codes.

    Raises ExportFailed where it does so in a form, or to a result, that is not known here.
    """
    import torch

    aten, pt2e = torch.ops.aten, torch.ops.quantized_decomposed
    limiting = (aten.clamp, aten.clip, aten.clamp_min, aten.clamp_max, aten.hardtanh)
    if getattr(node.target, "overloadpacket", None) not in limiting:
        return False
    source = limited = node.all_input_nodes[0]
    while getattr(source.target, "is_view", False):  # the same numbers in another shape
        source = source.all_input_nodes[0]
    if getattr(source.target, "namespace", "") != "quantized_decomposed":
        return False  # a float layer
    known = (
        node.target is aten.clamp.default
        and limited.target is pt2e.dequantize_per_tensor.default
        and not node.kwargs
        and all(limit is None or isinstance(limit, int | float) for limit in node.args[1:])
    )
    if not known:
        raise ExportFailed(
            f"The graph keeps {limited.target} within limits by {node.target}. Expected "
            f"{aten.clamp.default} with numbers, right after "
            f"{pt2e.dequantize_per_tensor.default}: the converter would round other limits to codes."
        )
    return True


class LiteRT:
    """A ``.tflite`` file of ours in LiteRT or TensorFlow Lite, on the CPU; see ``open_runtime``."""

    def __init__(self, content: bytes, signature: Signature, threads: int) -> None:
        self.signature = signature
        self._content = content
        self._threads = threads
        self._interpreter = opened(content, threads)

    def run(self, audio: Floats) -> Floats:
        """float32 [n, 1, window] -> float32 [n, driven], one call of the file for each window."""
        check_audio(audio, self.signature)
        rig = np.empty((len(audio), len(self.signature.driven)), np.float32)
        for index, pose in enumerate(outputs(self._interpreter, audio)):
            rig[index] = pose[0]
        return rig

    def codes(self, audio: Floats) -> Codes | None:
        """float32 [n, 1, window] -> int8 [n, channels, steps]: the last quantized tensor's codes.

        None if the file quantizes no activation. They come from a second interpreter, made at the
        first call: the same file with that tensor as its output, so the same kernels fill it. The
        plain kernels of ``tensors`` round one code in seventy to a neighbour.
        """
        check_audio(audio, self.signature)
        if self._until_codes is None:
            return None
        # [1, 1, steps, channels] of a convolution, [1, channels] where the steps are gone.
        shape = self._until_codes.get_output_details()[0]["shape"]
        codes = np.empty((len(audio), shape[-1], np.prod(shape[:-1])), np.int8)
        for index, output in enumerate(outputs(self._until_codes, audio)):
            codes[index] = output.reshape(-1, shape[-1]).T
        return codes

    @functools.cached_property
    def _until_codes(self) -> Any:
        """The interpreter whose output is the last quantized activation; None without one."""
        plain = opened(self._content, self._threads, plain=True)
        quantized = [tensor for tensor in computed(plain) if tensor["dtype"] is np.int8]
        if not quantized:
            return None
        return opened(with_output(self._content, quantized[-1]["index"]), self._threads)

    def tensors(self, audio: Floats) -> dict[str, Floats]:
        """float32 [1, 1, window] -> every float tensor, codes as values, by name and in order.

        Computed by kernels that keep the graph as it is written.
        """
        check_audio(audio, self.signature)
        plain = opened(self._content, self._threads, plain=True)
        list(outputs(plain, audio))
        found = {}
        for tensor in computed(plain):
            values = plain.get_tensor(tensor["index"])
            if tensor["dtype"] is np.int8:
                scale, zero_point = tensor["quantization"]
                values = (values.astype(np.float32) - zero_point) * np.float32(scale)
            if values.dtype == np.float32:
                found[tensor["name"]] = values
        return found

    def describe(self) -> dict[str, str]:
        """Name and version of what runs the file, its delegate and threads."""
        _, name, version = library()
        nodes = self._interpreter._get_ops_details()
        delegated = any(node["op_name"] == "DELEGATE" for node in nodes)
        return {
            "runtime": name,
            "version": version,
            "delegate": "XNNPACK" if delegated else "none",
            "threads": str(self._threads),
        }


def open_runtime(path: Path, *, threads: int = 1) -> LiteRT:
    """Open a file that ``export`` wrote, in LiteRT, or in TensorFlow Lite if that alone is there.

    Raises MissingToolError, and ModelFileError if there is no such file, it is damaged, it is
    TFLite of other origin, or it contradicts its signature.
    """
    library()
    content, facts = read(path)
    signature = Signature.from_json(facts[SIGNATURE_KEY], source=str(path))
    with reading(path, "a TFLite model"):
        runtime = LiteRT(content, signature, threads)
        _check_interface(runtime, path)
    return runtime


def import_runtime() -> None:
    """Import all that ``open_runtime`` needs. Raises MissingToolError."""
    library()
    import_schema()


def further_runtimes(path: Path, *, threads: int = 1) -> dict[str, LiteRT | str]:
    """None: TensorFlow Lite needs an environment of its own."""
    return {}


def structure(path: Path) -> Structure:
    """What the graph of a ``.tflite`` file is made of. Raises MissingToolError, ModelFileError."""
    library()
    content, _ = read(path)
    with reading(path, "a TFLite model"):
        return structure_of(opened(content, plain=True), constant_bytes(content))


def _check_interface(runtime: LiteRT, path: Path) -> None:
    interpreter, signature = runtime._interpreter, runtime.signature
    found = [
        (tensor["name"], tensor["dtype"].__name__, tensor["shape"].tolist())
        for tensor in (*interpreter.get_input_details(), *interpreter.get_output_details())
    ]
    expected = [
        (INPUT_NAME, "float32", [1, 1, signature.window]),
        (OUTPUT_NAME, "float32", [1, len(signature.driven)]),
    ]
    if found != expected:
        raise ModelFileError(
            f"{path} contradicts its own signature: the graph has {found}, the signature says "
            f"{expected}. The file was changed after its export; export it again."
        )
