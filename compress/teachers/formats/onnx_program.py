"""ONNX programs as teachers: a ``.onnx`` file in ONNX Runtime. They run no code of theirs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compress.assets import resolve
from compress.errors import MissingError, TeacherError
from compress.teachers import Description, Found, Opening, Port, Teacher
from compress.teachers.networks.weights import TRUNCATED
from compress.teachers.placed import CPU, Place
from exporters.reading import reading, reason

if TYPE_CHECKING:
    import onnxruntime
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

Array = NDArray[Any]

# ONNX Runtime's names for what runs a program on a device.
_PROVIDERS = {"cuda": "CUDAExecutionProvider", CPU: "CPUExecutionProvider"}
# Operators that ONNX Runtime has itself.
_OWN = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"}


def find(name: str, base: Path) -> Found | None:
    """A ``.onnx`` file, and those that hold weights for it."""
    path = resolve(name, base)
    if path.suffix.lower() != ".onnx" or not path.is_file():
        return None
    try:
        model = _read(path)
    except TeacherError:
        return Found(path, (path,))  # damaged, as opening it says
    places = {_location(t) for t in _tensors(model.graph)} - {None}
    return Found(path, (path, *(path.parent / str(place) for place in sorted(map(str, places)))))


def open_checkpoint(path: Path, opening: Opening) -> Teacher:
    """The program with the recipe's interface; `trust` is not asked.

    Raises `TeacherError` for a file that is damaged, needs operators that ONNX Runtime lacks, does
    not fit the interface, or is asked for in another precision, and `MissingError` where ONNX
    Runtime has the device by name only.
    """
    from compress.teachers.programs.program import Program, ProgramTeacher

    if opening.precision != "fp32":
        raise TeacherError(
            f"{path} computes in the precision that it was exported in, and teacher.precision is "
            f"{opening.precision}. Leave that out."
        )
    model = _read(path)
    session = _session(path, model, opening.device)
    outputs = [port.name for port in _ports(model.graph.output)]

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(outputs, session.run(outputs, dict(feeds)), strict=True))

    program = Program(
        str(path),
        f"{path.name}, an ONNX program{Place(opening.device).words}",
        _parameters(model),
        _inputs(model),
        tuple(_ports(model.graph.output)),
        run,
    )
    return ProgramTeacher(program, opening)


def devices() -> tuple[str, ...]:
    """Those that this ONNX Runtime was built for."""
    import onnxruntime

    built_for = onnxruntime.get_available_providers()
    return tuple(device for device, provider in _PROVIDERS.items() if provider in built_for)


def describe(path: Path) -> Description:
    """What the graph says: inputs, outputs, weights and opset."""
    model = _read(path)
    opsets = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
    facts = {"opset": ", ".join(f"{domain} {number}" for domain, number in sorted(opsets.items()))}
    if model.producer_name:
        facts["made by"] = f"{model.producer_name} {model.producer_version}".strip()
    return Description(
        kind="an ONNX program",
        parameters=_parameters(model),
        trust=False,
        interface=True,
        inputs=_inputs(model),
        outputs=tuple(_ports(model.graph.output)),
        facts=facts,
    )


def _read(path: Path) -> "ModelProto":
    """The file's proto without weights that lie in other files."""
    import onnx

    with reading(path, "ONNX", TeacherError, TRUNCATED):
        model = onnx.load(path, load_external_data=False)
    if not model.graph.node or not model.graph.output:
        raise TeacherError(
            f"{path} cannot be read as ONNX: it holds no graph. It may be truncated: copy it again."
        )
    return model


def _tensors(graph: "GraphProto") -> Iterator["TensorProto"]:
    """Every tensor that is stored in a graph and in the graphs of its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from [attribute.t] if attribute.HasField("t") else []
            yield from attribute.tensors
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(inner)


def _location(tensor: "TensorProto") -> str | None:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), None)


def _parameters(model: "ModelProto") -> int:
    """Numbers in initializers; what a graph computes from constants is no weight."""
    return sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)


def _inputs(model: "ModelProto") -> tuple[Port, ...]:
    """In old files weights are inputs too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return tuple(port for port in _ports(model.graph.input) if port.name not in weights)


def _ports(values: "Any") -> Iterator[Port]:
    for value in values:
        if value.type.HasField("tensor_type"):
            yield Port(value.name, _dtype(value), _shape(value))


def _dtype(value: "ValueInfoProto") -> str:
    from onnx import helper

    number = value.type.tensor_type.elem_type
    try:
        return str(helper.tensor_dtype_to_np_dtype(number))
    except KeyError:
        return f"of type {number}"


def _shape(value: "ValueInfoProto") -> tuple[int | str, ...] | None:
    """A dimension is a number, a name, or ``?``; some tools write −1 for any number."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in tensor.shape.dim
    )


def _session(path: Path, model: "ModelProto", device: str) -> "onnxruntime.InferenceSession":
    import onnxruntime
    import torch

    from exporters.targets.onnx.session import refusals, too_new

    options = onnxruntime.SessionOptions()
    # With the threads of the recipe and no others: sums depend on how they are shared out.
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what goes wrong is raised; a log line would say it twice
    # What the device lacks an operator for runs on the CPU.
    providers = list(dict.fromkeys([_PROVIDERS[device], _PROVIDERS[CPU]]))
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers)
    except refusals() as error:
        if newer := too_new(path, error):
            raise TeacherError(newer) from error
        said = reason(error)
        foreign = sorted({f"{node.domain}.{node.op_type}" for node in _foreign(model)})
        if foreign:
            raise TeacherError(
                f"{path} needs the operators {', '.join(foreign[:4])}, which ONNX Runtime "
                f"{onnxruntime.__version__} does not have ({said}). Export the program with "
                f"standard operators, or write it as TorchScript, .pt2 or Python."
            ) from error
        raise TeacherError(
            f"ONNX Runtime {onnxruntime.__version__} cannot open {path}: {said}. Are the files with "
            f"its weights beside it, and whole?"
        ) from error
    if (found := session.get_providers()[0]) != providers[0]:  # it goes on with the next one
        raise MissingError(
            f"teacher.device is {device}, but ONNX Runtime could not load its {providers[0]} and "
            f"would run {path.name} with {found}. Are its libraries installed, in the versions that "
            f"ONNX Runtime {onnxruntime.__version__} needs?"
        )
    return session


def _foreign(model: "ModelProto") -> Iterator["NodeProto"]:
    """Nodes of a domain that neither ONNX Runtime nor the file itself defines."""
    known = _OWN | {function.domain for function in model.functions}
    graphs = [model.graph]
    while graphs:
        for node in graphs.pop().node:
            if node.domain not in known:
                yield node
            for attribute in node.attribute:
                graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
