"""What is this file? A teacher checkpoint, a student, a model file or a run, in a few facts."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import InputError
from compress.students.facts import facts_of
from compress.texts import read_text
from exporters.errors import ForeignFileError
from exporters.files import describe_file
from exporters.reading import reading
from exporters.signature import Signature, latency_in_words

if TYPE_CHECKING:
    from compress.students.contract import Plan
    from compress.students.integers import Quantization
    from compress.teachers import Port

Facts = dict[str, str]

# The fact that is a whole recipe, to fill in.
RECIPE = "recipe"
MODULE_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

EXPECTED = (
    "Expected a run folder, a student folder (it has student.json), a model file or the folder of "
    "one (it has signature.json), or a teacher (a folder or a .safetensors file with config.json, "
    "a program: .onnx, .pt2, TorchScript; or MODULE:FUNCTION)."
)


def inspect(path: Path, name: str | None = None) -> Facts:
    """A few facts about what lies at `path`, by name.

    `name` is what a recipe would call it, if that is not its file's name. Raises `InputError` for what lipstill does not know.
    """
    if MODULE_FUNCTION.fullmatch(path.name) and not path.exists():
        return _teacher(name or path.name, path.parent)
    if not path.exists():
        raise InputError(f"{path} does not exist. {EXPECTED}")
    if (path / "run.json").is_file():
        return _run(path)
    if (path / "student.json").is_file():
        return _student(path)
    if path.suffix.lower() in _model_suffixes():  # one of them is a folder's
        try:
            return _model(path)
        except ForeignFileError:
            from compress.teachers.loading import knows

            if not knows(path.name, path.parent):
                raise
            return _teacher(name or path.name, path.parent)
    if (path / "signature.json").is_file():
        return _bundle(path)
    if path.is_dir() and not (path / "config.json").is_file():  # before all in it is read
        raise InputError(f"{path} is a folder that lipstill does not know. {EXPECTED}")
    return _teacher(name or path.name, path.parent)


def _run(path: Path) -> Facts:
    with reading(path / "run.json", "a run", InputError, "Run the recipe again."):
        fields = json.loads(read_text(path / "run.json"))
        sides = [clip["side"] for clip in fields["speech"].values()]
        return {
            "is": "a run",
            "recipe": f"{fields['recipe']['name']}, hash {fields['recipe_hash'][:16]}",
            "teacher": fields["teacher"]["name"],
            "students": ", ".join(student["name"] for student in fields["recipe"]["students"]),
            "clips": f"{sides.count('train')} train, {sides.count('heldout')} held out",
            "report": "written"
            if (path / "report" / "report.json").is_file()
            else "not written yet",
        }


def _student(path: Path) -> Facts:
    from compress.students.storing import load_student

    student, card = load_student(path)
    config = student.config
    facts, integers = facts_of(config), card.quantization
    in_float = f"{facts.bytes_fp32:,} bytes in fp32, {facts.bytes_fp16:,} in fp16"
    return {
        "is": "a student",
        "name": f"{card.name}, {card.step}",
        "architecture": f"{card.architecture}, first layer {config.first_layer}",
        "parameters": f"{card.parameters:,}",
        "precision": "fp32" if integers is None else _by_choice(integers),
        "weights": in_float
        if integers is None
        else f"{_stored_bytes(config, integers):,} bytes with their scales; {in_float}",
        "multiply-adds": f"{facts.multiply_adds_window:,} a frame in window form, "
        f"{facts.multiply_adds_hop:,} in dense form",
        "window": f"{config.window} samples ({_ms(config.past)} past, {_ms(config.future)} future)",
        "controls": f"{len(card.controls)}, {len(card.driven)} of them driven",
        "training steps": str(card.training_steps),
    }


def _by_choice(integers: "Quantization") -> str:
    """``int8: conv1, head1; float: first, rig``, the layers of each choice."""
    layers: dict[str, list[str]] = {}
    for layer, choice in integers.layers.items():
        layers.setdefault(choice, []).append(layer)
    names = {"int8": "int8", "int8_weights": "int8 weights, computed in float", "float": "float"}
    return "; ".join(
        f"{words}: {', '.join(layers[choice])}"
        for choice, words in names.items()
        if choice in layers
    )


def _stored_bytes(config: "Plan", integers: "Quantization") -> int:
    """Of weights, one byte where they are codes, of biases, and of the scales of codes."""
    total = 0
    for layer in config.convolutions():
        scales = integers.weights.get(layer.name)
        total += 4 * layer.biases
        total += 4 * layer.weights if scales is None else layer.weights + 4 * len(scales)
    return total


def _model(path: Path) -> Facts:
    from exporters.targets.contract import load_target, target_of

    target = target_of(path)
    signature = load_target(target).open_runtime(path).signature
    return {
        "is": f"a model file, {target}",
        "student": f"{signature.student}, {signature.precision}",
        "bytes": f"{describe_file(path, target).bytes:,}",
        **_promises(signature),
    }


def _bundle(path: Path) -> Facts:
    """The folder of a tier; that its files hold what they promise is for `lipstill verify`."""
    from exporters.bundle.folder import SIGNATURE, model_files

    signature = Signature.read(path / SIGNATURE)
    files = {target: describe_file(file, target) for file, target in model_files(path).items()}
    return {
        "is": "model files of one student, to check with lipstill verify",
        "student": f"{signature.student}, {signature.precision}",
        "bytes": ", ".join(f"{target} {found.bytes:,}" for target, found in files.items()),
        **_promises(signature),
    }


def _promises(signature: Signature) -> Facts:
    return {
        "audio": f"float32 [1, 1, {signature.window}] at {signature.sample_rate_hz} Hz",
        "rig": f"float32 [1, {len(signature.driven)}]",
        "context": f"{signature.past_ms:g} ms past, {signature.future_ms:g} ms future",
        "latency": latency_in_words(signature.future_ms, signature.hop_ms, signature.smoothing_ms),
        "controls": f"{len(signature.controls)}, {len(signature.driven)} of them driven",
        "driven": ", ".join(signature.driven),
        "teacher": signature.teacher,
        "made from": signature.made_from,
    }


def _teacher(name: str, base: Path) -> Facts:
    """What a checkpoint says of itself, and a recipe for it; nothing that it holds is run."""
    from compress.teachers.loading import describe, find_teacher
    from compress.teachers.recipe_stub import recipe_stub

    file = find_teacher(name, base)
    found = describe(file)
    facts = {"is": found.kind, **found.facts}
    for what, ports in (("inputs", found.inputs), ("outputs", found.outputs)):
        if ports:
            facts[what] = "; ".join(f"{port.name} {_shape(port)}" for port in ports)
    facts |= {
        "parameters": "not known" if found.parameters is None else f"{found.parameters:,}",
        "bytes": "not known" if file.bytes is None else f"{file.bytes:,}",
        "hash": file.hash,
        "trust": "needed: it can run code (--trust)" if found.trust else "not needed",
    }
    return facts | {RECIPE: recipe_stub(name, found)} if found.complete else facts


def _shape(port: "Port") -> str:
    return f"{port.dtype} {'of a shape not stated' if port.shape is None else list(port.shape)}"


def _model_suffixes() -> set[str]:
    from exporters.targets.contract import available_targets, load_target

    return {load_target(name).SUFFIX for name in available_targets()}


def _ms(samples: int) -> str:
    return f"{samples / 16:g} ms"
