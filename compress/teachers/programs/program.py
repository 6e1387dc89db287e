"""Teachers that are programs: a function of arrays, made to answer the teacher contract.

A program says little of itself: what its audio is, how many poses a second it gives and what they
are called is in the recipe's ``teacher.interface``.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compress.errors import TeacherError
from compress.teachers import Opening, Port
from compress.teachers.programs.constants import read_constant
from compress.teachers.programs.inputs import audio_input, listed
from compress.teachers.programs.outputs import chosen_outputs, named_columns, poses, whole_curves

if TYPE_CHECKING:
    from torch import Tensor

    from compress.recipe.teacher import InterfaceSettings

Array = NDArray[Any]
Floats = NDArray[np.float32]

# Windows in one call, where the recipe does not say it: 64 of half a second are 2 MB of audio.
WINDOWS = 64


@dataclass(frozen=True)
class Program:
    """A function of named arrays.

    `run` takes all `inputs` and gives the outputs by name, in order; `outputs` is empty where only
    a run says what there is.
    """

    name: str
    description: str
    parameters_count: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    run: Callable[[Mapping[str, Array]], dict[str, Array]]


def needs_interface(opening: Opening, name: str, inputs: str, outputs: str) -> "InterfaceSettings":
    """The recipe's interface. Raises `TeacherError`, with what is known, where it has none."""
    if opening.interface is None:
        raise TeacherError(
            f"Teacher {name} is a program, and the recipe does not say what it takes and gives. "
            f"Its inputs: {inputs}. Its outputs: {outputs}. Add teacher.interface to the recipe, "
            f"with rate_hz, the poses a second, at least; `lipstill inspect` of the file prints one "
            f"to complete."
        )
    return opening.interface


class ProgramTeacher:
    """A program with what the recipe says of it. Answers the teacher contract.

    Opening runs it once, on a window of quiet noise or a second of it, to see how wide its outputs
    are. Raises `TeacherError` for whatever of the two does not fit.
    """

    def __init__(self, program: Program, opening: Opening) -> None:
        name, outputs = program.name, listed(program.outputs)
        settings = needs_interface(opening, name, listed(program.inputs), outputs)
        self._program, self._settings = program, settings
        self._audio, others = audio_input(name, program.inputs, settings)
        batched, base = self._audio.batched, opening.base
        self._constants = {
            port.name: read_constant(name, port, settings.inputs[port.name], base, batched)
            for port in others
        }
        self._check_sizes()
        self.rate_hz, self.offset_s = settings.frames_hz, settings.offset_s
        self.sample_rate_hz, self.limits = settings.sample_rate_hz, settings.limits
        self.description, self.parameters_count = program.description, program.parameters_count
        self._columns = named_columns(name, self._probed_widths(), settings)
        self.controls = tuple(control for part in self._columns for control in part.names)

    def animate(self, audio: "Tensor") -> "Tensor":
        """Curves of clips of equal length: float32 `[batch, samples]` → `[batch, frames, controls]`.

        Windowed, frame i is at i / rate, and there are as many as start inside the clip; beyond a
        clip's ends is silence.
        """
        import torch

        clips = np.ascontiguousarray(audio.numpy(), np.float32)
        curves = self._whole(clips) if self._settings.window is None else self._windowed(clips)
        return torch.from_numpy(curves)

    def _whole(self, clips: Floats) -> Floats:
        size = self._calls_of or len(clips)
        parts = [self._joined(clips[i : i + size]) for i in range(0, len(clips), size)]
        if len({part.shape[1] for part in parts}) > 1:
            raise TeacherError(
                f"Teacher {self._program.name} gave {sorted({p.shape[1] for p in parts})} frames for "
                f"clips of one length, {clips.shape[1]} samples; expected one number of frames."
            )
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _windowed(self, clips: Floats) -> Floats:
        window = self._settings.window
        assert window is not None
        batch, samples = clips.shape
        # Less a hair, so that a clip of whole frames has no more of them by rounding.
        frames = max(1, math.ceil(samples * self.rate_hz / self.sample_rate_hz - 1e-6))
        starts = np.rint(np.arange(frames) * self.sample_rate_hz / self.rate_hz).astype(np.int64)
        padded = np.pad(clips, ((0, 0), (window.moment, window.samples)))
        # A view: only the windows of one call are ever copied.
        views = np.lib.stride_tricks.sliding_window_view(padded, window.samples, axis=1)
        size = self._calls_of or WINDOWS
        curves = np.empty((batch * frames, len(self.controls)), np.float32)
        for first in range(0, len(curves), size):
            clip, frame = np.divmod(np.arange(first, min(first + size, len(curves))), frames)
            curves[first : first + size] = self._joined(views[clip, starts[frame]])[:, 0]
        return curves.reshape(batch, frames, -1)

    def _joined(self, audio: Floats) -> Floats:
        """The controls of one call: `[batch, samples]` → `[batch, frames, controls]`."""
        outputs = self._called(audio)
        for part in self._columns:
            if outputs[part.output].shape[2] != part.width:
                raise TeacherError(
                    f"Teacher {self._program.name} gave {outputs[part.output].shape[2]} values a "
                    f"pose as output {part.output} for audio of shape {list(audio.shape)}, expected "
                    f"the {part.width} that it gave when it was opened."
                )
        frames = {name: found.shape[1] for name, found in outputs.items()}
        if len(set(frames.values())) > 1:
            said = ", ".join(f"{count} of {name}" for name, count in frames.items())
            raise TeacherError(
                f"Teacher {self._program.name} gave outputs that disagree in frames: {said}. Choose "
                f"those that go together with teacher.interface.columns."
            )
        cut = [outputs[part.output][..., part.start : part.stop] for part in self._columns]
        return cut[0] if len(cut) == 1 else np.concatenate(cut, axis=2)

    def _called(self, audio: Floats) -> dict[str, Floats]:
        """The outputs that have controls, for one call: each `[batch, frames, values]`."""
        name, batch, settings = self._program.name, len(audio), self._settings
        if self._audio.batch and batch < self._audio.batch:
            # The file wants a full batch; what comes of the repeated clip is dropped.
            rest = np.repeat(audio[-1:], self._audio.batch - batch, 0)
            audio = np.concatenate([audio, rest])
        sizes = self._audio.sizes(audio)
        feeds = {key: one.filled(len(audio), sizes) for key, one in self._constants.items()}
        found = self._program.run({self._audio.port.name: self._audio.laid_out(audio)} | feeds)
        curves = {}
        for output in dict.fromkeys(chosen_outputs(name, tuple(found), settings)):
            array = found[output] if self._audio.batched else found[output][None]
            if settings.window is None:
                curves[output] = whole_curves(name, output, array, len(audio), settings)[:batch]
            else:
                curves[output] = poses(name, output, array, len(audio), settings)[:batch, None]
        return curves

    @property
    def _calls_of(self) -> int | None:
        """How many clips or windows go into one call; None where nothing says it."""
        if not self._audio.batched:
            return 1
        return self._audio.batch or self._settings.max_batch

    def _check_sizes(self) -> None:
        name, window = self._program.name, self._settings.window
        fixed, most = self._audio.batch, self._settings.max_batch
        if fixed and most and fixed > most:
            raise TeacherError(
                f"Teacher {name} takes {fixed} at once, no more and no less, and "
                f"teacher.interface.max_batch is {most}. Leave that out."
            )
        samples = self._audio.samples
        if samples is not None and (window is None or window.samples != samples):
            said = "has no window" if window is None else f"has a window of {window.samples}"
            raise TeacherError(
                f"Teacher {name} takes stretches of {samples} samples, and teacher.interface {said}. "
                f"Give it window: {{samples: {samples}, moment: the sample that its pose stands for}}."
            )

    def _probed_widths(self) -> dict[str, int]:
        window = self._settings.window
        samples = self.sample_rate_hz if window is None else window.samples
        noise = np.random.default_rng(0).uniform(-0.01, 0.01, (1, samples)).astype(np.float32)
        found = self._called(noise)
        if not found:
            raise TeacherError(
                f"Teacher {self._program.name} gave no output of numbers, expected one at least."
            )
        return {output: curves.shape[2] for output, curves in found.items()}
