"""A student small enough to compute by hand, and the file made of it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporters import onnx as onnx_target
from exporters.files import ExportedFile
from exporters.signature import Signature

WINDOW = 64


class TinyStudent(nn.Module):
    """Two convolutions with weights that follow a rule: [batch, 1, 64] -> [batch, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv1d(1, 4, kernel_size=16, stride=8)
        self.head = nn.Conv1d(4, 3, kernel_size=7)
        with torch.no_grad():
            for scale, weights in enumerate(self.parameters(), start=1):
                count = torch.arange(weights.numel(), dtype=torch.float64)
                weights.copy_((torch.sin(scale + count) / math.sqrt(8 * scale)).view_as(weights))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.features(audio))).squeeze(-1)


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def student() -> TinyStudent:
    return TinyStudent()


@pytest.fixture(scope="session")
def fields() -> dict[str, object]:
    """Arguments of a signature that fits TinyStudent."""
    return {
        "student": "tiny",
        "precision": "fp32",
        "controls": ("jawOpen", "tongueOut", "mouthClose", "mouthPucker"),
        "driven": ("jawOpen", "mouthClose", "mouthPucker"),
        "constants": {"tongueOut": 0.125},
        "sample_rate_hz": 16000,
        "hop": 256,
        "window": WINDOW,
        "past": 48,
        "future": 16,
        "smoothing": (0.25, 0.5, 0.25),
        "recipe_hash": "c0ffee",
        "teacher": "demo teacher, 0123abcd",
        "tool_versions": {"torch": "2.13.0"},
        "quantization": {},
    }


@pytest.fixture(scope="session")
def signature(fields: dict[str, object]) -> Signature:
    return Signature(**fields)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def exported(signature: Signature, tmp_path_factory: pytest.TempPathFactory) -> ExportedFile:
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    return onnx_target.export(TinyStudent(), signature, path)


@pytest.fixture(scope="session")
def model_file(exported: ExportedFile) -> Path:
    return exported.path


@pytest.fixture
def speech() -> np.ndarray:
    """Five windows of noise, float32 [5, 1, 64]."""
    noise = np.random.default_rng(7).uniform(-0.5, 0.5, size=(5, 1, WINDOW))
    return noise.astype(np.float32)
