"""A recipe to fill in, for a teacher that somebody brings: what its file says, and blanks."""

import re
from collections.abc import Iterator
from pathlib import Path

from compress.recipe.mistakes import BLANK
from compress.recipe.yaml_files import dump
from compress.teachers import Description, Port

# What exporters call the waveform; another name is not guessed at.
_AUDIO = {"audio", "input", "input_values", "speech", "wav", "waveform", "samples", "x"}
_STUDENTS = """\
speech:
  train:
    - ???  # folders of speech, or builtin:speech
students:
  - name: small
    training: {steps: 4000, learning_rate: 2.5e-3}
  - name: tiny
    guide: small
    width: 0.25
    training: {steps: 4000}
"""


def recipe_stub(checkpoint: str, found: Description) -> str:
    """YAML of a recipe for a checkpoint, named as a recipe beside it would.

    What the file does not say stands as ``???``, with a comment that says what is wanted: such a
    recipe is refused until it is filled in.
    """
    stem = re.sub(r"[^a-z0-9_.-]+", "-", Path(checkpoint.rpartition(":")[2]).stem.lower())
    lines = [
        f"# What {_text(checkpoint)} says of itself. Fill in each {BLANK}; docs/teachers.md explains them.",
        f"name: {stem.strip('-._') or 'mine'}",
        "teacher:",
        f"  checkpoint: {_text(checkpoint)}",
    ]
    if found.trust:
        lines.append("  trust: true  # it can run code: only if you know where it comes from")
    if found.interface:
        lines += ["  interface:", *(f"    {line}" for line in _interface(found))]
    elif found.interface is None:
        lines.append(
            "  # interface: {rate_hz: ...}  # if it makes a network, and no teacher object"
        )
    return "\n".join(lines) + "\n" + _STUDENTS


def _interface(found: Description) -> Iterator[str]:
    audio = _audio(found)
    window = _fixed_length(audio)
    yield f"rate_hz: {BLANK}  # poses a second"
    yield "sample_rate_hz: 16000  # of the audio that it takes: change it if it is another"
    if audio is None:
        named = ", ".join(port.name for port in found.inputs)
        yield f"audio: {BLANK}  # which input takes audio" + (f": {named}" if named else "")
    else:
        yield f"audio: {_text(audio.name)}  # {_shape(audio)}"
        if audio.shape is None:
            yield "layout: batch,samples  # or samples, or batch,1,samples"
    if window is not None:
        yield "window:"
        yield f"  samples: {window}"
        yield f"  moment: {BLANK}  # sample of the window that its pose stands for, e.g. {window // 2}"
    others = [port for port in found.inputs if audio is not None and port.name != audio.name]
    if others:
        yield "inputs:"
    for port in others:
        yield (
            f"  {_text(port.name)}: {BLANK}  # {_shape(port)}: a number, a list, or {{file: NAME.npy}}"
        )
    if found.outputs:
        yield "columns:  # which outputs are controls, in order, and what they are called"
    for port in found.outputs:
        width = port.shape[-1] if port.shape else None
        stop = width if isinstance(width, int) else BLANK
        yield f"  - output: {_text(port.name)}  # {_shape(port)}"
        yield "    start: 0"
        yield f"    stop: {stop}"
        yield f"    prefix: {BLANK}  # PREFIX_000 …; or names: [...], or names: arkit"


def _audio(found: Description) -> Port | None:
    """The only input, or the one that is called like a waveform."""
    if len(found.inputs) == 1:
        return found.inputs[0]
    named = [port for port in found.inputs if port.name.lower() in _AUDIO]
    return named[0] if len(named) == 1 else None


def _fixed_length(audio: Port | None) -> int | None:
    last = audio.shape[-1] if audio is not None and audio.shape else None
    return last if isinstance(last, int) else None


def _shape(port: Port) -> str:
    if port.shape is None:
        return f"{port.dtype}, shape not stated"
    return f"{port.dtype} [{', '.join(map(str, port.shape))}]"


def _text(value: str) -> str:
    """A scalar as YAML writes it."""
    return dump([value]).removeprefix("- ").rstrip("\n")
