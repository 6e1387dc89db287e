"""Programs of ``torch.export.save`` as teachers: ``.pt2`` archives.

What is in one is read from its JSON. To load it PyTorch unpickles parts of it: that asks for trust.
"""

import json
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from compress.assets import resolve
from compress.errors import TeacherError
from compress.teachers import Description, Found, Opening, Port, Teacher
from compress.teachers.placed import CPU, Place, torch_devices
from exporters.reading import reading

# The archive's model, and that of PyTorch before 2.8.
_MODEL, _OLD_MODEL = "models/model.json", "serialized_exported_program.json"
# PyTorch's numbers for the types of tensors, as the archive has them.
_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    12: "bool",
    13: "bfloat16",
}


def find(name: str, base: Path) -> Found | None:
    """A zip archive of PyTorch's export layout, whatever its ending."""
    path = resolve(name, base)
    if not path.is_file():
        return None
    if not zipfile.is_zipfile(path):
        # A broken one is recognised by its ending alone.
        return Found(path, (path,)) if path.suffix.lower() == ".pt2" else None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    exported = any(n == _OLD_MODEL or n.partition("/")[2] == "archive_format" for n in names)
    return Found(path, (path,)) if exported else None


def open_checkpoint(path: Path, opening: Opening) -> Teacher:
    """The program with the recipe's interface.

    Raises `TeacherError` where it is not trusted, is damaged, or does not fit the interface.
    """
    from compress.teachers.programs.torch_program import check_trust, running

    reason = "a .pt2 program: torch.export.load unpickles parts of it, which could run any code"
    check_trust(opening.trust, path, reason)
    import torch
    from torch.export.passes import move_to_device_pass

    from compress.teachers.programs.program import Program, ProgramTeacher

    described = describe(path)
    _check_mode(path, _model(path)["graph_module"]["graph"]["nodes"])
    loaded, place = torch.export.load(path), Place(opening.device, opening.precision)
    if place.device != CPU:
        loaded = move_to_device_pass(loaded, place.device)
    # Training or not was settled when it was exported: no eval() would change the module.
    module, spec = loaded.module(), loaded.call_spec.in_spec
    inputs = tuple(described.inputs)

    def call(tensors: Mapping[str, Any]) -> Any:
        in_order = [tensors[port.name] for port in inputs]
        args, kwargs = ((), {}) if spec is None else spec.unflatten(in_order)
        return module(*args, **kwargs)

    program = Program(
        str(path),
        f"{path.name}, a program of torch.export{place.words}",
        described.parameters or 0,
        inputs,
        tuple(described.outputs),
        running(call, inputs, str(path), place),
    )
    return ProgramTeacher(program, opening)


def devices() -> tuple[str, ...]:
    """Those of PyTorch."""
    return torch_devices()


def describe(path: Path) -> Description:
    """What the archive's JSON says. Raises `TeacherError` for one that holds no such program."""
    advice = "Expected what torch.export.save writes; it may be truncated, or of another PyTorch."
    with reading(path, "a .pt2 program", TeacherError, advice):
        model = _model(path)
        module = model["graph_module"]
        tensors = module["graph"]["tensor_values"]
        signature = module["signature"]
        weights = [
            s["parameter"]["arg"]["name"] for s in signature["input_specs"] if "parameter" in s
        ]
        sizes = [_shape(tensors[name]) for name in weights]
        names = _output_names(module)
        outputs = [_user_tensor(s, "user_output") for s in signature["output_specs"]]
        return Description(
            kind="a program of torch.export",
            parameters=sum(math.prod(int(size) for size in shape) for shape in sizes),
            trust=True,
            interface=True,
            inputs=tuple(
                _port(name, name, tensors)
                for spec in signature["input_specs"]
                if (name := _user_tensor(spec, "user_input"))
            ),
            outputs=tuple(
                _port(name, tensor, tensors)
                for name, tensor in zip(names, filter(None, outputs), strict=True)
            ),
            facts={"made by": f"PyTorch {model['torch_version']}"}
            if "torch_version" in model
            else {},
        )


def _model(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name == _OLD_MODEL or name.partition("/")[2] == _MODEL:
                model: dict[str, Any] = json.loads(archive.read(name))
                return model
    raise ValueError(f"found no {_MODEL} in it, as in a program compiled for one machine")


def _check_mode(path: Path, nodes: list[dict[str, Any]]) -> None:
    """Raise `TeacherError` for a program of a module that was in training, such as with dropout."""
    for node in nodes:
        for argument in node["inputs"]:
            if argument["name"] in ("train", "training") and argument["arg"].get("as_bool"):
                raise TeacherError(
                    f"{path} was exported while it was in training ({node['target']}): its curves "
                    f"would change from call to call. Call eval() on the module before "
                    f"torch.export.export."
                )


def _user_tensor(spec: dict[str, Any], kind: str) -> str | None:
    """The tensor that a part of the signature is about, if it is one that a user gives or gets."""
    argument = spec.get(kind, {}).get("arg", {})
    if argument and "as_tensor" not in argument and "as_none" not in argument:
        raise ValueError(f"found {next(iter(argument))} as {kind}, expected tensors only")
    found = argument.get("as_tensor")
    return None if found is None else str(found["name"])


def _port(name: str, tensor: str, tensors: dict[str, Any]) -> Port:
    number = tensors[tensor]["dtype"]
    return Port(name, _DTYPES.get(number, f"of type {number}"), _shape(tensors[tensor]))


def _shape(tensor: dict[str, Any]) -> tuple[int | str, ...]:
    """A size that is not fixed is an expression of symbols, such as ``s5`` or ``2*s5``."""
    return tuple(
        size["as_int"]
        if "as_int" in size
        else re.sub(r"Symbol\('(\w+)'[^)]*\)", r"\1", size["as_expr"]["expr_str"])
        for size in tensor["sizes"]
    )


def _output_names(module: dict[str, Any]) -> list[str]:
    """As the names that a run gives, from the nest that the program was exported with."""
    (whole,) = (c["signature"] for c in module["module_call_graph"] if c["fqn"] == "")
    return list(_leaves(json.loads(whole["out_spec"])[1], "output"))


def _leaves(spec: dict[str, Any], place: str) -> Iterator[str]:
    if spec["type"] is None:
        yield place
    is_dict = str(spec["type"]).rpartition(".")[2] in ("dict", "OrderedDict")
    keys = json.loads(spec["context"]) if is_dict else None
    for i, part in enumerate(spec["children_spec"]):
        yield from _leaves(part, f"{place}_{i}" if keys is None else str(keys[i]))
