"""A Core ML package in Core ML itself, on a Mac, on the compute units of one's choice."""

import functools
import platform
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exporters.errors import ModelFileError
from exporters.scratch import scratch
from exporters.signature import INPUT_NAME, OUTPUT_NAME, Signature
from exporters.targets.coreml.mil import Program, Value
from exporters.targets.coreml.package import quiet, read_model, read_weights, write_package
from exporters.targets.runtime import Codes, Floats, check_audio

COMPUTE_UNITS = {
    "Core ML, CPU only": "CPU_ONLY",
    "Core ML, CPU and GPU": "CPU_AND_GPU",
    "Core ML, CPU and Neural Engine": "CPU_AND_NE",
    "Core ML, all units": "ALL",
}
_SYSTEM = "Darwin"
_LEAST_MACOS = 14  # what programs for iOS 17 need


def obstacle() -> str:
    """Why Core ML cannot run here, in words; empty if it can."""
    if platform.system() != _SYSTEM:
        return f"Core ML runs on macOS only; this is {platform.system()}"
    version = platform.mac_ver()[0]
    if int(version.partition(".")[0]) < _LEAST_MACOS:
        return f"the package needs macOS {_LEAST_MACOS}; this is macOS {version}"
    return ""


class CoreMLRuntime:
    """A package of ours in Core ML. Raises ModelFileError if Core ML refuses the package."""

    def __init__(self, program: Program, signature: Signature, name: str) -> None:
        self.signature = signature
        self._program = program
        self._name = name
        self._model = _loaded(program.path, COMPUTE_UNITS[name])

    def run(self, audio: Floats) -> Floats:
        """float32 [n, 1, window] -> float32 [n, driven], one call of the file for each window."""
        check_audio(audio, self.signature)
        rig = np.empty((len(audio), len(self.signature.driven)), np.float32)
        for index, window in enumerate(audio):
            rig[index] = self._model.predict({INPUT_NAME: window[np.newaxis]})[OUTPUT_NAME][0]
        return rig

    def codes(self, audio: Floats) -> Codes | None:
        """float32 [n, 1, window] -> int8 [n, channels, steps]: the last quantized tensor's codes.

        None if the file quantizes no activation. From the program as far as the place where that
        tensor is dequantized: Core ML gives floats only.
        """
        check_audio(audio, self.signature)
        read = last_codes(self._program)
        if read is None:
            return None
        values, scale, zero_point = read
        model = self._until_codes
        codes = np.empty((len(audio), *values.shape[1:]), np.int8)
        for index, window in enumerate(audio):
            found = model.predict({INPUT_NAME: window[np.newaxis]})[values.name][0]
            codes[index] = np.rint(found / scale) + zero_point
        return codes

    @functools.cached_property
    def _until_codes(self) -> Any:
        read = last_codes(self._program)
        assert read is not None
        return self._showing([read[0]])

    def tensors(self, audio: Floats) -> dict[str, Floats]:
        """float32 [1, 1, window] -> every float tensor, by its name in the file, in order.

        From the same program with all of them as outputs, which Core ML may compute otherwise.
        """
        check_audio(audio, self.signature)
        shown = [value for value in self._program.moving if value.dtype in ("fp32", "fp16")]
        found = self._showing(shown).predict({INPUT_NAME: audio})
        return {value.name: found[value.name].astype(np.float32) for value in shown}

    def _showing(self, shown: Sequence[Value]) -> Any:
        with scratch(), tempfile.TemporaryDirectory() as folder:
            package = Path(folder, "shown.mlpackage")
            write_showing(self._program.path, package, shown)
            return _loaded(package, COMPUTE_UNITS[self._name])

    def describe(self) -> dict[str, str]:
        """Name, system, compute units and machine of what runs the file."""
        with quiet():
            import coremltools
        return {
            "runtime": self._name,
            "version": f"macOS {platform.mac_ver()[0]}",
            "coremltools": str(coremltools.__version__),
            "machine": platform.machine(),
        }


def last_codes(program: Program) -> tuple[Value, float, int] | None:
    """Where the last quantized activation is dequantized: the value, its scale, our zero point.

    Codes of a graph of ours are int8; the converter writes those whose zero point is -128 as uint8
    with zero point 0. None if no activation is quantized.
    """
    quantized = [operation for operation in program.operations if operation.kind == "quantize"]
    if not quantized:
        return None
    (codes,) = quantized[-1].outputs
    read = next(each for each in program.operations if codes.name in each.inputs.values())
    scale = program.constants[read.inputs["scale"]]
    zero_point = 0
    if "zero_point" in read.inputs:
        zero_point = int(program.constants[read.inputs["zero_point"]])
    return read.outputs[0], float(scale), zero_point - (128 if codes.dtype == "uint8" else 0)


def write_showing(package: Path, path: Path, shown: Sequence[Value]) -> None:
    """Write a package whose outputs are some float values of another, and that ends with the last."""
    spec, weights = read_model(package)
    with quiet():
        from coremltools.proto import FeatureTypes_pb2

    types = FeatureTypes_pb2.ArrayFeatureType
    main = spec.mlProgram.functions["main"]
    block = main.block_specializations[main.opset]
    del block.outputs[:], spec.description.output[:]
    for value in shown:
        block.outputs.append(value.name)
        array = spec.description.output.add(name=value.name).type.multiArrayType
        array.shape.extend(value.shape)
        array.dataType = types.FLOAT16 if value.dtype == "fp16" else types.FLOAT32
    names = [[output.name for output in operation.outputs] for operation in block.operations]
    end = next(i for i, given in enumerate(names) if shown[-1].name in given)
    del block.operations[end + 1 :]
    write_package(path, spec, read_weights(weights))


def _loaded(package: Path, units: str) -> Any:
    with quiet(), warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        import coremltools as ct

        model = ct.models.MLModel(str(package), compute_units=ct.ComputeUnit[units])
    if model.__proxy__ is None:  # coremltools' way of saying that it was not loaded
        reason = "; ".join(str(remark.message) for remark in remarks)
        raise ModelFileError(f"Core ML cannot load {package} on {units}: {reason}")
    return model
