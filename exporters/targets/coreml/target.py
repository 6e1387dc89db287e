"""Core ML: a torch module as a ``.mlpackage``, and that package evaluated in PyTorch.

The converter works on any system, Core ML itself on Apple's only: ``open_runtime`` evaluates the
saved package (``exporters.targets.coreml.mil``), ``further_runtimes`` run it where there is a Mac.
"""

import math
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from exporters.errors import ExportFailed, ForeignFileError, ModelFileError
from exporters.files import ExportedFile, describe_file
from exporters.requirements import require
from exporters.scratch import scratch
from exporters.signature import INPUT_NAME, OUTPUT_NAME, Signature, import_schema
from exporters.targets.coreml.device import COMPUTE_UNITS, CoreMLRuntime, obstacle
from exporters.targets.coreml.mil import Operation, Program, evaluate, evaluate_to, read_program
from exporters.targets.coreml.package import (
    check_unchanged,
    quiet,
    read_model,
    read_weights,
    write_package,
)
from exporters.targets.metadata import SIGNATURE_KEY, metadata
from exporters.targets.runtime import Codes, Floats, Runtime, check_audio
from exporters.targets.source import frozen_copy
from exporters.targets.structure import Convolution, Storage, Structure

if TYPE_CHECKING:
    from torch import nn

SUFFIX = ".mlpackage"
PRECISIONS = ("fp32", "fp16", "int8")
TOOLS = ("torch", "coremltools")
RUNTIMES = ("coremltools", "torch")
EVALUATED = True
EVALUATOR = "MIL evaluated in PyTorch"
FLUSHED = f"{EVALUATOR}, subnormals taken for 0"

# What torch.export and coremltools raise for a module that they cannot convert.
_REFUSALS = AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError


def export(module: "nn.Module", signature: Signature, path: Path) -> ExportedFile:
    """Write ``module`` as a package: ``audio`` [1, 1, window] -> ``rig`` [1, driven], both float32.

    ``module`` takes float32 [batch, 1, window] and gives [batch, driven]; it is copied, so neither
    its device nor its mode changes. An ML program for iOS 17 and macOS 14. In fp16, weights and
    arithmetic are float16 but for all that goes into a logarithm. The package carries the
    signature; the same weights, signature and tool versions give the same bytes.

    Raises MissingToolError, and ExportFailed if the module cannot be converted or does not fit the
    signature.
    """
    require("torch", "coremltools", purpose="export Core ML packages")
    with scratch():
        spec, weights = _converted(module, signature)
    _check_interface(spec, signature)
    del spec.mlProgram.attributes["buildInfo"]
    _describe(spec.description, signature)
    write_package(path, spec, weights)
    return describe_file(path, "coreml")


def _converted(module: "nn.Module", signature: Signature) -> tuple[Any, bytes]:
    """The converter's Model message, and the contents of its weight.bin."""
    import torch

    source = frozen_copy(module)
    silence = torch.zeros(1, 1, signature.window)
    with quiet():
        import coremltools as ct

        precision = ct.precision.FLOAT32
        if signature.precision == "fp16":
            precision = ct.transform.FP16ComputePrecision(op_selector=_bears_half)
        try:
            program = torch.export.export(source, (silence,)).run_decompositions({})
            model = ct.convert(
                program,
                convert_to="mlprogram",
                minimum_deployment_target=ct.target.iOS17,
                inputs=[ct.TensorType(name=INPUT_NAME, shape=silence.shape, dtype=np.float32)],
                outputs=[ct.TensorType(name=OUTPUT_NAME, dtype=np.float32)],
                compute_precision=precision,
                skip_model_load=True,
            )
        except _REFUSALS as error:
            # Both add pages of advice; what goes before them names the trouble.
            reason = str(error).strip().partition("\n")[0]
            raise ExportFailed(
                f"{signature.student} cannot be converted to Core ML: {reason} Shapes and control "
                "flow must not depend on the samples; every operation must be one that coremltools "
                "knows."
            ) from error
        weights = read_weights(Path(model.weights_dir))
        shutil.rmtree(model.package_path)  # in the system's folder for temporary files
        return model.get_spec(), weights


def _bears_half(operation: Any) -> bool:
    """Whether a MIL operation can be in float16: what goes into a logarithm, or is one, cannot."""
    if operation.op_type == "log":
        return False
    return all(_bears_half(user) for output in operation.outputs for user in output.child_ops)


def _describe(description: Any, signature: Signature) -> None:
    """Fill in a ModelDescription; the converter's notes, one of them the date, go."""
    s = signature
    description.input[0].shortDescription = (
        f"Mono speech, -1 to 1, {s.sample_rate_hz} samples a second; the pose is that of the moment "
        f"after the first {s.past} of the {s.window} samples."
    )
    description.output[0].shortDescription = f"The pose: {', '.join(s.driven)}."
    about = description.metadata
    about.shortDescription = (
        f"{s.student}, {s.precision}: the pose of a face from {s.window} samples of speech."
    )
    about.author = "lipstill"
    about.userDefined.clear()
    about.userDefined.update(metadata(signature))


def _interface(spec: Any) -> list[tuple[str, int, tuple[int, ...]]]:
    """Name, element type and shape of each input and output of a Model message."""
    values = [*spec.description.input, *spec.description.output]
    arrays = [(value.name, value.type.multiArrayType) for value in values]
    return [(name, array.dataType, tuple(array.shape)) for name, array in arrays]


def _promised(signature: Signature) -> list[tuple[str, int, tuple[int, ...]]]:
    from coremltools.proto import FeatureTypes_pb2

    float32 = FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    return [
        (INPUT_NAME, float32, (1, 1, signature.window)),
        (OUTPUT_NAME, float32, (1, len(signature.driven))),
    ]


def _check_interface(spec: Any, signature: Signature) -> None:
    found, expected = _interface(spec), _promised(signature)
    if found != expected:
        raise ExportFailed(
            f"{signature.student} became a program with {found}, expected {expected} (name, Core "
            "ML's element type, shape). Does the module give one value for each driven control "
            f"({len(signature.driven)})?"
        )


class MilRuntime:
    """A package of ours, evaluated; made by ``open_runtime``."""

    def __init__(self, program: Program, signature: Signature) -> None:
        self.signature = signature
        self._program = program

    def run(self, audio: Floats) -> Floats:
        """float32 [n, 1, window] -> float32 [n, driven], many windows at once."""
        check_audio(audio, self.signature)
        return evaluate(self._program, audio)

    def codes(self, audio: Floats) -> Codes | None:
        """float32 [n, 1, window] -> int8 [n, channels, steps]: the last quantized tensor's codes.

        None if the file quantizes no activation.
        """
        check_audio(audio, self.signature)
        quantized = [step for step in self._program.operations if step.kind == "quantize"]
        if not quantized:
            return None
        name = quantized[-1].outputs[0].name
        codes = evaluate_to(self._program, audio, [name])[name][:, 0]
        # The converter writes int8 codes whose zero point is -128 as uint8 ones that count from 0.
        unsigned = codes.dtype == np.uint8
        return (codes.astype(np.int16) - (128 if unsigned else 0)).astype(np.int8)

    def tensors(self, audio: Floats) -> dict[str, Floats]:
        """float32 [1, 1, window] -> every float tensor, by its name in the file, in order."""
        check_audio(audio, self.signature)
        names = [v.name for v in self._program.moving if v.dtype in ("fp32", "fp16")]
        found = evaluate_to(self._program, audio, names)
        return {name: cast(Floats, values[0]) for name, values in found.items()}

    def describe(self) -> dict[str, str]:
        """What evaluated the file, and what that proves."""
        import torch

        with quiet():
            import coremltools
        return {
            "runtime": FLUSHED if self._program.flush_subnormals else EVALUATOR,
            "version": str(torch.__version__),
            "coremltools": str(coremltools.__version__),
            "proof": "evaluated, not run on a device",
        }


def open_runtime(path: Path, *, threads: int = 1) -> MilRuntime:
    """Open a package that ``export`` wrote, to evaluate it in PyTorch, with PyTorch's threads.

    Raises MissingToolError, and ModelFileError if there is no such package, it is damaged, it is
    Core ML of other origin, or it contradicts its signature.
    """
    require("torch", "coremltools", purpose="read Core ML packages")
    signature = _signature_of(path)
    return MilRuntime(read_program(path), signature)


def _signature_of(path: Path) -> Signature:
    spec, _ = read_model(path)
    facts = spec.description.metadata.userDefined
    if SIGNATURE_KEY not in facts:
        raise ForeignFileError(
            f"{path} is a Core ML package, but none that lipstill wrote: its metadata lacks "
            f"{SIGNATURE_KEY!r}. Expected a package made by lipstill's export."
        )
    check_unchanged(path)
    signature = Signature.from_json(facts[SIGNATURE_KEY], source=str(path))
    found, expected = _interface(spec), _promised(signature)
    if found != expected:
        raise ModelFileError(
            f"{path} contradicts its own signature: the program has {found}, the signature says "
            f"{expected}. The package was changed after its export; export it again."
        )
    return signature


def import_runtime() -> None:
    """Import all that ``open_runtime`` needs. Raises MissingToolError."""
    require("torch", "coremltools", purpose="read Core ML packages")
    with quiet():
        import coremltools  # noqa: F401

    import_schema()


def further_runtimes(path: Path, *, threads: int = 1) -> dict[str, Runtime | str]:
    """The package as a device that takes subnormal numbers for 0 evaluates it, and in Core ML on
    each choice of compute units; threads are Core ML's affair.
    """
    require("torch", "coremltools", purpose="run Core ML packages")
    signature, program = _signature_of(path), read_program(path)
    flushed = read_program(path, flush_subnormals=True)
    runtimes: dict[str, Runtime | str] = {FLUSHED: MilRuntime(flushed, signature)}
    if reason := obstacle():
        return runtimes | dict.fromkeys(COMPUTE_UNITS, reason)
    for name in COMPUTE_UNITS:
        try:
            runtimes[name] = CoreMLRuntime(program, signature, name)
        except ModelFileError as error:
            runtimes[name] = str(error)
    return runtimes


def structure(path: Path) -> Structure:
    """What the program of a package is made of. Raises MissingToolError, ModelFileError."""
    require("torch", "coremltools", purpose="look into a Core ML package")
    program = read_program(path)
    counts = Counter(operation.kind for operation in program.operations)
    return Structure(
        operations=dict(counts),
        layout_changes=counts["transpose"],
        convolutions=tuple(_convolutions(program)),
        weight_bytes=_weight_bytes(program),
    )


def _weight_bytes(program: Program) -> int:
    """Bytes of constants as they are stored; whole numbers of 32 bits are settings of operations."""
    made = {value.name for each in program.operations for value in each.outputs}
    sizes = {"fp32": 4, "fp16": 2, "int8": 1, "uint8": 1}
    return sum(
        math.prod(value.shape) * sizes.get(value.dtype, 0)
        for name, value in program.values.items()
        if name not in made and name != program.audio.name
    )


def _convolutions(program: Program) -> Iterator[Convolution]:
    made_by = {value.name: each for each in program.operations for value in each.outputs}

    def kinds_after(name: str) -> list[str]:
        following = [each for each in program.operations if name in each.inputs.values()]
        if [each.kind for each in following] == ["relu"]:
            return kinds_after(following[0].outputs[0].name)
        return [each.kind for each in following]

    for each in program.operations:
        if each.kind != "conv":
            continue
        before = made_by.get(each.inputs["x"])
        codes = before is not None and before.kind == "dequantize"
        codes_follow = kinds_after(each.outputs[0].name) == ["quantize"]
        yield Convolution(
            compute="int8" if codes and codes_follow else "float",
            weights=_storage(program, each.inputs["weight"], made_by),
        )


def _storage(program: Program, name: str, made_by: Mapping[str, Operation]) -> Storage:
    """How a weight lies in the file, before it is dequantized or cast."""
    while name in made_by:
        inputs = made_by[name].inputs
        name = next(inputs[key] for key in ("quantized_data", "input", "x") if key in inputs)
    storages = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
    dtype = program.values[name].dtype
    if dtype not in storages:
        raise ModelFileError(
            f"{program.path} stores the weight {name} as {dtype}; expected {', '.join(storages)}."
        )
    return cast(Storage, storages[dtype])
