"""The reference teacher's checkpoint: ``model.safetensors`` with its ``config.json`` beside it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from compress.assets import resolve
from compress.errors import TeacherError
from compress.teachers import Description, Found, Opening

if TYPE_CHECKING:
    from compress.teachers.voice2face import Voice2Face, Voice2FaceConfig

FORMAT, VERSION = "lipstill-voice2face", 1


def find(name: str, base: Path) -> Found | None:
    """A folder, or a safetensors file, with a config of this format beside it."""
    path = resolve(name, base)
    weights = path / "model.safetensors" if path.is_dir() else path
    config = weights.with_name("config.json")
    if weights.suffix != ".safetensors" or not weights.is_file() or not config.is_file():
        return None
    try:
        fields = json.loads(config.read_text("utf-8"))
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            return None
    except ValueError:
        pass  # damaged, as opening it says
    # What lies beside the two, a card or a log, is not the teacher: editing it must not cost a
    # relabelling.
    return Found(path, (weights, config))


def open_checkpoint(path: Path, opening: Opening) -> "Voice2Face":
    """The teacher that was found. Safetensors never run code, so that `trust` is not asked.

    Raises `TeacherError` for a config or weights that do not fit.
    """
    if opening.interface is not None:
        raise TeacherError(
            f"{path} says itself what it takes and gives, and the recipe has a teacher.interface "
            f"too. Leave that out."
        )
    from compress.teachers.voice2face import Voice2Face

    teacher = Voice2Face(_read_config(_config_of(path)))
    _load_weights(teacher, path / "model.safetensors" if path.is_dir() else path)
    return teacher.eval()


def describe(path: Path) -> Description:
    """What its config says, and its weights."""
    teacher = open_checkpoint(path, Opening())
    return Description(
        kind="a teacher checkpoint",
        parameters=teacher.parameters_count,
        trust=False,
        interface=False,
        facts={
            "description": teacher.description,
            "audio": f"mono at {teacher.sample_rate_hz} Hz",
            "curves": f"{len(teacher.controls)} controls at {teacher.rate_hz:g} frames a second",
        },
    )


def _config_of(path: Path) -> Path:
    return (path if path.is_dir() else path.parent) / "config.json"


def _read_config(path: Path) -> "Voice2FaceConfig":
    from compress.teachers.moonshine import MoonshineConfig
    from compress.teachers.voice2face import HeadConfig, Voice2FaceConfig

    try:
        fields = json.loads(path.read_text("utf-8"))
        del fields["format"]
        version, encoder = fields.pop("version"), fields["encoder"]
        if version != VERSION or encoder != "moonshine":
            raise TeacherError(
                f"{path}: found version {version!r} with encoder {encoder!r}, expected version "
                f"{VERSION} with encoder 'moonshine'. Another release of lipstill wrote it; use "
                f"that one, or convert the checkpoint."
            )
        head = fields.pop("head")
        return Voice2FaceConfig(
            controls=tuple(fields.pop("controls")),
            driven=tuple(fields.pop("driven")),
            limits=tuple(fields.pop("limits")),
            head=HeadConfig(**(head | {"encoder_layers": tuple(head["encoder_layers"])})),
            encoder_config=MoonshineConfig(**fields.pop("encoder_config")),
            **fields,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise TeacherError(
            f"{path} is not a {FORMAT} config: {type(error).__name__}: {error}. Compare it with "
            f"that of builtin:voice2face-demo."
        ) from error


def _load_weights(teacher: "Voice2Face", path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise TeacherError(
            f"{path} cannot be read as safetensors ({error}). It may be truncated: copy it again."
        ) from error
    expected = teacher.state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in state]
    wrong += [f"{name} is not expected" for name in state if name not in expected]
    wrong += [
        f"{name} is {list(state[name].shape)}, expected {list(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    if wrong:
        more = f", and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise TeacherError(
            f"{path} does not fit its config.json: {'; '.join(wrong[:4])}{more}. Are both from one "
            f"training?"
        )
    teacher.load_state_dict({name: value.float() for name, value in state.items()})
