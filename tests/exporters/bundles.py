"""What the small bundles are made of, and where a bundle has its files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from exporters.bundle.folder import seal_bundle
from exporters.proof.golden import make_golden
from exporters.signature import Signature
from exporters.targets.contract import available_targets, load_target

TARGETS = available_targets()
# A file in fp16 has rounded weights, its source has not.
MAX_ABS = {"fp32": 1e-5, "fp16": 5e-3, "int8": 2e-3}

MakeBundle = Callable[[str], Path]


class Student(nn.Module):
    """Two convolutions with weights that follow a rule: [batch, 1, 64] -> [batch, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv1d(1, 8, kernel_size=64)
        self.rig = nn.Conv1d(8, 3, kernel_size=1)
        with torch.no_grad():
            for scale, weights in enumerate(self.parameters(), start=1):
                count = torch.arange(weights.numel(), dtype=torch.float64)
                weights.copy_((torch.sin(scale + count) / scale**0.5).view_as(weights))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.rig(torch.relu(self.features(audio))).squeeze(-1)


def model_of(folder: Path, target: str) -> Path:
    return folder / f"model{load_target(target).SUFFIX}"


def parts(model: Path) -> list[Path]:
    """The files of a model: itself, or those in it."""
    return (
        sorted(path for path in model.rglob("*") if path.is_file()) if model.is_dir() else [model]
    )


def write_bundle(folder: Path, module: nn.Module, signed: Signature) -> None:
    """A sealed bundle with a file for every target that has the precision."""
    speech = np.random.default_rng(7).uniform(-0.5, 0.5, (5, 1, 64)).astype(np.float32)
    golden = make_golden(module, signed, speech, max_abs=MAX_ABS[signed.precision])
    for name in TARGETS:
        if signed.precision in load_target(name).PRECISIONS:
            load_target(name).export(module, signed, model_of(folder, name))
    signed.write(folder / "signature.json")
    (folder / "golden.npz").write_bytes(golden.to_bytes())
    (folder / "README.md").write_text("# tiny\n")
    seal_bundle(folder)
