"""Stage export: a student's window form as model files, signature and golden windows beside."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.audio import HOP, SAMPLE_RATE
from compress.store import atomic_folder, content_key, seal, stage, tool_versions
from compress.students.storing import StudentCard, load_student
from exporters.parity import probe_windows
from exporters.signature import Signature
from exporters.targets import load_target

if TYPE_CHECKING:
    from torch import nn

    from compress.recipe import ExportSettings
    from compress.students.conv_fc import ConvFC

FORMAT = 2
FP32, INT8 = "fp32", "int8"
TOOLS = ("lipstill", "torch", "torchao", "onnx", "onnxruntime", "onnxscript", "onnxsim")
GOLDEN_WINDOWS = 32


@dataclass(frozen=True)
class ExportJob:
    """Everything that a student's files depend on; the student is stood for by its key.

    `smoothing` only travels in the files: clients do it.
    """

    folder: Path
    precision: str
    student_folder: Path
    student_key: str
    settings: "ExportSettings"
    smoothing: tuple[float, ...]
    recipe_hash: str
    teacher: str

    @property
    def key(self) -> str:
        return content_key(
            format=FORMAT,
            student=self.student_key,
            settings=self.settings.model_dump(mode="json"),
            smoothing=self.smoothing,
            recipe=self.recipe_hash,
            teacher=self.teacher,
            versions=tool_versions(*TOOLS),
        )

    @property
    def files(self) -> dict[str, Path]:
        """Where each target's file lies."""
        return {
            target: self.folder / f"model{load_target(target).SUFFIX}"
            for target in self.settings.targets
        }


@dataclass(frozen=True)
class Exported:
    """A tier's folder and its model files by target."""

    folder: Path
    key: str
    files: dict[str, Path]


def run(job: ExportJob) -> Exported:
    """The model files, exported now or found."""
    files = job.files
    if not stage(job.folder, job.key).hit:
        module, student, card = window_form(job.student_folder)
        signature = _signature(job, student, card)
        with atomic_folder(job.folder) as folder:
            for target, path in files.items():
                options = job.settings.options(target)
                load_target(target).export(module, signature, folder / path.name, **options)
            signature.write(folder / "signature.json")
            (folder / "golden.npz").write_bytes(_golden(module, signature))
            seal(folder, job.key)
    return Exported(job.folder, job.key, files)


def window_form(student_folder: Path) -> "tuple[nn.Module, ConvFC, StudentCard]":
    """The module that is exported, with its student and card.

    `[batch, 1, window]` → `[batch, driven]`; of an int8 student its integer form.
    """
    from compress.students.conv_fc import Window

    student, card = load_student(student_folder)
    if card.quantization is None:
        return Window(student).eval(), student, card
    from compress.quantization import IntegerWindow

    return IntegerWindow(student, card.quantization), student, card


def _signature(job: ExportJob, student: "ConvFC", card: StudentCard) -> Signature:
    versions = tool_versions(*TOOLS)
    return Signature(
        student=card.name,
        precision=job.precision,
        controls=card.controls,
        driven=card.driven,
        constants=card.constants,
        sample_rate_hz=SAMPLE_RATE,
        hop=HOP,
        window=student.config.window,
        past=student.config.past,
        future=student.config.future,
        smoothing=job.smoothing,
        recipe_hash=job.recipe_hash,
        teacher=job.teacher,
        tool_versions={name: found or "not installed" for name, found in versions.items()},
        quantization={} if card.quantization is None else card.quantization.in_brief(),
    )


def _golden(module: "nn.Module", signature: Signature) -> bytes:
    """Windows, float32 `[n, 1, window]`, and the rig that PyTorch gives for them.

    As an .npz; equal content gives equal bytes.
    """
    import torch

    probes = np.concatenate(list(probe_windows(signature.window, seed=0).values()))
    random = np.random.default_rng(0)
    level = 10 ** random.uniform(-3, -0.5, (GOLDEN_WINDOWS - len(probes), 1, 1))
    noise = random.standard_normal((len(level), 1, signature.window)) * level
    windows = np.concatenate([probes, np.clip(noise, -1, 1)]).astype(np.float32)
    with torch.inference_mode():
        rig = module(torch.from_numpy(windows)).numpy()
    buffer = io.BytesIO()
    np.savez(buffer, audio=windows, rig=rig)
    return buffer.getvalue()
