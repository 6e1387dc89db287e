"""The reference teacher's checkpoint: weights with their ``config.json`` beside them.

Weights are ``model.safetensors``, or a pickle of tensors that is read by weights-only rules. Those
of the encoder may lie in a Hugging Face folder instead, which the config names.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.assets import resolve
from compress.errors import MissingError, TeacherError
from compress.teachers import Description, Found, Opening, Teacher
from compress.teachers.networks.encoders import FORMAT, VERSION, encoder_module, encoder_names
from compress.teachers.networks.pretrained import (
    find_pretrained,
    local_folder,
    pretrained_files,
    read_pretrained,
    read_settings,
)
from compress.teachers.networks.weights import fit_weights, read_weights
from compress.teachers.placed import Place, placed, torch_devices
from compress.texts import read_text

if TYPE_CHECKING:
    from compress.teachers.networks.voice2face import Voice2Face

_NAMES = ("model.safetensors", "model.pt", "model.pth", "pytorch_model.bin", "model.ckpt")
_ENDINGS = {Path(name).suffix for name in _NAMES}


def find(name: str, base: Path) -> Found | None:
    """A folder, or a file of weights, with a config of this format beside it.

    A Hugging Face folder of an encoder is found too, to be told what it lacks.
    """
    path = resolve(name, base)
    config = _config_of(path)
    if not path.exists() or not config.is_file():
        return None
    weights = _weights_of(path)
    try:
        fields = json.loads(read_text(config))
    except ValueError:
        # Damaged, as opening it says, if it is one at all.
        return Found(path, (weights, config)) if weights else None
    if not isinstance(fields, dict) or (path.is_file() and weights is None):
        return None
    if fields.get("format") != FORMAT and fields.get("model_type") not in encoder_names():
        return None
    # What lies beside these, a card or a log, is not the teacher: editing it must not cost a
    # relabelling.
    folder = local_folder(fields.get("encoder_weights"), config.parent)
    encoder = pretrained_files(folder) if folder else ()
    return Found(path, (*([weights] if weights else []), config, *encoder))


def open_checkpoint(path: Path, opening: Opening) -> Teacher:
    """The teacher that was found. No weights that it reads can run code, so `trust` is not asked.

    Raises `TeacherError` for a config or weights that do not fit, and `MissingError` for weights
    on the hub that are not on this machine.
    """
    place = Place(opening.device, opening.precision)
    return placed(place.moved(_read(path, opening), str(path)), place)


def devices() -> tuple[str, ...]:
    """Those of PyTorch."""
    return torch_devices()


def _read(path: Path, opening: Opening) -> "Voice2Face":
    if opening.interface is not None:
        raise TeacherError(
            f"{path} says itself what it takes and gives, and the recipe has a teacher.interface "
            f"too. Leave that out."
        )
    source, weights = _config_of(path), _weights_of(path)
    fields = _read_fields(source)
    if weights is None:
        raise TeacherError(
            f"{source} has no weights beside it. Expected {', '.join(_NAMES[:-1])} or one .ckpt "
            f"file."
        )
    named, folder = fields.get("encoder_weights"), None
    if named is not None:
        folder = find_pretrained(str(named), source.parent, opening.download)
    teacher = _build(fields, folder, source)
    _load_weights(teacher, weights, folder)
    return teacher.eval()


def describe(path: Path) -> Description:
    """What its config says, and its weights; fetches none."""
    try:
        teacher = _read(path, Opening())
    except MissingError as error:
        facts = {"encoder weights": str(error)}
        return Description("a teacher checkpoint", None, trust=False, interface=False, facts=facts)
    elsewhere = teacher.config.encoder_weights
    return Description(
        kind="a teacher checkpoint",
        parameters=teacher.parameters_count,
        trust=False,
        interface=False,
        facts={
            "description": teacher.description,
            "audio": f"mono at {teacher.sample_rate_hz} Hz",
            "curves": f"{len(teacher.controls)} controls at {teacher.rate_hz:g} frames a second",
            **({} if elsewhere is None else {"encoder weights": elsewhere}),
        },
        controls=teacher.controls,
        driven=teacher.config.driven,
    )


def _config_of(path: Path) -> Path:
    return (path if path.is_dir() else path.parent) / "config.json"


def _weights_of(path: Path) -> Path | None:
    """The file of weights that a name means: itself, or the one that a folder has."""
    if not path.is_dir():
        return path if path.suffix.lower() in _ENDINGS and path.is_file() else None
    named = [path / name for name in _NAMES if (path / name).is_file()]
    others = sorted(path.glob("*.ckpt"))
    return named[0] if named else others[0] if len(others) == 1 else None


def _read_fields(source: Path) -> dict[str, Any]:
    """The fields of a config.json of this format and version."""
    try:
        fields: dict[str, Any] = json.loads(read_text(source))
        if "format" not in fields and fields.get("model_type") in encoder_names():
            kind = fields["model_type"]
            raise TeacherError(
                f"{source.parent} is a Hugging Face folder of {kind}, an encoder only: it hears "
                f"speech and moves no face. Expected a folder with the weights of a head, head.*, "
                f'in model.safetensors, and a config.json that says "format": "{FORMAT}", '
                f'"version": {VERSION}, "encoder": "{kind}", "encoder_weights": "PATH" of this '
                f"folder, and what the head's outputs are; docs/teachers.md shows one."
            )
        del fields["format"]
        version, encoder = fields.pop("version"), fields["encoder"]
    except (ValueError, KeyError, TypeError) as error:
        raise _not_a_config(source, error) from error
    if version != VERSION or encoder not in encoder_names():
        raise TeacherError(
            f"{source}: found version {version!r} with encoder {encoder!r}, expected version "
            f"{VERSION} with encoder {' or '.join(map(repr, encoder_names()))}. Another release of "
            f"lipstill wrote it; use that one, or convert the checkpoint."
        )
    return fields


def _build(fields: dict[str, Any], folder: Path | None, source: Path) -> "Voice2Face":
    """The network that a config says, with random weights.

    Fields of the encoder that the config leaves out are those of the Hugging Face folder.
    """
    from compress.teachers.networks.voice2face import HeadConfig, Voice2Face, Voice2FaceConfig

    try:
        module = encoder_module(fields.pop("encoder"))
        encoder = {} if folder is None else module.pretrained_fields(*read_settings(folder))
        encoder |= fields.pop("encoder_config", {})
        head = fields.pop("head")
        config = Voice2FaceConfig(
            controls=tuple(fields.pop("controls")),
            driven=tuple(fields.pop("driven")),
            limits=tuple(fields.pop("limits")),
            head=HeadConfig(**(head | {"encoder_layers": tuple(head["encoder_layers"])})),
            encoder_config=module.read_encoder(encoder),
            **fields,
        )
        return Voice2Face(config)
    except (ValueError, KeyError, TypeError) as error:
        raise _not_a_config(source, error) from error


def _not_a_config(source: Path, error: Exception) -> TeacherError:
    return TeacherError(
        f"{source} is not a {FORMAT} config: {type(error).__name__}: {error}. Compare it with "
        f"that of builtin:voice2face-demo."
    )


def _load_weights(teacher: "Voice2Face", weights: Path, folder: Path | None) -> None:
    """Gives the teacher its weights, those of its encoder from a Hugging Face folder if there is
    one.
    """
    prefix = "encoder."
    state = read_weights(weights)
    encoder = {n.removeprefix(prefix): state.pop(n) for n in [*state] if n.startswith(prefix)}
    if folder is not None and encoder:
        raise TeacherError(
            f"{weights} has {len(encoder)} weights of an encoder, and its config.json names others "
            f"as encoder_weights. Leave out one of them."
        )
    if folder is not None:
        encoder = read_pretrained(folder)
    renamed = teacher.config.encoder_config.rename(encoder)
    state |= {f"{prefix}{name}": value for name, value in renamed.items()}
    fit_weights(teacher, state, weights if folder is None else f"{weights} with {folder}")
