"""Stage export: a student's window form as model files, signature and golden windows beside.

Of a teacher of vertices also what turns coefficients back into them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.judge.held_out import HeldOut, speech_windows
from compress.speech.audio import HOP, SAMPLE_RATE
from compress.store import atomic_write, content_key, kept, tool_versions
from compress.students.storing import StudentCard, load_student
from exporters.errors import MissingToolError
from exporters.mesh import MESH
from exporters.signature import Precision, Signature
from exporters.targets.contract import load_target

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from compress.recipe.recipe import ExportSettings, ParitySettings
    from compress.students.contract import DenseStudent, Student
    from compress.students.integers import Quantization
    from exporters.proof.golden import Golden

FORMAT = 5
SIGNATURE = "signature.json"
GOLDEN_SPEECH = 24  # windows of held-out speech that travel with the files
LAST_DIGITS = 4  # of a rest value in float32, by which a runtime may differ from PyTorch


@dataclass(frozen=True)
class ExportJob:
    """Everything that a student's files depend on; keys stand for the student and the labels.

    `smoothing` only travels in the files: clients do it. What else the recipe says, such as its
    description, its gates or the files' licence, has no part in them.
    """

    folder: Path
    precision: Precision
    student_folder: Path
    student_key: str
    settings: "ExportSettings"
    limits: "ParitySettings"
    smoothing: tuple[float, ...]
    teacher: str
    labels_key: str

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            made_from=self.made_from,
            targets=list(self.files),
            limits=[self.limits.limit(self.precision), self.limits.int8_max_lsb],
            versions=tool_versions(*self.tools),
        )

    @property
    def made_from(self) -> str:
        """Hash of what makes the model files, beside the tools: it travels in their signature."""
        return content_key(
            student=self.student_key,
            options={target: self.settings.options(target) for target in self.files},
            precision=self.precision,
            smoothing=self.smoothing,
            teacher=self.teacher,
            labels=self.labels_key,
        )

    @property
    def tools(self) -> tuple[str, ...]:
        """Distributions that have a part in the files."""
        own = [tool for target in self.files for tool in load_target(target).TOOLS]
        return tuple(dict.fromkeys(("lipstill", "torch", "torchao", *own)))

    @property
    def files(self) -> dict[str, Path]:
        """Where each target's file lies, of those that have this precision."""
        return {
            target: self.folder / f"model{load_target(target).SUFFIX}"
            for target in self.settings.targets
            if target not in self.unsupported
        }

    @property
    def unsupported(self) -> tuple[str, ...]:
        """The targets of the recipe that have no such precision."""
        return tuple(
            target
            for target in self.settings.targets
            if self.precision not in load_target(target).PRECISIONS
        )


@dataclass(frozen=True)
class Exported:
    """A tier's folder and its model files by target."""

    folder: Path
    key: str
    files: dict[str, Path]


def check_tools(targets: Iterable[str]) -> None:
    """Raise `MissingToolError` if a target's converter is not installed, before hours of training."""
    tools = {target: tool_versions(*load_target(target).TOOLS) for target in targets}
    missing = {
        target: [name for name, version in versions.items() if version is None]
        for target, versions in tools.items()
    }
    if lines := [f"{target} ({', '.join(names)})" for target, names in missing.items() if names]:
        needed = " ".join(dict.fromkeys(name for names in missing.values() for name in names))
        raise MissingToolError(
            f"The recipe asks for files that this machine cannot write, for lack of: {'; '.join(lines)}. "
            f"Install with: pip install {needed}, or leave these targets out: "
            f"--set 'export.targets=[{', '.join(t for t, names in missing.items() if not names)}]'."
        )


def run(job: ExportJob, heldout: Callable[[], HeldOut]) -> Exported:
    """The model files, exported now or found; the golden windows hold some held-out speech."""

    def make() -> "tuple[nn.Module, Signature, Golden]":
        from exporters.proof.golden import make_golden

        module, student, card = window_form(job.student_folder)
        versions = tool_versions(*job.tools)
        signature = replace(
            signature_of(student, card, job.precision, job.smoothing),
            made_from=job.made_from,
            teacher=job.teacher,
            tool_versions={name: found or "not installed" for name, found in versions.items()},
        )
        golden = make_golden(
            module,
            signature,
            speech_windows(heldout(), signature.window, GOLDEN_SPEECH),
            max_abs=largest_difference(job.limits, job.precision, card.quantization, card.scale),
            max_lsb=job.limits.int8_max_lsb,
            evening=evening_of(job.limits, job.precision, card),
        )
        return module, signature, golden

    def write(folder: Path, made: "tuple[nn.Module, Signature, Golden]") -> None:
        module, signature, golden = made
        for target, path in job.files.items():
            options = job.settings.options(target)
            load_target(target).export(module, signature, folder / path.name, **options)
        signature.write(folder / SIGNATURE)
        if (mesh := heldout().mesh) is not None:
            atomic_write(folder / MESH, mesh.to_bytes())
        atomic_write(folder / "golden.npz", golden.to_bytes())

    def read(folder: Path) -> Exported:
        Signature.read(folder / SIGNATURE)
        return Exported(job.folder, job.key, job.files)

    return kept(job.folder, job.key, make, write, read)


def window_form(student_folder: Path) -> "tuple[nn.Module, Student, StudentCard]":
    """The module that is exported, with its student and card.

    `[batch, 1, window]` → `[batch, driven]`; of an int8 student its integer form.
    """
    from compress.students.contract import Window

    student, card = load_student(student_folder)
    if card.quantization is None:
        return Window(student).eval(), student, card
    from compress.quantize.graph import IntegerWindow

    return IntegerWindow(student, card.quantization), student, card


def dense_form(student_folder: Path) -> "tuple[Student, DenseStudent, StudentCard]":
    """A student, what gives all frames of a stretch at once, and its card.

    Both are the same but for an int8 student, whose dense form has the codes of its integer form.
    """
    student, card = load_student(student_folder)
    if card.quantization is None:
        return student, student, card
    from compress.quantize.graph import IntegerDense

    return student, IntegerDense(student, card.quantization), card


def signature_of(
    student: "Student", card: StudentCard, precision: Precision, smoothing: tuple[float, ...]
) -> Signature:
    """What a client must know of a student, before it is known where it comes from."""
    return Signature(
        student=card.name,
        precision=precision,
        controls=card.controls,
        driven=card.driven,
        constants=card.constants,
        sample_rate_hz=SAMPLE_RATE,
        hop=HOP,
        window=student.config.window,
        past=student.config.past,
        future=student.config.future,
        smoothing=smoothing,
        made_from="",
        teacher="",
        tool_versions={},
        quantization={} if card.quantization is None else card.quantization.in_brief(),
    )


def largest_difference(
    limits: "ParitySettings",
    precision: Precision,
    integers: "Quantization | None",
    scale: float = 1.0,
) -> float:
    """The recipe's limit, or what codes may differ by where the rig itself is made of codes.

    `scale` is that of the rig: limits are meant for controls that move by about 1.
    """
    limit = limits.limit(precision) * scale
    if integers is None or integers.layers["rig"] != "int8":
        return limit
    # The float32 products of neighbouring codes and their scale lie a little more than it apart.
    return max(limit, 1.001 * limits.int8_max_lsb * integers.tensors["rig"].scale)


def evening_of(
    limits: "ParitySettings", precision: Precision, card: StudentCard
) -> "NDArray[np.float64] | None":
    """By what each driven control's difference counts against `largest_difference`.

    float64 `[driven]`: more for a unit smaller than the rig's scale. But no float32 near a rest
    value is more exact than that value's last digits, so of those as many are allowed as sums of a
    student differ by. None for a rig whose controls have one unit.
    """
    units = card.own_units
    limit = largest_difference(limits, precision, card.quantization, card.scale)
    own = limit * np.array(units.units) / units.scale
    digits = LAST_DIGITS * np.finfo(np.float32).eps * np.abs(units.rests)
    factors = limit / np.maximum(own, digits)
    return None if (factors == 1).all() else factors
