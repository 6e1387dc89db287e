"""ONNX: a torch module as a ``.onnx`` file, and that file in ONNX Runtime.

Run anything here as ``python -m``: called by its path this file would hide the ``onnx`` package.
"""

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exporters.atomic import write_atomically
from exporters.errors import ExportFailed, ForeignFileError, ModelFileError
from exporters.files import ExportedFile, describe_file
from exporters.reading import reading
from exporters.requirements import require
from exporters.scratch import scratch
from exporters.signature import INPUT_NAME, OUTPUT_NAME, Signature, import_schema
from exporters.targets.metadata import SIGNATURE_KEY, metadata
from exporters.targets.onnx.graph import (
    structure_of,
    until_last_codes,
    with_all_outputs,
    with_half_weights,
)
from exporters.targets.onnx.opsets import NEWEST_OPSET, OLDEST_OPSET
from exporters.targets.onnx.session import opened
from exporters.targets.onnx.unsigned import with_unsigned_codes
from exporters.targets.runtime import Codes, Floats, check_audio
from exporters.targets.source import frozen_copy
from exporters.targets.structure import Structure

if TYPE_CHECKING:
    import onnxruntime
    from onnx import ModelProto
    from torch import nn

SUFFIX = ".onnx"
PRECISIONS = ("fp32", "fp16", "int8")
TOOLS = ("torch", "onnx", "onnxscript", "onnxsim")
RUNTIMES = ("onnxruntime",)
EVALUATED = False


def export(
    module: "nn.Module", signature: Signature, path: Path, *, opset: int = OLDEST_OPSET
) -> ExportedFile:
    """Write ``module`` as one self-contained file: ``audio`` [1, 1, window] -> ``rig`` [1, driven].

    ``module`` takes float32 [batch, 1, window] and gives [batch, driven]; it is copied, so neither
    its device nor its mode changes. The graph is simplified, checked before and after, and carries
    the signature. The same weights, signature and tool versions give the same bytes.

    Raises ValueError for an opset that cannot be written, MissingToolError, and ExportFailed if the
    module cannot be converted or does not fit the signature.
    """
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise ValueError(
            f"opset is {opset}, expected {OLDEST_OPSET} to {NEWEST_OPSET}: no other can be written"
        )
    require("torch", "onnx", "onnxscript", "onnxsim", purpose="export ONNX files")
    with scratch():
        model = _simplified(_converted(module, signature, opset))
    if signature.precision == "fp16":
        model = with_half_weights(model)
    if signature.precision == "int8":
        model = with_unsigned_codes(model)
    _strip(model)
    model.producer_name = "lipstill"
    model.producer_version = ""
    model.graph.name = signature.student
    for key, value in metadata(signature).items():
        model.metadata_props.add(key=key, value=value)
    _check(model, "after simplification")
    _check_opset(model, opset)
    _check_interface(model, signature)
    write_atomically(path, model.SerializeToString(deterministic=True))
    return describe_file(path, "onnx")


def _converted(module: "nn.Module", signature: Signature, opset: int) -> "ModelProto":
    import torch

    source = frozen_copy(module)
    silence = torch.zeros(1, 1, signature.window)
    with _quiet():
        try:
            program = torch.onnx.export(
                source,
                (silence,),
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                opset_version=opset,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            # torch's own text is a page of advice; the first line of its cause names the trouble.
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            raise ExportFailed(
                f"{signature.student} cannot be converted to ONNX opset {opset}: {reason} "
                "Shapes and control flow must not depend on the samples; every operation must "
                "exist in that opset."
            ) from error
    if program is None:
        raise ExportFailed(f"torch.onnx returned no program for {signature.student}.")
    model = program.model_proto
    _check(model, "as torch wrote it")
    return model


def _simplified(model: "ModelProto") -> "ModelProto":
    import onnxsim

    simplified: ModelProto
    try:
        simplified, sound = onnxsim.simplify(model)
    except RuntimeError as error:
        raise ExportFailed(f"onnxsim cannot simplify {model.graph.name}: {error}") from error
    if not sound:
        raise ExportFailed(f"onnxsim says that it broke {model.graph.name}.")
    return simplified


def _check(model: "ModelProto", when: str) -> None:
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportFailed(f"{model.graph.name} is not valid ONNX {when}: {error}") from error


def _check_opset(model: "ModelProto", wanted: int) -> None:
    """Converters keep the opset that a graph has where they cannot reach the one that is asked."""
    found = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if found != {"ai.onnx": wanted}:
        named = ", ".join(f"{domain} {version}" for domain, version in found.items())
        raise ExportFailed(
            f"{model.graph.name} became a graph of opset {named}, expected ai.onnx {wanted} and no "
            f"other. Ask for opset {OLDEST_OPSET} (export.onnx.opset), which needs no conversion."
        )


def _check_interface(model: "ModelProto", signature: Signature) -> None:
    import onnx

    def form(values: "list[onnx.ValueInfoProto]") -> list[tuple[str, int, tuple[int, ...]]]:
        # A dimension that is not fixed has no dim_value and reads as 0, which no shape expects.
        tensors = [(value.name, value.type.tensor_type) for value in values]
        return [
            (name, tensor.elem_type, tuple(dim.dim_value for dim in tensor.shape.dim))
            for name, tensor in tensors
        ]

    found = form(list(model.graph.input)) + form(list(model.graph.output))
    expected = [
        (INPUT_NAME, onnx.TensorProto.FLOAT, (1, 1, signature.window)),
        (OUTPUT_NAME, onnx.TensorProto.FLOAT, (1, len(signature.driven))),
    ]
    if found != expected:
        raise ExportFailed(
            f"{signature.student} became a graph with {found}, expected {expected} "
            "(name, ONNX element type, shape). Does the module give one value for each driven "
            f"control ({len(signature.driven)})?"
        )


def _strip(message: Any) -> None:
    """Remove doc strings and metadata at any depth; torch puts paths of this machine there."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif hasattr(value, "ListFields"):
            _strip(value)
        elif field.message_type is not None:
            for member in value:
                _strip(member)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back progress lines, log lines below errors and warnings of torch's exporter."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


class OnnxRuntime:
    """A ``.onnx`` file of ours in ONNX Runtime, on the CPU; made by ``open_runtime``."""

    def __init__(
        self,
        path: Path,
        session: "onnxruntime.InferenceSession",
        signature: Signature,
        threads: int,
    ) -> None:
        self.signature = signature
        self._path = path
        self._session = session
        self._threads = threads

    def run(self, audio: Floats) -> Floats:
        """float32 [n, 1, window] -> float32 [n, driven], one call of the file for each window."""
        check_audio(audio, self.signature)
        rig = np.empty((len(audio), len(self.signature.driven)), np.float32)
        for index, window in enumerate(audio):
            (pose,) = self._session.run([OUTPUT_NAME], {INPUT_NAME: window[np.newaxis]})
            rig[index] = pose[0]
        return rig

    def codes(self, audio: Floats) -> Codes | None:
        """float32 [n, 1, window] -> int8 [n, channels, steps]: the last quantized tensor's codes.

        None if the file quantizes no activation. They come from a second session of the same
        settings, made at the first call: the file's graph as far as the place where that tensor is
        dequantized; dividing by its scale gives the codes back exactly. Raises MissingToolError.
        """
        check_audio(audio, self.signature)
        if self._until_codes is None:
            return None
        session, scale, zero_point = self._until_codes
        (output,) = session.get_outputs()
        codes = np.empty((len(audio), *output.shape[1:]), np.int8)
        for index, window in enumerate(audio):
            (values,) = session.run([output.name], {INPUT_NAME: window[np.newaxis]})
            codes[index] = np.rint(values[0] / scale) + zero_point
        return codes

    @functools.cached_property
    def _until_codes(self) -> "tuple[onnxruntime.InferenceSession, float, int] | None":
        """The session whose only output is the dequantized tensor, its scale and its zero point.

        Not the codes themselves as one more output of the whole graph: then they are not computed
        as in ``run``. On x86 ONNX Runtime makes every int8 tensor uint8 that is dequantized at once
        and used nowhere else, and computes a layer in integers only if its input and output are of
        one type. A tensor with a second use stays int8, and the layer before it falls to float.
        """
        require("onnx", purpose="read the codes of an int8 ONNX file")
        import onnx

        with reading(self._path, "an ONNX model"):
            found = until_last_codes(onnx.load(self._path), INPUT_NAME)
        if found is None:
            return None
        part, scale, zero_point = found
        return opened(part.SerializeToString(), self._threads, self._path), scale, zero_point

    def tensors(self, audio: Floats) -> dict[str, Floats]:
        """float32 [1, 1, window] -> every float tensor, by its name in the file, in order.

        Computed in a session that keeps the graph as it is written. Raises MissingToolError.
        """
        check_audio(audio, self.signature)
        require("onnx", purpose="look into an ONNX file")
        import onnx

        with reading(self._path, "an ONNX model"):
            model = with_all_outputs(onnx.load(self._path))
        session = opened(model.SerializeToString(), self._threads, self._path, optimized=False)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {INPUT_NAME: audio}), strict=True))

    def describe(self) -> dict[str, str]:
        """Name, version, execution providers and threads of what runs the file."""
        import onnxruntime

        return {
            "runtime": "ONNX Runtime",
            "version": onnxruntime.__version__,
            "providers": ", ".join(self._session.get_providers()),
            "threads": str(self._threads),
        }


def open_runtime(path: Path, *, threads: int = 1) -> OnnxRuntime:
    """Open a file that ``export`` wrote. Raises MissingToolError, and ModelFileError if there is no
    such file, it is damaged, it is ONNX of other origin, or it contradicts its signature.
    """
    require("onnxruntime", purpose="run ONNX files")
    if not path.is_file():
        raise ModelFileError(f"{path} is not a file; expected an ONNX model.")
    session = opened(str(path), threads, path)
    with reading(path, "an ONNX model"):  # its names and metadata may be no text
        metadata = session.get_modelmeta().custom_metadata_map
        values = [*session.get_inputs(), *session.get_outputs()]
        found = [(value.name, value.type, value.shape) for value in values]
    if SIGNATURE_KEY not in metadata:
        raise ForeignFileError(
            f"{path} is an ONNX model, but none that lipstill wrote: its metadata lacks "
            f"{SIGNATURE_KEY!r}. Expected a file made by lipstill's export."
        )
    signature = Signature.from_json(metadata[SIGNATURE_KEY], source=str(path))
    expected = [
        (INPUT_NAME, "tensor(float)", [1, 1, signature.window]),
        (OUTPUT_NAME, "tensor(float)", [1, len(signature.driven)]),
    ]
    if found != expected:
        raise ModelFileError(
            f"{path} contradicts its own signature: the graph has {found}, the signature says "
            f"{expected}. The file was changed after its export; export it again."
        )
    return OnnxRuntime(path, session, signature, threads)


def import_runtime() -> None:
    """Import all that ``open_runtime`` needs. Raises MissingToolError."""
    require("onnxruntime", purpose="run ONNX files")
    import onnxruntime  # noqa: F401

    import_schema()


def further_runtimes(path: Path, *, threads: int = 1) -> dict[str, OnnxRuntime | str]:
    """None: ONNX Runtime is where these files run."""
    return {}


def structure(path: Path) -> Structure:
    """What the graph of a ``.onnx`` file is made of. Raises MissingToolError, ModelFileError."""
    require("onnx", purpose="look into an ONNX file")
    import onnx

    with reading(path, "an ONNX model"):
        return structure_of(onnx.load(path))
